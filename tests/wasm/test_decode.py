"""Modules: bytes to records."""

from __future__ import annotations

import pytest

from tests.wasm._engine import assemble
from trio_wasmdbg.errors import MalformedModuleError, UnsupportedFeatureError
from trio_wasmdbg.wasm import (
    EXTERNREF,
    F64,
    FUNCREF,
    I32,
    I64,
    MAGIC,
    ArrayType,
    ExternKind,
    FuncType,
    SectionId,
    SegmentMode,
    StructType,
    decode_module,
    disassemble,
    name,
    read_expression,
    ref_type,
    section,
    uleb,
)

EVERYTHING = """
(module $mod
  (type $sig (func (param i32 i64) (result f64)))
  (import "env" "f" (func $imported (type $sig)))
  (import "env" "t" (table $it 1 10 funcref))
  (import "env" "m" (memory $im 1))
  (import "env" "g" (global $ig (mut i64)))
  (import "env" "e" (tag $ie (param i32)))
  (func $own (export "own") (param $a i32) (param $b i64) (result f64)
    (local $x i32) (local i32 i32) (local f64)
    f64.const 1)
  (func $start)
  (table $own_table 2 externref)
  (memory $own_memory i64 1 2)
  (global $own_global i32 (i32.const 7))
  (tag $own_tag (param i64))
  (export "mem" (memory 1))
  (start $start)
  (elem $active (table 0) (offset (i32.const 3)) func $own $start)
  (elem $passive externref (ref.null extern))
  (elem $declared declare func $own)
  (data $d0 (memory 0) (i32.const 5) "hello")
  (data $d1 "world")
  (@custom "extra" "abc")
)
"""


def test_a_module_with_everything() -> None:
    m = assemble(EVERYTHING)
    assert m.types[0] == FuncType((I32, I64), (F64,))
    assert m.func_type(0) is m.types[0]
    assert [i.name for i in m.imports] == ["f", "t", "m", "g", "e"]
    assert [i.kind for i in m.imports] == [
        ExternKind.FUNCTION,
        ExternKind.TABLE,
        ExternKind.MEMORY,
        ExternKind.GLOBAL,
        ExternKind.TAG,
    ]
    assert m.imported_functions == 1
    imported, own, start = m.functions
    assert imported.import_ is m.imports[0]
    assert imported.body is None
    assert own.body is not None
    assert own.index == 1
    assert own.type == m.types[0]
    assert own.body.local_groups == ((3, I32), (1, F64))
    assert own.body.local_count == 4
    assert m.data[own.body.code_start : own.body.end].hex() == "44000000000000f03f0b"
    assert m.start == start.index == 2
    assert [t.type.ref for t in m.tables] == [FUNCREF, EXTERNREF]
    assert m.tables[0].type.limits.maximum == 10
    assert m.memories[1].type.limits.is64
    assert m.memories[1].type.address_type is I64
    assert m.memories[1].type.limits.maximum == 2
    assert m.globals[0].type.mutable
    assert m.globals[0].import_ is not None
    init = m.globals[1].init
    assert init is not None
    assert [disassemble(m, i) for i in read_expression(m, init)] == ["i32.const 7", "end"]
    assert [t.type.type.params for t in m.tags] == [(I32,), (I64,)]
    assert [(e.name, e.kind, e.index) for e in m.exports] == [
        ("own", ExternKind.FUNCTION, 1),
        ("mem", ExternKind.MEMORY, 1),
    ]
    active, passive, declared = m.elements
    assert (active.mode, active.table, active.functions) == (SegmentMode.ACTIVE, 0, (1, 2))
    assert active.offset is not None
    assert [disassemble(m, i) for i in read_expression(m, active.offset)] == ["i32.const 3", "end"]
    assert (passive.mode, passive.table, passive.ref) == (SegmentMode.PASSIVE, None, EXTERNREF)
    assert passive.expressions is not None
    assert [disassemble(m, i) for i in read_expression(m, passive.expressions[0])] == [
        "ref.null extern",
        "end",
    ]
    assert declared.mode is SegmentMode.DECLARED
    d0, d1 = m.data_segments
    assert m.data[d0.data.start : d0.data.end] == b"hello"
    assert (d0.memory, d1.memory) == (0, None)
    assert [m.data[c.start : c.end] for c in m.custom if c.name == "extra"] == [b"abc"]
    assert m.code_section is not None
    assert m.code_section.id == SectionId.CODE


