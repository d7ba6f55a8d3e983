"""Values as people read them, and text from modules that can do no harm."""

from __future__ import annotations

import json
import math
import struct
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_wasmdbg.cli._records import Value
from trio_wasmdbg.cli._values import clean, format_offset, format_operands, format_value, json_value


def f32(bits: int) -> float:
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    assert isinstance(value, float)
    return value


def f64(bits: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", bits))
    assert isinstance(value, float)
    return value


class Rude:
    """An object of the user's whose repr() fails."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("i32", 0, "0"),
        ("i32", 9, "9"),
        ("i32", 10, "10 (0xa)"),
        ("i32", -2, "-2 (0xfffffffe)"),
        ("i32", 0xFFFFFFFE, "-2 (0xfffffffe)"),
        ("i32", -(1 << 31), "-2147483648 (0x80000000)"),
        ("i64", -1, "-1 (0xffffffffffffffff)"),
        ("i64", 1 << 40, "1099511627776 (0x10000000000)"),
        ("f64", 0.1, "0.1"),
        ("f64", 3.0, "3.0"),
        ("f64", -0.0, "-0.0"),
        ("f64", math.inf, "inf"),
        ("f64", 1e300, "1e+300"),
        ("f64", f64(0x7FF8000000000000), "nan (0x7ff8000000000000)"),
        ("f64", f64(0xFFF8000000000123), "nan (0xfff8000000000123)"),
        ("f32", f32(0x3DCCCCCD), "0.1"),
        ("f32", 16777216.0, "16777216.0"),
        ("f32", f32(0x00000001), "1e-45"),
        ("f32", f32(0x7F7FFFFF), "3.4028235e+38"),
        ("f32", -math.inf, "-inf"),
        ("f32", f32(0x7FC00000), "nan (0x7fc00000)"),
        ("f32", f32(0xFFC00042), "nan (0xffc00042)"),
        ("f32", 1e39, "1e+39"),
        ("f64", 7, "7.0"),
        ("v128", bytes(range(16)), "i32x4 0x03020100 0x07060504 0x0b0a0908 0x0f0e0d0c"),
        ("funcref", None, "null"),
        ("externref", "text", "'text'"),
        ("externref", Rude(), "<Rude whose repr() raised ZeroDivisionError>"),
    ],
)
def test_format_value(type_: str, value: object, expected: str) -> None:
    assert format_value(Value(type_, value)) == expected


def test_an_unknown_value_is_not_looked_at() -> None:
    assert format_value(Value("externref", Rude(), known=False)) == "unavailable"
    assert json_value(Value("i32", 1, known=False)) == {"type": "i32", "text": "unavailable", "known": False}


def test_format_operands() -> None:
    assert format_operands(()) == "[]"
    assert format_operands((Value("i32", 1), Value("f32", 0.5))) == "[i32 1, f32 0.5]"


def test_format_offset() -> None:
    assert format_offset(294) == "0x126"
    assert format_offset(None) == "?"


@given(st.integers(0, 2**32 - 1))
def test_a_shown_f32_reads_back_as_the_same_bits(bits: int) -> None:
    value = f32(bits)
    text = format_value(Value("f32", value))

    if math.isnan(value):
        assert text.startswith("nan (0x")
    else:
        assert struct.pack("<f", float(text)) == struct.pack("<I", bits)


@given(st.integers(-(2**63), 2**64 - 1))
def test_a_shown_i64_is_signed_and_its_hex_is_the_pattern(value: int) -> None:
    number, _, pattern = format_value(Value("i64", value)).partition(" ")

    assert -(2**63) <= int(number) < 2**63
    assert int(number) % 2**64 == value % 2**64
    if pattern:
        assert int(pattern.strip("()"), 16) == value % 2**64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name", "plain name"),
        ("größe_日本", "größe_日本"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("\x9b31m", "\\x9b31m"),
        ("", ""),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_clean_cuts_and_says_so() -> None:
    assert clean("x" * 201) == "x" * 200 + "…"
    assert clean("x" * 200) == "x" * 200


@given(st.text(st.characters(), max_size=300))
def test_nothing_unprintable_gets_through(text: str) -> None:
    shown = clean(text)

    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@given(
    st.one_of(
        st.builds(Value, st.sampled_from(["i32", "i64"]), st.integers(-(2**31), 2**31 - 1)),
        st.builds(Value, st.just("f64"), st.floats()),
        st.builds(Value, st.just("f32"), st.floats(width=32)),
        st.builds(Value, st.just("v128"), st.binary(min_size=16, max_size=16)),
        st.builds(Value, st.just("externref"), st.one_of(st.none(), st.text())),
    )
)
def test_json_is_strict_and_exact(value: Value) -> None:
    shown = json.loads(json.dumps(json_value(value), allow_nan=False))

    assert shown["type"] == value.type
    if value.type == "f64":
        assert int(shown["bits"], 16) == int.from_bytes(struct.pack(">d", value.value), "big")
    if value.type == "v128":
        assert int(shown["bits"], 16).to_bytes(16, "little") == value.value
