"""Values as people write them, and NaNs whose bits are not lost by looking at them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from tests.debuggee._programs import program
from trio_wasmdbg import UNAVAILABLE, NaN, Returned, events, format_value
from trio_wasmdbg.engine import decode_value, encode_value
from trio_wasmdbg.symbols import float_bits
from trio_wasmdbg.wasm import F32, F64

FLOATS = """
(module
  (tag $bad (export "bad") (param f32 i32))
  (global $g (export "g") (mut f32) (f32.const nan:0x200001))
  (global $h (export "h") (mut f64) (f64.const -nan:0x4000000000001))
  (func $keep (export "keep") (param $x f32) (param $y f64) (param $v v128) (result i32 i64)
    (i32.reinterpret_f32 (local.get $x)) (i64.reinterpret_f64 (local.get $y)))
  (func (export "main") (param $n i32) (result i32 i64)
    (if (local.get $n) (then (drop (drop (return (call 1 (i32.sub (local.get $n) (i32.const 1))))))))
    (call $keep (f32.const nan:0x200001) (f64.const -nan:0x4000000000001)
      (v128.const i32x4 1 2 -1 0)))
  (func (export "raise") (throw $bad (f32.const nan:0x200001) (i32.const -1))))
"""
SIGNALLING = 0x7FA00001
NEGATIVE = 0xFFF4000000000001


@pytest.mark.parametrize(
    ("type", "value", "text"),
    [
        ("i32", -2, "-2 (0xfffffffe)"),
        ("i32", 0xFFFFFFFE, "-2 (0xfffffffe)"),
        ("i32", 9, "9"),
        ("i64", -1, "-1 (0xffffffffffffffff)"),
        ("f32", 0.10000000149011612, "0.1"),
        ("f64", 0.1, "0.1"),
        ("f64", -0.0, "-0.0"),
        ("f32", float("inf"), "inf"),
        ("f32", float("nan"), "nan (0x7fc00000)"),
        ("f64", float("nan"), "nan (0x7ff8000000000000)"),
        ("f32", NaN(SIGNALLING, 32), "nan (0x7fa00001)"),
        ("f64", NaN(NEGATIVE, 64), "nan (0xfff4000000000001)"),
        ("v128", bytes(range(16)), "i32x4 0x03020100 0x07060504 0x0b0a0908 0x0f0e0d0c"),
        ("funcref", None, "null"),
        ("i32", UNAVAILABLE, "<unavailable>"),
        ("externref", "an object", "'an object'"),
    ],
)
async def test_one_value(type: str, value: object, text: str) -> None:
    assert format_value(type, value) == text


@pytest.mark.parametrize(("valtype", "bits", "width"), [(F32, SIGNALLING, 32), (F64, NEGATIVE, 64)])
async def test_a_nan_keeps_its_bits(valtype: Any, bits: int, width: int) -> None:
    raw = bits.to_bytes(width // 8, "little")
    value = decode_value(valtype, raw.ljust(16, b"\0"))
    assert isinstance(value, NaN)
    assert value != value
    assert (value.bits, value.width) == (bits, width)
    assert encode_value(valtype, value) == raw
    for same in (copy.copy(value), pickle.loads(pickle.dumps(value))):
        assert same.bits == bits
    # Of the other width it is a NaN like any other.
    other = F64 if valtype is F32 else F32
    assert encode_value(other, value) == encode_value(other, float(value))
    assert float_bits(str(other), value) == float_bits(str(other), float(value))


async def test_a_number_is_no_nan() -> None:
    with pytest.raises(ValueError, match=r"0x3f800000 is the number 1\.0"):
        NaN(0x3F800000, 32)


async def test_what_a_paused_guest_has() -> None:
    """In a recursion's innermost call; written back, nothing has changed."""
    async with program(("main", 3), text=FLOATS, imports={}) as it:
        it.debuggee.add_breakpoint("keep")
        frame: Any = (await it.debuggee.run()).frame
        assert [str(each) for each in frame.variables] == [
            "x: f32 = nan (0x7fa00001)",
            "y: f64 = nan (0xfff4000000000001)",
            "v: v128 = i32x4 0x00000001 0x00000002 0xffffffff 0x00000000",
        ]
        for index, value in enumerate(frame.locals):
            frame.set_local(index, value)
        event = await it.debuggee.step()
        event.frame.set_operand(0, event.frame.operand_stack[0])
        for index, bits in ((0, SIGNALLING), (1, NEGATIVE)):
            value = it.instance.global_value(index)
            assert isinstance(value, NaN) and value.bits == bits
            it.instance.set_global(index, 0.0)
            assert it.instance.global_value(index) == 0
            it.instance.set_global(index, value)
            again = it.instance.global_value(index)
            assert isinstance(again, NaN) and again.bits == bits
        await it.debuggee.finish()
    assert it.results == [(SIGNALLING, NEGATIVE - (1 << 64))]