def test_sections_tile_the_file() -> None:
    m = assemble(EVERYTHING)
    end = 8
    for s in m.sections:
        assert s.header_start == end
        assert m.data[s.header_start] == s.id
        end = s.end
    assert end == len(m.data)


def test_names() -> None:
    m = assemble(EVERYTHING)
    assert m.names.module == "mod"
    assert m.names.functions == {0: "imported", 1: "own", 2: "start"}
    assert m.names.locals[1] == {0: "a", 1: "b", 2: "x"}
    assert m.names.globals == {0: "ig", 1: "own_global"}
    assert m.names.tables == {0: "it", 1: "own_table"}
    assert m.names.memories == {0: "im", 1: "own_memory"}
    assert m.names.types == {0: "sig"}
    assert m.names.data == {0: "d0", 1: "d1"}
    assert m.names.elements == {0: "active", 1: "passive", 2: "declared"}
    assert m.names.tags == {0: "ie", 1: "own_tag"}


def test_function_names_fall_back() -> None:
    m = assemble('(module (import "a" "b" (func)) (func (export "c")) (func))')
    assert [m.function_name(i) for i in range(4)] == ["a.b", "c", None, None]


def names_section(payload: bytes) -> bytes:
    return MAGIC + section(0, name("name") + payload)


def test_damage_in_the_name_section_is_forgiven() -> None:
    good = b"\x01" + uleb(4) + b"\x01\x00" + name("f")
    assert decode_module(names_section(good)).names.functions == {0: "f"}
    module_name = b"\x00\x02\x01m"
    for end in range(len(module_name + good)):
        names = decode_module(names_section((module_name + good)[:end])).names
        assert names.module in (None, "m")
        assert names.functions in ({}, {0: "f"})
    bad_utf8 = b"\x00\x02\x01\xff"
    assert decode_module(names_section(bad_utf8)).names.module == "\ufffd"
    # the count lies: what is there is kept, and the next subsection still found
    liar = b"\x01\x05\xff\x7f\x00\x01f" + b"\x07\x04\x01\x03\x01g"
    names = decode_module(names_section(liar)).names
    assert names.functions == {0: "f"}
    assert names.globals == {3: "g"}


def test_gc_types() -> None:
    m = assemble(
        """(module
          (rec (type $list (struct (field (mut i8)) (field (ref null $list))))
               (type $array (array (mut i64))))
          (type $open (sub (func)))
          (type $leaf (sub final $open (func)))
        )"""
    )
    struct, array, opened, _leaf = m.types
    assert isinstance(struct, StructType)
    assert [str(f.storage) for f in struct.fields] == ["i8", "(ref null 0)"]
    assert struct.fields[0].unpacked is I32
    assert struct.fields[1].storage == ref_type(True, 0)
    assert isinstance(array, ArrayType)
    assert isinstance(opened, FuncType)
    assert [(i.group, i.group_size) for i in m.type_infos] == [(0, 2), (0, 2), (2, 1), (3, 1)]
    assert [i.final for i in m.type_infos] == [True, True, False, True]
    assert m.type_infos[3].supertypes == (2,)
    assert m.type_entries.count == 3
    types = next(s for s in m.sections if s.id == SectionId.TYPE)
    assert m.data[types.start : m.type_entries.start] == uleb(3)
    assert m.type_entries.end == types.end
    with pytest.raises(MalformedModuleError, match="not a function type"):
        m.func_type(0)
    with pytest.raises(MalformedModuleError, match="unknown type 4"):
        m.func_type(4)


def test_value_types_are_interned_and_print() -> None:
    assert ref_type(True, -16) is FUNCREF
    assert [str(t) for t in (FUNCREF, EXTERNREF, ref_type(False, -16), ref_type(False, 5))] == [
        "funcref",
        "externref",
        "(ref func)",
        "(ref 5)",
    ]
    assert ref_type(False, 300).encode().hex() == "64ac02"
    assert ref_type(True, 64).encode().hex() == "63c000"
    assert FUNCREF.encode() == b"\x70"
    assert FUNCREF.is_ref
    assert not FUNCREF.is_num
    assert I32.is_num
    with pytest.raises(ValueError, match="heap"):
        ref_type(True, -1)


TYPE = section(1, b"\x01\x60\0\0")
FUNC = section(3, b"\x01\0")
CODE = section(10, b"\x01\x02\0\x0b")

