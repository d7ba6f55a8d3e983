"""Frames that only some paths have pushed are popped on the way to where these meet others.

Each function here has such a place; what it computes, and every stop in it, is as ever.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import wasmtime

from trio_wasmdbg.instrument import FRAME_MODES, KIND_SITE, FrameMode, instrument
from trio_wasmdbg.instrument._early_pops import early_pops
from trio_wasmdbg.instrument._survey import WHOLE, survey
from trio_wasmdbg.wasm import decode_module, type_body

from ._harness import Plain, Rig, check_same, wat
from .test_machine_code import disassembled

WAT = """
(module
  (memory (export "memory") 1)
  (table 1 1 funcref) (elem (i32.const 0) $callee)
  (type $unary (func (param i32) (result i32)))
  (func $callee (param i32) (result i32)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0)))
    (i32.mul (local.get 0) (i32.const 3)))

  (func $skipped (param $n i32) (result i32) (local $sum i32)
    (block $end
      (br_if $end (i32.lt_s (local.get $n) (i32.const 2)))
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (call $skipped (i32.sub (local.get $n) (i32.const 1)))))
        (br_if $again (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 2))) (i32.const 1)))))
    (i32.add (local.get $n) (local.get $sum)))

  (func $arms (param $n i32) (result i32) (local $kept i32)
    (local.set $kept (i32.const 7))
    (if (result i32) (i32.and (local.get $n) (i32.const 1))
      (then (call $callee (local.get $n)))
      (else (i32.const 5)))
    ;; not pushed, and there are ways out: a check, a division, a trap
    (loop $spin
      (local.set $kept (i32.add (local.get $kept) (i32.const 3)))
      (br_if $spin (i32.lt_s (local.get $kept) (i32.mul (local.get $n) (i32.const 5)))))
    (i32.div_s (local.get $kept) (i32.sub (local.get $n) (i32.const 9)))
    (drop (i32.load (i32.mul (local.get $n) (i32.const 5000))))
    (i32.add))

  (func $twice (param $n i32) (result i32)
    (if (i32.and (local.get $n) (i32.const 1)) (then (drop (call $callee (i32.const 1)))))
    (if (i32.and (local.get $n) (i32.const 2)) (then (drop (call $arms (i32.const 3)))))
    (if (i32.and (local.get $n) (i32.const 4)) (then (return (call $callee (local.get $n)))))
    (call $callee (i32.const 4)))

  (func $way_out (param $n i32) (result i32)
    (block $end
      (br_if $end (i32.eqz (local.get $n)))
      (local.set $n (call $callee (local.get $n)))
      (br_if $end (i32.gt_s (local.get $n) (i32.const 12)))
      (local.set $n (i32.add (local.get $n) (i32.const 100)))
      (br $end))
    (i32.add (local.get $n) (i32.load (i32.const 0))))

  (func $with_values (param $n i32) (result i32 i64)
    (block $end (result i32)
      (drop (br_if $end (i32.const 4) (i32.eqz (local.get $n))))
      (local.set $n (call $callee (local.get $n)))
      (br_if $end (local.get $n) (i32.gt_s (local.get $n) (i32.const 12)))
      (drop)
      (call_indirect (type $unary) (local.get $n) (i32.const 0)))
    (i64.const 9)
    (br_if 0 (i32.eq (local.get $n) (i32.const 3)))
    (drop)
    (i64.extend_i32_s (local.get $n)))

  (func $chosen (param $n i32) (result i32)
    (block $a
      (block $b
        (br_if $a (i32.eqz (local.get $n)))
        (local.set $n (call $callee (local.get $n)))
        (br_table $a $b (i32.and (local.get $n) (i32.const 1))))
      (local.set $n (i32.add (local.get $n) (i32.const 50))))
    (local.get $n))

  (func $returns (param $n i32) (result i32 i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 1) (i32.const 2))))
    (if (i32.eq (local.get $n) (i32.const 1))
      (then (i32.const 77) (call $callee (local.get $n)) (return)))
    (i32.const 3)
    (block (result i32)
      (drop (br_if 0 (i32.const 4) (i32.eq (local.get $n) (i32.const 2))))
      (br 1 (i32.const 30) (call $callee (local.get $n)))))

  (func $below (param $n i32) (result i32)
    ;; an operand that is stored before there is a frame
    (i32.const 1000)
    (block $end
      (br_if $end (i32.eqz (local.get $n)))
      (drop (call $callee (local.get $n))))
    (i32.add (local.get $n)))

  (func $nothing (param $n i32)
    (br_if 0 (i32.eqz (local.get $n)))
    (drop (call $callee (local.get $n)))
    (br_if 0 (i32.eq (local.get $n) (i32.const 2)))
    (if (i32.eq (local.get $n) (i32.const 3)) (then (return)))
    (i32.store (i32.const 4) (local.get $n)))

  {exports})
