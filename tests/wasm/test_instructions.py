"""The instruction table, reading, encoding and text of instructions."""

from __future__ import annotations

import re

import pytest

from tests.wasm._engine import LETTERS, assemble, is_valid, with_body
from trio_wasmdbg.errors import InternalError, MalformedModuleError, UnsupportedInstructionError
from trio_wasmdbg.wasm import (
    BY_NAME,
    I32,
    OPS,
    BlockType,
    BrTable,
    Flow,
    Imm,
    Instruction,
    MemArg,
    Module,
    Op,
    decode_module,
    disassemble,
    instruction,
    operand_types,
    read_body,
    type_body,
)

# Operands of the text format for instructions that need some.
TEXT = {
    Imm.NONE: "",
    Imm.LOCAL: "0",
    Imm.GLOBAL: "0",
    Imm.FUNCTION: "0",
    Imm.LABEL: "0",
    Imm.TYPE: "0",
    Imm.TABLE: "0",
    Imm.MEMORY: "0",
    Imm.TAG: "0",
    Imm.DATA: "0",
    Imm.ELEM: "0",
    Imm.I32: "-5",
    Imm.I64: "0x7fffffffffffffff",
    Imm.F32: "nan:0x200001",
    Imm.F64: "-0x1.8p3",
    Imm.V128: "i32x4 1 2 3 0xffffffff",
    Imm.SHUFFLE: "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31",
    Imm.MEMARG: "offset=300",
    Imm.MEMARG_LANE: "offset=7 1",
    Imm.LANE: "1",
    Imm.BR_TABLE: "0 1 0",
    Imm.CALL_INDIRECT: "0 (type 0)",
    Imm.SELECT: "(result i32)",
    Imm.HEAP_TYPE: "func",
    Imm.BR_ON_CAST: "0 anyref (ref i31)",
    Imm.DATA_MEMORY: "0",
    Imm.MEMORY_MEMORY: "",
    Imm.ELEM_TABLE: "0",
    Imm.TABLE_TABLE: "",
    Imm.TYPE_FIELD: "1 0",
    Imm.TYPE_COUNT: "2 3",
    Imm.TYPE_DATA: "2 0",
    Imm.TYPE_ELEM: "2 0",
    Imm.TYPE_TYPE: "2 2",
    Imm.FENCE: "",
}

MODULE = """(module
  (type (func)) (type (struct (field (mut i32)))) (type (array (mut i32)))
  (tag (type 0)) (memory 1) (table 1 funcref) (global (mut i32) (i32.const 0))
  (elem funcref) (data "x")
  (func {locals}
    (block (block {code})))
)"""

ASSEMBLED = [
    op
    for op in OPS.values()
    if op.imm not in (Imm.UNSUPPORTED, Imm.BLOCK, Imm.END, Imm.TRY_TABLE) and op.name != "else"
]


def text_of(op: Op) -> str:
    if op.name == "select t":
        return "select (result i32)"
    if op.name in ("ref.test", "ref.cast"):
        return f"{op.name} (ref func)"
    if op.name in ("ref.test null", "ref.cast null"):
        return f"{op.name[:8]} funcref"
    operand = "0" if op.imm is Imm.MEMARG_LANE else TEXT[op.imm]
    if op.imm is Imm.MEMARG_LANE:
        operand = "offset=7 1"
    if op.imm is Imm.TYPE and op.name.startswith("struct"):
        operand = "1"
    if op.imm is Imm.TYPE and op.name.startswith("array"):
        operand = "2"
    return f"{op.name} {operand}"


@pytest.mark.parametrize("op", ASSEMBLED, ids=lambda op: op.name)
def test_every_row_against_the_assembler(op: Op) -> None:
    """The assembler's bytes decode to this row, encode to the same bytes, and print to text for them."""
    source = MODULE.format(locals="(local i32)", code=text_of(op))
    m = assemble(source)
    body = read_body(m, m.functions[0])
    found = body[2]
    assert found.op is op
    raw = m.data[found.offset : found.end]
    assert instruction(op, found.imm) == raw
    again = assemble(MODULE.format(locals="(local i32)", code=disassemble(m, found)))
    other = read_body(again, again.functions[0])[2]
    assert again.data[other.offset : other.end] == raw


SIGNED = [op for op in ASSEMBLED if op.pops is not None and op.pushes is not None and op.flow is Flow.NEXT]


