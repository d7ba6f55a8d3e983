"""Runs that the trio thread makes itself: which ones, how they are ended, and that nothing else changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import pytest
import trio
import wasmtime

from tests.debuggee._support import body_of, debug, load, run_to
from tests.debuggee.test_counted_steps import PROGRAM as VARIED
from tests.waiting import until
from trio_wasmdbg import Debuggee, Guest, GuestInstance, events, open_debuggee, prepare_config
from trio_wasmdbg.debuggee import _slices
from trio_wasmdbg.debuggee._arming import Arming
from trio_wasmdbg.debuggee._slices import PROMISING, may_block

# Short from stop to stop; then a loop without end.
SURPRISE = """
(module (memory (export "memory") 1)
  (func $stop (export "stop") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "main") (param $n i32) (result i32) (local $i i32) (local $j i32)
    (loop $again
      (local.set $i (call $stop (local.get $i)))
      (br_if $again (i32.lt_s (local.get $i) (local.get $n))))
    (loop $long
      (local.set $j (i32.add (local.get $j) (i32.const 1)))
      (br_if $long (i32.ne (i32.load (i32.const 0)) (i32.const 1))))
    (local.get $i)))
"""

STOPS = 50


pytestmark = pytest.mark.usefixtures("patient")


@contextmanager
def ended_all_the_time(debuggee: Debuggee) -> Iterator[None]:
    """While the block lasts, each run of the guest's is ended: in the trio thread at its first check, in
    others as soon as somebody gets to it."""
    arming = debuggee._core.arming
    over = threading.Event()
    watchman = _slices._watchman
    watch = watchman.watch

    def end_at_once(watched: Arming) -> None:
        watch(watched)
        watched.end_slice(watched.run)

    def end() -> None:
        while not over.is_set():
            arming.end_slice(arming.run)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        with patch.object(watchman, "watch", end_at_once):
            yield
    finally:
        over.set()
        thread.join()


async def in_a_thread(debuggee: Debuggee) -> None:
    """Return when the next run of the guest in another thread has begun."""
    before = debuggee.statistics().polls_in_threads
    with trio.fail_after(20):
        await until(lambda: debuggee.statistics().polls_in_threads > before)


async def test_short_runs_are_made_here() -> None:
    async with debug(SURPRISE, "main", STOPS) as debuggee:
        debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            await run_to(debuggee, events.Breakpoint)
        statistics = debuggee.statistics()
        assert statistics.polls_inline >= STOPS - PROMISING - 3
        assert statistics.polls_in_threads <= PROMISING + 3


async def test_one_that_is_not_short_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop runs again: else nobody could let the guest go."""
    async with debug(SURPRISE, "main", STOPS) as debuggee:
        breakpoint = debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            event = await run_to(debuggee, events.Breakpoint)
        memory = event.frame.instance.memory(0)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def let_go() -> None:
                await in_a_thread(debuggee)
                debuggee.interrupt()

            interrupted = await run_to(debuggee, events.Interrupted)
        assert interrupted.location is not None and interrupted.location.function_name == "main"
        assert interrupted.frame.local(1) == STOPS
        memory.write(debuggee._core.store, b"\1", 0)
        finished = await run_to(debuggee, events.Finished)
        assert finished.result == STOPS and breakpoint.hit_count == STOPS


async def test_cancelled_while_it_has_gone_on_in_a_thread() -> None:
    async with debug(SURPRISE, "main", STOPS) as debuggee:
        debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            await run_to(debuggee, events.Breakpoint)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await debuggee.run()

            await in_a_thread(debuggee)
            debuggee.cancel()


async def test_after_a_long_one_other_threads_make_them() -> None:
    source = SURPRISE.replace("(i32.ne (i32.load (i32.const 0)) (i32.const 1))", "(i32.const 1)")
    async with debug(source, "main", STOPS) as debuggee:
        debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            await run_to(debuggee, events.Breakpoint)
        slices = debuggee._core.calls.polls.slices
        place = (1, 0, 0)
        assert slices.likely(place)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await in_a_thread(debuggee)
            nursery.cancel_scope.cancel()
        assert not slices.likely(place)
        for number in range(PROMISING):
            assert not slices.likely(place), number
            slices.note(place, True)
        assert slices.likely(place)
        slices.note(place, False)
        assert not slices.likely(place)


@pytest.mark.parametrize("how", ["finish", "run"])
async def test_with_nothing_to_stop_at_it_is_not_tried(how: str) -> None:
    async with debug(SURPRISE, "main", STOPS) as debuggee:
        breakpoint = debuggee.add_breakpoint("stop")
        for _ in range(STOPS - 1):
            await run_to(debuggee, events.Breakpoint)
        before = debuggee.statistics()
        async with trio.open_nursery() as nursery:
            if how == "run":
                debuggee.remove_breakpoint(breakpoint)
            nursery.start_soon(debuggee.run if how == "run" else debuggee.finish)
            await in_a_thread(debuggee)
            assert debuggee.statistics().polls_inline == before.polls_inline
            nursery.cancel_scope.cancel()


