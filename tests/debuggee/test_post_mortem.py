"""Modules loaded with ``frames="post-mortem"``: all frames are whole after a trap."""

from __future__ import annotations

from typing import Any

import pytest

from tests.debuggee._support import ENGINE, debug, run_to
from trio_wasmdbg import UNAVAILABLE, Frame, GuestModule, events, load_module
from trio_wasmdbg.debuggee import GuestTrap

PROGRAM = """
(module
  (memory 1) (table 4 funcref) (elem (i32.const 1) $leaf)
  (type $t (func (param i32) (result i32)))
  (type $other (func (param i64)))
  (global $g (mut i32) (i32.const 40))
  (func $leaf (type $t) (local.get 0))
  (func $load (export "load") (param $a i32) (param $b i32) (result i32)
    (local $sum i32) (local $never i64) (local $late i32)
    (local.set $sum (i32.add (local.get $a) (local.get $b)))
    (i32.const 11)
    (i32.mul (local.get $sum) (i32.const 3))
    (i32.load offset=4 (i32.shl (i32.add (local.get $b) (i32.const -5)) (i32.const 2)))
    (local.set $late (i32.const 1))
    i32.add i32.add)
  (func (export "caller") (param $n i32) (result i32) (local $kept i32)
    (local.set $kept (i32.const 77))
    (i32.add (local.get $kept) (call $load (local.get $n) (local.get $n))))
  (func (export "changed") (param $p i32) (result i32)
    ;; the address is not what the local holds any more
    (i32.add (local.get $p) (i32.const 1))
    (local.get $p)
    (local.set $p (i32.const 5))
    (i32.load (global.get $g))
    drop
    (i32.load)
    i32.add)
  (func (export "chosen") (param $p i32) (param $q i32) (result i32)
    (i32.load (select (local.get $p) (local.get $q) (i32.const 0))))
  (func (export "loop") (param $n i32) (result i32) (local $i i32)
    (loop $again
      (drop (i32.load8_u (i32.add (i32.const 65530) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $i))
  (func (export "store") (param $p i32) (param $x f64) (param $y f64)
    (f64.store (local.get $p) (f64.add (local.get $x) (local.get $y))))
  (func (export "indirect") (param $i i32) (result i32) (local $x i32)
    (local.set $x (i32.const 6))
    (call_indirect (type $t) (i32.const 9) (local.get $i)))
  (func (export "wrong") (param $i i32) (local $x i64)
    (call_indirect (type $other) (i64.const -4) (i32.add (local.get $i) (i32.const 1))))
  (func (export "sometimes") (param $p i32) (param $call i32) (result i32)
    (if (local.get $call) (then (drop (call $leaf (i32.const 1)))))
    (i32.load (local.get $p)))
  (func (export "wide") (param $p i32) (result v128) (local $v v128)
    (local.set $v (v128.const i32x4 1 2 3 4))
    (v128.load (i32.add (local.get $p) (i32.const 1))))
  (func $forever (export "forever") (param $n i32) (result i32)
    (i32.add (i32.const 1) (call $forever (i32.add (local.get $n) (i32.const 1))))))
"""


async def loaded() -> GuestModule:
    return await load_module(ENGINE, PROGRAM, frames="post-mortem", cache=None)


Shown = tuple[str, tuple[Any, ...], tuple[Any, ...]]


async def trap(export: str, *args: object) -> tuple[list[Shown], list[bool]]:
    """Of each frame the function, locals and operands; and which of them are exact."""
    found = []
    exact = []
    async with debug(await loaded(), export, *args) as debuggee:
        event = await run_to(debuggee, events.Trap)
        assert not event.live
        frame: Frame | None = event.frame
        while frame is not None:
            found.append((frame.function_name, frame.locals, frame.operand_stack))
            exact.append(frame.exact)
            frame = frame.parent
        with pytest.raises(GuestTrap):
            await debuggee.finish()
    return found, exact


@pytest.mark.parametrize(
    ("export", "args", "locals_", "operands"),
    [
        ("load", (-3, 3), (-3, 3, 0, 0, 0), (11, 0, -8)),
        ("changed", (-9,), (5,), (-8, -9)),
        ("chosen", (1, -2), (1, -2), (-2,)),
        ("loop", (100,), (100, 6), (65536,)),
        ("store", (-8, 1.5, 2.25), (-8, 1.5, 2.25), (-8, 3.75)),
        ("indirect", (0,), (0, 6), (9, 0)),
        ("indirect", (100,), (100, 6), (9, 100)),
        ("wrong", (0,), (0, 0), (-4, 1)),
        ("sometimes", (-2, 0), (-2, 0), (-2,)),
        ("sometimes", (-2, 1), (-2, 1), (-2,)),
        ("wide", (-20,), (-20, b"\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0"), (-19,)),
    ],
)
async def test_the_innermost_frame(
    export: str, args: tuple[object, ...], locals_: tuple[object, ...], operands: tuple[object, ...]
) -> None:
    frames, exact = await trap(export, *args)
    assert frames == [(export, locals_, operands)]
    assert exact == [True]


async def test_its_callers() -> None:
    frames, exact = await trap("caller", -100_000)
    assert [name for name, _, _ in frames] == ["load", "caller"]
    assert frames[0][1] == (-100_000, -100_000, -200_000, 0, 0)
    assert frames[1][1:] == ((-100_000, 77), (77,))
    assert exact == [True, True]


async def test_without_room_on_the_stack_a_function_has_not_begun() -> None:
    frames, exact = await trap("forever", 0)
    assert all(exact) and len(frames) > 100
    assert frames[0][1][0] > frames[1][1][0]


async def test_a_slow_twin_needs_nothing_of_this() -> None:
    async with debug(await loaded(), "load", -3, 3) as debuggee:
        debuggee.add_breakpoint("load")
        await run_to(debuggee, events.Breakpoint)
        frame = (await run_to(debuggee, events.Trap)).frame
        assert frame is not None and frame.exact
        assert frame.locals == (-3, 3, 0, 0, 0)
        assert frame.operand_stack == (11, 0, -8)
        with pytest.raises(GuestTrap):
            await debuggee.finish()


async def test_exact_frames_are_less() -> None:
    module = await load_module(ENGINE, PROGRAM, cache=None)
    async with debug(module, "load", -3, 3) as debuggee:
        frame = (await run_to(debuggee, events.Trap)).frame
        assert frame is not None and not frame.exact
        assert set(frame.locals) == {UNAVAILABLE}
        with pytest.raises(GuestTrap):
            await debuggee.finish()
