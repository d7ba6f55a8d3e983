"""How a body ends: results, errors, exit codes, traps; and what leaving the block raises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from tests.debuggee._support import ENGINE, debug, load, run_to
from trio_wasmdbg import (
    Debuggee,
    EngineConfigError,
    Guest,
    GuestInstance,
    TooManyGuests,
    capi,
    events,
    load_module,
    open_debuggee,
    run_debuggee,
)
from trio_wasmdbg.debuggee import _capacity

TRAPS = """
(module (memory 1) (table 2 funcref)
  (type $t (func (result i32)))
  (func $deep (param $n i32) (param $where i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $where))))
      (else (i32.load (local.get $where)))))
  (func (export "unreachable") (unreachable))
  (func (export "load") (param $n i32) (param $where i32) (result i32)
    (call $deep (local.get $n) (local.get $where)))
  (func (export "indirect") (param $i i32) (result i32) (call_indirect (type $t) (local.get $i)))
  (func (export "divide") (param $a i32) (param $b i32) (result i32)
    (i32.div_s (local.get $a) (local.get $b)))
  (func (export "truncate") (param $x f64) (result i32) (i32.trunc_f64_s (local.get $x)))
  (func $forever (export "forever") (param $n i32) (result i32)
    (i32.add (i32.const 1) (call $forever (i32.add (local.get $n) (i32.const 1)))))
  (func (export "fine") (result i32) (i32.const 1)))
"""

Code = wasmtime.TrapCode

CASES = [
    ("unreachable", (), Code.UNREACHABLE, True),
    ("divide", (1, 0), Code.INTEGER_DIVISION_BY_ZERO, True),
    ("divide", (-(1 << 31), -1), Code.INTEGER_OVERFLOW, True),
    ("load", (0, 65_536), Code.MEMORY_OUT_OF_BOUNDS, False),
    ("load", (30, -1), Code.MEMORY_OUT_OF_BOUNDS, False),
    ("indirect", (0,), Code.INDIRECT_CALL_TO_NULL, False),
    ("indirect", (7,), Code.TABLE_OUT_OF_BOUNDS, False),
    ("truncate", (1e30,), Code.INTEGER_OVERFLOW, True),
    ("truncate", (float("nan"),), Code.BAD_CONVERSION_TO_INTEGER, True),
    ("forever", (0,), Code.STACK_OVERFLOW, False),
]


@pytest.mark.parametrize(("export", "arguments", "code", "live"), CASES, ids=lambda x: str(x))
@pytest.mark.parametrize("slow", [False, True])
async def test_traps(export: str, arguments: tuple[Any, ...], code: Code, live: bool, slow: bool) -> None:
    with pytest.raises(wasmtime.Trap) as left:
        async with debug(TRAPS, export, *arguments) as debuggee:
            if slow:
                debuggee.add_breakpoint(export)
                await run_to(debuggee, events.Breakpoint)
                for breakpoint in debuggee.breakpoints:
                    debuggee.remove_breakpoint(breakpoint)
            event = await run_to(debuggee, events.Trap)
            assert event.code == code.name
            assert event.live == live
            assert event.location is not None
            frames = await debuggee.with_store(lambda view: list(view.frames()))
            assert frames[0].function_name == event.location.function_name
            assert frames[-1].function_name == export
            assert [frame.depth for frame in frames[:3]] == [*range(len(frames))][: -4 : -1]
            assert frames[-1].depth == 0
            assert frames[0].resumable == live
            if export == "load":
                assert len(frames) == arguments[0] + 2
                assert [frame.locals[0] for frame in frames[1:]] == [
                    *range(1, arguments[0] + 1), arguments[0]
                ]  # fmt: skip
            if export == "forever":
                depth = len(frames)
                assert depth > 1_000
                assert frames[1].locals == (depth - 2,)
            finished = await run_to(debuggee, events.Finished)
            assert isinstance(finished.error, wasmtime.Trap)
            assert finished.error.trap_code == code
            await debuggee.finish()
    assert left.value.trap_code == code


async def test_the_body_may_handle_a_trap() -> None:
    module = await load(TRAPS)

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        seen = []
        for export, arguments, _, _ in CASES:
            try:
                await guest.call(instance.func(export), *arguments)
            except wasmtime.Trap as trap:
                seen.append(trap.trap_code)
        return seen, await guest.call(instance.func("fine"))

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        finished = await debuggee.finish()
        assert finished.result == ([code for _, _, code, _ in CASES], 1)
        assert "Trap" not in debuggee.statistics().events
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        kinds = [type(event).__name__ async for event in debuggee]
        assert kinds == ["Trap"] * len(CASES) + ["Finished"]


async def test_frames_of_a_guest_that_was_unwound_can_only_be_read() -> None:
    with pytest.raises(wasmtime.Trap):
        async with debug(TRAPS, "load", 2, 70_000) as debuggee:
            event = await run_to(debuggee, events.Trap)
            assert not event.live
            with pytest.raises(Exception, match="unwound"):
                event.frame.set_local(0, 1)
            caller = event.frame.parent
            assert caller is not None
            with pytest.raises(Exception, match="unwound"):
                caller.set_operand(0, 1)
            await debuggee.finish()


# ── errors of the body ─────────────────────────────────────────────────────────────────────────


class Mistake(Exception):
    pass


@asynccontextmanager
async def failing(
    error: BaseException, *, at_once: bool = True, go: trio.Event | None = None
) -> AsyncIterator[Debuggee]:
    async def body(guest: Guest) -> None:
        if not at_once:
            await trio.sleep_forever()
        if go is not None:
            await go.wait()
        raise error

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        yield debuggee


async def test_run_returns_the_error_and_finish_raises_it() -> None:
    mistake = Mistake()
    async with failing(mistake) as debuggee:
        assert await debuggee.run() == events.Finished(error=mistake)
        for _ in range(2):
            with pytest.raises(Mistake) as caught:
                await debuggee.finish()
            assert caught.value is mistake
    # Collected: leaving the block raises nothing.


async def told_to_go_on(debuggee: Debuggee, go: trio.Event) -> None:
    """The body ends, and nobody receives that: whoever called run() was cancelled before."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(debuggee.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    go.set()
    while "Finished" not in debuggee.statistics().events:
        await trio.lowlevel.checkpoint()