@pytest.mark.parametrize("op", SIGNED, ids=lambda op: op.name)
def test_every_signature_against_the_validator(op: Op) -> None:
    """With operands and results of the row's types, the engine accepts it, and typing agrees."""
    assert op.pops is not None
    assert op.pushes is not None
    names = {letter: str(type) for type, letter in LETTERS.items()}
    params = " ".join(names[LETTERS[t]] for t in op.pops)
    results = " ".join(names[LETTERS[t]] for t in op.pushes)
    gets = " ".join(f"local.get {n}" for n in range(len(op.pops)))
    text = text_of(op)
    if op.imm is Imm.MEMARG:
        text = op.name
    if "64_lane" in op.name or "replace_lane" in op.name or "extract_lane" in op.name:
        text = re.sub(r"1$", "0", text)
    source = f"""(module (memory 1 1 shared) (table 1 funcref) (elem funcref) (data "x")
      (type (func)) (func (param {params}) (result {results}) {gets} {text}))"""
    m = assemble(source)
    assert is_valid(m.data)
    body = type_body(m, m.functions[0])
    assert operand_types(body.stacks[-1]) == op.pushes
    # one operand less must be refused: so the row does not pop too few
    if op.pops:
        assert not is_valid(assemble(source.replace(gets, gets.rpartition("local.get")[0])).data)


def test_the_table_is_whole() -> None:
    assert sorted(BY_NAME[name].name for name in BY_NAME) == sorted(BY_NAME)
    assert len(OPS) == len(BY_NAME)
    per_proposal: dict[str, int] = {}
    for op in OPS.values():
        per_proposal[op.proposal] = per_proposal.get(op.proposal, 0) + 1
    # the numbers of instructions that the proposals name
    assert per_proposal == {
        "mvp": 172,
        "sign-extension": 5,
        "saturating-conversions": 8,
        "bulk-memory": 7,
        "reference-types": 9,
        "tail-call": 2,
        "wide-arithmetic": 4,
        "function-references": 5,
        "exceptions": 3,
        "gc": 32,
        "simd": 236,
        "relaxed-simd": 20,
        "threads": 67,
        "legacy-exceptions": 5,
        "stack-switching": 7,
        "custom-descriptors": 7,
    }


def test_what_traps() -> None:
    traps = {op.name for op in OPS.values() if op.traps and op.proposal == "mvp" and op.imm is Imm.NONE}
    expected = {"unreachable"}
    for kind in ("i32", "i64"):
        expected |= {f"{kind}.{what}" for what in ("div_s", "div_u", "rem_s", "rem_u")}
        expected |= {f"{kind}.trunc_f{size}_{sign}" for size in (32, 64) for sign in "su"}
    assert traps == expected


def read(code: str, prelude: str = "") -> tuple[Module, list[Instruction]]:
    m = assemble(f"(module {prelude} (func {code}))")
    return m, read_body(m, m.functions[0])


def test_immediates() -> None:
    _, (get, set_, const, big, load, table, end) = read(
        "(param i32) local.get 0 local.set 0 i32.const -2147483648 i64.const 9223372036854775807"
        " i64.load16_u 1 offset=200000 align=1 br_table 0 0 0",
        "(memory 1) (memory 1)",
    )
    assert (get.imm, set_.imm, end.imm) == (0, 0, None)
    assert const.imm == -(2**31)
    assert big.imm == 2**63 - 1
    assert load.imm == MemArg(align=0, offset=200000, memory=1)
    assert (load.op.width, load.op.writes) == (2, False)
    assert table.imm == BrTable((0, 0), 0)


def test_block_types() -> None:
    m, body = read(
        "block end block (result i64) unreachable end i32.const 0 block (param i32) drop end"
        " block (result (ref func)) unreachable end drop drop",
        "(type (func (param i32)))",
    )
    blocks = [i.imm for i in body if i.op.name == "block"]
    assert [b.type_index is None for b in blocks] == [True, True, False, True]
    assert blocks[2] == BlockType(blocks[2].type_index, (I32,), ())
    assert str(blocks[3].results[0]) == "(ref func)"
    assert [disassemble(m, i) for i in body if i.op.name == "block"] == [
        "block",
        "block (result i64)",
        f"block (type {blocks[2].type_index})",
        "block (result (ref func))",
    ]


def test_the_bytes_of_a_body() -> None:
    m, body = read("nop i32.const 300 drop")
    place = m.functions[0].body
    assert place is not None
    start = place.code_start
    assert [(i.offset - start, i.end - start, i.op.name) for i in body] == [
        (0, 1, "nop"),
        (1, 4, "i32.const"),
        (4, 5, "drop"),
        (5, 6, "end"),
    ]
    assert body[-1].end == place.end


