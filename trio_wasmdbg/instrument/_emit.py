"""The few instructions that the rewriter adds, as byte strings.

Only what both twins share is here; each function returns the encoding of one instruction.
Spec: "Binary Format, Instructions".
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from ..wasm import ValType, sleb32, sleb64, uleb

__all__ = [
    "BLOCK_EMPTY",
    "DROP",
    "ELSE",
    "END",
    "I32_ADD",
    "I32_AND",
    "I32_EQZ",
    "I32_SUB",
    "IF_EMPTY",
    "LOOP_EMPTY",
    "RETURN",
    "UNREACHABLE",
    "br",
    "br_if",
    "br_table",
    "call",
    "call_indirect",
    "conversion_traps",
    "division_traps",
    "global_get",
    "global_set",
    "i32_const",
    "i64_const",
    "local_get",
    "local_groups",
    "local_set",
    "local_tee",
    "memarg",
    "memory_fill",
    "ref_null",
    "return_call",
    "return_call_indirect",
    "table_fill",
    "table_get",
    "table_set",
]

UNREACHABLE = b"\x00"
BLOCK_EMPTY = b"\x02\x40"
LOOP_EMPTY = b"\x03\x40"
IF_EMPTY = b"\x04\x40"
ELSE = b"\x05"
END = b"\x0b"
RETURN = b"\x0f"
DROP = b"\x1a"
I32_EQZ = b"\x45"
I32_ADD = b"\x6a"
I32_SUB = b"\x6b"
I32_AND = b"\x71"


# Those that come again and again: making an instruction costs more than looking it up.
_CONSTANTS: Final = tuple(b"\x41" + sleb32(n) for n in range(4096))
_GETS: Final = tuple(b"\x20" + uleb(n) for n in range(512))
_SETS: Final = tuple(b"\x21" + uleb(n) for n in range(512))
_TEES: Final = tuple(b"\x22" + uleb(n) for n in range(512))


def i32_const(n: int) -> bytes:
    """``i32.const n``, *n* signed or unsigned."""
    if 0 <= n < 4096:
        return _CONSTANTS[n]
    return b"\x41" + sleb32(n)


def i64_const(n: int) -> bytes:
    """``i64.const``; *n* may be given unsigned."""
    return b"\x42" + sleb64(n - (1 << 64) if n >= 1 << 63 else n)


def local_get(index: int) -> bytes:
    """``local.get``."""
    return _GETS[index] if index < 512 else b"\x20" + uleb(index)


def local_set(index: int) -> bytes:
    """``local.set``."""
    return _SETS[index] if index < 512 else b"\x21" + uleb(index)


def local_tee(index: int) -> bytes:
    """``local.tee``."""
    return _TEES[index] if index < 512 else b"\x22" + uleb(index)


def global_get(index: int) -> bytes:
    """``global.get``."""
    return b"\x23" + uleb(index)


def global_set(index: int) -> bytes:
    """``global.set``."""
    return b"\x24" + uleb(index)


def table_get(table: int) -> bytes:
    """``table.get``."""
    return b"\x25" + uleb(table)


def table_set(table: int) -> bytes:
    """``table.set``."""
    return b"\x26" + uleb(table)


def br(depth: int) -> bytes:
    """``br``."""
    return b"\x0c" + uleb(depth)


def br_if(depth: int) -> bytes:
    """``br_if``."""
    return b"\x0d" + uleb(depth)


def br_table(depths: list[int], default: int) -> bytes:
    """``br_table``."""
    return b"".join([b"\x0e", uleb(len(depths)), *map(uleb, depths), uleb(default)])


def call(function: int) -> bytes:
    """``call``."""
    return b"\x10" + uleb(function)


def call_indirect(type_index: int, table: int) -> bytes:
    """``call_indirect``."""
    return b"\x11" + uleb(type_index) + uleb(table)


def return_call(function: int) -> bytes:
    """``return_call`` (tail call proposal, part of 3.0)."""
    return b"\x12" + uleb(function)


def return_call_indirect(type_index: int, table: int) -> bytes:
    """``return_call_indirect`` (tail call proposal, part of 3.0)."""
    return b"\x13" + uleb(type_index) + uleb(table)


def ref_null(heap_byte: int) -> bytes:
    """``ref.null`` of an abstract heap type given by its byte."""
    return bytes((0xD0, heap_byte))


def memory_fill(memory: int) -> bytes:
    """``memory.fill``."""
    return b"\xfc\x0b" + uleb(memory)


def table_fill(table: int) -> bytes:
    """``table.fill``."""
    return b"\xfc\x11" + uleb(table)


@lru_cache(4096)
def memarg(align: int, memory: int, offset: int) -> bytes:
    """A memory immediate; *align* is the logarithm (multi-memory: bit 6 says that an index follows)."""
    if memory:
        return bytes((align | 0x40,)) + uleb(memory) + uleb(offset)
    return bytes((align,)) + uleb(offset)


def local_groups(groups: list[tuple[int, ValType]]) -> bytes:
    """The vector of local declarations that a body starts with."""
    return b"".join([uleb(len(groups)), *(uleb(count) + type.encode() for count, type in groups)])


def division_traps(kind: str, overflows: bool, a: bytes, b: bytes) -> bytes:
    """Pushes whether a division of *a* by *b* (code that pushes them) traps.

    Spec, "Numerics, idiv_s, idiv_u, irem_s, irem_u": the divisor is 0, or the signed quotient is
    2 to the power of N - 1.  *kind* is ``"i32"`` or ``"i64"``.
    """
    if kind == "i32":
        parts = [b, b"\x45"]
        if overflows:
            parts += [b, b"\x41\x7f\x46", a, b"\x41\x80\x80\x80\x80\x78\x46\x71\x72"]
    else:
        parts = [b, b"\x50"]
        if overflows:
            minimum = b"\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"
            parts += [b, b"\x42\x7f\x51", a, minimum, b"\x51\x71\x72"]
    return b"".join(parts)


def conversion_traps(kind: str, low: float, low_fits: bool, high: float, a: bytes) -> bytes:
    """Pushes whether a conversion of *a* (code that pushes it) to an integer traps.

    Spec, "Numerics, trunc_u, trunc_s": it is no number, or outside of what the integer can hold.
    *kind* is ``"f32"`` or ``"f64"``.
    """
    if kind == "f32":
        const, form, above, at_least, below = b"\x43", "<f", b"\x5e", b"\x60", b"\x5d"
    else:
        const, form, above, at_least, below = b"\x44", "<d", b"\x64", b"\x66", b"\x63"
    parts = [
        a + const + struct.pack(form, low) + (at_least if low_fits else above),
        a + const + struct.pack(form, high) + below,
        b"\x71\x45",  # i32.and, i32.eqz: a comparison with NaN is false
    ]
    return b"".join(parts)
