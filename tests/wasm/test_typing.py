"""Operand typing, checked by hand and against the engine's validator."""

from __future__ import annotations

import pytest

from tests.wasm._engine import assemble, letters, typed
from tests.wasm._oracle import disagreement
from trio_wasmdbg.errors import MalformedModuleError
from trio_wasmdbg.wasm import I32, I64, Operand, TypedBody, operand_types, type_body

# (name, body of a function, operand stack before each instruction; * = dead).  i I f F v as in the table.
CASES: list[tuple[str, str, list[str]]] = [
    ("empty", "", [""]),
    ("straight", "(result i32) i32.const 1 i32.const 2 i32.add", ["", "i", "ii", "i"]),
    ("conversion", "(result f64) i64.const 1 f64.convert_i64_s", ["", "I", "F"]),
    ("store", "(param i64) i32.const 0 local.get 0 i64.store", ["", "i", "iI", ""]),
    ("tee", "(param f32) f32.const 0 local.tee 0 drop", ["", "f", "f", ""]),
    ("global", "global.get 0 global.set 0", ["", "I", ""]),
    ("select", "(result f32) f32.const 1 f32.const 2 i32.const 0 select", ["", "f", "ff", "ffi", "f"]),
    ("memory", "(result i32) memory.size memory.grow", ["", "i", "i"]),
    ("call", "(result i32) i32.const 1 i64.const 2 call $two drop", ["", "i", "iI", "if", "i"]),
    (
        "indirect call",
        "i32.const 1 i64.const 2 i32.const 0 call_indirect (type $two) drop drop",
        ["", "i", "iI", "iIi", "if", "i", ""],
    ),
    ("block", "i32.const 1 block i64.const 1 drop end drop", ["", "i", "i", "iI", "i", "i", ""]),
    (
        "block with a result",
        "(result i32) block (result i32) i32.const 1 end",
        ["", "", "i", "i"],
    ),
    (
        "block with parameters",
        "(result f32) i32.const 1 f32.const 2 block (param i32 f32) (result f32) f32.neg br 0 end",
        ["", "i", "if", "if", "if", "*", "f"],
    ),
    (
        "loop with parameters",
        "(param i32) i64.const 3 loop (param i64) drop i64.const 4 local.get 0 br_if 0 drop end",
        ["", "I", "I", "", "I", "Ii", "I", "", ""],
    ),
    (
        "if and else",
        "(param i32) (result i64) local.get 0 if (result i64) i64.const 1 else i64.const 2 end",
        ["", "i", "", "I", "", "I", "I"],
    ),
    (
        "else after dead code",
        "(param i32) (result i64) local.get 0 if (result i64) unreachable else i64.const 2 end",
        ["", "i", "", "*", "", "I", "I"],
    ),
    (
        "if with parameters",
        "(param i32) (result i32) i32.const 7 local.get 0 if (param i32) (result i32) nop else i32.clz end",
        ["", "i", "ii", "i", "i", "i", "i", "i"],
    ),
    ("if without else", "(param i32) local.get 0 if nop end", ["", "i", "", "", ""]),
    (
        "br keeps what lies below",
        "f32.const 0 block (result i32) f64.const 0 i32.const 1 br 0 end drop drop",
        ["", "f", "f", "fF", "fFi", "*", "fi", "f", ""],
    ),
    (
        "br_if keeps the label's operands",
        "(param i32) (result i64) block (result i64) i64.const 1 local.get 0 br_if 0 end",
        ["", "", "I", "Ii", "I", "I"],
    ),
    (
        "br_table",
        "(param i32) block block local.get 0 br_table 0 1 1 end end",
        ["", "", "", "i", "*", "", ""],
    ),
    ("return", "(result i32) i32.const 1 return i32.const 2 drop", ["", "i", "*", "*", "*"]),
    ("unreachable", "(result i32) unreachable i64.add drop", ["", "*", "*", "*"]),
    (
        "a block in dead code is dead",
        "(result i32) block (result i32) i32.const 1 br 0 block i64.const 1 drop end loop end end",
        ["", "", "i", "*", "*", "*", "*", "*", "*", "*", "i"],
    ),
    (
        "an if in dead code is dead",
        "return if (result i32) i32.const 1 else i32.const 2 end drop",
        ["", "*", "*", "*", "*", "*", "*", "*"],
    ),
    (
        "after the end of an endless loop",
        "(result i32) loop (result i32) br 0 end",
        ["", "", "*", "i"],
    ),
    ("several results", "(result i32 i64) i32.const 1 i64.const 2", ["", "i", "iI"]),
    (
        "wide",
        "(result i64 i64) i64.const 1 i64.const 2 i64.mul_wide_u",
        ["", "I", "II", "II"],
    ),
    ("tail call", "(result i32 f32) i32.const 1 i64.const 2 return_call $two", ["", "i", "iI", "*"]),
    ("bulk", "i32.const 0 i32.const 0 i32.const 0 memory.fill", ["", "i", "ii", "iii", ""]),
    ("vector", "i32.const 1 i8x16.splat drop", ["", "i", "v", ""]),
    (
        "references",
        "i32.const 0 ref.null extern table.set $ext i32.const 0 table.get $ext ref.is_null drop",
        ["", "i", "i<externref>", "", "i", "<externref>", "i", ""],
    ),
    (
        "typed select",
        "(result externref) ref.null extern ref.null extern i32.const 0 select (result externref)",
        ["", "<externref>", "<externref><externref>", "<externref><externref>i", "<externref>"],
    ),
    ("ref.func", "(result funcref) ref.func $two", ["", "<(ref 0)>"]),
    (
        "grow a table",
        "(result i32) ref.null func i32.const 1 table.grow 0",
        ["", "<funcref>", "<funcref>i", "i"],
    ),
    ("64-bit memory", "(result i64) memory.size $m64", ["", "I"]),
    ("throw", "(result f32) i32.const 1 throw $tag", ["", "i", "*"]),
    (
        "try_table",
        "(result i32) block $h (result i32 exnref) try_table (catch_ref $tag $h) i32.const 1 throw $tag end"
        " unreachable end drop",
        ["", "", "", "i", "*", "", "*", "i<exnref>", "i"],
    ),
    (
        "br_on_null",
        "(param (ref null $two)) block local.get 0 br_on_null 0 drop end",
        ["", "", "<(ref null 0)>", "<(ref 0)>", "", ""],
    ),
    (
        "br_on_non_null",
        "(param (ref null $two)) (result (ref null $two)) block (result (ref $two)) local.get 0"
        " br_on_non_null 0 unreachable end",
        ["", "", "<(ref null 0)>", "", "*", "<(ref 0)>"],
    ),
    (
        "structs",
        "(result i32) i32.const 1 struct.new $pair struct.get_u $pair 0",
        ["", "i", "<(ref 1)>", "i"],
    ),
    (
        "casts",
        "(param anyref) block (result anyref) local.get 0 br_on_cast 0 anyref (ref null i31)"
        " ref.cast (ref $pair) end drop",
        ["", "", "<anyref>", "<(ref any)>", "<(ref 1)>", "<anyref>", ""],
    ),
]

