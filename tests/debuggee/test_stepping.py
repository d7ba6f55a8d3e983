"""Steps on a guest; after each one, nothing of it is left armed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debuggee._programs import program
from trio_wasmdbg import UsageError, events


def nothing_left(it: Any) -> None:
    """No breakpoint is set, so no byte may be: neither a site's nor a stop's."""
    instance = it.instance
    it.debuggee._core.arming.rearm()
    layout = instance._layout
    sites = instance._debug_memory.read(layout.sites_base, layout.sites)
    stops = instance._debug_memory.read(layout.stops_base, layout.stops)
    assert not any(sites), "a step has left a check site armed"
    assert not any(stops), "a step has left a stop byte set"


async def first_stop(it: Any, function: str) -> Any:
    it.debuggee.add_breakpoint(function, once=True)
    event = await it.debuggee.run()
    assert isinstance(event, events.Breakpoint)
    nothing_left(it)
    return event


def trace(event: Any) -> tuple[str, str, tuple[Any, ...]]:
    frame = event.frame
    return frame.function_name, frame.instruction.op.name, frame.operand_stack


async def test_instruction_by_instruction_into_and_out_of_a_call() -> None:
    async with program(("outer", 5)) as it:
        event = await first_stop(it, "middle")
        seen = [trace(event)]
        while event.frame.function_name != "outer":
            event = await it.debuggee.step()
            assert isinstance(event, events.Step)
            nothing_left(it)
            seen.append(trace(event))
    assert seen == [
        ("middle", "i32.const", ()),
        ("middle", "local.get", (1000,)),
        ("middle", "call", (1000, 5)),
        ("inner", "local.get", ()),
        ("inner", "i32.const", (5,)),
        ("inner", "i32.sub", (5, 1)),
        ("inner", "end", (4,)),
        ("middle", "i32.add", (1000, 4)),
        ("middle", "end", (1004,)),
        ("outer", "i32.mul", (10, 1004)),
    ]


async def test_over_a_call_and_back_to_the_caller() -> None:
    async with program(("outer", 5)) as it:
        event = await first_stop(it, "middle")
        seen = []
        while event.frame.function_name != "outer":
            event = await it.debuggee.step_over()
            nothing_left(it)
            seen.append(trace(event)[:2])
    assert seen == [
        ("middle", "local.get"),
        ("middle", "call"),
        ("middle", "i32.add"),
        ("middle", "end"),
        ("outer", "i32.mul"),
    ]


async def test_over_and_out_in_recursion_stay_in_their_activation() -> None:
    async with program(("fib", 7)) as it:
        event = await first_stop(it, "fib")
        while event.frame.instruction.op.name != "call":
            event = await it.debuggee.step_over()
        event = await it.debuggee.step_over()
        assert event.frame.local("n") == 7
        assert event.frame.operand_stack == (8,)  # fib(6)
        event = await first_stop(it, "fib")
        assert event.frame.local("n") == 5
        event = await it.debuggee.step_out()
        assert isinstance(event, events.Step)
        assert event.frame.local("n") == 7
        assert event.returned == (5,)
        assert event.frame.operand_stack == (8, 5)
        nothing_left(it)
        await it.debuggee.finish()
    assert it.results == [13]


async def test_out_of_the_outermost_frame_ends_with_the_program() -> None:
    async with program(("add", 1, 2)) as it:
        await first_stop(it, "add")
        assert isinstance(await it.debuggee.step_out(), events.Finished)


async def test_to_the_return_with_its_values() -> None:
    async with program(("pair", 5)) as it:
        await first_stop(it, "pair")
        event = await it.debuggee.run_to_return()
        assert isinstance(event, events.Step)
        assert event.frame.at_end
        assert event.returned == (5, 7)
        nothing_left(it)
        assert isinstance(await it.debuggee.run(), events.Finished)


async def test_until_an_offset_in_this_activation() -> None:
    async with program(("sum", 3)) as it:
        await first_stop(it, "sum")
        module = it.instance.module
        ops = [i.op.name for i in module.plan(2).typed().instructions]
        target = module.offsets(2)[ops.index("br_if")]
        totals = []
        for _ in range(3):
            event = await it.debuggee.run_until(target)
            totals.append(event.frame.local("total"))
            nothing_left(it)
        assert totals == [1, 3, 6]
        with pytest.raises(UsageError, match="is not in sum"):
            await it.debuggee.run_until(module.offsets(1)[0])


@pytest.mark.parametrize("count", [1, 2, 7, 20])
async def test_n_steps_are_n_single_ones(count: int) -> None:
    async with program(("sum", 4)) as one, program(("sum", 4)) as many:
        event: Any = await first_stop(one, "sum")
        for _ in range(count):
            event = await one.debuggee.step()
        await first_stop(many, "sum")
        other: Any = await many.debuggee.step(count)
        assert trace(other) == trace(event)
        assert other.frame.locals == event.frame.locals
        nothing_left(many)


async def test_a_breakpoint_a_trap_and_the_end_stop_a_step() -> None:
    async with program(("outer", 5), ("crash", 70_000)) as it:
        await first_stop(it, "outer")
        breakpoint = it.debuggee.add_breakpoint("inner")
        event = await it.debuggee.step_out()
        assert isinstance(event, events.Breakpoint)
        it.debuggee.remove_breakpoint(breakpoint)
        nothing_left(it)
        event = await first_stop(it, "crash")
        event = await it.debuggee.step_out()
        assert isinstance(event, events.Trap)
        nothing_left(it)
        assert isinstance(await it.debuggee.step(), events.Finished)


async def test_over_a_host_call_that_calls_in_again() -> None:
    inner: list[int] = []

    async def twice(x: int) -> int:
        assert guests, "the body has begun"
        inner.append(await guests[0].call(it.instance.func("add"), x, x))
        return inner[-1]

    guests: list[Any] = []
    async with program(("ask", 4), imports={"env": {"twice": twice}}) as it:
        event = await first_stop(it, "ask")
        from trio_wasmdbg.debuggee import Guest

        guests.append(Guest._create(it.debuggee._core))
        while event.frame.instruction.op.name != "call":
            event = await it.debuggee.step_over()
        event = await it.debuggee.step_over()
        assert event.frame.function_name == "ask"
        assert event.frame.operand_stack == (8,)
        nothing_left(it)
        await it.debuggee.finish()
    assert inner == [8]
    assert it.results == [9]


async def test_over_a_call_whose_host_function_is_stepped_into() -> None:
    """A step into the nested activation, then out of its first frame: back to the outer guest."""
    guests: list[Any] = []

    async def twice(x: int) -> int:
        result = await guests[0].call(it.instance.func("add"), x, x)
        assert isinstance(result, int)
        return result

    async with program(("ask", 4), imports={"env": {"twice": twice}}) as it:
        event = await first_stop(it, "ask")
        from trio_wasmdbg.debuggee import Guest

        guests.append(Guest._create(it.debuggee._core))
        event = await first_stop(it, "add")

        def stacks(view: Any) -> list[list[str]]:
            return [[f.function_name for f in a.frames] for a in view.activations]

        assert await it.debuggee.with_store(stacks) == [["add"], ["ask"]]
        event = await it.debuggee.step_out()
        assert event.frame.function_name == "ask"
        assert event.frame.operand_stack == (8,)
        await it.debuggee.finish()
    assert it.results == [9]


async def test_steps_with_nothing_on_the_stack() -> None:
    async with program(("add", 1, 2)) as it:
        event = await it.debuggee.step()
        assert isinstance(event, events.Step)
        assert trace(event)[:2] == ("add", "global.get")
    async with program(("add", 1, 2)) as it:
        with pytest.raises(UsageError, match="not paused in a function"):
            await it.debuggee.run_until(1)
        with pytest.raises(ValueError, match="can't step 0"):
            await it.debuggee.step(0)
        assert isinstance(await it.debuggee.step_out(), events.Finished)
