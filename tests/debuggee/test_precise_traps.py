"""Traps that are foreseen: with their operands, in words, and how to go on from them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import program
from trio_wasmdbg import events

TRAPS = """
(module
  (memory (export "memory") 1)
  (memory $second 0)
  (data $text "hello")
  (table 2 funcref)
  (type $f (func))
  (func (export "load") (param i32) (result i32) (i32.load offset=4 (local.get 0)))
  (func (export "store") (param i32) (i64.store $second (local.get 0) (i64.const 1)))
  (func (export "vector") (param i32) (drop (v128.load (local.get 0))))
  (func (export "fill") (param i32 i32) (memory.fill (local.get 0) (i32.const 1) (local.get 1)))
  (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "indirect") (param i32) (call_indirect (type $f) (local.get 0)))
  (func (export "outer") (param $x i32) (result i32)
    (i32.add (i32.const 1) (call $inner (local.get $x))))
  (func $inner (param $x i32) (result i32)
    (i32.add (i32.const 5) (i32.load (local.get $x))))
  (func (export "i32_f32_s") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
  (func (export "i32_f32_u") (param f32) (result i32) (i32.trunc_f32_u (local.get 0)))
  (func (export "i32_f64_s") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (export "i32_f64_u") (param f64) (result i32) (i32.trunc_f64_u (local.get 0)))
  (func (export "i64_f32_s") (param f32) (result i64) (i64.trunc_f32_s (local.get 0)))
  (func (export "i64_f32_u") (param f32) (result i64) (i64.trunc_f32_u (local.get 0)))
  (func (export "i64_f64_s") (param f64) (result i64) (i64.trunc_f64_s (local.get 0)))
  (func (export "i64_f64_u") (param f64) (result i64) (i64.trunc_f64_u (local.get 0))))
