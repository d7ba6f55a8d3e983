"""LEB128 integers, both ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wasm._engine import STEADY
from trio_wasmdbg.wasm import (
    LebError,
    read_s32,
    read_s33,
    read_s64,
    read_u32,
    read_u64,
    sleb32,
    sleb33,
    sleb64,
    uleb,
    uleb_padded,
)

Reader = Callable[[bytes, int, int], tuple[int, int]]

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
S32 = st.integers(-(2**31), 2**31 - 1)
S33 = st.integers(-(2**32), 2**32 - 1)
S64 = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("value", "data"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (624485, "e58e26"), (2**32 - 1, "ffffffff0f")],
)
def test_unsigned_bytes(value: int, data: str) -> None:
    assert uleb(value).hex() == data
    assert read_u32(bytes.fromhex(data), 0, len(data) // 2) == (value, len(data) // 2)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (63, "3f"),
        (64, "c000"),
        (-1, "7f"),
        (-64, "40"),
        (-65, "bf7f"),
        (-123456, "c0bb78"),
        (-(2**31), "8080808078"),
        (2**31 - 1, "ffffffff07"),
    ],
)
def test_signed_bytes(value: int, data: str) -> None:
    assert sleb32(value).hex() == data
    assert read_s32(bytes.fromhex(data), 0, len(data) // 2) == (value, len(data) // 2)


@STEADY
@given(U32, U64, S32, S33, S64, st.binary(max_size=3), st.binary(max_size=3))
def test_round_trips(u32: int, u64: int, s32: int, s33: int, s64: int, before: bytes, after: bytes) -> None:
    def check(read: Reader, data: bytes, value: int) -> None:
        found, end = read(before + data + after, len(before), len(before) + len(data))
        assert (found, end) == (value, len(before) + len(data))

    check(read_u32, uleb(u32), u32)
    check(read_u64, uleb(u64), u64)
    check(read_s32, sleb32(s32), s32)
    check(read_s33, sleb33(s33), s33)
    check(read_s64, sleb64(s64), s64)
    check(read_u32, uleb_padded(u32), u32)


def test_unsigned_constants_wrap() -> None:
    assert sleb32(2**32 - 1) == sleb32(-1)
    assert sleb64(2**64 - 1) == sleb64(-1)


@STEADY
@given(U32, st.integers(1, 4))
def test_overlong_within_the_limit_is_legal(value: int, length: int) -> None:
    """Spec: encodings may be padded as long as they stay within ceil(N/7) bytes."""
    value %= 1 << 7 * length
    for more in range(length, 6):
        assert read_u32(uleb_padded(value, more), 0, more) == (value, more)


@STEADY
@given(st.integers(-64, 63))
def test_overlong_signed_is_legal(value: int) -> None:
    sign = 0x7F if value < 0 else 0
    data = bytes((value & 0x7F | 0x80, sign | 0x80, sign | 0x80, sign | 0x80, sign))
    assert read_s32(data, 0, 5) == (value, 5)


BAD: list[tuple[Reader, str]] = [
    (read_u32, "808080808000"),  # six bytes
    (read_u32, "ffffffff1f"),  # bits beyond 32
    (read_u32, "8080808070"),
    (read_u32, "80808080"),  # cut off
    (read_u32, ""),
    (read_s32, "808080808000"),
    (read_s32, "8080808070"),  # positive, but with the unused bits set
    (read_s32, "ffffffff0f"),
    (read_s32, "80"),
    (read_s33, "ffffffff2f"),
    (read_s64, "8080808080808080808000"),
    (read_s64, "ffffffffffffffffff01"),
    (read_u64, "ffffffffffffffffff02"),
    (read_u64, "8080808080808080808000"),
]


@pytest.mark.parametrize(("read", "data"), BAD)
def test_bad_integers(read: Reader, data: str) -> None:
    raw = bytes.fromhex(data)
    with pytest.raises(LebError) as caught:
        read(b"\x01\x02" + raw, 2, 2 + len(raw))
    assert caught.value.offset == 2


@STEADY
@given(st.binary(max_size=12))
def test_any_bytes_give_a_value_in_range_or_an_error(data: bytes) -> None:
    ranges: list[tuple[Reader, int, int]] = [
        (read_u32, 0, 2**32),
        (read_u64, 0, 2**64),
        (read_s32, -(2**31), 2**31),
        (read_s33, -(2**32), 2**32),
        (read_s64, -(2**63), 2**63),
    ]
    for read, low, high in ranges:
        try:
            value, end = read(data, 0, len(data))
        except LebError:
            continue
        assert low <= value < high
        assert 0 < end <= len(data)
        assert all(byte & 0x80 for byte in data[: end - 1])
        assert not data[end - 1] & 0x80


@pytest.mark.parametrize("value", [-1, 2**35])
def test_encoders_refuse_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match=r"negative|fit"):
        uleb_padded(value) if value > 0 else uleb(value)
    with pytest.raises(ValueError, match="signed"):
        sleb32(2**32)
