"""Functions that can't be made debuggable don't keep the others from it."""

from __future__ import annotations

import pytest

from tests.instrument._harness import Plain, Rig, flavours, wat
from trio_wasmdbg.errors import UnsupportedFeatureError
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

LOCALS = "i32 " * 49_000 + "v128 "
"""One of 16 bytes makes all slots as wide; with the operands, a frame takes more than a megabyte."""
OPERANDS = 17_000

MODULE = f"""
(module
  (global $g (mut i32) (i32.const 5))
  (global $h (export "h") (mut i32) (i32.const 7))
  (func $inner (param i32) (result i32) (global.set $h (local.get 0)) (i32.mul (local.get 0) (i32.const 3)))
  (func $large (export "large") (param i32) (result i32) (local {LOCALS})
    {"(i32.const 1)" * OPERANDS} {"drop " * OPERANDS}
    (local.set 40000 (i32.add (local.get 0) (global.get $g)))
    (global.set $g (local.get 40000))
    (i32.add (call $inner (local.get 40000)) (call $inner (i32.const 1))))
  (func (export "outer") (param i32) (result i32)
    (i32.sub (call $large (local.get 0)) (call $inner (i32.const 4)))))
"""


def test_a_frame_that_is_too_large() -> None:
    wasm = wat(MODULE)
    made = instrument(decode_module(wasm))
    assert list(made.opaque) == [1]
    assert "too many locals" in str(made.opaque[1]) and made.opaque[1].function == 1
    assert made.plans[1] is None and made.plans[0] is not None and made.plans[2] is not None
    # it may be called by another instance, and does not say which instance runs now
    assert made.plans[0].escapable
    with pytest.raises(LookupError, match="too many locals"):
        made.plan(1)
    plain = Plain(wasm)
    expected = [plain.call("outer", 3), plain.call("large", 10), plain.call("outer", -1)]
    for flavour, rig in flavours(wasm).items():
        got = [rig.call("outer", 3), rig.call("large", 10), rig.call("outer", -1)]
        assert got == expected, flavour
        assert rig.state() == plain.state(), flavour


def test_what_it_calls_is_seen() -> None:
    seen = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        seen.append([function for _, function, _, _ in rig.frames()])
        return 0

    rig = Rig(wat(MODULE), on_stop=on_stop)
    rig.arm_sites()
    assert rig.call("outer", 3)[0] == "returned"
    assert [0, 2] in seen and not any(1 in frames for frames in seen)


def test_an_opaque_function_that_catches_is_refused() -> None:
    text = MODULE.replace("(global.set $g (local.get 40000))", "(block $b (try_table (catch_all $b)))")
    with pytest.raises(UnsupportedFeatureError, match=r"too many locals.* in function 1"):
        instrument(decode_module(wat(text)))