MALFORMED = {
    "empty": (b"", 0),
    "magic": (b"\0asn\x01\0\0\0", 0),
    "cut magic": (b"\0asm", 4),
    "version": (b"\0asm\x02\0\0\0", 4),
    "section id": (MAGIC + section(14, b""), 8),
    "section too long": (MAGIC + b"\x01\x05\x00", 8),
    "section size missing": (MAGIC + b"\x01", 9),
    "order": (MAGIC + FUNC + TYPE, None),
    "twice": (MAGIC + TYPE + TYPE, None),
    "junk at the end of a section": (MAGIC + section(1, b"\x00\x00"), 11),
    "type form": (MAGIC + section(1, b"\x01\x61\0\0"), 11),
    "value type": (MAGIC + section(1, b"\x01\x60\x01\x30\0"), 13),
    "huge count": (MAGIC + section(1, b"\xff\xff\xff\xff\x0f"), None),
    "huge type list": (MAGIC + section(1, b"\x01\x60\xff\xff\xff\xff\x0f"), 12),
    "unknown type": (MAGIC + TYPE + section(3, b"\x01\x01"), None),
    "no bodies": (MAGIC + TYPE + FUNC, None),
    "no functions": (MAGIC + CODE, None),
    "body too long": (MAGIC + TYPE + FUNC + section(10, b"\x01\x7f\0\x0b"), None),
    "utf-8": (MAGIC + section(2, b"\x01\x01\xff\x00\x00\x00"), None),
    "import kind": (MAGIC + section(2, b"\x01\0\0\x05\0"), 13),
    "compact import with a name": (MAGIC + section(2, b"\x01\x01m\x01f\x7f\0"), 15),
    "compact imports cut": (MAGIC + TYPE + section(2, b"\x01\x01m\0\x7f\x02\0\0\0"), None),
    "too many compact imports": (MAGIC + TYPE + section(2, b"\x01\x01m\0\x7e\0\0\x05\0"), None),
    "compact import of no type": (MAGIC + section(2, b"\x01\x01m\0\x7e\0\0\0"), None),
    "compact import without a form": (MAGIC + section(2, b"\x01\x01m\0"), None),
    "mutability": (MAGIC + section(6, b"\x01\x7f\x02\x41\0\x0b"), None),
    "limits": (MAGIC + section(5, b"\x01\x10\x01"), None),
    "initialiser without end": (MAGIC + section(6, b"\x01\x7f\0\x41\0"), None),
    "block in an initialiser": (MAGIC + section(6, b"\x01\x7f\0\x02\x00\x0b\x0b"), None),
    "start": (MAGIC + section(8, b"\x00"), None),
    "export index": (MAGIC + section(7, b"\x01\x01a\0\0"), None),
    "table is no reference": (MAGIC + section(4, b"\x01\x7f\0\0"), None),
    "element kind": (MAGIC + TYPE + section(9, b"\x01\x01\x01\x00"), None),
    "element flags": (MAGIC + TYPE + section(9, b"\x01\x08\x00"), None),
    "data flags": (MAGIC + section(11, b"\x01\x03\x00"), None),
    "data memory": (MAGIC + section(11, b"\x01\x00\x41\0\x0b\x00"), None),
    "data count": (MAGIC + section(12, b"\x01"), None),
    "custom name": (MAGIC + b"\0\x01\x05", None),
    "too many locals": (
        MAGIC + TYPE + FUNC + section(10, b"\x01\x0e\x02" + b"\xff\xff\xff\xff\x0f\x7f" * 2 + b"\x0b"),
        None,
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    data, offset = MALFORMED[case]
    with pytest.raises(MalformedModuleError) as caught:
        decode_module(data)
    if offset is not None:
        assert caught.value.offset == offset
        assert f"at offset {offset:#x}" in str(caught.value)


UNSUPPORTED = {
    "component": b"\0asm\x0d\0\x01\0",
    "shared type": MAGIC + section(1, b"\x01\x65\x60\0\0"),
    "continuation type": MAGIC + section(1, b"\x01\x5d\0"),
    "exact reference": MAGIC + section(1, b"\x01\x60\x01\x64\x62\0\0"),
    "51,000 locals": MAGIC + TYPE + FUNC + section(10, b"\x01\x06\x01" + uleb(51_000) + b"\x7f\x0b"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(case: str) -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        decode_module(UNSUPPORTED[case])
    assert caught.value.offset is not None


def test_the_smallest_modules() -> None:
    m = decode_module(MAGIC)
    assert m.functions == ()
    assert m.type_entries.count == 0
    assert m.code_section is None
    assert m.names.functions == {}
    assert decode_module(MAGIC + TYPE + FUNC + CODE).functions[0].type == FuncType((), ())
    assert decode_module(bytearray(MAGIC)).data == MAGIC  # any buffer
