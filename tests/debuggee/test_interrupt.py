"""Interrupts: from anywhere, at any time, and loops that do nothing but loop."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import COUNT, ENGINE, body_of, debug, load, run_to
from tests.waiting import until
from trio_wasmdbg import Debuggee, Guest, GuestInstance, State, events, open_debuggee

LOOPS = {
    "empty": "(loop (br 0))",
    "counting": """
      (local $i i32)
      (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l))""",
    # The hazard: a check that is dominated by another check of the same address may be deleted.
    "sequential": """
      (local $i i32)
      (loop $a (br_if $a (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
      (loop $b (br_if $b (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
      (loop $c (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $c))""",
    "nested": """
      (local $i i32)
      (loop $outer
        (loop $middle
          (loop $inner
            (br_if $inner (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const -2))))
          (br_if $middle (i32.lt_u (local.get $i) (i32.const -1))))
        (br $outer))""",
    "with operands": """
      (i32.const 5) (i64.const 6)
      (loop (param i64) (result i64) (br 0)) drop drop""",
    "calling": "(loop (call $leaf) (br 0))",
    "calling indirectly": "(loop (call_indirect (type 0) (i32.const 0)) (br 0))",
    "recursive": "(loop (call $fall (i32.const 200)) (br 0))",
    "storing": "(loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (br 0))",
    "float": """
      (local $x f64)
      (loop $l
        (local.set $x (f64.add (local.get $x) (f64.const 1)))
        (br_if $l (f64.ge (local.get $x) (f64.const 0))))""",
}


def program(loop: str) -> str:
    return f"""(module (type (func)) (import "host" "busy" (func $busy)) (memory 1)
      (table funcref (elem $leaf))
      (func $leaf)
      (func $fall (param i32) (if (local.get 0) (then (call $fall (i32.sub (local.get 0) (i32.const 1))))))
      (func $work {loop})
      (func (export "spin") (call $busy) (call $work)))"""


@asynccontextmanager
async def spinning(loop: str) -> AsyncIterator[Debuggee]:
    """A debuggee that has begun to spin in a thread."""
    token, busy = trio.lowlevel.current_trio_token(), trio.Event()
    module = await load(program(loop))

    async def body(guest: Guest) -> Any:
        linker = wasmtime.Linker(ENGINE)
        linker.define_func(
            "host", "busy", wasmtime.FuncType([], []), lambda: token.run_sync_soon(busy.set)
        )
        instance = await guest.instantiate(linker, module)
        return await guest.call(instance.func("spin"))

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await busy.wait()
            nursery.cancel_scope.cancel()
        assert debuggee.state is State.RUNNING
        yield debuggee


@pytest.mark.parametrize("loop", LOOPS)
async def test_every_loop_is_interrupted_and_cancelled(loop: str) -> None:
    with trio.fail_after(30):
        async with spinning(LOOPS[loop]) as debuggee:
            # The first finds the fast twin; the others find it in its slow twin.
            for _ in range(5):
                debuggee.interrupt()
                event = await run_to(debuggee, events.Interrupted)
                assert event.location is not None
                assert event.frame.function_name in ("work", "leaf", "fall", "func[5]", "spin")
            # Leaving the block while it computes again, now in slow twins.
            async with trio.open_nursery() as nursery:
                nursery.start_soon(debuggee.run)
                while debuggee.state is not State.RUNNING:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("loop", LOOPS)
async def test_every_fast_loop_is_cancelled(loop: str) -> None:
    with trio.fail_after(30):
        async with spinning(LOOPS[loop]):
            pass


async def test_from_another_thread_while_running() -> None:
    async with spinning(LOOPS["empty"]) as debuggee:
        thread = threading.Thread(target=debuggee.interrupt)
        thread.start()
        await run_to(debuggee, events.Interrupted)
        thread.join()


async def test_twice_is_once() -> None:
    async with spinning(LOOPS["empty"]) as debuggee:
        debuggee.interrupt()
        debuggee.interrupt()
        await run_to(debuggee, events.Interrupted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            while debuggee.state is not State.RUNNING:
                await trio.lowlevel.checkpoint()
            for _ in range(200):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert debuggee.statistics().events == {"Interrupted": 1}


async def test_before_the_start() -> None:
    async with debug(COUNT, "count", 3) as debuggee:
        debuggee.interrupt()
        event = await run_to(debuggee, events.Interrupted)
        assert event.location is None
        assert event.frame is None
        assert await debuggee.with_store(lambda view: view.activations) == ()
        assert await debuggee.run() == events.Finished(result=3)


async def test_at_the_start_pause() -> None:
    async with debug(COUNT, "count", 3) as debuggee:
        await debuggee.with_store(lambda view: None)
        debuggee.interrupt()
        await run_to(debuggee, events.Interrupted)
        assert await debuggee.run() == events.Finished(result=3)


async def test_while_paused_it_stops_the_next_run_at_once() -> None:
    async with debug(COUNT, "count", 3) as debuggee:
        debuggee.add_breakpoint("add")
        before = await run_to(debuggee, events.Breakpoint)
        await trio.to_thread.run_sync(debuggee.interrupt)
        after = await run_to(debuggee, events.Interrupted)
        assert after.location == before.location
        assert after.frame.locals == before.frame.locals == (0, 0)
        # Nothing has been executed, and the breakpoint does not count again.
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.locals == (0, 1)
        assert event.breakpoints[0].hit_count == 2
        debuggee.interrupt()
        await debuggee.step()
        step = await debuggee.step()
        assert isinstance(step, events.Step)
        assert step.frame.operand_stack == (0,)
        assert (await debuggee.finish()).result == 3


async def test_in_a_host_function_it_waits_for_the_guest() -> None:
    asked, answer = trio.Event(), trio.Event()

    async def busy() -> None:
        asked.set()
        await answer.wait()

    async with debug(program(LOOPS["empty"]), "spin", imports={"host": {"busy": busy}}) as debuggee:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await asked.wait()
            nursery.cancel_scope.cancel()
        debuggee.interrupt()
        answer.set()
        event = await run_to(debuggee, events.Interrupted)
        assert event.frame is not None


async def test_breakpoints_are_added_and_removed_while_it_runs() -> None:
    async with spinning(LOOPS["calling"]) as debuggee:
        for _ in range(20):
            breakpoint = debuggee.add_breakpoint("leaf")
            event = await run_to(debuggee, events.Breakpoint)
            assert event.breakpoints == (breakpoint,)
            debuggee.remove_breakpoint(breakpoint)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(debuggee.run)
                while debuggee.state is not State.RUNNING:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        debuggee.interrupt()
        await run_to(debuggee, events.Interrupted)


async def test_a_breakpoint_at_the_place_of_an_interrupt_is_not_lost() -> None:
    """After an interrupt at a check site, the next pass of that very place counts."""
    async with spinning(LOOPS["counting"]) as debuggee:
        debuggee.interrupt()
        event = await run_to(debuggee, events.Interrupted)
        assert event.location is not None
        first = event.frame.local(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            while debuggee.state is not State.RUNNING:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        debuggee.add_breakpoint(offset=event.location.module_offset)
        hit = await run_to(debuggee, events.Breakpoint)
        assert hit.frame.local(0) != first
        second = hit.frame.local(0)
        hit = await run_to(debuggee, events.Breakpoint)
        assert hit.frame.local(0) == second + 1


@pytest.mark.parametrize("stop_between", [True, False])
async def test_a_breakpoint_where_the_function_became_slow_is_not_lost(stop_between: bool) -> None:
    """The slow twin was entered after a call; a breakpoint put there later counts from the next pass on."""
    module = await load(
        """(module (import "host" "at" (func $at (param i32)))
             (func (export "f") (param $n i32) (result i32) (local $i i32)
               (loop
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (call $at (local.get $i))
                 (if (i32.eq (local.get $i) (i32.const 3)) (then (nop)))
                 (br_if 0 (i32.lt_u (local.get $i) (local.get $n))))
               (local.get $i)))"""
    )
    offsets = module.offsets(1)
    names = [each.op.name for each in module.plan(1).typed().instructions]
    at_nop = offsets[names.index("nop")]
    after_call = offsets[names.index("call") + 1]

    def at(i: int) -> None:
        if i == 1:
            debuggee.add_breakpoint(offset=at_nop)
        if i == 4 and not stop_between:
            debuggee.add_breakpoint(offset=after_call)

    async with debug(module, "f", 6, imports={"host": {"at": at}}) as debuggee:
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.local("i") == 3
        if stop_between:
            debuggee.add_breakpoint(offset=after_call)
        for i in (4, 5, 6):
            event = await run_to(debuggee, events.Breakpoint)
            assert event.frame.local("i") == i
        assert (await debuggee.finish()).result == 6


async def test_an_interrupt_where_the_function_became_slow_is_exact() -> None:
    """An interrupt asked for in the host call stops right after it, each time."""
    module = await load(
        """(module (import "host" "at" (func $at)) (func (export "f") (loop (call $at) (br 0))))"""
    )

    def at() -> None:
        debuggee.interrupt()

    async with debug(module, "f", imports={"host": {"at": at}}) as debuggee:
        places = [(await run_to(debuggee, events.Interrupted)).location for _ in range(5)]
        assert len(set(places)) == 1


async def test_a_loop_is_helped_out() -> None:
    """What only a debugger can do: end an endless loop by changing a local."""
    module = await load(
        """(module (func (export "search") (param $n i32) (result i32)
             (loop (local.set $n (i32.add (local.get $n) (i32.const 2)))
               (br_if 0 (i32.eqz (i32.and (local.get $n) (i32.const 1)))))
             (local.get $n)))"""
    )

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("search"), 0)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await until(lambda: debuggee.statistics().polls_in_threads >= 2)
            nursery.cancel_scope.cancel()
        debuggee.interrupt()
        event = await run_to(debuggee, events.Interrupted)
        event.frame.set_local("n", 41)
        finished = await run_to(debuggee, events.Finished)
        assert finished.result in (41, 43)
