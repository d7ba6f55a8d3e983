"""Breakpoints on a guest: where they bind, when they pause, what they do then."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._programs import module_of, program
from trio_wasmdbg import ExpressionError, Frame, Guest, UsageError, events, open_debuggee
from trio_wasmdbg.engine import Decider


async def stops(it: Any, look: Callable[[Frame], Any] = lambda frame: frame.function_name) -> list[Any]:
    """Run to the end; what *look* sees at each breakpoint on the way."""
    seen: list[Any] = []
    async for event in it.debuggee:
        if isinstance(event, events.Finished):
            return seen
        assert isinstance(event, events.Breakpoint)
        seen.append(look(event.frame))
    raise AssertionError("not finished")


async def test_by_name_index_expression_export_and_end() -> None:
    async with program(("outer", 5)) as it:
        add = it.debuggee.add_breakpoint
        add("outer")
        add(6)  # $middle: the import is function 0
        add(re.compile("^inn"))
        add("outer", at_end=True)
        assert await stops(it, lambda frame: (frame.function_name, frame.at_end)) == [
            ("outer", False),
            ("middle", False),
            ("inner", False),
            ("outer", True),
        ]
    assert it.results == [10_040]


async def test_pending_until_a_module_binds_it() -> None:
    async with program(("add", 1, 2)) as it:
        here = it.debuggee.add_breakpoint("add")
        nowhere = it.debuggee.add_breakpoint("no such function")
        assert (here.pending, nowhere.pending) == (True, True)
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        assert (here.pending, nowhere.pending) == (False, True)
        assert here.bindings[0].module_offset == it.instance.module.offsets(1)[0]


async def test_an_offset_inside_an_instruction_slips_to_the_next() -> None:
    async with program(("add", 1, 2)) as it:
        it.debuggee.add_breakpoint("add", once=True)
        await it.debuggee.run()
        offsets = it.instance.module.offsets(1)
        exact = it.debuggee.add_breakpoint(offset=offsets[3])
        inside = it.debuggee.add_breakpoint(offset=offsets[3] + 1)  # in `global.set 0`
        assert not exact.bindings[0].slipped
        assert inside.bindings[0].slipped
        assert inside.bindings[0].module_offset == offsets[4]
        assert await stops(it, lambda frame: frame.module_offset) == [offsets[3], offsets[4]]


async def test_a_condition_in_python_sees_the_frame() -> None:
    async with program(("sum", 6)) as it:

        def odd_total(frame: Frame) -> bool:
            return bool(frame.local("a") % 2 == 1)

        breakpoint = it.debuggee.add_breakpoint("add", condition=odd_total)
        assert await stops(it, lambda frame: frame.locals) == [(1, 2), (3, 3), (15, 6)]
        assert breakpoint.hit_count == 3
        assert breakpoint.error is None
    assert it.results == [21]


async def test_a_condition_that_fails_pauses_and_says_why() -> None:
    async with program(("sum", 2)) as it:
        breakpoint = it.debuggee.add_breakpoint("add", condition=lambda frame: 1 / 0)
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        assert breakpoint.error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(("hits", "seen"), [("== 2", [2]), (3, [3]), (">= 4", [4, 5]), ("% 2", [2, 4])])
async def test_hit_counts(hits: str | int, seen: list[int]) -> None:
    async with program(("sum", 5)) as it:
        breakpoint = it.debuggee.add_breakpoint("add", hits=hits)
        assert await stops(it, lambda frame: frame.local("b")) == seen
        assert breakpoint.hit_count == 5


async def test_once_disabled_and_removed() -> None:
    async with program(("sum", 3), ("sum", 3)) as it:
        once = it.debuggee.add_breakpoint("add", once=True)
        off = it.debuggee.add_breakpoint("add", enabled=False)
        first = await it.debuggee.run()
        assert isinstance(first, events.Breakpoint)
        assert first.breakpoints == (once,)
        assert it.debuggee.breakpoints == (off,)
        off.enabled = True
        second = await it.debuggee.run()
        assert isinstance(second, events.Breakpoint)
        assert second.breakpoints == (off,)
        it.debuggee.remove_breakpoint(off)
        assert await stops(it) == []


async def test_callbacks_may_go_on_or_pause() -> None:
    seen: list[tuple[str, int]] = []

    def plain(event: events.Breakpoint) -> bool:
        seen.append(("plain", event.frame.local("b")))
        return True

    async def slow(event: events.Breakpoint) -> bool:
        await trio.lowlevel.checkpoint()
        seen.append(("slow", event.frame.local("b")))
        return bool(event.frame.local("b") != 2)

    async with program(("sum", 3)) as it:
        it.debuggee.add_breakpoint("add", callback=plain)
        it.debuggee.add_breakpoint("add", callback=slow)
        assert await stops(it, lambda frame: frame.local("b")) == [2]
    assert seen == [(who, b) for b in (1, 2, 3) for who in ("plain", "slow")]


async def test_instructions_of_a_kind_and_calls_of_an_import() -> None:
    async with program(("grow", 2), ("ask", 4)) as it:
        it.debuggee.add_breakpoint(instructions={"memory.grow"})
        it.debuggee.add_breakpoint(import_="env.twice")
        grow = await it.debuggee.run()
        assert isinstance(grow, events.Breakpoint)
        assert grow.frame.instruction.op.name == "memory.grow"
        assert grow.frame.operand_stack == (2,)
        ask = await it.debuggee.run()
        assert isinstance(ask, events.Breakpoint)
        assert ask.frame.operand_stack == (4,)
        assert await stops(it) == []
    assert it.results == [1, 9]


@pytest.mark.parametrize("arguments", [{}, {"at_end": True}, {"module": None}])
async def test_a_breakpoint_needs_a_place(arguments: dict[str, Any]) -> None:
    async with program() as it:
        with pytest.raises(TypeError, match="needs a place"):
            it.debuggee.add_breakpoint(**arguments)


async def test_a_malformed_hit_count_is_refused() -> None:
    async with program() as it:
        with pytest.raises(UsageError, match="hit count"):
            it.debuggee.add_breakpoint("add", hits="often")
        assert it.debuggee.breakpoints == ()


async def test_two_meet_at_one_place_and_one_goes() -> None:
    async with program(("sum", 3)) as it:
        one, two = it.debuggee.add_breakpoint("add"), it.debuggee.add_breakpoint(1)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.breakpoints == (one, two)
        it.debuggee.remove_breakpoint(one)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.breakpoints == (two,)


async def test_a_condition_in_the_expression_language() -> None:
    async with program(("sum", 6)) as it:
        breakpoint = it.debuggee.add_breakpoint("add", condition="a % 2 == 1 && b < 6")
        assert await stops(it, lambda frame: frame.locals) == [(1, 2), (3, 3)]
        assert breakpoint.error is None


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        ("a / (b - 1)", "division by zero"),
        ("nothing == 1", "nothing"),
        ("mem32[0x7fffffff]", "out of bounds"),
    ],
)
async def test_a_condition_without_a_value_pauses_and_says_why(condition: str, error: str) -> None:
    async with program(("sum", 2)) as it:
        breakpoint = it.debuggee.add_breakpoint("add", condition=condition)
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        assert breakpoint.error is not None
        assert error in breakpoint.error


async def test_log_points_write_and_go_on() -> None:
    written: list[str] = []
    async with program(("sum", 3)) as it:
        it.debuggee.log_sink = lambda text, breakpoint: written.append(text)
        it.debuggee.add_breakpoint("add", log="{a} + {b} is {a + b:#x}, {{count}} {global[0]}")
        assert await stops(it) == []
    assert written == [
        "0 + 1 is 0x1, {count} 0",
        "1 + 2 is 0x3, {count} 1",
        "3 + 3 is 0x6, {count} 2",
    ]


@pytest.mark.parametrize("how", [{"condition": "1 +"}, {"log": "{"}, {"condition": "__import__('os')"}])
async def test_malformed_text_is_refused_at_once(how: dict[str, str]) -> None:
    async with program() as it:
        with pytest.raises(ExpressionError):
            it.debuggee.add_breakpoint("add", **how)  # type: ignore[arg-type]
        assert it.debuggee.breakpoints == ()


async def test_expressions_at_a_pause() -> None:
    async with program(("outer", 5)) as it:
        it.debuggee.add_breakpoint("inner")
        frame: Any = (await it.debuggee.run()).frame
        assert frame.evaluate("x * x - 1") == 24
        assert frame.parent.evaluate("stack[0] + x") == 1005
        assert frame.format("x={x:04d}") == "x=0005"


async def test_conditions_are_evaluated_by_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A false condition in text makes no host call; a condition that changes is made anew."""
    asked: list[int] = []

    async with program(("sum", 200), ("sum", 200)) as it:
        decide = type(it.debuggee._core.arming.decider).decide

        def counting(decider: Any, kind: int, *place: Any) -> Any:
            asked.append(kind)
            return decide(decider, kind, *place)

        monkeypatch.setattr(type(it.debuggee._core.arming.decider), "decide", counting)
        first = it.debuggee.add_breakpoint("add", condition="b == 150")
        event = await it.debuggee.run()
        assert event.frame.local("b") == 150
        assert len(asked) <= 3
        # another one at the same place: the slow twin that evaluates both is made at this stop
        second = it.debuggee.add_breakpoint("add", condition="b == 7 || a == mem32[0] - 1")
        event = await it.debuggee.run()
        assert event.frame.local("b") == 7
        assert it.results == [20_100]
        assert len(asked) <= 6
        assert (first.hit_count, second.hit_count) == (1, 1)
        it.debuggee.remove_breakpoint(second)
        event = await it.debuggee.run()
        assert event.frame.local("b") == 150
        # one without a condition: the guest asks every time again
        third = it.debuggee.add_breakpoint("add", hits=1000)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert third.hit_count == 50
    assert it.results == [20_100, 20_100]


