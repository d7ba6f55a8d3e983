"""Conditions on vectors and references, evaluated by the guest in flavours and in slow twins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debuggee._support import ENGINE, debug, load, run_to
from trio_wasmdbg import Frame, events, load_module
from trio_wasmdbg.engine import Breakpoint
from trio_wasmdbg.errors import ExpressionError

GUEST = """
(module
  (type $node (struct (field i32)))
  (global $sum (mut v128) (v128.const i32x4 0 0 0 0))
  (global $last (mut (ref null $node)) (ref.null $node))
  (func $work (export "work") (param $n i32) (result i32)
    (local $i i32) (local $v v128) (local $f funcref) (local $late (ref $node)) (local $x externref)
    (loop $again
      (local.set $v (i32x4.add (local.get $v) (v128.const i32x4 1 -1 2 1000)))
      (global.set $sum (i32x4.add (global.get $sum) (local.get $v)))
      (if (i32.eq (local.get $i) (i32.const 5))
        (then
          (local.set $f (ref.func $work))
          (global.set $last (struct.new $node (local.get $i)))))
      (local.get $v)
      (ref.null $node)
      (global.get $last)
      (drop (i32.add (local.get $i) (i32.const 7)))
      (drop)
      (drop)
      (drop)
      (br_if $again
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $i)))
"""


async def place(name: str) -> int:
    """Module offset of the first instruction of this name."""
    module = await load(GUEST)
    return next(each.offset for each in module._body(0) if each.op.name == name)


CONDITIONS = [
    ("i32x4(v, 1) == -4", 3),
    ("u32x4(v, 1) == 0xfffffffc", 3),
    ("u16x8(v, 6) == 4000 && i >= 3", 3),
    ("i32x4(sum, 0) > 9", 3),
    ("f == null && i == 2", 2),
    ("f != null", 5),
    ("last != null", 5),
    ("null == last && i", 1),
    ("late == null || i == 6", 6),
    ("x == null && i == 7", 7),
    ("i32x4(stack[0], 2) == 8", 3),
    ("stack[1] == null && i == 4", 4),
    ("stack[2] != null", 5),
]


@pytest.mark.parametrize("flavours", [True, False])
@pytest.mark.parametrize(("condition", "i"), CONDITIONS)
async def test_a_condition_stops_where_it_holds(condition: str, i: int, flavours: bool) -> None:
    async with debug(GUEST, "work", 50) as debuggee:
        debuggee.flavours = flavours
        # Before the addition, with vector, references and two numbers on the operand stack.
        it = debuggee.add_breakpoint(offset=await place("i32.add"), condition=condition, once=True)
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local("i") == i
        assert it.error is None and it.hit_count == 1
        assert event.frame.evaluate(condition) == 1
        assert (debuggee.statistics().flavours > 0) is flavours
        assert (await run_to(debuggee, events.Finished)).result == 50


@pytest.mark.parametrize("flavours", [True, False])
async def test_a_condition_that_never_holds_asks_nobody(flavours: bool) -> None:
    async with debug(GUEST, "work", 50) as debuggee:
        debuggee.flavours = flavours
        never = "i16x8(v, 1) == 77 || late != null && i > 99 || stack[1] != null"
        it = debuggee.add_breakpoint(offset=await place("i32.add"), condition=never)
        asked: list[Any] = []
        holds = debuggee._core.evaluation.holds

        def counted(breakpoint: Breakpoint, frame: Frame) -> bool:
            asked.append(frame)
            return holds(breakpoint, frame)

        debuggee._core.evaluation.holds = counted  # type: ignore[method-assign]
        assert (await run_to(debuggee, events.Finished)).result == 50
        # No more than on the way into the slow twin or flavour.
        assert it.hit_count == 0 and len(asked) <= 1


async def test_messages_read_lanes_and_nulls() -> None:
    lines: list[str] = []
    async with debug(GUEST, "work", 3) as debuggee:
        debuggee.log_sink = lambda text, _: lines.append(text)
        message = "{i32x4(v, 3)} {u8x16(stack[0], 4):#x} {last == null} {i16x8(sum, 2)}"
        debuggee.add_breakpoint(offset=await place("i32.add"), log=message)
        await run_to(debuggee, events.Finished)
    assert lines == ["1000 0xff 1 -1", "2000 0xfe 1 -3", "3000 0xfd 1 -6"]


async def test_other_uses_are_errors_that_say_what_can_be_done() -> None:
    async with debug(GUEST, "work", 3) as debuggee:
        debuggee.add_breakpoint(offset=await place("i32.add"))
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None
        with pytest.raises(ExpressionError, match=r"local 2 is of type v128: .* gives a lane of it"):
            event.frame.evaluate("v")
        with pytest.raises(ExpressionError, match="funcref: a reference can be compared with null only"):
            event.frame.evaluate("f && 1")
        with pytest.raises(ExpressionError, match="no lane 4: i32x4 has 4"):
            event.frame.evaluate("i32x4(v, 4)")


async def test_a_local_that_is_optimised_out_is_not_available() -> None:
    async with debug(await load_module(ENGINE, GUEST, frames="live"), "work", 3) as debuggee:
        debuggee.add_breakpoint("work", at_end=True)
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None
        for text in ("i32x4(v, 0)", "f == null"):
            with pytest.raises(ExpressionError, match="is not available here"):
                event.frame.evaluate(text)
