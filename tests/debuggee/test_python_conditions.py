"""Conditions in Python: what they see and do is the same, whether less is asked at their place or more.

Where one stands alone, the debug callback takes a shorter way (``engine.Decider.decide``).  A disabled
breakpoint beside each makes it take the longer one.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing
import wasmtime

from tests.debuggee._support import COUNT, body_of, debug, load, run_to
from tests.debuggee.test_counted_steps import PROGRAM
from trio_wasmdbg import Debuggee, Frame, Guest, GuestInstance, events, open_debuggee
from trio_wasmdbg.engine import Decider, HitRule


async def story(what: str, *, beside: bool) -> tuple[list[str], list[str]]:
    """What a varied program does, told stop by stop; and what a condition saw each time, and did."""
    module = await load(PROGRAM)
    told: list[str] = []
    seen: list[str] = []

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("main"), 7)

    body = body_of(module, use, {"host": {"ask": lambda x: x * 3}})
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:

        def condition(frame: Frame) -> bool:
            parent = frame.parent
            outer = None if parent is None else parent.locals
            turn = len(seen)
            seen.append(f"{frame!r} {frame.locals} {frame.operand_stack} {frame.depth} {outer}")
            if what == "edits" and turn % 5 == 1 and frame.function_name == "leaf":
                frame.set_local(0, turn)
            elif what == "interrupts" and turn % 7 == 2:
                debuggee.interrupt()
            elif what == "raises" and turn % 6 == 3:
                raise LookupError(f"at {turn}")
            elif what == "changes" and turn % 4 == 1:
                change(debuggee, turn)
            return turn % 9 == 4

        def change(debuggee: Debuggee, turn: int) -> None:
            here = points[turn // 4 % len(points)]
            if turn % 3 == 0:
                here.enabled = not here.enabled
            elif turn % 3 == 1:
                here.hits = None if here.hits else HitRule("%", 2)
            else:
                here.condition = condition if here.condition is None else None

        places: list[dict[str, Any]] = [
            {"function": "leaf"}, {"function": "fib"}, {"instructions": ["i32.sub", "throw", "br_if"]},
        ]  # fmt: skip
        for place in places if beside else ():
            debuggee.add_breakpoint(**place, enabled=False)
        points = [debuggee.add_breakpoint(**place, condition=condition) for place in places]
        points[1].hits = HitRule("%", 3) if what == "hits" else None
        points[2].log = "at {local[0]}" if what == "log" else None
        logged: list[str] = []
        debuggee.log_sink = lambda text, breakpoint: logged.append(text)
        while not debuggee.is_complete:
            turn = len(told)
            for each in points:
                each.enabled, each.condition = True, condition
            if what in ("steps", "edits") and turn % 3 == 1:
                event = await debuggee.step()
            elif what == "steps" and turn % 3 == 2:
                event = await debuggee.step(20)
            elif what == "steps" and turn % 7 == 3:
                event = await debuggee.step_out()
            else:
                event = await debuggee.run()
            numbers = [points.index(each) for each in getattr(event, "breakpoints", ())]
            locals = event.frame and event.frame.locals
            told.append(f"{type(event).__name__} {event.location} {numbers} {locals}")
        await trio.testing.wait_all_tasks_blocked()
        told += logged
        told += [f"{each.hit_count} {each.error}" for each in points]
        told.append(str(sorted(debuggee.statistics().events.items())))
    return told, seen


WHATS = ["nothing else", "edits", "interrupts", "raises", "changes", "hits", "log", "steps"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("what", WHATS)
async def test_what_happens_is_the_same(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    long: list[object] = []
    hits = Decider._hits

    def note(decider: Decider, breakpoint: Any, look: Any) -> bool:
        if callable(breakpoint.condition) and breakpoint.enabled:
            long.append(breakpoint)
        return hits(decider, breakpoint, look)

    monkeypatch.setattr(Decider, "_hits", note)
    expected = await story(what, beside=True)
    all_long = len(long)
    long.clear()
    found = await story(what, beside=False)
    assert found == expected
    assert len(found[1]) > 100 and all_long == len(expected[1])
    assert len(long) < 0.5 * all_long, "hardly any took the shorter way"


async def test_a_frame_of_a_condition_expires() -> None:
    frames: list[Frame] = []

    def condition(frame: Frame) -> bool:
        assert all(not each.is_valid for each in frames)
        frames.append(frame)
        return bool(frame.local(1) == 5)

    async with debug(COUNT, "count", 10) as debuggee:
        debuggee.add_breakpoint("add", condition=condition)
        event = await run_to(debuggee, events.Breakpoint)
        assert len(frames) == 6 and event.frame.locals == (10, 5)
        assert event.frame.parent is not None and event.frame.parent.locals == (10, 5, 10)