async def test_many_edits_of_conditions_do_not_fill_the_store() -> None:
    async with program(*[("sum", 2)] * 60) as it:
        breakpoint = None
        for n in range(60):
            if breakpoint is not None:
                it.debuggee.remove_breakpoint(breakpoint)
            breakpoint = it.debuggee.add_breakpoint("add", condition=f"b == 1 && a < {1 + n % 5}")
            event = await it.debuggee.run()
            assert isinstance(event, events.Breakpoint), n
        # 5 different twins, one for each condition, and the plain one at most
        assert it.debuggee.statistics().slow_twins <= 6


async def test_changes_while_it_is_paused_are_armed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand changes at a pause search the table of breakpoints a few times, not a thousand times."""
    searches = 0
    search = Decider.points

    def counted(self: Decider, *arguments: Any) -> Any:
        nonlocal searches
        searches += 1
        return search(self, *arguments)

    monkeypatch.setattr(Decider, "points", counted)
    async with program(("outer", 5)) as it:
        it.debuggee.add_breakpoint("outer")
        await it.debuggee.run()
        before = searches
        for _ in range(1000):
            it.debuggee.remove_breakpoint(it.debuggee.add_breakpoint("middle"))
        kept = it.debuggee.add_breakpoint("inner")
        assert searches == before
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint) and event.breakpoints == (kept,)
        assert searches - before < 10


async def test_a_breakpoint_in_a_line() -> None:
    async with program(("sum", 3)) as it:
        add = it.debuggee.add_breakpoint("add", condition=lambda frame: True, callback=lambda event: None)
        ends = it.debuggee.add_breakpoint(re.compile("s.m"), at_end=True, enabled=False)
        throws = it.debuggee.stop_on_exceptions()
        calls = it.debuggee.add_breakpoint(import_="env.twice")
        assert repr(add) == "<Breakpoint 1 at add, pending>"
        event = await it.debuggee.run()
        assert repr(add) == "<Breakpoint 1 at add, hit 1 time>"
        assert repr(event).endswith("breakpoints=(<Breakpoint 1 at add, hit 1 time>,))")
        assert repr(ends) == "<Breakpoint 2 at /s.m/, at its end, disabled>"
        assert repr(throws) == "<Breakpoint 3 at every throw and throw_ref, pending>"
        assert repr(calls) == "<Breakpoint 4 at calls of env.twice>"
        watch = it.debuggee.watch_memory(it.instance, 16, access="change")
        assert repr(watch) == "<Watchpoint 1: change of 4 bytes at 0x10>"


THROUGH = """
(module
  (import "env" "log" (func $log (param i32)))
  (import "env" "other" (func $other (param i32)))
  (type $f (func (param i32)))
  (table (export "t") 4 funcref) (elem (i32.const 0) func $log $other $own)
  (func $own (param i32))
  (func (export "indirect") (param i32)
    (call_indirect (type $f) (i32.const 5) (local.get 0)))
  (func (export "reference") (param i32)
    (call_ref $f (local.get 0) (if (result (ref $f)) (local.get 0)
      (then (ref.func $log)) (else (ref.func $own)))))
  (func (export "direct") (call $log (i32.const 6)))
  (func (export "tail") (param i32) (return_call_indirect (type $f) (i32.const 7) (local.get 0)))
  (func $down (export "down") (param i32)
    (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))
      (else (call_indirect (type $f) (i32.const 8) (i32.const 0))))))
