"""Traps that fast twins run into: where they are in the original, and whose the innermost shadow frame is."""

from __future__ import annotations

import random

import pytest
import wasmtime

from trio_wasmdbg.addresses import InstrumentedOffset
from trio_wasmdbg.wasm import decode_module

from ._harness import Plain, Rig
from ._programs import compiled, needs_clang, wat


def frames_of(error: wasmtime.Trap) -> list[tuple[int, int]]:
    return [(frame.func_index, frame.module_offset) for frame in error.frames]


def trap(rig: Plain, name: str, *args: object) -> wasmtime.Trap:
    function = rig.exports[name]
    assert isinstance(function, wasmtime.Func)
    with pytest.raises(wasmtime.Trap) as caught:
        function(rig.store, *args)
    return caught.value


def check(wasm: bytes, name: str, *args: object) -> None:
    """The instrumented trap's places, mapped back, are the plain one's; the shadow stack agrees with them."""
    plain, rig = Plain(wasm), Rig(wasm)
    expected = frames_of(trap(plain, name, *args))
    error = trap(rig, name, *args)
    code_map, instrumented = rig.instrumented.code_map, rig.instrumented
    mapped = []
    for function, offset in frames_of(error):
        place = code_map.to_original(InstrumentedOffset(offset))
        assert place is not None and place.function == function and not place.inserted
        assert code_map.to_instrumented(function, place.offset) == offset
        mapped.append((function, int(place.offset)))
    assert mapped == expected

    shadow = [(function, k) for _, function, k, _ in rig.frames()]
    innermost, offset = mapped[0]
    plan = instrumented.plan(innermost)
    k = plan.resume_point_at(offset)  # type: ignore[arg-type]
    assert k is not None and plan.offsets[k] == offset
    calls = []
    for function, at in mapped[1:]:
        point = instrumented.plan(function).resume_point_at(at)  # type: ignore[arg-type]
        assert point is not None
        calls.append((function, point))
    if plan.has_frame(k):
        assert shadow[0][0] == innermost
        shadow = shadow[1:]
    assert shadow[: len(calls)] == calls
    if len(calls) < 19:
        assert len(shadow) == len(calls)


LAZY = """
    (module
      (memory 1)
      (func $leaf (export "leaf") (param i32 i32) (result i32)
        (local.set 1 (i32.mul (local.get 1) (i32.const 3)))
        (i32.load (local.get 0)))
      (func $sometimes (export "sometimes") (param i32 i32) (result i32)
        (if (local.get 1) (then (drop (call $leaf (i32.const 8) (i32.const 0)))))
        (i32.load (local.get 0)))
      (func (export "before") (param i32 i32) (result i32)
        (drop (i32.load (local.get 0)))
        (call $leaf (local.get 0) (i32.const 1)))
      (func (export "in_loop") (param i32 i32) (result i32)
        (loop $a
          (if (i32.eqz (local.get 1)) (then (return (i32.load (local.get 0)))))
          (local.set 1 (i32.sub (local.get 1) (call $sometimes (i32.const 16) (i32.const 1))))
          (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
          (br $a))
        (unreachable))
      (func $deep (export "deep") (param i32 i32) (result i32)
        (if (i32.eqz (local.get 1)) (then (return (i32.load (local.get 0)))))
        (if (i32.eq (local.get 1) (i32.const 2))
          (then (return (call $sometimes (local.get 0) (i32.const 1)))))
        (call $deep (local.get 0) (i32.sub (local.get 1) (i32.const 1))))
      (func (export "table") (param i32 i32) (result i32)
        (local.set 1 (call_indirect (param i32 i32) (result i32) (i32.const 16) (i32.const 1) (local.get 1)))
        (call_indirect (param i32 i32) (result i32) (local.get 0) (i32.const 1) (local.get 1)))
      (table 3 funcref) (elem (i32.const 0) $leaf $sometimes)
      (export "outer" (func $outer))
      (func $outer (param i32 i32) (result i32)
        (block $b
          (br_if $b (i32.eqz (local.get 1)))
          (drop (call $leaf (i32.const 0) (i32.const 0)))
          (br_if $b (i32.ge_u (local.get 1) (i32.const 2)))
          (return (i32.load (local.get 0))))
        (i32.trunc_f64_s (f64.load (local.get 0)))))
"""


@pytest.mark.parametrize("second", [0, 1, 2, 3, 5, 40])
@pytest.mark.parametrize("name", ["leaf", "sometimes", "before", "in_loop", "deep", "table", "outer"])
def test_out_of_bounds(name: str, second: int) -> None:
    check(wat(LAZY), name, -4, second)


def test_recursion_through_a_function_without_a_frame() -> None:
    """More calls than the engine's backtrace shows."""
    check(wat(LAZY), "deep", -4, 1)
    check(wat(LAZY), "deep", -4, 90)


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_compiled(level: str) -> None:
    check(compiled(level), "fall", -8)


def test_no_room_on_the_shadow_stack() -> None:
    """A frame of 70 KB: the shadow stack is used up before the machine's, which has no need of the locals."""
    locals_ = " ".join(["i64"] * 9000)
    wasm = wat(f"""
        (module (func $f (export "f") (param i32) (result i32) (local {locals_})
          (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0)))))
    """)
    rig = Rig(wasm)
    assert rig.call("f", 100) == ("returned", 100)
    error = trap(rig, "f", 1000)
    assert error.trap_code is wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS
    place = rig.instrumented.code_map.to_original(InstrumentedOffset(error.frames[0].module_offset))
    assert place is not None and place.inserted
    frames = rig.frames()
    assert len(frames) == rig.layout.stack_size // rig.instrumented.plan(0).frame.size
    assert {(function, slow) for _, function, _, slow in frames} == {(0, False)}


def test_recursion_without_end() -> None:
    wasm = wat("""
        (module (func $f (export "f") (param i32) (result i32)
          (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1))))))
    """)
    for slow in (False, True):
        rig = Rig(wasm)
        if slow:
            rig.make_all_slow()
            rig.arm_sites()
        error = trap(rig, "f", 0)
        assert error.trap_code is wasmtime.TrapCode.STACK_OVERFLOW
        frames = rig.frames()
        assert len(frames) > 1000
        inner = range(len(frames) - 2)
        values = [rig.locals_at(frames[i][0])[0] for i in inner[2:]]
        assert values == sorted(values, reverse=True)  # type: ignore[type-var]
        assert values[-1] == 2


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
def test_every_offset_of_the_code_is_mapped_there_and_back(level: str) -> None:
    wasm = compiled(level)
    rig = Rig(wasm)
    module, instrumented = decode_module(wasm), rig.instrumented
    chance = random.Random(level)
    for plan in instrumented.defined():
        offsets = plan.offsets
        assert len(offsets) == plan.instructions
        for k in chance.sample(range(len(offsets)), min(len(offsets), 60)):
            offset = offsets[k]
            assert plan.resume_point_at(offset) == k  # type: ignore[arg-type]
            at = instrumented.code_map.to_instrumented(plan.index, offset)  # type: ignore[arg-type]
            if at is None:
                assert plan.typed().instructions[k].op.name in ("global.get", "global.set", "return")
            else:
                assert instrumented.wasm[at] == module.data[offset]
                place = instrumented.code_map.to_original(at)
                assert place is not None and (place.offset, place.inserted) == (offset, False)
                assert instrumented.code_map.function_at(at) == plan.index
    assert instrumented.code_map.to_original(InstrumentedOffset(0)) is None
    assert instrumented.code_map.to_original(InstrumentedOffset(len(instrumented.wasm) + 5)) is None