async def test_leaving_raises_what_nobody_collected() -> None:
    mistake = Mistake()
    with pytest.raises(Mistake) as caught:
        async with failing(mistake, go=(go := trio.Event())) as debuggee:
            await told_to_go_on(debuggee, go)
    assert caught.value is mistake


async def test_the_blocks_own_exception_wins_if_the_body_was_fine() -> None:
    mine = Mistake("mine")
    with pytest.raises(Mistake) as caught:
        async with debug(TRAPS, "fine") as debuggee:
            await debuggee.run()
            raise mine
    assert caught.value is mine


async def test_both_fail() -> None:
    mine, theirs = Mistake("mine"), Mistake("theirs")
    with pytest.raises(ExceptionGroup) as caught:
        async with failing(theirs, go=(go := trio.Event())) as debuggee:
            await told_to_go_on(debuggee, go)
            raise mine
    assert caught.value.exceptions == (mine, theirs)


async def test_in_a_users_nursery_it_comes_from_the_task() -> None:
    mistake = Mistake()

    go = trio.Event()

    async def body(guest: Guest) -> None:
        await go.wait()
        raise mistake

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:  # its strictness is the user's
            debuggee = await nursery.start(run_debuggee, wasmtime.Store(ENGINE), body)
            await told_to_go_on(debuggee, go)
            debuggee.cancel()
    assert caught.value.exceptions == (mistake,)


async def test_an_error_while_being_cancelled() -> None:
    mistake = Mistake()

    async def body(guest: Guest) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise mistake

    for wait in (False, True):
        with pytest.raises(Mistake) as caught:
            async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(debuggee.run)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                if wait:
                    debuggee.cancel()
                    await trio.testing.wait_all_tasks_blocked()
        assert caught.value is mistake


