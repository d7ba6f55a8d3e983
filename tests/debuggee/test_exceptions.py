"""WebAssembly exceptions at their throw point."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debuggee._programs import program
from trio_wasmdbg import UsageError, events

EXCEPTIONS = """
(module
  (tag $one (param i32))
  (tag $two (param i32 i64))
  (func $throws (param $x i32)
    (if (i32.eqz (local.get $x)) (then (throw $one (i32.const 11))))
    (throw $two (local.get $x) (i64.const -5)))
  (func (export "caught") (param $x i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $one $h)
        (call $throws (local.get $x))
        (i32.const 0))))
  (func (export "everything") (param $x i32) (result i32)
    (block $h
      (try_table (catch_all $h) (call $throws (local.get $x)))
      (return (i32.const 1)))
    (i32.const 2))
  (func (export "again") (param $x i32) (result i32)
    (block $h (result exnref)
      (try_table (catch_all_ref $h) (call $throws (local.get $x)))
      (return (i32.const 1)))
    throw_ref))
"""


async def stops(it: Any) -> tuple[list[Any], BaseException | None]:
    seen: list[Any] = []
    async for event in it.debuggee:
        if isinstance(event, events.Finished):
            return seen, event.error
        assert isinstance(event, events.ExceptionThrown), event
        seen.append((event.tag, event.payload, event.caught, event.frame.parent.function_name))
    raise AssertionError("not finished")


@pytest.mark.parametrize(
    ("call", "seen", "fails"),
    [
        (("caught", 0), [(0, (11,), True, "caught")], False),
        (("caught", 7), [(1, (7, -5), False, "caught")], True),
        (("everything", 0), [(0, (11,), True, "everything")], False),
        (("everything", 7), [(1, (7, -5), True, "everything")], False),
    ],
    ids=str,
)
@pytest.mark.parametrize("which", ["all", "uncaught"])
async def test_where_thrown(call: tuple[Any, ...], seen: list[Any], fails: bool, which: str) -> None:
    async with program(call, text=EXCEPTIONS, imports={}) as it:
        it.debuggee.stop_on_exceptions(which)
        found, error = await stops(it)
        assert (error is not None) == fails
        assert found == [each for each in seen if which == "all" or not each[2]]
    if not fails:
        assert it.results == [11 if call == ("caught", 0) else 2]


async def test_by_tag_and_no_more() -> None:
    calls = [("everything", 0), ("everything", 1), ("everything", 0)]
    async with program(*calls, text=EXCEPTIONS, imports={}) as it:
        only = it.debuggee.stop_on_exceptions(tag=1)
        event = await it.debuggee.run()
        assert isinstance(event, events.ExceptionThrown)
        assert event.tag == 1
        assert event.frame.instruction.op.name == "throw"
        it.debuggee.remove_breakpoint(only)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [2, 2, 2]


async def test_thrown_again() -> None:
    async with program(("again", 3), text=EXCEPTIONS, imports={}) as it:
        it.debuggee.stop_on_exceptions()
        first = await it.debuggee.run()
        assert isinstance(first, events.ExceptionThrown)
        assert (first.tag, first.caught) == (1, True)
        second = await it.debuggee.run()
        assert isinstance(second, events.ExceptionThrown)
        assert (second.tag, second.payload, second.caught) == (1, (3, -5), False)
        assert second.frame.function_name == "again"
        assert second.frame.parent is None
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert finished.error is not None


async def test_the_payload_may_be_changed() -> None:
    async with program(("caught", 0), text=EXCEPTIONS, imports={}) as it:
        it.debuggee.stop_on_exceptions()
        event = await it.debuggee.run()
        event.frame.set_operand(-1, 42)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [42]


async def test_which_exceptions() -> None:
    async with program(text=EXCEPTIONS, imports={}) as it:
        with pytest.raises(UsageError, match="'all' or 'uncaught'"):
            it.debuggee.stop_on_exceptions("some")
