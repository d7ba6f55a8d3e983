"""Watched memory in flavours: a comparison of each access with one range that covers all watched ones.

It is two loads, a subtraction and a comparison in the machine's registers.  Where it holds, the flavour
leaves for the slow twin, which compares with each range (see ``_watch``).  In the debug memory, for each
memory, for reads and then for writes, and for each width of 1, 2, 4, 8, 16 bytes, there are two u64: the
lowest address of an access of that width that may touch the range, and how many such addresses there are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ..wasm import I32, Instruction
from . import _emit as emit
from ._additions import Additions
from ._layout import COVER_MEMORIES, COVER_SIZE
from ._stores import Copied
from ._watch import READS, WRITES, Access, accesses

__all__ = ["cover_of", "covered", "is_covered"]

_WIDTHS = (1, 2, 4, 8, 16)


def cover_of(ranges: Iterable[tuple[int, int, int, int]]) -> bytes | None:
    """What lies at ``cover_base`` while these ranges are watched: (first address, end, memory index, kinds).

    None if one of them is in a memory that has no place there.
    """
    hulls: dict[tuple[int, int], tuple[int, int]] = {}
    for first, end, memory, kinds in ranges:
        if memory >= COVER_MEMORIES:
            return None
        for kind in (READS, WRITES):
            if kinds & kind:
                low, high = hulls.get((memory, kind), (first, end))
                hulls[memory, kind] = min(low, first), max(high, end)
    words = []
    for memory in range(COVER_MEMORIES):
        for kind in (READS, WRITES):
            low, high = hulls.get((memory, kind), (0, 0))
            for width in _WIDTHS:
                more = width - 1 if high > low else 0
                words += [(low - more) % (1 << 64), high - low + more]
    return struct.pack(f"<{len(words)}Q", *words)


def covered(instruction: Instruction, kinds: int) -> tuple[Access, ...]:
    """The accesses of an instruction that are to be compared."""
    return tuple(access for access in accesses(instruction) if access.kind & kinds)


def is_covered(
    additions: Additions, base: int, access: Access, kinds: int, operands: Mapping[int, Copied]
) -> bytes:
    """Code that pushes an i32: not 0 if the access may touch a watched range.

    :param base: the layout's ``cover_base``.
    :param operands: the instruction's, by number from the lowest.
    """
    wide = additions.module.memories[access.memory].type.limits.is64
    tests = []
    for kind in (READS, WRITES):
        if access.kind & kind & kinds:
            at = base + _place(access, kind)
            if access.size is None:
                tests.append(_spans(additions, at, access, operands))
            else:
                tests.append(_touches(additions, at, access, operands, wide))
    return tests[0] if len(tests) == 1 else tests[0] + tests[1] + b"\x72"


def _place(access: Access, kind: int) -> int:
    width = 1 if access.size is None else access.size
    return access.memory * COVER_SIZE + ((kind == WRITES) * len(_WIDTHS) + _WIDTHS.index(width)) * 16


def _touches(
    additions: Additions, at: int, access: Access, operands: Mapping[int, Copied], wide: bool
) -> bytes:
    """``address + offset - low <u count``: addresses that are too large wrap, but then the access traps."""
    zero = emit.i32_const(0)
    address = emit.local_get(operands[access.address].local)
    if wide:
        load, const, add, subtract, below = 0x29, emit.i64_const, b"\x7c", b"\x7d", b"\x54"
    else:
        load, const, add, subtract, below = 0x28, emit.i32_const, b"\x6a", b"\x6b", b"\x49"
    if access.offset:
        address += const(access.offset) + add
    low, count = (zero + additions.memory_access(load, at + 8 * i, 3 if wide else 2) for i in range(2))
    return address + low + subtract + count + below


def _spans(additions: Additions, at: int, access: Access, operands: Mapping[int, Copied]) -> bytes:
    """``address < low + count and address + length > low``, with 64 bits."""
    zero = emit.i32_const(0)

    def operand(number: int) -> bytes:
        copied = operands[number]
        return emit.local_get(copied.local) + (b"\xad" if copied.type == I32 else b"")  # i64.extend_i32_u

    low, count = (zero + additions.memory_access(0x29, at + 8 * i, 3) for i in range(2))
    below = operand(access.address) + low + count + b"\x7c\x54"  # i64.lt_u
    return below + operand(access.address) + operand(access.length) + b"\x7c" + low + b"\x56\x71"  # i64.gt_u
