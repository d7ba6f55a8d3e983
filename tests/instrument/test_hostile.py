"""Functions of extreme shapes: rewritten in time that grows with their size only, and still right."""

from __future__ import annotations

import time

import pytest
import wasmtime

from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, instrument, slow_twin
from trio_wasmdbg.wasm import decode_module

from ._harness import ENGINE, check_same
from ._programs import wat

N = 6000

SHAPES = {
    "deep blocks, branches outwards": "(block " * N + f"(br_if {N - 1} (local.get 0)) " * N + ")" * N,
    "deep loops with calls": "(loop " * 700 + "(call $f) (local.set 0 (i32.const 0)) " + ")" * 700,
    "many operands under calls": "(local.get 0) " * N
    + "(call $f) (drop) (call $f) (local.get 0) " * 200
    + "(drop) " * N,
    "many operands under blocks": "(local.get 0) " * N + "(block (call $f)) " * N + "(drop) " * N,
    "a wide br_table": "(block " * N
    + "(br_table "
    + " ".join(map(str, range(N)))
    + " (i32.sub (local.get 0) (i32.const 1)))"
    + ")" * N,
    "many calls": "(local.set 1 (i64.const 5)) (call $f) " * N,
    "many divisions": "(local.set 0 (i32.div_u (local.get 0) (i32.or (local.get 0) (i32.const 1))))" * N,
    "if and else": "(if (local.get 0) (then (call $f)) (else (local.set 1 (i64.const 3))))" * N,
}


@pytest.mark.parametrize("frames", FRAME_MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_extreme_shapes(name: str, frames: FrameMode) -> None:
    wasm = wat(f'(module (func $f) (func (export "run") (param i32) (local i64) {SHAPES[name]}))')
    start = time.process_time()
    result = instrument(decode_module(wasm), frames=frames)
    companion = slow_twin(result, [1])
    spent = time.process_time() - start
    wasmtime.Module.validate(ENGINE, result.wasm)
    wasmtime.Module.validate(ENGINE, companion.wasm)
    assert len(result.wasm) + len(companion.wasm) < 500 * len(wasm)
    # Hundred times more than is needed, and much less than anything quadratic would take.
    assert spent < 60, f"{spent:.1f} s"


def test_many_locals_all_dirty() -> None:
    count = 3000
    locals_ = " ".join(["i64"] * count)
    sets = " ".join(f"(local.set {i + 1} (i64.const {i}))" for i in range(count))
    gets = " ".join(f"(i64.add (local.get {i + 1}))" for i in range(count))
    wasm = wat(f"""
        (module (func $f)
          (func (export "run") (param i32) (result i64) (local {locals_})
            {sets} (call $f) (call $f) (i64.const 0) {gets}))
    """)
    check_same(wasm, [("run", (1,))])


def test_operands_that_are_many_keep_their_order() -> None:
    """More than go into temporary locals."""
    pushes = " ".join(f"(i32.const {i}) (i64.const {i}) (f64.const {i})" for i in range(40))
    pops = " ".join(
        "(i32.trunc_f64_s) (local.set 1) (i32.wrap_i64) (local.get 1) (i32.mul) (i32.xor) (local.set 1)"
        " (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31)) (local.get 1)))"
        for _ in range(40)
    )
    wasm = wat(f"""
        (module (func $f (param i32) (result i32) (local.get 0))
          (func (export "run") (param i32) (result i32) (local i32)
            {pushes} (drop (call $f (i32.const 1))) {pops} (local.get 0)))
    """)
    check_same(wasm, [("run", (1,))])
