"""Callbacks of breakpoints, plain and async: what they may do, and what they are no part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.debuggee._programs import program
from trio_wasmdbg import GuestTrap, events


def plain(do: Callable[[Any], object]) -> Callable[[Any], object]:
    return do


def asynchronous(do: Callable[[Any], object]) -> Callable[[Any], object]:
    async def callback(event: events.Breakpoint) -> object:
        await trio.lowlevel.checkpoint()
        return do(event)

    return callback


def noting(seen: list[Any], look: Callable[[Any], object]) -> Callable[[Any], bool]:
    """A callback that notes what it sees, and goes on."""

    def callback(event: events.Breakpoint) -> bool:
        seen.append(look(event))
        return True

    return callback


both_kinds = pytest.mark.parametrize("kind", [plain, asynchronous])


async def at_the_call(it: Any) -> Any:
    """In ``sum``, before its first call of ``add``."""
    it.debuggee.add_breakpoint("sum", once=True)
    event = await it.debuggee.run()
    while event.frame.instruction.op.name != "call":
        event = await it.debuggee.step_over()
    return event.frame


@both_kinds
@pytest.mark.parametrize(
    ("how", "locals_", "calls"),
    [
        ("step_over", (4, 1, 0), 1),
        ("run_until", (4, 1, 0), 1),
        ("step_out", (4, 1, 0), 1),
        ("run_to_return", (0, 1), 1),
        ("step", (4, 1, 1), 1),
    ],
)
async def test_a_step_goes_on_past_one_that_goes_on(
    kind: Any, how: str, locals_: tuple[int, ...], calls: int
) -> None:
    seen: list[Any] = []
    async with program(("sum", 4)) as it:
        frame = await at_the_call(it)
        callback = kind(noting(seen, lambda event: event.frame.locals))
        it.debuggee.add_breakpoint("add", callback=callback)
        after = it.instance.module.offsets(frame.function_index)[frame.resume_point + 1]
        if how == "run_until":
            event = await it.debuggee.run_until(after)
        elif how == "step":
            event = await it.debuggee.step(11)
        elif how == "step_over":
            event = await it.debuggee.step_over()
        else:
            await it.debuggee.step()
            event = await getattr(it.debuggee, how)()
        assert isinstance(event, events.Step)
        assert (event.frame.locals, len(seen)) == (locals_, calls)
        await it.debuggee.finish()
    assert it.results == [10]


@both_kinds
async def test_one_where_the_step_ends(kind: Any) -> None:
    """It is called, and the step ends there all the same."""
    seen: list[Any] = []
    async with program(("sum", 4)) as it:
        frame = await at_the_call(it)
        after = it.instance.module.offsets(frame.function_index)[frame.resume_point + 1]
        it.debuggee.add_breakpoint(offset=after, callback=kind(noting(seen, lambda event: event)))
        event = await it.debuggee.step_over()
        assert isinstance(event, events.Step)
        assert (event.frame.module_offset, len(seen)) == (after, 1)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert len(seen) == 4


async def test_single_steps_and_interrupts_come_after_it() -> None:
    seen: list[Any] = []
    async with program(("add", 1, 2)) as it:

        def interrupts(event: Any) -> bool:
            seen.append(event)
            it.debuggee.interrupt()
            return True

        it.debuggee.add_breakpoint("add", callback=interrupts)
        event = await it.debuggee.run()
        assert isinstance(event, events.Interrupted)
        assert (event.location, len(seen)) == (seen[0].location, 1)
        await it.debuggee.with_store(lambda view: setattr(view, "single_step", True))
        assert isinstance(await it.debuggee.run(), events.Step)


@both_kinds
@pytest.mark.parametrize("goes_on", [True, False])
async def test_it_edits_where_the_guest_goes_on(kind: Any, goes_on: bool) -> None:
    async with program(("outer", 5)) as it:

        def leaves(event: Any) -> bool:
            event.frame.parent.return_early(7)
            return goes_on

        it.debuggee.add_breakpoint("inner", callback=kind(leaves))
        if not goes_on:
            assert isinstance(await it.debuggee.run(), events.Breakpoint)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [70]


@both_kinds
@pytest.mark.parametrize("goes_on", [True, False])
async def test_it_makes_the_guest_trap(kind: Any, goes_on: bool) -> None:
    async with program(("outer", 5)) as it:

        def traps(event: Any) -> bool:
            it.debuggee.trap("no more")
            return goes_on

        it.debuggee.add_breakpoint("inner", callback=kind(traps))
        if not goes_on:
            assert isinstance(await it.debuggee.run(), events.Breakpoint)
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, GuestTrap)
        assert str(finished.error) == "no more"


@both_kinds
async def test_it_changes_breakpoints_and_values(kind: Any) -> None:
    """Queued while it runs, they are applied once, when the guest goes on."""
    texts: list[str] = []
    async with program(("sum", 4)) as it:
        it.debuggee.log_sink = lambda text, breakpoint: texts.append(text)

        def replaces(event: Any) -> bool:
            it.debuggee.remove_breakpoint(first)
            it.debuggee.add_breakpoint("add", log="{b}")
            event.frame.set_local("b", 100)
            return True

        first = it.debuggee.add_breakpoint("add", callback=kind(replaces))
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
    assert it.results == [109]
    assert texts == ["2", "3", "4"]


async def test_it_can_not_run_the_guest() -> None:
    errors: list[BaseException] = []
    async with program(("add", 1, 2)) as it:

        async def runs(event: Any) -> bool:
            for run in (it.debuggee.run, it.debuggee.step):
                try:
                    await run()
                except trio.BusyResourceError as error:
                    errors.append(error)
            return True

        it.debuggee.add_breakpoint("add", callback=runs)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert len(errors) == 2
    assert it.results == [3]


async def test_in_a_recursion_each_activation_calls_back() -> None:
    seen: list[int] = []
    async with program(("fib", 4)) as it:
        it.debuggee.add_breakpoint("fib", callback=noting(seen, lambda event: event.frame.local("n")))
        event = await it.debuggee.step_over()
        while not isinstance(event, events.Finished):
            event = await it.debuggee.step_over()
    assert it.results == [3]
    assert seen == [4, 3, 2, 1, 0, 1, 2, 1, 0]


STORES = """
(module (memory (export "memory") 1)
  (func $down (export "down") (param $n i32) (result i32)
    (i32.store (i32.const 8) (local.get $n))
    (if (result i32) (local.get $n)
      (then (i32.add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))
      (else (i32.const 0)))))
