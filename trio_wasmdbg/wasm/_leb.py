"""LEB128 integers, both ways (spec, "Binary Format, Values, Integers").

The readers check bounds and the spec's limits: at most ceil(N/7) bytes, and no bits beyond N.
They take absolute offsets and return the value with the offset after it.
"""

from __future__ import annotations

from ._problems import BytesError

__all__ = [
    "LebError",
    "read_s32",
    "read_s33",
    "read_s64",
    "read_u32",
    "read_u64",
    "sleb32",
    "sleb33",
    "sleb64",
    "uleb",
    "uleb_padded",
]


class LebError(BytesError):
    """An integer that is cut off, too long, or too large."""


_ONE_BYTE = tuple(bytes((n,)) for n in range(128))


def uleb(n: int) -> bytes:
    """*n* >= 0 as unsigned LEB128, the shortest way."""
    if 0 <= n < 128:
        return _ONE_BYTE[n]
    if 0 <= n < 0x4000:
        return bytes((n & 0x7F | 0x80, n >> 7))
    if n < 0:
        raise ValueError(f"{n} is negative")
    out = bytearray()
    while n > 127:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def uleb_padded(n: int, length: int = 5) -> bytes:
    """*n* as unsigned LEB128 of exactly *length* bytes (to be patched later)."""
    if not 0 <= n < 1 << 7 * length:
        raise ValueError(f"{n} does not fit in {length} LEB bytes")
    out = bytearray()
    for _ in range(length - 1):
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _sleb(n: int, bits: int) -> bytes:
    if -64 <= n < 64:
        return _ONE_BYTE[n & 0x7F]
    if -0x2000 <= n < 0x2000:
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F))
    if not -(1 << bits - 1) <= n < 1 << bits - 1:
        raise ValueError(f"{n} is not a signed {bits}-bit integer")
    out = bytearray()
    while not -64 <= n < 64:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n & 0x7F)
    return bytes(out)


def sleb32(n: int) -> bytes:
    """*n*, signed or unsigned 32-bit, as the signed LEB128 that ``i32.const`` takes."""
    return _sleb(n - (1 << 32) if 1 << 31 <= n < 1 << 32 else n, 32)


def sleb33(n: int) -> bytes:
    """*n* as the signed 33-bit LEB128 of block types and heap types."""
    return _sleb(n, 33)


def sleb64(n: int) -> bytes:
    """*n*, signed or unsigned 64-bit, as the signed LEB128 that ``i64.const`` takes."""
    return _sleb(n - (1 << 64) if 1 << 63 <= n < 1 << 64 else n, 64)


def _read_unsigned(data: bytes, pos: int, end: int, bits: int) -> tuple[int, int]:
    start = pos
    result = shift = 0
    if end > len(data):
        end = len(data)
    while pos < end:
        byte = data[pos]
        pos += 1
        if byte < 128:
            result |= byte << shift
            if result >> bits:
                raise LebError("integer too large", start)
            return result, pos
        result |= (byte & 0x7F) << shift
        shift += 7
        if shift >= bits:
            raise LebError("integer representation too long", start)
    raise LebError("unexpected end", start)


def read_u32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """An unsigned 32-bit integer at *pos*, not reaching beyond *end*.

    :raises LebError: cut off, too long, or too large.
    """
    if pos < end and (byte := data[pos]) < 128:
        return byte, pos + 1
    return _read_unsigned(data, pos, end, 32)


def read_u64(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """An unsigned 64-bit integer; see :func:`read_u32`."""
    return _read_unsigned(data, pos, end, 64)


def _read_signed(data: bytes, pos: int, end: int, bits: int) -> tuple[int, int]:
    start = pos
    result = shift = 0
    if end > len(data):
        end = len(data)
    while pos < end:
        byte = data[pos]
        pos += 1
        result |= (byte & 0x7F) << shift
        shift += 7
        if byte < 128:
            if byte & 0x40:
                result -= 1 << shift
            if not -(1 << bits - 1) <= result < 1 << bits - 1:
                raise LebError("integer too large", start)
            return result, pos
        if shift >= bits:
            raise LebError("integer representation too long", start)
    raise LebError("unexpected end", start)


def read_s32(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A signed 32-bit integer; see :func:`read_u32`."""
    return _read_signed(data, pos, end, 32)


def read_s33(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A signed 33-bit integer; see :func:`read_u32`."""
    return _read_signed(data, pos, end, 33)


def read_s64(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A signed 64-bit integer; see :func:`read_u32`."""
    return _read_signed(data, pos, end, 64)
