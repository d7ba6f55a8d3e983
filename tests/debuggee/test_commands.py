"""Commands and events: the seed's semantics, wrong states, busy handles, cancelled awaits."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import wasmtime
from trio.testing import Sequencer, wait_all_tasks_blocked

from tests.debuggee._support import ASKS, COUNT, ENGINE, SPIN, body_of, debug, load, run_to
from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    State,
    StoreView,
    WrongStateError,
    events,
    open_debuggee,
    run_debuggee,
)


async def test_the_start_pause_is_no_event() -> None:
    async with debug(COUNT, "count", 3) as debuggee:
        assert debuggee.state is State.INITIAL
        assert debuggee.statistics().events == {}
        assert await debuggee.run() == events.Finished(result=3)


async def test_with_store_works_before_the_first_run() -> None:
    async with debug(COUNT, "count", 3) as debuggee:
        assert await debuggee.with_store(lambda view: (view.instances, view.activations)) == ((), ())
        assert debuggee.state is State.PAUSED
        assert not debuggee.is_complete
        assert await debuggee.run() == events.Finished(result=3)
        assert debuggee.is_complete


async def test_finish_ignores_events() -> None:
    async with debug(COUNT, "count", 4, step=True) as debuggee:
        await run_to(debuggee, events.Step)
        debuggee.add_breakpoint("add")
        debuggee.interrupt()
        assert await debuggee.finish() == events.Finished(result=6)
        assert debuggee.is_complete
        assert (await debuggee.finish()).result == 6
        assert set(debuggee.statistics().events) == {"Step", "Finished"}


async def test_after_finished() -> None:
    async with debug(COUNT, "count", 4) as debuggee:
        await debuggee.run()
        for command in (debuggee.run, debuggee.step, debuggee.step_over, debuggee.step_out):
            with pytest.raises(WrongStateError, match=r"\(the debuggee is complete\)") as caught:
                await command()
            assert caught.value.state == "complete"

        def look(view: StoreView) -> object:
            (instance,) = view.instances
            instance.write_memory(0, b"!")
            return view.activations, instance.global_value(0), instance.read_memory(0, 2)

        assert await debuggee.with_store(look) == ((), 1, b"!\0")
    assert debuggee.state is State.COMPLETE
    assert await debuggee.with_store(lambda view: len(view.instances)) == 1


async def test_the_store_can_be_debugged_again_as_soon_as_finished_was_received() -> None:
    store = wasmtime.Store(ENGINE)
    async with debug(COUNT, "count", 3, store=store) as first:
        await first.finish()
        async with debug(COUNT, "count", 4, store=store) as second:
            assert (await second.finish()).result == 6
        assert await first.with_store(lambda view: len(view.instances)) == 2


async def test_a_store_has_one_debuggee_at_a_time() -> None:
    store = wasmtime.Store(ENGINE)
    async with debug(COUNT, "count", 3, store=store) as debuggee:
        with pytest.raises(trio.BusyResourceError, match="debuggee already"):
            async with debug(COUNT, "count", 3, store=store):
                raise AssertionError
        assert (await debuggee.finish()).result == 3


async def test_breakpoints_in_instances_of_an_earlier_debuggee() -> None:
    store = wasmtime.Store(ENGINE)
    instances: list[GuestInstance] = []
    module = await load(COUNT)

    async def first(guest: Guest) -> None:
        instances.append(await guest.instantiate({}, module))

    async def second(guest: Guest) -> Any:
        return await guest.call(instances[0].func("count"), 2)

    async with open_debuggee(store, first) as debuggee:
        await debuggee.finish()
    async with open_debuggee(store, second) as debuggee:
        breakpoint = debuggee.add_breakpoint("add")
        assert not breakpoint.pending
        event = await run_to(debuggee, events.Breakpoint)
        assert event.breakpoints == (breakpoint,)
        assert (await debuggee.finish()).result == 1


async def test_iteration_ends_with_finished() -> None:
    async with debug(COUNT, "count", 2) as debuggee:
        debuggee.add_breakpoint("add")
        seen = [type(event) async for event in debuggee]
    assert seen == [events.Breakpoint, events.Breakpoint, events.Finished]


async def test_with_store_gives_the_exception_to_the_caller() -> None:
    async with debug(COUNT, "count", 2) as debuggee:
        mistake = ZeroDivisionError("mine")

        def fail(view: StoreView) -> None:
            raise mistake

        for _ in range(2):
            with pytest.raises(ZeroDivisionError) as caught:
                await debuggee.with_store(fail)
            assert caught.value is mistake
        assert (await debuggee.finish()).result == 1
        with pytest.raises(ZeroDivisionError):
            await debuggee.with_store(fail)


async def test_single_step_mode_from_body_and_query() -> None:
    module = await load(COUNT)

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        guest.single_step = True
        assert guest.single_step
        await guest.call(instance.func("add"), 1, 2)
        guest.single_step = False
        await guest.call(instance.func("add"), 1, 2)
        guest.single_step = True
        return await guest.call(instance.func("add"), 3, 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
        for _ in range(8):
            await run_to(debuggee, events.Step)
        assert await debuggee.with_store(lambda view: view.single_step)
        assert (await debuggee.run()) == events.Finished(result=7)


async def test_busy() -> None:
    sequence = Sequencer()
    async with trio.open_nursery() as nursery, debug(SPIN, "spin") as debuggee:
        debuggee.add_breakpoint("spin")

        async def run() -> None:
            async with sequence(0):
                pass
            await run_to(debuggee, events.Breakpoint)
            with pytest.raises(trio.ClosedResourceError, match="cancelled"):
                await debuggee.run()

        nursery.start_soon(run)
        async with sequence(1):
            pass
        while debuggee.statistics().events != {"Breakpoint": 1} or debuggee.state is not State.RUNNING:
            await trio.lowlevel.checkpoint()
        for command in (debuggee.run, debuggee.step, debuggee.step_over, debuggee.step_out, debuggee.finish):
            with pytest.raises(trio.BusyResourceError):
                await command()
        with pytest.raises(trio.BusyResourceError):
            await debuggee.with_store(len)  # type: ignore[arg-type]
        debuggee.cancel()


async def cancelled_when_sent(debuggee: Debuggee, resume: Callable[[], Awaitable[object]]) -> None:
    """Cancel a resume when it waits for its event, before anybody else has run."""

    class Canceller(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if debuggee.state is State.RUNNING:
                scope.cancel()

    canceller = Canceller()
    with trio.CancelScope() as scope:
        trio.lowlevel.add_instrument(canceller)
        try:
            await resume()
        finally:
            trio.lowlevel.remove_instrument(canceller)
    assert scope.cancelled_caught
    assert debuggee.state is State.RUNNING


async def test_a_cancelled_run_gives_its_event_to_the_next(without_short_cuts: None) -> None:
    async with debug(COUNT, "count", 9) as debuggee:
        debuggee.add_breakpoint("add")
        for _ in range(9):
            with trio.CancelScope() as scope:
                scope.cancel()
                await debuggee.run()  # not even sent
            assert debuggee.state.value in ("initial", "paused")
            await cancelled_when_sent(debuggee, debuggee.run)
            with pytest.raises(WrongStateError, match="running"):
                await debuggee.with_store(lambda view: None)
            assert debuggee.state is State.RUNNING
            await run_to(debuggee, events.Breakpoint)
        assert await debuggee.run() == events.Finished(result=36)


async def test_a_cancelled_step_gives_its_event_to_the_next_resume(without_short_cuts: None) -> None:
    async with debug(COUNT, "count", 9) as debuggee:
        debuggee.add_breakpoint("add")
        await run_to(debuggee, events.Breakpoint)
        await cancelled_when_sent(debuggee, debuggee.step)
        event = await debuggee.step_out()  # it is the step's event that comes
        assert isinstance(event, events.Step)
        assert event.frame.operand_stack == (0,)
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.operand_stack == ()


async def test_a_cancelled_query_has_run_once_and_its_result_is_dropped() -> None:
    ran: list[int] = []
    async with debug(COUNT, "count", 2) as debuggee:
        with trio.CancelScope() as scope:

            def look(view: StoreView) -> None:
                ran.append(1)
                scope.cancel()

            await debuggee.with_store(look)
        assert scope.cancelled_caught
        assert debuggee.state is State.QUERIED
        assert await debuggee.with_store(lambda view: "mine") == "mine"
        with trio.CancelScope() as scope:
            scope.cancel()
            await debuggee.with_store(lambda view: ran.append(2))
        with trio.CancelScope() as scope:
            await debuggee.with_store(lambda view: (scope.cancel(), 1 // 0))
        assert await debuggee.run() == events.Finished(result=1)
    assert ran == [1]


async def test_closed() -> None:
    async with debug(COUNT, "count", 2) as debuggee:
        pass
    assert debuggee.state is State.CLOSED
    for command in (debuggee.run, debuggee.finish, debuggee.step):
        with pytest.raises(WrongStateError, match="closed"):
            await command()
    with pytest.raises(WrongStateError, match="closed"):
        await debuggee.with_store(lambda view: None)
    debuggee.cancel()
    debuggee.interrupt()
    assert repr(debuggee) == "<Debuggee closed>"


async def test_side_by_side() -> None:
    """Several debuggees in one nursery, paused independently, one store each."""
    results: dict[int, Any] = {}

    async def one(number: int) -> None:
        async with debug(COUNT, "count", 5 + number) as debuggee:
            debuggee.add_breakpoint("add")
            for i in range(5 + number):
                event = await run_to(debuggee, events.Breakpoint)
                assert event.frame.locals[1] == i
            results[number] = (await debuggee.finish()).result

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    assert results == {n: sum(range(5 + n)) for n in range(8)}


async def test_in_the_users_own_nursery() -> None:
    module = await load(COUNT)

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("count"), 3)

    async with trio.open_nursery() as nursery:
        debuggee = await nursery.start(run_debuggee, wasmtime.Store(ENGINE), body_of(module, use))
        debuggee.add_breakpoint("add")
        await run_to(debuggee, events.Breakpoint)
        assert (await debuggee.finish()).result == 3
    # The task has ended by itself.


async def test_single_steps_pay_no_thread_hop() -> None:
    async with debug(COUNT, "count", 20, step=True) as debuggee:
        await run_to(debuggee, events.Step)
        before = debuggee.statistics()
        for _ in range(200):
            await run_to(debuggee, events.Step)
        after = debuggee.statistics()
        assert after.polls_inline - before.polls_inline >= 200
        # Only where `add` was entered and left for the first time, its slow twin had to be made.
        assert after.polls_in_threads - before.polls_in_threads <= 2
        await debuggee.finish()


async def test_an_idle_debugger_costs_nothing() -> None:
    threads = threading.active_count()
    async with debug(ASKS, "main", 1, imports={"host": {"ask": lambda x: x}}) as debuggee:
        debuggee.add_breakpoint("twice")
        await wait_all_tasks_blocked()
        assert debuggee.statistics().polls_in_threads == 0
        assert (await debuggee.finish()).result == 2
        assert debuggee.statistics().slow_twins == 0
    assert threading.active_count() <= threads + 1  # trio's own, kept for the next job
