"""Recordings: the last instructions, coverage, and exact counts, made without the host."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debuggee._programs import program
from trio_wasmdbg import events


async def begin(it: Any) -> Any:
    it.debuggee.stop_on_instances = True
    event = await it.debuggee.run()
    assert isinstance(event, events.InstanceCreated)
    it.debuggee.recording = True
    return event.instance


async def test_counts_are_exact() -> None:
    async with program(("sum", 50), ("fib", 6)) as it:
        instance = await begin(it)
        assert isinstance(await it.debuggee.run(), events.Finished)
        functions = {each.function_name: each for each in instance.coverage()}
        assert set(functions) == {"sum", "add", "fib"}
        assert (functions["sum"].calls, functions["add"].calls, functions["fib"].calls) == (1, 50, 25)
        total = sum(sum(each.counts) for each in functions.values())
        assert instance.executed_instructions == total
    async with program(("sum", 50), ("fib", 6)) as it:
        # the same number, counted by single steps
        it.debuggee.stop_on_instances = True
        await it.debuggee.run()
        steps = 0
        await it.debuggee.with_store(lambda view: setattr(view, "single_step", True))
        while isinstance(await it.debuggee.run(), events.Step):
            steps += 1
        assert steps == total
    assert it.results == [1275, 8]


async def test_how_did_i_get_here() -> None:
    async with program(("crash", 70_000)) as it:
        instance = await begin(it)
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert [each.text.split()[0] for each in instance.last_instructions(5)] == [
            "local.get",
            "local.get",
            "i32.add",
            "end",
            "i32.load",
        ]
        assert instance.last_instructions(1)[0].text == "i32.load offset=4"
        assert [each.function_name for each in instance.last_instructions(2)] == ["add", "crash"]
        assert instance.last_instructions(1)[0].module_offset == event.frame.module_offset
        assert len(instance.last_instructions(1000)) == instance.executed_instructions


async def test_the_ring_keeps_the_last_ones() -> None:
    async with program(("sum", 6_000)) as it:
        instance = await begin(it)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert instance.executed_instructions > 65_536
        kept = instance.last_instructions(100_000)
        assert len(kept) == 65_536
        assert kept[-1].function_name == "sum"
        assert kept[-1].text == "end"


async def test_recording_goes_with_breakpoints_and_can_be_switched() -> None:
    async with program(("sum", 20), ("sum", 20), ("sum", 20)) as it:
        instance = await begin(it)
        breakpoint = it.debuggee.add_breakpoint("add", condition="b == 10")
        other = it.debuggee.add_breakpoint("add", hits=">= 19")
        seen: list[int] = []
        while len(seen) < 3:
            event = await it.debuggee.run()
            assert isinstance(event, events.Breakpoint)
            seen.append(event.frame.local("b"))
        assert seen == [10, 19, 20]
        it.debuggee.remove_breakpoint(other)
        (add,) = (each for each in instance.coverage() if each.function_name == "add")
        assert add.calls == 20
        event = await it.debuggee.run()
        assert event.frame.local("b") == 10
        it.debuggee.recording = False
        instance.clear_recording()
        assert instance.executed_instructions == 0
        it.debuggee.remove_breakpoint(breakpoint)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert instance.coverage() == ()
    assert it.results == [210] * 3


@pytest.mark.parametrize("how", ["steps", "interrupt"])
async def test_recording_goes_with_everything_armed(how: str) -> None:
    async with program(("sum", 3)) as it:
        instance = await begin(it)
        if how == "steps":
            for n in range(1, 30):
                assert isinstance(await it.debuggee.step(), events.Step)
                # the one that comes next is counted when its slow twin looks at it: at a first entry, later
                assert instance.executed_instructions in (n - 1, n)
        else:
            it.debuggee.interrupt()
            assert isinstance(await it.debuggee.run(), events.Interrupted)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [6]