"""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            ("load", 0x1FFFE),
            "out of bounds: i32.load of 4 bytes at 0x1fffe + 4, memory 0 has 0x10000 bytes",
        ),
        (("load", 65_529), "out of bounds: i32.load of 4 bytes at 0xfff9 + 4, memory 0 has 0x10000 bytes"),
        (("load", -1), "out of bounds: i32.load of 4 bytes at 0xffffffff + 4, memory 0 has 0x10000 bytes"),
        (("store", 0), "out of bounds: i64.store of 8 bytes at 0x0, memory 1 has 0x0 bytes"),
        (("vector", 65_521), "out of bounds: v128.load of 16 bytes at 0xfff1, memory 0 has 0x10000 bytes"),
        (("fill", 1, 65_536), "out of bounds: memory.fill of 65536 bytes at 0x1, memory 0 has 0x10000 bytes"),
        (
            ("copy", 0, 65_530, 7),
            "out of bounds: memory.copy of 7 bytes at 0xfffa, memory 0 has 0x10000 bytes",
        ),
        (
            ("copy", 65_530, 0, 7),
            "out of bounds: memory.copy of 7 bytes at 0xfffa, memory 0 has 0x10000 bytes",
        ),
    ],
    ids=str,
)
async def test_accesses_out_of_bounds(call: tuple[Any, ...], message: str) -> None:
    async with program(call, text=TRAPS, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.live
        assert event.code == "MEMORY_OUT_OF_BOUNDS"
        assert event.message == message
        assert event.frame.exact
        assert event.frame.operand_stack[0] == call[1]
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, wasmtime.Trap)
        assert finished.error.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS


@pytest.mark.parametrize(
    "call",
    [("load", 65_528), ("vector", 65_520), ("fill", 0, 65_536), ("fill", 65_536, 0), ("copy", 0, 1, 65_535)],
    ids=str,
)
async def test_accesses_that_just_fit(call: tuple[Any, ...]) -> None:
    async with program(call, text=TRAPS, imports={}) as it:
        it.debuggee.precise_traps = True
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert len(it.results) == 1


async def test_an_address_may_be_put_right() -> None:
    async with program(("outer", 100_000), text=TRAPS, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.frame.operand_stack == (5, 100_000)
        assert event.frame.parent.operand_stack == (1,)
        event.frame.set_operand(-1, 16)
        it.instance.write_memory(16, (10).to_bytes(4, "little"))
        assert isinstance(await it.debuggee.run(retry=True), events.Finished)
    assert it.results == [16]


async def test_other_traps_have_their_values_too() -> None:
    async with program(("indirect", 1), text=TRAPS, imports={}) as it:
        it.debuggee.precise_traps = True
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert (event.live, event.code) == (True, "INDIRECT_CALL_TO_NULL")
        assert event.frame.exact
        assert event.frame.locals == (1,)


async def test_without_precise_mode_the_innermost_frame_has_a_place_but_no_values() -> None:
    async with program(("outer", 100_000), text=TRAPS, imports={}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert not event.live
        frames = [event.frame, event.frame.parent]
        assert [frame.function_name for frame in frames] == ["inner", "outer"]
        assert [frame.exact for frame in frames] == [False, True]
        assert event.frame.instruction.op.name == "i32.load"
        assert frames[1].locals == (100_000,)


LIMITS = [
    # the last value that fits, and the first one that does not, towards both ends
    ("i32_f32_s", -2147483648.0, -2147483904.0),
    ("i32_f32_s", 2147483520.0, 2147483648.0),
    ("i32_f32_u", -0.99, -1.0),
    ("i32_f32_u", 4294967040.0, 4294967296.0),
    ("i32_f64_s", -2147483648.9, -2147483649.0),
    ("i32_f64_s", 2147483647.9, 2147483648.0),
    ("i32_f64_u", -0.99, -1.0),
    ("i32_f64_u", 4294967295.9, 4294967296.0),
    ("i64_f32_s", -9223372036854775808.0, -9223373136366403584.0),
    ("i64_f32_s", 9223371487098961920.0, 9223372036854775808.0),
    ("i64_f32_u", -0.99, -1.0),
    ("i64_f32_u", 18446742974197923840.0, 18446744073709551616.0),
    ("i64_f64_s", -9223372036854775808.0, -9223372036854777856.0),
    ("i64_f64_s", 9223372036854774784.0, 9223372036854775808.0),
    ("i64_f64_u", -0.99, -1.0),
    ("i64_f64_u", 18446744073709549568.0, 18446744073709551616.0),
]


@pytest.mark.parametrize(("export", "fits", "beyond"), LIMITS)
@pytest.mark.parametrize("slow", [False, True])
async def test_conversions_pause_just_where_they_trap(
    export: str, fits: float, beyond: float, slow: bool
) -> None:
    async with program((export, fits), (export, beyond), text=TRAPS, imports={}) as it:
        it.debuggee.precise_traps = slow
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert len(it.results) == 1
        assert (event.live, event.code) == (True, "INTEGER_OVERFLOW")
        assert event.frame.operand_stack == (beyond,)
        # what we foresee is what Wasmtime does
        finished = await it.debuggee.run(retry=False)
        assert isinstance(finished, events.Finished)


@pytest.mark.parametrize("export", sorted({export for export, _, _ in LIMITS}))
async def test_conversions_of_nan(export: str) -> None:
    async with program((export, math.nan), text=TRAPS, imports={}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert (event.live, event.code) == (True, "BAD_CONVERSION_TO_INTEGER")
        assert "NaN" in event.message


@pytest.mark.parametrize(("export", "fits", "beyond"), LIMITS)
async def test_the_engine_agrees_about_conversions(export: str, fits: float, beyond: float) -> None:
    """finish() lets the instruction itself decide."""
    async with program((export, fits), text=TRAPS, imports={}) as it:
        await it.debuggee.finish()
    with pytest.raises(wasmtime.Trap) as caught:
        async with program((export, beyond), text=TRAPS, imports={}) as it:
            await it.debuggee.finish()
    assert caught.value.trap_code is wasmtime.TrapCode.INTEGER_OVERFLOW
