"""Runs that the holder's task makes itself: which ones, and that nobody can tell except by the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._cancel_everywhere import cancel_everywhere
from tests.debuggee._support import COUNT, body_of, debug, load, run_to
from tests.debuggee.test_counted_steps import PROGRAM as VARIED
from trio_wasmdbg import Debuggee, Guest, GuestInstance, events, open_debuggee
from trio_wasmdbg.debuggee import _debuggee
from trio_wasmdbg.debuggee._messages import Polled
from trio_wasmdbg.errors import WrongStateError

ROUNDS = 12


pytestmark = pytest.mark.usefixtures("patient")


@contextmanager
def commands_of(debuggee: Debuggee) -> Iterator[list[object]]:
    """The commands that reach the debuggee's task while the block lasts."""
    sent: list[object] = []
    send = debuggee._send

    def note(command: Any) -> None:
        sent.append(command)
        send(command)

    debuggee._send = note  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        debuggee._send = send  # type: ignore[method-assign]


@asynccontextmanager
async def counting(count: int = 100) -> AsyncIterator[Debuggee]:
    """A guest that has stopped in ``add`` often enough for the next run to be thought short."""
    async with debug(COUNT, "count", count) as debuggee:
        debuggee.add_breakpoint("add")
        for _ in range(ROUNDS):
            event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.local(1) == ROUNDS - 1
        yield debuggee


# ── which ones ─────────────────────────────────────────────────────────────────────────────────────


async def test_the_debuggees_task_sleeps_on() -> None:
    async with counting() as debuggee:
        for _ in range(50):  # all twins are made
            await debuggee.step()
        event = await run_to(debuggee, events.Breakpoint)
        first = event.frame.local(1)
        with commands_of(debuggee) as sent:
            for number in range(1, 20):
                event = await run_to(debuggee, events.Breakpoint)
                assert event.frame.local(1) == first + number
            for _ in range(50):
                assert isinstance(await debuggee.step(), events.Step | events.Breakpoint)
        assert sent == []


async def test_it_is_woken_up_for_what_is_its_own() -> None:
    """The end of the call, which a short cut may come to as well."""
    async with counting(ROUNDS) as debuggee:
        with commands_of(debuggee) as sent:
            finished = await run_to(debuggee, events.Finished)
        assert finished.result == sum(range(ROUNDS))
        assert [type(each) for each in sent] == [Polled]


@pytest.mark.parametrize("what", ["edit", "interrupt", "many steps", "callback", "a breakpoint more"])
async def test_where_more_is_to_be_done_it_does_it(what: str) -> None:
    async with counting() as debuggee:
        called: list[object] = []
        if what == "edit":
            event = await run_to(debuggee, events.Breakpoint)
            event.frame.return_early(1000)
        elif what == "interrupt":
            debuggee.interrupt()
        elif what == "callback":
            debuggee.add_breakpoint("add", callback=called.append)
        elif what == "a breakpoint more":
            debuggee.add_breakpoint("count")
        with commands_of(debuggee) as sent:
            found = await (debuggee.step(3) if what == "many steps" else debuggee.run())
        assert len(sent) == 1
        kind = {"interrupt": events.Interrupted, "many steps": events.Step}.get(what, events.Breakpoint)
        assert type(found) is kind
        if what == "edit":
            assert found.frame is not None and found.frame.local(0) == 1000
        assert len(called) == (what == "callback")
        assert (await run_to(debuggee, events.Breakpoint)).frame.function_name == "add"


async def test_callbacks_and_single_shots_that_a_short_cut_comes_to() -> None:
    """They run in the debuggee's task, and once."""
    tasks: list[object] = []
    async with counting() as debuggee:

        async def callback(event: events.Event) -> bool:
            await trio.lowlevel.checkpoint()
            tasks.append(trio.lowlevel.current_task())
            return len(tasks) < 3

        # In "count", whose next instruction but one is this: nobody has come to it from here so far.
        watched = debuggee.add_breakpoint(instructions=["br"], callback=callback, once=True)
        await run_to(debuggee, events.Breakpoint)
        seen = [await run_to(debuggee, events.Breakpoint) for _ in range(20)]
        assert [each.breakpoints for each in seen].count((watched,)) == 1
        assert watched.hit_count == 3 and len(tasks) == 3 and watched.removed
        assert trio.lowlevel.current_task() not in tasks


# ── nobody can tell ────────────────────────────────────────────────────────────────────────────────