PRELUDE = """(module
  (type $two (func (param i32 i64) (result i32 f32)))
  (type $pair (struct (field i8)))
  (global (mut i64) (i64.const 0))
  (memory 1) (memory $m64 i64 1)
  (table 1 funcref) (table $ext 1 externref)
  (tag $tag (param i32))
  (func $subject {body})
  (func $two (type $two) unreachable)
  (elem declare func $two)
)"""


@pytest.mark.parametrize(("body", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_by_hand(body: str, expected: list[str]) -> None:
    module = assemble(PRELUDE.format(body=body))
    found = type_body(module, module.functions[0])
    assert letters(found) == expected
    for k in range(len(found.instructions)):
        assert disagreement(module, found, k) is None
    heights = [0 if s is None else s.height + 1 for s in found.stacks]
    assert found.max_height >= max(heights)


def test_scopes_and_controls() -> None:
    body = typed(
        """(module (func (param i32) (result i32)
          i32.const 9          ;; 0
          local.get 0          ;; 1
          if                   ;; 2
            loop               ;; 3
              br 1             ;; 4
            end                ;; 5
          else                 ;; 6
            nop                ;; 7
          end                  ;; 8
        ))"""
    )  # end: 9
    function, if_, loop = body.scopes[0], body.controls[2], body.controls[3]
    assert [f.kind for f in (function, if_, loop)] == ["function", "if", "loop"]
    assert [body.scopes.index(f) for f in (function, if_, loop)] == [0, 3, 4]
    assert [id(f) for f in body.scopes] == [
        id(f) for f in (function, function, function, if_, loop, loop, if_, if_, if_, function)
    ]
    assert set(body.controls) == {2, 3, 5, 6, 8, 9}
    assert body.controls[6] is body.controls[8] is if_
    assert body.controls[9] is function
    assert (function.start, function.else_, function.end) == (-1, None, 9)
    assert (if_.start, if_.else_, if_.end, if_.height) == (2, 6, 8, 1)
    assert (loop.start, loop.else_, loop.end, loop.height) == (3, None, 5, 1)
    assert (function.parent, if_.parent, loop.parent) == (None, function, if_)
    assert (function.params, function.results, function.label_types) == ((), (I32,), (I32,))
    assert bytes(body.reachable) == bytes([1, 1, 1, 1, 1, 0, 1, 1, 1, 1])
    assert body.locals == (I32,)
    assert body.max_height == 2


def test_locals_are_parameters_first() -> None:
    body = typed("(module (func (param i64) (local i32 i32) (local i64)))")
    assert body.locals == (I64, I32, I32, I64)


def test_neighbours_share_their_stacks() -> None:
    body = typed("(module (func i32.const 1 i64.const 2 drop drop))")
    first, second, third = body.stacks[1:4]
    assert second is not None
    assert second.below is first
    assert third is first


def test_operands_are_compared_by_identity() -> None:
    deep: Operand | None = None
    for height in range(100_000):
        deep = Operand(deep, I32, height)
    assert deep is not None
    twin = Operand(deep.below, I32, deep.height)
    assert deep != twin
    assert len({deep, twin}) == 2
    assert repr(deep) == "<Operand i32 at height 99999>"
    assert len(operand_types(deep)) == 100_000
    assert operand_types(None) == ()


INVALID = {
    "underflow": "drop",
    "binary underflow": "i32.const 0 i32.add drop",
    "tee underflow": "(param i32) local.tee 0",
    "select underflow": "i32.const 0 i32.const 0 select",
    "call underflow": "i32.const 0 call 0",
    "indirect underflow": "i32.const 0 call_indirect (type 0)",
    "below the block": "i32.const 0 block drop end",
    "if underflow": "if end",
    "block parameters": "i32.const 0 block (param i32 i32) drop drop end",
    "br_if underflow": "br_if 0",
    "br_if label": "(result i32) i32.const 0 br_if 0 i32.const 0",
    "br label": "(result i32) br 0",
    "br_table label": "(result i32) i32.const 0 br_table 0",
    "return": "(result i32) return",
    "left over": "i32.const 0",
    "missing result": "(result i32)",
    "left over in a block": "block i32.const 0 end drop",
    "if without else": "(result i32) i32.const 0 if (result i32) i32.const 0 end",
    "then too many": "i32.const 0 if i32.const 1 else end",
    "label": "br 1",
    "br_if unknown label": "i32.const 0 br_if 1",
    "br_table unknown label": "i32.const 0 br_table 0 0 9 0",
    "dead unknown label": "return br 7",
    "dead unknown table label": "return br_table 0 7 0",
    "catch label": "try_table (catch_all 3) end",
    "dead catch label": "return try_table (catch_all 3) end",
    "reference of a number": "i32.const 0 ref.as_non_null drop",
    "no struct": "struct.new 0 drop",
    "no array": "i32.const 0 array.new_default 0 drop",
    "return_call underflow": "i32.const 0 return_call 0",
    "throw underflow": "throw 0",
    "throw_ref underflow": "throw_ref",
    "on the function's floor": "ref.is_null drop",
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_bodies_get_an_error_with_its_place(case: str) -> None:
    source = f"""(module (type (func (param i32 i32))) (tag (type 0)) (table 1 funcref)
      (func (type 0)) (func $bad {INVALID[case]}))"""
    module = assemble(source)
    with pytest.raises(MalformedModuleError, match="in function 1 'bad'") as caught:
        type_body(module, module.functions[1])
    body = module.functions[1].body
    assert body is not None
    assert caught.value.offset is not None
    assert body.code_start <= caught.value.offset < body.end


def test_an_unknown_field() -> None:
    module = assemble(
        "(module (type (struct (field i32))) (func (param (ref 0)) local.get 0 struct.get 0 9 drop))"
    )
    with pytest.raises(MalformedModuleError, match="unknown field 9"):
        type_body(module, module.functions[0])


def test_else_without_if_and_else_twice() -> None:
    from tests.wasm._engine import with_body
    from trio_wasmdbg.wasm import decode_module

    module = assemble("(module (func))")
    for code in ("0240050b0b", "41000440050505050b0b", "050b", "000502400b0b"):
        bad = decode_module(with_body(module, 0, b"\0" + bytes.fromhex(code)))
        with pytest.raises(MalformedModuleError, match="else"):
            type_body(bad, bad.functions[0])


def test_the_result_is_a_record() -> None:
    body = typed("(module (func nop))")
    assert isinstance(body, TypedBody)
    assert len(body.instructions) == len(body.stacks) == len(body.reachable) == len(body.scopes) == 2
    assert "instructions" not in repr(body)
