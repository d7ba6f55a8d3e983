"""Hostile modules: a typed error or an answer, in linear time; never another exception, a hang, a crash."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wasm._engine import STEADY, assemble, with_body
from trio_wasmdbg.errors import MalformedModuleError, ModuleError, UnsupportedFeatureError
from trio_wasmdbg.wasm import (
    I32,
    MAGIC,
    TypedBody,
    decode_module,
    disassemble,
    read_expression,
    section,
    type_body,
    uleb,
)

SOURCE = """(module $m
  (type $pair (struct (field (mut i32)) (field i8)))
  (type $row (array (mut i64)))
  (type $f (func (param i32 i64) (result f64)))
  (import "env" "host" (func $host (param i32) (result i32)))
  (import "env" "g" (global $ig (mut i32)))
  (memory 1 2) (memory $m64 i64 1)
  (table $t 3 funcref) (table $e 1 externref)
  (tag $tag (param i32))
  (global $g (mut i64) (i64.const 42))
  (elem (i32.const 0) func $a $b) (elem declare func $a)
  (data (i32.const 8) "data") (data "passive")
  (func $a (export "a") (param $n i32) (result i32) (local $x i64)
    block $out (result i32)
      loop $again (result i32)
        local.get $n i32.const 300 i32.add local.tee $n
        local.get $n i32.eqz br_if $out
        br_table $again $out $out $again
      end
    end
    if (result i32) local.get $n call $host else i32.const -70000 end)
  (func $b (type $f)
    local.get 0 i32.load offset=1000 align=1
    local.get 1 i32.const 1 call_indirect $t (type $f)
    f64.const 1.5 f64.mul
    v128.const i64x2 1 2 f64x2.extract_lane 1 f64.add
    i32.const 0 i32.const 0 i32.const 4 memory.init 1 data.drop 1
    i64.const 0 i32.atomic.load $m64 drop)
  (func $c (param anyref)
    block $h (result i32 exnref)
      try_table (catch_ref $tag $h) i32.const 1 throw $tag end
      i32.const 5 ref.null exn
    end drop drop
    ref.func $a drop ref.null extern ref.is_null drop
    i32.const 1 i32.const 2 struct.new $pair struct.get $pair 0 drop
    i64.const 0 i32.const 3 array.new $row array.len drop
    local.get 0 ref.test (ref i31) drop)
  (@custom "other" "abc")
)"""


@cache
def original() -> bytes:
    return assemble(SOURCE).data


def look_at_everything(data: bytes) -> None:
    """Decode, type and print; only ModuleError may come out, and it names a place inside the file."""
    try:
        module = decode_module(data)
        for global_ in module.globals:
            if global_.init is not None:
                for instruction in read_expression(module, global_.init):
                    disassemble(module, instruction)
        assert isinstance(module.names.functions, dict)
    except ModuleError as error:
        assert error.offset is None or 0 <= error.offset <= len(data)
        return
    for function in module.functions:
        if function.body is None:
            continue
        try:
            body = type_body(module, function)
        except ModuleError as error:
            assert error.function == function.index
            assert error.offset is not None
            assert function.body.code_start <= error.offset <= function.body.end
            continue
        check_shape(body)
        for instruction in body.instructions:
            assert "\n" not in disassemble(module, instruction, function.index)


def check_shape(body: TypedBody) -> None:
    count = len(body.instructions)
    assert len(body.stacks) == len(body.reachable) == len(body.scopes) == count
    for before, after in pairwise(body.instructions):
        assert before.end == after.offset
    for k, stack in enumerate(body.stacks):
        assert (0 if stack is None else stack.height + 1) <= body.max_height
        assert body.reachable[k] or stack is None


def test_the_original_is_fine() -> None:
    module = decode_module(original())
    for function in module.functions:
        if function.body is not None:
            check_shape(type_body(module, function))


def test_truncated_at_any_byte() -> None:
    data = original()
    whole = {8} | {s.end for s in decode_module(data).sections}
    for end in range(len(data)):
        look_at_everything(data[:end])
        if end not in whole:
            with pytest.raises(MalformedModuleError):
                decode_module(data[:end])


def test_any_byte_changed() -> None:
    data = original()
    for place in range(len(data)):
        for value in {0, 1, 0x0B, 0x40, 0x7F, 0x80, 0xFB, 0xFD, 0xFF, data[place] ^ 1, data[place] ^ 0x80}:
            look_at_everything(data[:place] + bytes((value,)) + data[place + 1 :])


@STEADY
@given(st.data())
def test_mutations(draw: st.DataObject) -> None:
    data = bytearray(original())
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        what = draw.draw(st.sampled_from(("change", "insert", "delete", "repeat")))
        if what == "change":
            data[place] = draw.draw(st.integers(0, 255))
        elif what == "insert":
            data[place:place] = draw.draw(st.binary(min_size=1, max_size=6))
        elif what == "delete" and len(data) > 9:
            del data[place : place + draw.draw(st.integers(1, 6))]
        else:
            data[place:place] = data[place : place + 20]
    look_at_everything(bytes(data))


@STEADY
@given(st.binary(max_size=200))
def test_any_code(code: bytes) -> None:
    module = decode_module(original())
    look_at_everything(with_body(module, 1, b"\0" + code + b"\x0b"))


@STEADY
@given(st.integers(0, 13), st.binary(max_size=60))
def test_any_section(id: int, payload: bytes) -> None:
    look_at_everything(MAGIC + section(id, payload))


def body_of(code: bytes, source: str = "(module (func))", locals_: bytes = b"\0") -> TypedBody:
    module = assemble(source)
    module = decode_module(with_body(module, 0, locals_ + code))
    return type_body(module, module.functions[0])


DEPTH = 100_000


def test_deep_nesting() -> None:
    body = body_of(b"\x02\x40" * DEPTH + b"\x0b" * DEPTH + b"\x0b")
    assert len(body.controls) == 2 * DEPTH + 1
    inner = body.scopes[DEPTH]
    assert (inner.start, inner.end) == (DEPTH - 1, DEPTH)
    repr(inner)


def test_deep_nesting_in_dead_code() -> None:
    body = body_of(b"\x00" + b"\x03\x40" * DEPTH + b"\x0b" * DEPTH + b"\x0b")
    assert sum(body.reachable) == 1


def test_deep_nesting_of_ifs() -> None:
    body = body_of(b"\x41\x00\x04\x40" * DEPTH + b"\x05\x0b" * DEPTH + b"\x0b")
    assert all(body.reachable)


def test_unclosed_nesting() -> None:
    with pytest.raises(MalformedModuleError, match="final end"):
        body_of(b"\x02\x40" * DEPTH)


def test_deep_operand_stack() -> None:
    body = body_of(b"\x41\x00" * DEPTH + b"\x1a" * DEPTH + b"\x0b")
    assert body.max_height == DEPTH
    assert body.stacks[-1] is None
    del body


def test_deep_blocks_on_a_deep_stack() -> None:
    body = body_of(b"\x41\x00\x02\x40" * DEPTH + b"\x0b\x1a" * DEPTH + b"\x0b")
    assert body.max_height == DEPTH


@pytest.mark.parametrize("label", [b"\x00", b"\x80\x00"], ids=["short", "padded"])
def test_huge_branch_tables(label: bytes) -> None:
    table = b"\x0e" + uleb(DEPTH) + label * DEPTH + b"\x00"
    body = body_of(b"\x02\x40\x41\x00" + table + b"\x0b\x0b")
    assert body.instructions[2].imm.targets == (0,) * DEPTH
    many = b"\x02\x40\x41\x00" + b"\x0e" + uleb(1000) + label * 1000 + b"\x00\x0b"
    assert len(body_of(many * 300 + b"\x0b").instructions) == 1201


def test_branches_out_of_deep_nesting() -> None:
    deep = 20_000
    code = b"\x02\x40" * deep + (b"\x41\x00\x0d" + uleb(deep)) * 20_000 + b"\x0b" * deep + b"\x0b"
    assert all(body_of(code).reachable)


def test_fifty_thousand_locals() -> None:
    groups = uleb(50_000) + b"\x01\x7f" * 50_000
    body = body_of(b"\x20" + uleb(49_999) + b"\x1a\x0b", locals_=groups)
    assert body.locals == (I32,) * 50_000
    many = body_of(b"\x0b", locals_=b"\x01" + uleb(50_000) + b"\x7f")
    assert len(many.locals) == 50_000


def test_many_functions_with_many_locals() -> None:
    """Locals stay run-length coded until a body is typed."""
    one = uleb(7) + b"\x01" + uleb(50_000) + b"\x7f\x01\x0b"
    count = 20_000
    functions = section(3, uleb(count) + b"\0" * count)
    code = section(10, uleb(count) + one * count)
    module = decode_module(MAGIC + section(1, b"\x01\x60\0\0") + functions + code)
    assert module.functions[-1].body is not None
    assert module.functions[-1].body.local_count == 50_000
    assert len(type_body(module, module.functions[-1]).instructions) == 2


THOUSAND = " ".join(["i32"] * 1000)


def test_long_type_lists_share_their_operands() -> None:
    source = f"""(module (func)
      (type $t (func (param {THOUSAND}) (result {THOUSAND}))) (func (type $t) unreachable)
      (type $s (func (result {THOUSAND}))) (func (type $s) unreachable))"""
    body = body_of(b"\x10\x02" + b"\x10\x01" * 5_000 + b"\x00\x0b", source)
    assert body.stacks[2] is body.stacks[5_000]
    assert body.max_height == 1000


def test_long_type_lists_have_a_limit() -> None:
    """Eight bytes that make a thousand operands each time: refused before it takes gigabytes."""
    source = f"(module (func) (type $s (func (result {THOUSAND}))) (func (type $s) unreachable))"
    code = b"\x02\x40\x41\x00\x10\x01\x0c\x00\x0b"
    with pytest.raises(UnsupportedFeatureError, match=r"too many operands .* in function 0"):
        body_of(code * 30_000 + b"\x0b", source)


def test_a_billion_of_anything() -> None:
    for id in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13):
        with pytest.raises(MalformedModuleError):
            decode_module(MAGIC + section(id, b"\xff\xff\xff\xff\x0f" + b"\0" * 100))


def test_many_name_sections() -> None:
    one = section(0, b"\x04name\x01\x05\xff\xff\xff\xff\x0f")
    assert decode_module(MAGIC + one * 50_000).names.functions == {}