async def test_in_traces_and_errors() -> None:
    seen: list[str] = []
    async with program(("main", 0), ("raise",), text=FLOATS, imports={}) as it:
        it.debuggee.trace_calls("keep", lambda record: seen.append(str(record).strip()))
        event = await it.debuggee.run()
        assert isinstance(event, events.UncaughtException)
        assert event.message == "uncaught exception: tag 0 (bad) with (nan (0x7fa00001), -1)"
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [
        "keep(nan (0x7fa00001), nan (0xfff4000000000001), i32x4 0x00000001 0x00000002 0xffffffff 0x00000000)",
        f"keep -> ({SIGNALLING}, {NEGATIVE - (1 << 64)})",
    ]


async def test_a_trace_has_types() -> None:
    records: list[Any] = []
    async with program(("add", 1, 2)) as it:
        it.debuggee.trace_calls("add", records.append)
        assert isinstance(await it.debuggee.run(), events.Finished)
        await trio.testing.wait_all_tasks_blocked()
    assert [tuple(map(str, each.types)) for each in records] == [("i32", "i32"), ("i32",)]
    assert isinstance(records[1], Returned)


async def test_operands_of_unsigned_divisions_are_unsigned() -> None:
    text = '(module (func (export "f") (param i32) (result i32) (i32.rem_u (local.get 0) (i32.const 0))))'
    async with program(("f", -1), text=text, imports={}) as it:
        trap = await it.debuggee.run()
        assert isinstance(trap, events.Trap)
        assert trap.message == "integer divide by zero: 4294967295 i32.rem_u 0"


async def test_a_float_that_is_too_large_for_its_place() -> None:
    text = '(module (func (export "f") (param f32) (result f32) (local.get 0)))'
    async with program(("f", 1.0), text=text, imports={}) as it:
        it.debuggee.add_breakpoint("f")
        frame: Any = (await it.debuggee.run()).frame
        frame.set_local(0, -1e300)
        assert frame.local(0) == float("-inf")
        await it.debuggee.finish()
    assert it.results == [float("-inf")]


async def test_handles_know_whether_they_are_good() -> None:
    async with program(("add", 1, 2), ("add", 1, 2)) as it:
        it.debuggee.add_breakpoint("add")
        frame: Any = (await it.debuggee.run()).frame
        assert frame.is_valid
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.debuggee.run()
        assert frame.is_valid  # nothing was sent
        event = await it.debuggee.run()
        assert not frame.is_valid
        assert event.frame.is_valid


THROWERS = """
(module
  (import "env" "foreign" (tag $foreign (param i32)))
  (tag $named (param i32))
  (tag (export "shown") (param i32))
  (func $throw (param $n i32)
    (if (i32.eq (local.get $n) (i32.const 0)) (then (throw $foreign (local.get $n))))
    (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $named (local.get $n))))
    (throw 2 (local.get $n)))
  (func $try (export "try") (param $n i32)
    (block $h (try_table (catch_all $h) (call $throw (local.get $n))))
    (if (local.get $n) (then (call $try (i32.sub (local.get $n) (i32.const 1)))))))
"""


@pytest.mark.parametrize(
    ("tag", "payload"),
    [
        (0, 0), (1, 1), (2, 2), (3, None), (-1, None),
        ("foreign", 0), ("env.foreign", 0), ("named", 1), ("shown", 2), ("nothing", None),
    ],
)  # fmt: skip
async def test_exceptions_by_the_name_of_their_tag(tag: int | str, payload: int | None) -> None:
    from tests.debuggee._programs import engine, module_of
    from trio_wasmdbg import Guest, open_debuggee

    store = wasmtime.Store(engine())
    foreign = wasmtime.Tag(store, wasmtime.TagType(wasmtime.FuncType([wasmtime.ValType.i32()], [])))
    module = await module_of(THROWERS)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate({"env": {"foreign": foreign}}, module)
        await guest.call(instance.func("try"), 2)

    async with open_debuggee(store, body) as debuggee:
        debuggee.stop_on_exceptions(tag=tag)
        event = await debuggee.run()
        if payload is None:
            assert isinstance(event, events.Finished)
            return
        assert isinstance(event, events.ExceptionThrown)
        assert event.payload == (payload,)
        assert event.frame is not None
        assert event.tag == payload
        with pytest.raises(TypeError, match="a tag is an index, a name or"):
            debuggee.stop_on_exceptions(tag=1.5)  # type: ignore[arg-type]
        debuggee.stop_on_exceptions(tag=foreign)
        if payload:
            event = await debuggee.run()
            assert isinstance(event, events.ExceptionThrown)
            assert event.payload == (0,)
        assert isinstance(await debuggee.run(), events.Finished)