async def story(monkeypatch: pytest.MonkeyPatch, how: str, *, cuts: bool) -> tuple[list[str], int]:
    """What a varied program does, told stop by stop; and how many commands its task was sent."""
    if not cuts:
        monkeypatch.setattr(_debuggee, "may_run", lambda calls, command: False)
    module = await load(VARIED)
    told: list[str] = []

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("main"), 9)

    body = body_of(module, use, {"host": {"ask": lambda x: x * 3}})
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.add_breakpoint("leaf", condition=lambda frame: frame.local(0) % 3 == 1)
        debuggee.add_breakpoint(instructions=["i32.sub", "throw"])
        debuggee.stop_on_exceptions("all")
        with commands_of(debuggee) as sent:
            while not debuggee.is_complete:
                turn = len(told)
                if how == "steps" or (how == "mixed" and turn % 3 == 1):
                    event = await debuggee.step()
                elif how == "mixed" and turn % 7 == 2:
                    event = await debuggee.step_out()
                else:
                    event = await debuggee.run()
                frame = event.frame
                values: tuple[object, ...] = ()
                if frame is not None:
                    if how == "mixed" and turn % 11 == 5 and frame.function_name == "leaf":
                        frame.set_local(0, 7)
                    parent = frame.parent
                    values = (frame.locals, frame.operand_stack, frame.depth, parent and parent.locals)
                if how == "mixed" and turn % 13 == 6:
                    await debuggee.with_store(lambda view: None)
                told.append(f"{type(event).__name__} {event.location} {values}")
        counts = debuggee.statistics().events
        told.append(str(sorted(counts.items())))
    return told, len(sent)


@pytest.mark.parametrize("how", ["runs", "steps", "mixed"])
async def test_what_happens_is_the_same(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with monkeypatch.context() as patch:
        expected, all_sent = await story(patch, how, cuts=False)
    told, sent = await story(monkeypatch, how, cuts=True)
    assert told == expected
    assert sent < 0.7 * all_sent, "hardly any were made"


@pytest.mark.parametrize("operation", ["run", "step"])
async def test_cancelled_anywhere(operation: str) -> None:
    """Nothing has happened, or the event is told."""
    async with counting() as debuggee:
        number = ROUNDS
        event: events.Event | None = None
        async for attempt in cancel_everywhere():
            before = debuggee.statistics().events
            event = await attempt.make(debuggee.run if operation == "run" else debuggee.step)
            if event is None:
                assert debuggee.statistics().events == before
                event = await (debuggee.run() if operation == "run" else debuggee.step())
            assert isinstance(event, events.Breakpoint if operation == "run" else events.Step)
            if operation == "run":
                assert event.frame.local(1) == number
                number += 1


async def test_a_cancellation_of_the_bodys_own_comes_first() -> None:
    """It is held back by the pause, and the guest does not go on, though a short cut would let it."""
    module = await load(COUNT)
    scope = trio.CancelScope()

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        with scope:
            return await guest.call(instance.func("count"), 100)
        return "cancelled"

    async with open_debuggee(wasmtime.Store(module.engine), body_of(module, use)) as debuggee:
        point = debuggee.add_breakpoint("add")
        for _ in range(ROUNDS):
            await run_to(debuggee, events.Breakpoint)
        scope.cancel()
        assert (await run_to(debuggee, events.Finished)).result == "cancelled"
        assert point.hit_count == ROUNDS


async def test_dropped_while_the_holder_lets_others_run() -> None:
    async with counting() as debuggee:
        hits = debuggee.statistics().events["Breakpoint"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: None)
            nursery.start_soon(_cancel, debuggee)
            with pytest.raises((trio.ClosedResourceError, WrongStateError)):
                while True:
                    await debuggee.run()
        assert debuggee.statistics().events["Breakpoint"] <= hits + 3


async def _cancel(debuggee: Debuggee) -> None:
    debuggee.cancel()


async def test_frames_of_the_last_stop_are_stale() -> None:
    async with counting() as debuggee:
        first = await run_to(debuggee, events.Breakpoint)
        second = await run_to(debuggee, events.Breakpoint)
        assert not first.frame.is_valid and second.frame.is_valid


class Unusual(BaseException):
    """No Exception."""


async def test_what_a_condition_raises_in_a_short_cut_ends_the_debuggee() -> None:
    """As in any other thread: it is no event, and nothing is left."""
    times = 0

    def condition(frame: object) -> bool:
        nonlocal times
        times += 1
        if times > ROUNDS:
            raise Unusual
        return True

    with pytest.raises(Unusual):
        async with debug(COUNT, "count", 100) as debuggee:
            debuggee.add_breakpoint("add", condition=condition)
            for _ in range(ROUNDS):
                await run_to(debuggee, events.Breakpoint)
            with pytest.raises(trio.ClosedResourceError):
                await debuggee.run()
    assert times == ROUNDS + 1
