"""Call traces: what is called with what, and what comes back."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.debuggee._programs import program
from trio_wasmdbg import events


async def test_a_trace_of_nested_calls() -> None:
    seen: list[str] = []
    async with program(("outer", 5), ("outer", 1)) as it:
        with it.debuggee.trace_calls("^(outer|inner|middle)$", lambda record: seen.append(str(record))):
            it.debuggee.add_breakpoint("add")
            await it.debuggee.finish()
        await trio.testing.wait_all_tasks_blocked()
        assert it.debuggee.breakpoints[0].function == "add"
        assert len(it.debuggee.breakpoints) == 1
    assert it.results == [10_040, 10_000]
    assert seen == []  # finish() ignores everything that is armed


async def test_a_trace_while_running() -> None:
    seen: list[str] = []
    async with program(("outer", 5), ("pair", 3), ("outer", 1)) as it:
        trace = it.debuggee.trace_calls("outer|inner|middle|pair", lambda record: seen.append(str(record)))
        it.debuggee.add_breakpoint("pair", at_end=True, once=True)
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        trace.stop()
        trace.stop()
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [
        "outer(5)",
        "  middle(5)",
        "    inner(5)",
        "    inner -> (4)",
        "  middle -> (1004)",
        "outer -> (10040)",
        "pair(3)",
        "pair -> (3, 7)",
    ]


async def test_a_sink_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []

    def fails(record: object) -> None:
        seen.append(record)
        raise LookupError("no")

    async with program(("outer", 5)) as it:
        it.debuggee.trace_calls("outer", fails)
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
    assert it.results == [10_040]
    assert len(seen) == 2
    assert [record.message for record in caplog.records] == ["the sink of a call trace has failed"] * 2


async def test_a_trace_of_recursion() -> None:
    depths: list[int] = []
    async with program(("fib", 4)) as it:
        it.debuggee.trace_calls("^fib$", lambda record: depths.append(record.depth))
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
    # fib(4) calls itself 8 times, and every entry has its return
    assert len(depths) == 18
    assert max(depths) == 3
