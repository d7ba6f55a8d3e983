"""Functions that leave no room for a fast twin run in their slow twins, and are debuggable."""

from __future__ import annotations

import pytest

from tests.instrument._harness import KIND_SITE, KIND_STOP, Plain, Rig, check_same, flavours, wat
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

MOST = 50_000
"""Locals that the engine takes in one function, parameters included."""


def locals_of(*others: str) -> str:
    return " ".join([*others, *["i32"] * (MOST - 1 - len(others))])


def module(more: str = "", others: tuple[str, ...] = ()) -> str:
    """Function 1 has as many locals as there can be; function 2 calls it and is called by it."""
    return f"""
(module (memory (export "m") 1) (table 2 funcref) (elem (i32.const 0) func $large $double)
  (global $g (export "g") (mut i32) (i32.const 5))
  (type $unary (func (param i32) (result i32)))
  (data $d "\\2a\\00\\00\\00")
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $large (export "large") (type $unary) (local {locals_of(*others)})
    (local.set 49999 (i32.add (local.get 0) (global.get $g)))
    (local.set 40000 (call $double (local.get 49999)))
    (loop $again
      (local.set 30000 (i32.add (local.get 30000) (local.get 40000)))
      (br_if $again (i32.lt_u (local.get 30000) (i32.const 1000))))
    {more}
    (memory.init $d (i32.const 8) (i32.const 0) (i32.const 4))
    (global.set $g (i32.add (i32.load (i32.const 8)) (local.get 20000)))
    (i32.div_u (local.get 30000) (local.get 0)))
  (func (export "outer") (type $unary)
    (i32.sub (call $large (local.get 0)) (call $double (i32.const 4))))
  (func (export "indirect") (type $unary) (call_indirect (type $unary) (local.get 0) (i32.const 0)))
  (func (export "tail") (type $unary)
    (return_call $large (i32.add (local.get 0) (i32.const 1)))))
"""


CALLS = [
    ("outer", (3,)),
    ("large", (10,)),
    ("indirect", (7,)),
    ("tail", (1,)),
    ("large", (0,)),
    ("outer", (-1,)),
]


@pytest.mark.parametrize("locals", [(), ("v128",), ("funcref", "externref", "i64")])
def test_as_many_locals_as_the_engine_takes(locals: tuple[str, ...]) -> None:
    wasm = wat(module(others=locals))
    made = instrument(decode_module(wasm))
    assert not made.opaque
    check_same(wasm, CALLS)


@pytest.mark.parametrize("count", range(49_985, 50_001))
def test_at_the_edge(count: int) -> None:
    """Where it begins that a fast twin does not fit."""
    text = module().replace(locals_of(), "i32 " * (count - 1)).replace("49999", str(count - 1))
    made = instrument(decode_module(wat(text)))
    assert not made.opaque
    rig = Rig(wat(text), instrumented=made)
    assert rig.call("outer", 3) == Plain(wat(text)).call("outer", 3)
    if count == MOST:
        assert rig.hook_calls, "it has a fast twin?"


def test_its_frame_is_seen_and_changed() -> None:
    """A pause at its entry, before it has a slow twin; one in it; and one in what it calls."""
    seen = []

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        for at, function, point, slow in rig.frames():
            if function == 1:
                locals = rig.locals_at(at)
                assert len(locals) == MOST
                seen.append((kind, point, slow, locals[0], locals[40_000], locals[49_999]))
        if kind == KIND_STOP:
            offset = rig.plan_of(fp).frame.local(20_000)
            rig.put_u32(fp + offset, 77)
        return 0

    rig = Rig(wat(module()), on_stop=on_stop)
    large = rig.instrumented.plan(1)
    rig.put_u32(rig.instrumented.plan(0).site_addresses.start, 0x01)  # entry of $double
    rig.view[large.stop_base + 5] = 1
    assert rig.call("outer", 3)[0] == "returned"
    assert seen[0] == (KIND_SITE, 0, False, 3, 0, 0)
    assert (KIND_STOP, 5, True, 3, 0, 8) in seen
    assert any(kind == KIND_SITE and point == 5 and last == 8 for kind, point, _, _, _, last in seen)
    # local 20000 was changed in the frame, and the function has read it there
    assert rig.state()["g"] == 42 + 77


def test_references_of_earlier_frames_are_gone() -> None:
    """All reference locals begin as null, whatever lay in the frame's slots before."""
    text = f"""
    (module
      (func $fill (export "fill") (param externref) (result i32)
        (local {"externref " * 200})
        {"".join(f"(local.set {i} (local.get 0))" for i in range(1, 201))}
        (call $nothing) (ref.is_null (local.get 8)))
      (func $nothing)
      (func (export "count") (param i32) (result i32) (local {"externref " * 49_998} i32)
        {"".join(f"(local.set 49999 (i32.add (local.get 49999) (ref.is_null (local.get {i}))))"
                 for i in range(1, 200))}
        (local.get 49999)))
    """
    wasm = wat(text)
    for flavour, rig in flavours(wasm).items():
        assert rig.call("fill", "an object") == ("returned", 0), flavour
        assert rig.call("count", 0) == ("returned", 199), flavour


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_function_of_nearly_the_greatest_size() -> None:
    """A fast twin would have more than the 7,654,321 bytes that the engine takes."""
    step = "(if (local.get 1) (then (drop (call 1 (i32.const 0)))))"
    text = f"""
    (module (global $g (mut i32) (i32.const 0))
      (func $large (export "large") (param i32) (result i32) (local i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 5))))
        {step * 400_000}
        (global.set $g (i32.const 3)) (i32.add (call $leaf (local.get 0)) (global.get $g)))
      (func $leaf (param i32) (result i32) (local.get 0)))
    """
    wasm = wat(text)
    body = decode_module(wasm).functions[0].body
    assert body is not None and 4_000_000 < body.end - body.start < 7_654_321
    made = instrument(decode_module(wasm))
    assert not made.opaque and made.plan(0).instructions > 2_000_000
