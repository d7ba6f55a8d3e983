"""Breakpoints that are changed after they were made, and places that are none."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
import trio.testing

from tests.debuggee._programs import program
from tests.waiting import until
from trio_wasmdbg import ExpressionError, UsageError, events


async def seen_in_add(it: Any, most: int = 100) -> list[int]:
    """Run on; local ``b`` at each breakpoint."""
    seen: list[int] = []
    while len(seen) < most and isinstance(event := await it.debuggee.run(), events.Breakpoint):
        seen.append(event.frame.local("b"))
    return seen


@pytest.mark.parametrize("flavours", [True, False])
@pytest.mark.parametrize("place", [{"function": "add"}, {"instructions": "global.set"}])
async def test_its_condition(flavours: bool, place: dict[str, Any]) -> None:
    """Those that the guest evaluates itself, in flavours or slow twins, are made anew."""
    async with program(("sum", 30)) as it:
        it.debuggee.flavours = flavours
        breakpoint = it.debuggee.add_breakpoint(**place, condition="b == 3")
        assert await seen_in_add(it, 1) == [3]
        breakpoint.condition = "b == 5 || b == 7"
        assert await seen_in_add(it, 2) == [5, 7]
        breakpoint.condition = lambda frame: frame.local("b") == 9
        assert await seen_in_add(it, 1) == [9]
        breakpoint.condition = None
        assert await seen_in_add(it, 2) == [10, 11]
        with pytest.raises(ExpressionError):
            breakpoint.condition = "b =="
        breakpoint.condition = "b == 29"
        assert await seen_in_add(it) == [29]
    assert it.results == [465]


async def test_its_condition_while_the_guest_runs() -> None:
    """In another thread: it takes effect at the next check site."""
    text = """
    (module (func $tick (param $n i32))
      (func (export "spin") (local $n i32)
        (loop $l
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (call $tick (local.get $n))
          (br $l))))
    """
    async with program(("spin",), text=text, imports={}) as it, trio.open_nursery() as nursery:
        breakpoint = it.debuggee.add_breakpoint("tick", condition="n == -5")

        async def change() -> None:
            await until(lambda: it.debuggee.statistics().polls_in_threads >= 2)
            breakpoint.condition = "n % 10 == 7"

        nursery.start_soon(change)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.frame.local("n") % 10 == 7


async def test_its_hit_rule_message_and_callback() -> None:
    texts: list[str] = []
    async with program(("sum", 12)) as it:
        it.debuggee.log_sink = lambda text, breakpoint: texts.append(text)
        breakpoint: Any = it.debuggee.add_breakpoint("add", hits="== 2")
        assert await seen_in_add(it, 1) == [2]
        breakpoint.hits = "% 3"
        assert str(breakpoint.hits) == "% 3"
        assert await seen_in_add(it, 2) == [3, 6]
        for wrong in ("often", 0, -1):
            with pytest.raises(UsageError, match="hit count"):
                breakpoint.hits = wrong
        breakpoint.hits = None
        breakpoint.log = "{b}"
        with pytest.raises(ExpressionError):
            breakpoint.log = "{b"
        third = it.debuggee.add_breakpoint("add", condition="b == 9")
        assert await seen_in_add(it, 1) == [9]
        third.callback = lambda event: True
        third.condition = None
        breakpoint.log = None
        breakpoint.hits = 11
        assert await seen_in_add(it) == [11]
        await trio.testing.wait_all_tasks_blocked()
    assert texts == ["7", "8", "9"]


async def test_a_message_that_is_written_once() -> None:
    texts: list[str] = []
    async with program(("fib", 5)) as it:
        it.debuggee.log_sink = lambda text, breakpoint: texts.append(text)
        breakpoint = it.debuggee.add_breakpoint("fib", log="{n}", condition="n < 4", once=True)
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
        assert breakpoint.removed
        assert repr(breakpoint) == "<Breakpoint 1 at fib, removed, hit 1 time>"
    assert texts == ["3"]


async def test_what_may_not_be_changed() -> None:
    async with program(("add", 1, 2)) as it:
        breakpoint: Any = it.debuggee.add_breakpoint("add")
        for name in ("where", "id"):
            with pytest.raises(AttributeError):
                setattr(breakpoint, name, None)


async def test_a_watchpoints_condition_and_hit_rule() -> None:
    text = """
    (module (memory 1)
      (func $put (export "put") (param $n i32) (local $i i32)
        (loop $l
          (i32.store (i32.const 8) (local.get $i))
          (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))))
    """
    async with program(("put", 12), text=text, imports={}) as it:
        it.debuggee.add_breakpoint("put", once=True)
        await it.debuggee.run()
        watchpoint: Any = it.debuggee.watch_memory(it.instance, 8, condition="i == 2")

        async def new() -> Any:
            event = await it.debuggee.run()
            return event.hits[0].new if isinstance(event, events.Watch) else None

        assert await new() == 2
        watchpoint.condition = None
        watchpoint.hits = "% 4"
        assert await new() == 5  # its fourth hit
        watchpoint.condition = lambda frame: frame.local("i") == 9
        watchpoint.hits = None
        assert await new() == 9
        with pytest.raises(UsageError, match="hit count"):
            watchpoint.hits = "x"
        with pytest.raises(ExpressionError):
            watchpoint.condition = "("
        with pytest.raises(AttributeError):
            watchpoint.access = "read"


async def test_within_a_function() -> None:
    """A function narrows instructions, imports and offsets down."""
    async with program(("outer", 5), ("ask", 4)) as it:
        adds = it.debuggee.add_breakpoint("middle", instructions="i32.add")
        asks = it.debuggee.add_breakpoint(re.compile("^ask$"), import_="env.twice")
        nowhere = it.debuggee.add_breakpoint("outer", import_="env.twice")
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.breakpoints == (adds,)
        assert event.location is not None and event.location.function_name == "middle"
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.breakpoints == (asks,)
        assert [len(each.bindings) for each in (adds, asks, nowhere)] == [1, 1, 0]
        assert isinstance(await it.debuggee.run(), events.Finished)


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ({"function": 1.5}, TypeError, "a function is a name, an index or a compiled pattern, not 1.5"),
        ({"function": True}, TypeError, "not True"),
        ({"function": b"add"}, TypeError, "not b'add'"),
        ({"function": -1}, UsageError, "no function has the index -1"),
        ({"offset": -1}, UsageError, "no module has the offset -1"),
        ({"import_": "twice"}, UsageError, "an import is written 'module.name', not 'twice'"),
        ({"import_": 3}, TypeError, "an import is 'module.name' or a compiled pattern, not 3"),
        (
            {"instructions": ["i32.ad"]},
            UsageError,
            "no instruction is called 'i32.ad'; did you mean 'i32.and' or 'i32.add'",
        ),
        ({"instructions": "nothing like it"}, UsageError, "no instruction is called 'nothing like it'"),
        ({"offset": 5, "at_end": True}, UsageError, "can't be at offset and at_end at the same time"),
        ({"import_": "a.b", "instructions": "nop"}, UsageError, "at instructions and import_"),
        ({"function": "add", "condition": 5}, TypeError, "a condition can't be 5"),
        ({"function": "add", "callback": "print"}, TypeError, "a callback can't be 'print'"),
        ({"function": "add", "log": 5}, TypeError, "a log point's message is text, not 5"),
    ],
    ids=str,
)
async def test_what_is_refused_at_once(place: dict[str, Any], error: type[Exception], message: str) -> None:
    async with program(("add", 1, 2)) as it:
        with pytest.raises(error, match=re.escape(message)):
            it.debuggee.add_breakpoint(**place)
        assert it.debuggee.breakpoints == ()
        await it.debuggee.finish()
    assert it.results == [3]


async def test_values_of_a_host_call_are_checked_at_once() -> None:
    async with program(("ask", 4), ("ask", 4)) as it:
        change = it.debuggee.set_host_values
        it.debuggee.add_breakpoint("ask", once=True)
        it.debuggee.stop_on_host_calls = "env"
        await it.debuggee.run()
        with pytest.raises(UsageError, match="paused at no host call"):
            change(1)
        for kind in (events.HostCallEntered, events.HostCallReturned):
            assert isinstance(await it.debuggee.run(), kind)
            with pytest.raises(TypeError, match=r"env\.twice: 1 values are wanted here, not 2"):
                change(1, 2)
            with pytest.raises(TypeError, match="an i32 is written as an int, not str"):
                change("1")
            with pytest.raises(ValueError, match="does not fit an i32"):
                change(1 << 40)
            change(7)
        # An injected call in between is another pause.
        await it.debuggee.run()
        back = await it.debuggee.inject_call(it.instance.func("add"), 1, 2)
        assert isinstance(back, events.CallReturned)
        change(1)
        await it.debuggee.finish()
    assert it.results == [8, 3]