BLOCKING = {
    "WASI": """
      (module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "main") (drop (call $yield))))""",
    "a function of the user's linker": """
      (module (import "env" "plain" (func $plain)) (memory (export "memory") 1)
        (func (export "main") (call $plain)))""",
    "a shared memory": """(module (memory 1 1 shared) (func (export "main")))""",
    "a large memory": """(module (memory 129) (func (export "main")))""",
}
QUICK = {
    "nothing imported": """(module (memory 1) (func (export "main")))""",
    "a host function of ours": """
      (module (import "host" "ours" (func $ours)) (func (export "main") (call $ours)))""",
}


@pytest.mark.parametrize("what", [*BLOCKING, *QUICK])
async def test_what_may_block(what: str) -> None:
    config = wasmtime.Config()
    config.wasm_threads = config.shared_memory = True
    prepare_config(config)
    module = await load(BLOCKING.get(what) or QUICK[what], wasmtime.Engine(config))
    linker = wasmtime.Linker(module.engine)
    linker.define_wasi()
    linker.define_func("env", "plain", wasmtime.FuncType([], []), lambda: None)

    async def body(guest: Guest) -> bool:
        guest.store.set_wasi(wasmtime.WasiConfig())
        guest.define(linker, "host", "ours", wasmtime.FuncType([], []), lambda: None)
        instance = await guest.instantiate(linker, module)
        await guest.call(instance.func("main"))
        return may_block([instance])

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        finished = await run_to(debuggee, events.Finished)
        assert finished.result is (what in BLOCKING)


async def test_a_memory_that_has_become_large() -> None:
    module = await load("""
      (module (memory 1) (func $stop (export "stop"))
        (func (export "main") (loop (call $stop) (br 0)))
        (func (export "grow") (result i32) (memory.grow (i32.const 200))))""")

    async def use(guest: Guest, instance: GuestInstance) -> None:
        await guest.call(instance.func("grow"))
        await guest.call(instance.func("main"))

    async with open_debuggee(wasmtime.Store(module.engine), body_of(module, use)) as debuggee:
        debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            await run_to(debuggee, events.Breakpoint)
        assert debuggee.statistics().polls_inline == 0


async def test_where_runs_are_ended_makes_no_difference() -> None:
    """Stops, conditions, watchpoints and results are those of a guest that nobody disturbs."""

    async def story(disturbed: bool) -> tuple[list[str], int]:
        module = await load(VARIED)

        async def use(guest: Guest, instance: GuestInstance) -> object:
            return await guest.call(instance.func("main"), 16)

        imports = {"host": {"ask": lambda x: x + 1}}
        found: list[str] = []
        body = body_of(module, use, imports)
        async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
            points = [
                debuggee.add_breakpoint("leaf", condition=lambda frame: frame.local(0) % 3 == 1),
                debuggee.add_breakpoint(instructions={"throw"}),
                debuggee.add_breakpoint("main", condition="$n == 16"),
            ]
            with ended_all_the_time(debuggee) if disturbed else nullcontext():
                while True:
                    event = await debuggee.run()
                    frame = getattr(event, "frame", None)
                    values = (frame.locals, frame.operand_stack) if frame is not None else ()
                    found.append(f"{type(event).__name__} {getattr(event, 'location', None)} {values}")
                    if isinstance(event, events.Finished):
                        break
            found += [f"{point.hit_count} {point.error}" for point in points]
            statistics = debuggee.statistics()
        return found, statistics.polls_inline + statistics.polls_in_threads

    undisturbed, once = await story(False)
    assert len(undisturbed) > 20
    disturbed, often = await story(True)
    assert disturbed == undisturbed
    assert often > once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
async def test_a_forked_child_has_a_watchman_of_its_own() -> None:
    watchman = _slices._watchman
    _slices._forked()
    assert _slices._watchman is not watchman and not _slices._watchman._alive


async def test_the_watchman_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_slices, "_LINGER", 1)
    async with debug(SURPRISE, "main", STOPS) as debuggee:
        debuggee.add_breakpoint("stop")
        for _ in range(STOPS):
            await run_to(debuggee, events.Breakpoint)
            if debuggee.statistics().polls_inline % 10 == 9:
                with trio.fail_after(10):
                    await until(lambda: not _slices._watchman._alive)
        assert debuggee.statistics().polls_inline > 20


async def test_a_step_of_several_instructions_over_code_that_may_wait_is_made_in_a_thread() -> None:
    """Also where its first instruction can't: nobody asks about the others on the way."""
    module = await load(
        """(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (memory (export "memory") 1)
        (func (export "main") (result i32) (nop) (nop) (call $yield)))"""
    )
    store = wasmtime.Store(module.engine)
    store.set_wasi(wasmtime.WasiConfig())

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        return await guest.call(instance.func("main"))

    async with open_debuggee(store, body) as debuggee:
        debuggee.add_breakpoint("main")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        before = debuggee.statistics()
        assert isinstance(await debuggee.step(), events.Step)
        between = debuggee.statistics()
        assert between.polls_in_threads == before.polls_in_threads
        event = await debuggee.step(2)
        assert isinstance(event, events.Step) and event.frame.instruction.op.name == "end"
        assert debuggee.statistics().polls_in_threads == between.polls_in_threads + 1
        assert (await debuggee.finish()).result == 0