"""
NAMES = ["skipped", "arms", "twice", "way_out", "with_values", "chosen", "returns", "below", "nothing"]


def module(outside: bool) -> bytes:
    """With the functions themselves exported, or functions that call them."""
    exports = []
    for name in NAMES:
        results = {"with_values": "(result i32 i64)", "returns": "(result i32 i32)", "nothing": ""}
        if outside:
            exports.append(f'(export "{name}" (func ${name}))')
        else:
            result = results.get(name, "(result i32)")
            exports.append(f'(func (export "{name}") (param i32) {result} (call ${name} (local.get 0)))')
    return wat(WAT.replace("{exports}", "\n".join(exports)))


CALLS = [(name, (n,)) for name in NAMES for n in (0, 1, 2, 3, 4, 5, 7, 9, 14)]
OUTSIDE = pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])


def pops(name: str, *, returns: bool = False) -> list[str] | None:
    """The kinds of constructs before whose end the frame is popped."""
    decoded = decode_module(module(True))
    (function,) = (decoded.functions[each.index] for each in decoded.exports if each.name == name)
    typed = type_body(decoded, function)
    found = early_pops(typed, survey(typed), returns=returns)
    if found is None:
        return None
    return sorted({"function" if k == WHOLE else typed.controls[k].kind for k in found})


def test_where_frames_are_popped() -> None:
    assert pops("skipped") == ["block"]
    assert pops("arms") == ["if"]
    assert pops("twice") == ["if"]
    assert pops("way_out") == ["block"]
    assert pops("with_values") is None  # nothing can be put before a br_if that takes a value
    assert pops("chosen") is None  # nor before a br_table
    assert pops("returns") == ["function"]
    assert pops("below") == ["block"]
    assert pops("nothing") == ["function"]


def test_returns_that_lead_to_the_end() -> None:
    assert pops("returns", returns=True) == ["function"]
    assert pops("skipped", returns=True) == ["block"]


@OUTSIDE
def test_results_stay(outside: bool) -> None:
    check_same(module(outside), CALLS)


@OUTSIDE
@pytest.mark.parametrize("frames", FRAME_MODES)
def test_the_stack_is_empty_after_each_call(frames: FrameMode, outside: bool) -> None:
    wasm = module(outside)
    rig, plain = Rig(wasm, frames=frames), Plain(wasm)
    for name, args in CALLS:
        assert rig.call(name, *args) == plain.call(name, *args), (name, args)  # looks at the stack pointer


@OUTSIDE
@pytest.mark.parametrize("frames", FRAME_MODES)
def test_left_at_each_site(frames: FrameMode, outside: bool) -> None:
    """One site is armed at a time: the frame is there, under its caller's, and the results stay."""
    wasm = module(outside)
    instrumented = instrument(decode_module(wasm), frames=frames)
    for plan in instrumented.defined():
        for site in plan.sites:
            depths: list[int] = []

            def on_stop(rig: Rig, kind: int, fp: int, k: int, depths: list[int] = depths) -> int:
                if kind == KIND_SITE:
                    assert rig.frames()[0][:3] == (fp, rig.plan_of(fp).index, k)
                    depths.append(len(rig.frames()))
                return 0

            rig = Rig(wasm, instrumented=instrumented, on_stop=on_stop)
            rig.view[site.address] = 1
            plain = Plain(wasm)
            for name, args in CALLS:
                assert rig.call(name, *args) == plain.call(name, *args), (site, name, args)
            assert depths or site.kind != "entry", site


@OUTSIDE
def test_the_frame_is_there_or_not_as_is_said(outside: bool) -> None:
    """At traps: what is not pushed is known from the engine's backtrace alone."""
    rig = Rig(module(outside))
    plan = rig.instrumented.plan(2)  # arms
    ops = [instruction.op.name for instruction in plan.typed().instructions]
    assert plan.has_frame(ops.index("call"))
    assert not plan.has_frame(ops.index("i32.load"))
    assert rig.call("arms", 1)[0] == "returned"
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        # A call was made before, and its frame popped.
        rig.exports["arms"](rig.store, 15)  # type: ignore[operator]
    assert len(rig.frames()) == (0 if outside else 1)


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed (binutils)")
@pytest.mark.parametrize("frames", FRAME_MODES)
def test_functions_that_call_nothing_call_nothing(frames: FrameMode, tmp_path: Path) -> None:
    """What they leave by is jumped to: a call, even one of the engine, would have registers saved at each
    entry."""
    path = Path(__file__).parents[1] / "benchmarks/programs/O2/calls.wasm"
    instrumented = instrument(decode_module(path.read_bytes()), frames=frames)
    code = disassembled(instrumented.wasm, tmp_path)
    calls = {}
    for part in code.split("\n\n"):
        for name in ("add", "note", "mix"):
            if f"::{name}>:" in part:
                calls[name] = part.count("\tcall ")
    assert calls == {"add": 0, "note": 0, "mix": 2}