async def test_an_error_while_being_cancelled_at_a_pause_that_nobody_received() -> None:
    module = await load(TRAPS)
    mistake = Mistake()

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        guest.single_step = True
        try:
            await guest.call(instance.func("fine"))
        finally:
            raise mistake

    with pytest.raises(Mistake) as caught:
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(debuggee.run)
                while debuggee.state.value != "running":
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            while not debuggee.statistics().events:
                await trio.lowlevel.checkpoint()
    assert caught.value is mistake


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_body_that_swallows_its_cancellation(swallow: bool) -> None:
    async def body(guest: Guest) -> str:
        with trio.CancelScope(shield=swallow):
            try:
                await trio.sleep(0 if swallow else 1000)
            except trio.Cancelled:
                return "swallowed"
        return "done"

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee, trio.open_nursery() as nursery:
        nursery.start_soon(debuggee.run)
        while debuggee.state.value != "running":
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_group_of_the_bodys_own() -> None:
    first, second = Mistake("1"), Mistake("2")

    async def body(guest: Guest) -> None:
        raise ExceptionGroup("two", [first, second])

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        finished = await run_to(debuggee, events.Finished)
        assert isinstance(finished.error, ExceptionGroup)
        assert finished.error.exceptions == (first, second)


class Unusual(BaseException):
    pass


NO_ERRORS = [KeyboardInterrupt, SystemExit, GeneratorExit, Unusual]


@pytest.mark.parametrize("kind", NO_ERRORS)
async def test_what_is_no_error_comes_out_bare(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as caught:
        async with failing(kind("now")) as debuggee:
            with pytest.raises(trio.ClosedResourceError):
                await debuggee.run()
            await trio.sleep_forever()
    assert caught.value.args == ("now",)


async def test_exit_code() -> None:
    module = await load(
        """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start") (call $exit (i32.const 7))))"""
    )
    store = wasmtime.Store(ENGINE)
    store.set_wasi(wasmtime.WasiConfig())

    async def body(guest: Guest) -> None:
        instance: GuestInstance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        await guest.call(instance.func("_start"))

    async with open_debuggee(store, body) as debuggee:
        assert await debuggee.run() == events.Finished(exit_code=7)
        assert await debuggee.finish() == events.Finished(exit_code=7)


async def test_arguments_are_checked_before_anything_runs() -> None:
    too_large = (ValueError, OverflowError)
    for arguments, error in (((), TypeError), (("one", 2), TypeError), ((1 << 40, 2), too_large)):
        with pytest.raises(error):
            async with debug(TRAPS, "divide", *arguments) as debuggee:
                await debuggee.finish()


# ── refusals ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("switch", ["wasm_tail_call", "wasm_multi_memory"])
async def test_an_engine_that_lacks_a_switch(switch: str) -> None:
    config = wasmtime.Config()
    setattr(config, switch, False)
    engine = wasmtime.Engine(config)
    with pytest.raises(EngineConfigError, match=switch) as caught:
        await load_module(engine, TRAPS)
    assert switch in caught.value.missing

    async def body(guest: Guest) -> None:
        raise AssertionError

    with pytest.raises(EngineConfigError, match=switch):
        async with open_debuggee(wasmtime.Store(engine), body):
            raise AssertionError


async def test_too_many_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    await load(TRAPS)
    monkeypatch.setattr(_capacity._room, "until", 0)
    monkeypatch.setattr(capi, "max_map_count", lambda: 2_000)
    monkeypatch.setattr(capi, "memory_maps_in_use", lambda: 999)
    with pytest.raises(TooManyGuests, match=r"999 of 2000 memory maps.*vm\.max_map_count"):
        async with debug(TRAPS, "fine") as debuggee:
            await debuggee.finish()
    monkeypatch.setattr(capi, "memory_maps_in_use", lambda: 500)
    async with debug(TRAPS, "fine") as debuggee:
        assert (await debuggee.finish()).result == 1