"""


async def test_calls_of_an_import_through_tables_and_references() -> None:
    said: list[int] = []
    imports = {"env": {"log": said.append, "other": lambda x: None}}
    calls = [
        ("indirect", 0), ("indirect", 1), ("indirect", 2), ("reference", 9), ("reference", 0), ("direct",),
        ("tail", 0), ("tail", 1), ("down", 4), ("indirect", 3), ("indirect", 0),
    ]  # fmt: skip
    async with program(*calls, text=THROUGH, imports=imports) as it:
        log = it.debuggee.add_breakpoint(import_="env.log")
        seen = []
        async for event in it.debuggee:
            if isinstance(event, events.Breakpoint):
                seen.append((event.frame.function_name, len(it.results)))
        assert seen == [("indirect", 0), ("reference", 3), ("direct", 5), ("tail", 6), ("down", 8)]
        assert log.hit_count == 5
        assert {binding.indirect for binding in log.bindings} == {True, False}
    # the last call but one traps
    assert said == [5, 9, 6, 7, 8]


async def test_calls_through_another_instances_table() -> None:
    said: list[int] = []
    module = await module_of(THROUGH)
    user = await module_of(
        """(module (import "a" "t" (table 4 funcref)) (import "env" "log" (func $log (param i32)))
          (type $f (func (param i32)))
          (func (export "f") (param i32) (call_indirect (type $f) (i32.const 1) (local.get 0)))
          (export "log" (func $log)))"""
    )
    imports: dict[str, Any] = {"env": {"log": said.append, "other": lambda x: None}}

    async def body(guest: Guest) -> None:
        imports["a"] = await guest.instantiate(imports, module)
        instance = await guest.instantiate(imports, user)
        for index in (0, 1, 2):
            await guest.call(instance.func("f"), index)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        log = debuggee.add_breakpoint(import_="env.log", condition="stack[0] == 1")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.frame.operand_stack == (1, 0)
        assert isinstance(await debuggee.run(), events.Finished)
        assert log.hit_count == 1
    assert said == [1]
