"""A table of expressions with their values, computed by the host and by compiled code."""

from __future__ import annotations

import math
import struct

import pytest

from tests.expressions._machine import GUEST, State, Unmet, compiled, host, typed

MIN32, MIN64 = -(1 << 31), -(1 << 63)


def u(address: int, format: str) -> int | float:
    value: int | float = struct.unpack_from(format, GUEST, address)[0]
    return value


VALUES: list[tuple[str, str, int | float]] = [
    # text, type, value
    # ── literals
    ("0", "i32", 0),
    ("2147483647", "i32", 2147483647),
    ("2147483648", "i64", 2147483648),
    ("0x7fffffff", "i32", 2147483647),
    ("0xffffffff", "u32", 0xFFFFFFFF),
    ("0x100000000", "i64", 1 << 32),
    ("0xffffffffffffffff", "u64", (1 << 64) - 1),
    ("1u", "u32", 1),
    ("1L", "i64", 1),
    ("1ull", "u64", 1),
    ("1LU", "u64", 1),
    ("0b101", "i32", 5),
    ("1.5", "f64", 1.5),
    (".5", "f64", 0.5),
    ("1e3", "f64", 1000.0),
    ("1.", "f64", 1.0),
    ("0.1f", "f32", 0.10000000149011612),
    ("'A'", "i32", 65),
    (r"'\n'", "i32", 10),
    (r"'\x41'", "i32", 65),
    (r"'\u{1f600}'", "i32", 0x1F600),
    (r"'\''", "i32", 39),
    (r"'\\'", "i32", 92),
    (r"'\0'", "i32", 0),
    ("'é'", "i32", 233),
    # ── places
    ("a", "i32", 7),
    ("b", "i64", -5),
    ("x", "f32", 1.5),
    ("y", "f64", -0.25),
    ("$a", "i32", 7),
    ("$0", "i32", 7),
    ("local[0]", "i32", 7),
    ("local[b]", "i64", -5),
    ('$"with space"', "i64", 1 << 40),
    (r'local[$"with\x20space"]', "i64", 1 << 40),
    ("g", "i32", 42),
    ("global[1]", "f64", 0.5),
    ("global[a]", "i64", -7),
    ("global[$h]", "f64", 0.5),
    ("stack[0]", "i32", 3),
    ("stack[1]", "f64", 2.5),
    ("stack[-1]", "i64", -1),
    ("stack[-3]", "i32", 3),
    # ── memory
    ("mem8[300]", "i32", u(300, "<b")),
    ("mem8u[300]", "i32", u(300, "<B")),
    ("mem8s[p + 300]", "i32", u(316, "<b")),
    ("mem16[300]", "i32", u(300, "<h")),
    ("mem16u[p * 20]", "i32", u(320, "<H")),
    ("mem32[p + 1000]", "i32", u(1016, "<i")),
    ("mem32u[1001]", "u32", u(1001, "<I")),
    ("mem64[4096 + a]", "i64", u(4103, "<q")),
    ("mem64u[0x1000]", "u64", u(4096, "<Q")),
    ("memf32[400]", "f32", u(400, "<f")),
    ("memf64[400]", "f64", u(400, "<d")),
    ("mem8u[0] == 'h'", "i32", 1),
    ("mem8@1[300]", "i32", u(300, "<b")),
    ("mem32@1[1001L + p]", "i32", u(1017, "<i")),
    ("mem32@1[p]", "i32", u(16, "<i")),
    ("mem8u[mem8u[300] + mem8u[301]]", "i32", u(int(u(300, "<B") + u(301, "<B")), "<B")),
    ("mem8[65535]", "i32", u(65535, "<b")),
    ("mem8[65535 + (a - 7)]", "i32", u(65535, "<b")),
    ("mem64[65528 + (a - 7)]", "i64", u(65528, "<q")),
    ("mem8@4[9]", "i32", 0),
    ("mem64@4[2 + (a - 7)]", "i64", 0),
    # ── lanes and references
    ("f32x4(vector, 0)", "f32", 1.5),
    ("f32x4($5, 1)", "f32", -2.0),
    ("f32x4(vector, 2) == 0.1f", "i32", 1),
    ("i8x16(lanes, 7)", "i32", 127),
    ("i8x16(lanes, 8)", "i32", -128),
    ("u8x16(lanes, 15)", "i32", 135),
    ("i16x8(lanes, 7)", "i32", 0x8786 - 0x10000),
    ("u16x8(lanes, 7)", "i32", 0x8786),
    ("i32x4(lanes, 3)", "i32", 0x87868584 - (1 << 32)),
    ("u32x4(lanes, 3)", "u32", 0x87868584),
    ("i64x2(lanes, 1)", "i64", 0x8786858483828180 - (1 << 64)),
    ("u64x2(global[3], 1)", "u64", 0x8786858483828180),
    ("f64x2(lanes, 0)", "f64", struct.unpack("<d", bytes(range(120, 128)))[0]),
    ("u8x16(lanes, 0) + i32x4(vector, 1)", "i32", 120 - (1 << 30)),
    ("ref == null", "i32", 1),
    ("null != $6", "i32", 0),
    ("nothing == null && global[4] != null", "i32", 0),
    ("never == null", "i32", 0),
    ("never != null", "i32", 1),
    ("!(ref == null) || 7", "i32", 1),
    # ── arithmetic
    ("1 + 2 * 3", "i32", 7),
    ("(1 + 2) * 3", "i32", 9),
    ("10 - 4 - 3", "i32", 3),
    ("2147483647 + 1", "i32", MIN32),
    ("a + 2147483647", "i32", MIN32 + 6),
    ("-7 / 2", "i32", -3),
    ("-a / 2", "i32", -3),
    ("a / -2", "i32", -3),
    ("-7 % 3", "i32", -1),
    ("-a % 3", "i32", -1),
    ("a % -3", "i32", 1),
    ("b / a", "i64", 0),
    ("(u32) -a / 2", "u32", ((1 << 32) - 7) // 2),
    ("(u64) b / 2", "u64", ((1 << 64) - 5) // 2),
    ("(u64) b % 10", "u64", ((1 << 64) - 5) % 10),
    ("(1 << 31) / (a - 8)", "i32", MIN32),
    ("(1 << 31) % (a - 8)", "i32", 0),
    ("(1L << 63) / (b + 4)", "i64", MIN64),
    ("(1L << 63) % -1", "i64", 0),
    ("a / -1", "i32", -7),
    ("-(1 << 31)", "i32", MIN32),
    ("-a", "i32", -7),
    ("- -a", "i32", 7),
    ("+a", "i32", 7),
    ("-(u32) a", "u32", (1 << 32) - 7),
    ("~a", "i32", -8),
    ("~(u64) a", "u64", (1 << 64) - 8),
    ("-x", "f32", -1.5),
    ("x * y", "f64", -0.375),
    ("x / 3", "f32", 0.5),
    ("x / 7", "f32", struct.unpack("<f", struct.pack("<f", 1.5 / 7))[0]),
    ("y / 0", "f64", -math.inf),
    ("1 / -(y - y)", "f64", -math.inf),
    # ── bits
    ("a & 3 | 8 ^ 1", "i32", 11),
    ("1 | 6 & 4", "i32", 5),
    ("5 & 4 == 4", "i32", 1),
    ("1 << 4", "i32", 16),
    ("1 << 33", "i32", 2),
    ("1L << 33", "i64", 1 << 33),
    ("a << b", "i32", 7 << 27),
    ("a << (b + 6)", "i32", 14),
    ("b >> 1", "i64", -3),
    ("(u64) b >> 1", "u64", ((1 << 64) - 5) >> 1),
    ("-8 >> 1u", "i32", -4),
    ("(u32) -8 >> 1L", "u32", 0x7FFFFFFC),
    # ── comparisons
    ("a == 7", "i32", 1),
    ("a != 7", "i32", 0),
    ("-1 < 0", "i32", 1),
    ("-a < 0u", "i32", 0),
    ("b < (u32) 1", "i32", 1),
    ("b < (u64) 1", "i32", 0),
    ("(u32) -1 > a", "i32", 1),
    ("x > 1", "i32", 1),
    ("x == 1.5", "i32", 1),
    ("0.1f == 0.1", "i32", 0),
    ("1 < 2 == 1", "i32", 1),
    ("3 > 2 > 1", "i32", 0),
    ("(y - y) / 0 == 0", "i32", 0),
    ("(y - y) / 0 != 0", "i32", 1),
    # ── logic
    ("a && b", "i32", 1),
    ("a && 0", "i32", 0),
    ("0 || y", "i32", 1),
    ("!a", "i32", 0),
    ("!!a", "i32", 1),
    ("!y", "i32", 0),
    ("!(y - y)", "i32", 1),
    ("1 || 0 && 0", "i32", 1),
    ("a == 8 && 1 / (a - 7)", "i32", 0),
    ("a == 7 || mem8[-1]", "i32", 1),
    ("(y - y) / 0 && 1", "i32", 1),
    ("a ? 1 : 2", "i32", 1),
    ("a - 7 ? 1 : 2", "i32", 2),
    ("a ? 1 : 2.5", "f64", 1.0),
    ("a - 7 ? 1 : a ? 2 : 3", "i32", 2),
    ("a ? a - 7 ? 1 : 2 : 3", "i32", 2),
    ("a == 7 ? 10 : 1 / (a - 7)", "i32", 10),
    ("0 ? 1u : -1", "u32", (1 << 32) - 1),
    ("(a ? 1 : 0) + (b ? 10L : 0)", "i64", 11),
    # ── casts
    ("(i64) a << 40", "i64", 7 << 40),
    ("(u64) -1", "u64", (1 << 64) - 1),
    ("(u64) (u32) -a", "u64", (1 << 32) - 7),
    ('(i32) $"with space"', "i32", 0),
    ("(i32) 1e20", "i32", (1 << 31) - 1),
    ("(i32) -1e20", "i32", MIN32),
    ("(u32) -y", "u32", 0),
    ("(u64) (y * 8)", "u64", 0),
    ("(i64) (y * 10)", "i64", -2),
    ("(i32) (0.0 / (y - y))", "i32", 0),
    ("(f32) 16777217", "f32", 16777216.0),
    ("(f32) ((i64) (a - 6) << 60 | 0x1000000001)", "f32", float(2**60 + 2**37)),
    ("(f64) (u64) b", "f64", float((1 << 64) - 5)),
    ("(f32) (u64) b", "f32", float(1 << 64)),
    ("(u8) 300", "i32", 44),
    ("(u8) -a", "i32", 249),
    ("(i8) (a + 250)", "i32", 1),
    ("(i8) 200", "i32", -56),
    ("(u16) b", "i32", 65531),
    ("(i16) (b + 40000)", "i32", 39995 - 65536),
    ("(i32) (u8) b + 1", "i32", 252),
    ("-(u8) b", "i32", -251),
]


@pytest.mark.parametrize(("text", "type", "value"), VALUES, ids=[row[0] for row in VALUES])
def test_value(text: str, type: str, value: int | float) -> None:
    expression = typed(text)

    assert str(expression.type) == type
    assert repr(host(expression, State())) == repr(value)
    assert repr(compiled(expression, State())) == repr(value)


ERRORS = [
    ("1 / 0", "division by zero"),
    ("a / (a - 7)", "division by zero"),
    ("a % 0", "division by zero"),
    ("b % (b + 5)", "division by zero"),
    ("(u64) b / (a - 7)", "division by zero"),
    ("(u32) a % (a - 7)", "division by zero"),
    ("a && 1 / (a - 7)", "division by zero"),
    ("a - 7 || 1 / (a - 7)", "division by zero"),
    ("1 + 2 * (a ? 1 / (a - 7) : 0)", "division by zero"),
    ("mem8[65536]", "out of bounds: mem8 at 0x10000, memory 0 has 0x10000 bytes"),
    ("mem16[65535]", "out of bounds: mem16 at 0xffff, memory 0 has 0x10000 bytes"),
    ("mem64[65529 + (a - 7)]", "out of bounds: mem64 at 0xfff9, memory 0 has 0x10000 bytes"),
    ("mem32[-1]", "out of bounds: mem32 at 0xffffffff, memory 0 has 0x10000 bytes"),
    ("mem32[6 - a]", "out of bounds: mem32 at 0xffffffff, memory 0 has 0x10000 bytes"),
    ("mem32[-4L]", "out of bounds: mem32 at 0xfffffffffffffffc, memory 0 has 0x10000 bytes"),
    ("mem8[1L << 32]", "out of bounds: mem8 at 0x100000000, memory 0 has 0x10000 bytes"),
    ("mem8[b]", "out of bounds: mem8 at 0xfffffffffffffffb, memory 0 has 0x10000 bytes"),
    ("mem64@1[b]", "out of bounds: mem64 at 0xfffffffffffffffb, memory 1 has 0x10000 bytes"),
    ("mem8@1[-a]", "out of bounds: mem8 at 0xfffffff9, memory 1 has 0x10000 bytes"),
    ("mem8@2[0]", "out of bounds: mem8 at 0x0, memory 2 has 0x0 bytes"),
    ("mem64@2[a]", "out of bounds: mem64 at 0x7, memory 2 has 0x0 bytes"),
    ("mem64@2[6 - a]", "out of bounds: mem64 at 0xffffffff, memory 2 has 0x0 bytes"),
    ("mem32@3[a]", "out of bounds: mem32 at 0x7, memory 3 has 0x0 bytes"),
    ("mem32@3[b]", "out of bounds: mem32 at 0xfffffffffffffffb, memory 3 has 0x0 bytes"),
    ("mem8@4[10]", "out of bounds: mem8 at 0xa, memory 4 has 0xa bytes"),
    ("mem32@4[a]", "out of bounds: mem32 at 0x7, memory 4 has 0xa bytes"),
    ("mem8[mem32[303 + a]]", f"out of bounds: mem8 at {u(310, '<I'):#x}, memory 0 has 0x10000 bytes"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[row[0] for row in ERRORS])
def test_no_value(text: str, message: str) -> None:
    expression = typed(text)
    found = host(expression, State())

    assert isinstance(found, Unmet)
    assert found == message
    assert isinstance(compiled(expression, State()), Unmet)


@pytest.mark.parametrize("text", ["mem64@2[65528]", "mem64@3[65528 + (a - 7)]", "mem8u@2[p]"])
def test_a_memory_that_has_grown(text: str) -> None:
    expression = typed(text)

    assert host(expression, State(pages=1)) == compiled(expression, State(pages=1)) == 0
    assert isinstance(host(expression, State(pages=0)), Unmet)


def test_a_value_that_is_not_available() -> None:
    assert host(typed("x + 1"), State(locals={})) == Unmet("local 2 is not available here")


def test_a_reference_that_is_not_null() -> None:
    state = State(reference=object())

    assert host(typed("ref == null"), state) == compiled(typed("ref == null"), state) == 0
    assert host(typed("ref != null"), state) == compiled(typed("ref != null"), state) == 1


@pytest.mark.parametrize("text", ["i32x4(vector, 0)", "ref == null", "a"])
def test_a_reader_that_lacks_something(text: str) -> None:
    class Lost(State):
        def local(self, index: int) -> object:
            raise LookupError

    assert str(host(typed(text), Lost())).endswith("is not available here")


def test_what_lanes_and_null_tests_read() -> None:
    references = typed("i32x4(vector, 0) + (ref == null) + (nothing == null) + i8x16(lanes, 1)").references()

    assert references.locals == {5, 6}
    assert references.globals == {3, 4}


def test_what_an_expression_reads() -> None:
    references = typed("a + stack[-1] > g && mem32@1[p] || mem8[p] ? $7 : h").references()

    assert references.locals == {0, 4, 7}
    assert references.operands == {2}
    assert references.globals == {0, 1}
    assert references.memories == {0, 1}