"""


@both_kinds
async def test_of_a_watchpoint(kind: Any) -> None:
    """It sees each change in a recursion; a step goes on past it; and it may pause."""
    seen: list[int] = []

    def look(event: events.Watch) -> bool:
        seen.append(event.hits[0].new)
        return bool(event.hits[0].new != 1)

    async with program(("down", 4), text=STORES, imports={}) as it:
        it.debuggee.add_breakpoint("down", once=True)
        await it.debuggee.run()
        watchpoint = it.debuggee.watch_memory(it.instance, 8, callback=kind(look), once=True)
        for _ in range(3):
            event = await it.debuggee.step()
            assert isinstance(event, events.Step)
        assert seen == [4]
        event = await it.debuggee.step_out()
        assert isinstance(event, events.Watch)
        assert event.frame.depth == 3
        assert it.debuggee.watchpoints == ()
        assert watchpoint.error is None
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert seen == [4, 3, 2, 1]
    assert it.results == [10]


async def test_one_of_a_watchpoint_that_fails() -> None:
    async with program(("down", 4), text=STORES, imports={}) as it:
        it.debuggee.add_breakpoint("down", once=True)
        await it.debuggee.run()
        watchpoint = it.debuggee.watch_memory(it.instance, 8, callback=lambda event: 1 / 0)
        assert isinstance(await it.debuggee.run(), events.Watch)
        assert watchpoint.error == "ZeroDivisionError: division by zero"
        watchpoint.callback = None
        assert isinstance(await it.debuggee.run(), events.Watch)
        await it.debuggee.finish()