def test_names_in_the_text() -> None:
    m = assemble(
        """(module (import "a" "b;)\\0ac" (func)) (global $g i32 (i32.const 0))
        (func $f (param $x i32) local.get $x global.get $g drop drop call 0
          i32.const 1 call $f ref.null 0 drop))"""
    )
    body = read_body(m, m.functions[1])
    text = [disassemble(m, i, 1) for i in body]
    assert text[:2] == ["local.get 0 (;x;)", "global.get 0 (;g;)"]
    assert text[4] == "call 0 (;a.b?)?c;)"
    assert text[6:8] == ["call 1 (;f;)", "ref.null 0"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("f32.const 0.5", "f32.const 0x1.0000000000000p-1"),
        ("f32.const -inf", "f32.const -inf"),
        ("f64.const nan", "f64.const nan"),
        ("f64.const -nan:0x123", "f64.const -nan:0x123"),
        ("i32.load offset=4", "i32.load offset=4"),
        ("i32.load align=1", "i32.load align=1"),
        ("i64.store8 offset=1", "i64.store8 offset=1"),
        ("br_table 0 0 0", "br_table 0 0 0"),
        ("call_indirect (type 0)", "call_indirect (type 0)"),
        ("memory.grow", "memory.grow"),
        ("ref.null func", "ref.null func"),
        ("select (result i64)", "select (result i64)"),
        ("v128.const i64x2 1 0", "v128.const i32x4 0x00000001 0x00000000 0x00000000 0x00000000"),
    ],
)
def test_text(code: str, text: str) -> None:
    m, body = read(code, "(memory 1) (table 1 funcref)")
    assert disassemble(m, body[0]) == text


BAD_BODIES = {
    "": "final end is missing",
    "01": "final end is missing",
    "0b01": "code after the final end",
    "020b": "unknown type 11",
    "02400b": "final end is missing",
    "ff0b": "illegal opcode 0xff",
    "fc7f0b": "illegal opcode 0xfc 127",
    "fcffffff7f0b": "illegal opcode 0xfc",
    "fd80808080800b": "too long",
    "20050b": "unknown local 5",
    "10070b": "unknown function 7",
    "23000b": "unknown global 0",
    "2800000b": "unknown memory 0",
    "25000b": "unknown table 0",
    "0800": "unknown tag 0",
    "1100000b": "unknown table 0",
    "1109000b": "unknown type 9",
    "fc08000b": "unknown data 0",
    "fc0d000b": "unknown element 0",
    "fb00090b": "unknown type 9",
    "fb1801000b": "unexpected|unknown|missing",
    "fb1808000b": "flags",
    "4100": "final end is missing",
    "41808080808000": "too long|final end",
    "44000000": "runs over",
    "0effffffff0f000b": "br_table runs over",
    "1cffffffff0f7f0b": "value type|unexpected end",
    "02090b0b": "unknown type 9",
    "02450b0b": "malformed block type",
    "d0600b": "unknown heap type",
    "d0050b": "unknown type 5",
    "1f40010900000b0b": "malformed catch clause",
    "1f40010000000b0b": "unknown tag 0",
    "fe03010b": "atomic.fence",
    "28ff00000b": "flags",
}


@pytest.mark.parametrize("code", BAD_BODIES)
def test_bad_bodies(code: str) -> None:
    m = assemble("(module (type (func)) (func $broken (param i32)))")
    m = decode_module(with_body(m, 0, b"\0" + bytes.fromhex(code)))
    with pytest.raises(MalformedModuleError, match=BAD_BODIES[code]) as caught:
        read_body(m, m.functions[0])
    assert str(caught.value).endswith("in function 0 'broken'")
    assert str(caught.value).count("at offset") == 1
    place = m.functions[0].body
    assert place is not None
    assert caught.value.offset is not None
    assert place.code_start <= caught.value.offset <= place.end


@pytest.mark.parametrize(
    ("code", "name"), [("06400b0b", "try"), ("e0000b", "cont.new"), ("fb20000b", "struct.new_desc")]
)
def test_known_by_name_only(code: str, name: str) -> None:
    m = assemble("(module (type (func)) (func $f))")
    m = decode_module(with_body(m, 0, b"\0" + bytes.fromhex(code)))
    with pytest.raises(UnsupportedInstructionError, match=rf"{re.escape(name)} .*in function 0 'f'"):
        read_body(m, m.functions[0])


def test_an_imported_function_has_no_body() -> None:
    m = assemble('(module (import "a" "b" (func)))')
    with pytest.raises(InternalError):
        read_body(m, m.functions[0])


def test_padded_numbers_are_read() -> None:
    m = assemble("(module (func (param i32)))")
    m = decode_module(with_body(m, 0, b"\0" + bytes.fromhex("208080800041ff8080001a1a0b")))
    body = read_body(m, m.functions[0])
    assert [i.imm for i in body] == [0, 127, None, None, None]
