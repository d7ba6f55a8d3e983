"""What a slow twin does at a set stop byte: count or note the instruction, ask the host, or all of it.

Bits of a stop byte: 1 asks the host; 2 asks it where the twin's condition holds; 4 notes the
instruction, which costs the host nothing; 8 counts it down (see ``_paying``): a global of the store, which
all companions import, is decremented, and when it is not positive any more, the host is asked; 16 notes it
without the ring, 32 in the ring only.

Noted are, in the debug memory:

* at ``trace_base``: u32 where in the ring the next entry will be, as a fraction of the ring, so that it
  begins anew by itself; at +8 the u64 number of instructions;
* from +16 the ring, of u32: the number of the stop byte, counted from 1, maybe with :data:`BLOCK`;
* from ``counts_base``: for each stop byte a u32, how often its instruction was come to.

After the newest entry there is a 0, outside of the ring if that is its last one: with each entry eight bytes
are written.  So flavours, which note whole blocks (see ``_recorder``), may keep the place of the next one
in a local, and lose it in a trap: it is where the 0 is.
"""

from __future__ import annotations

from ..wasm import I32
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._frames import RESUME_OFFSET
from ._layout import KIND_STOP, TRACE_ENTRIES, TRACE_LENGTH, Layout
from ._paying import COUNTS, pay_back

__all__ = [
    "ASKS",
    "BLOCK",
    "COVERS",
    "NOTES",
    "RECORDS",
    "RING",
    "SHIFT",
    "STEP",
    "TRACES",
    "cut_function",
    "note_function",
    "stop_function",
]

ASKS = 3
"""The bits of a stop byte that ask the host."""

NOTES = 4
"""The bit of a stop byte that notes the instruction."""

COVERS = 16
"""The bit of a stop byte that notes the instruction, but not in the ring."""

TRACES = 32
"""The bit of a stop byte that notes the instruction in the ring only."""

RING = 4 * TRACE_LENGTH
"""Bytes of the ring."""

SHIFT = 33 - RING.bit_length()
"""What the place of the next entry is shifted right by to get bytes."""

STEP = 4 << SHIFT
"""What it is raised by for each entry."""

assert RING == 1 << 32 - SHIFT

RECORDS = NOTES | COVERS | TRACES
"""The bits that note it in some way."""

BLOCK = 1 << 30
"""Flag of an entry: not the instruction alone, but all of the basic block that it begins."""


def _in_ring(additions: Additions, layout: Layout, at: bytes, head: int) -> bytes:
    """Code that puts the instruction with the stop byte *at* into the ring."""
    get, access = emit.local_get, additions.memory_access
    zero = emit.i32_const(0)
    number = at + emit.i32_const(layout.stops_base - 1) + emit.I32_SUB + b"\xad"  # i64.extend_i32_u
    return b"".join(
        [
            zero + access(0x28, layout.trace_base, 2) + emit.local_tee(head),
            emit.i32_const(SHIFT) + b"\x76",  # i32.shr_u
            number + access(0x37, layout.trace_base + TRACE_ENTRIES, 2),
            zero + get(head) + emit.i32_const(STEP) + emit.I32_ADD + access(0x36, layout.trace_base, 2),
        ]
    )


def _counted(additions: Additions, layout: Layout, at: bytes, count: int) -> bytes:
    """Code that counts the instruction with the stop byte *at*."""
    get, access = emit.local_get, additions.memory_access
    zero = emit.i32_const(0)
    return b"".join(
        [
            zero + zero + access(0x29, layout.trace_base + 8, 3) + emit.i64_const(1) + b"\x7c",
            access(0x37, layout.trace_base + 8, 3),
            at + emit.i32_const(layout.stops_base) + emit.I32_SUB + emit.i32_const(2) + b"\x74",
            emit.local_tee(count),
            get(count) + access(0x28, layout.counts_base, 2) + emit.i32_const(1) + emit.I32_ADD,
            access(0x36, layout.counts_base, 2),
        ]
    )


def note_function(additions: Additions, layout: Layout) -> bytes:
    """The body of (address of the stop byte) -> (): notes the instruction."""
    at = emit.local_get(0)
    return b"".join(
        [
            emit.local_groups([(1, I32)]),
            at + additions.memory_access(0x2D, 0) + emit.i32_const(NOTES | TRACES) + emit.I32_AND,
            emit.IF_EMPTY,
            _in_ring(additions, layout, at, 1),
            emit.END,
            at + additions.memory_access(0x2D, 0) + emit.i32_const(NOTES | COVERS) + emit.I32_AND,
            emit.IF_EMPTY,
            _counted(additions, layout, at, 1),
            emit.END,
            emit.END,
        ]
    )


def cut_function(additions: Additions, layout: Layout, *, traced: bool, counted: bool) -> bytes:
    """The body of (address of a counter, of the block's first stop byte, how many instructions) -> ().

    A block that was noted as a whole is left after so many instructions: they are noted one by one instead.
    """
    counter, at, left, other = range(4)
    get, access = emit.local_get, additions.memory_access
    zero = emit.i32_const(0)
    parts = [emit.local_groups([(1, I32)])]
    if counted:
        less = get(counter) + access(0x29, 0, 3) + emit.i64_const(1) + b"\x7d"
        parts.append(get(counter) + less + access(0x37, 0, 3))
    if traced:
        back = zero + access(0x28, layout.trace_base, 2) + emit.i32_const(STEP) + emit.I32_SUB
        parts.append(zero + back + access(0x36, layout.trace_base, 2))
    parts.append(emit.LOOP_EMPTY)
    if traced:
        parts.append(_in_ring(additions, layout, get(at), other))
    if counted:
        parts.append(_counted(additions, layout, get(at), other))
    parts += [
        get(at) + emit.i32_const(1) + emit.I32_ADD + emit.local_set(at),
        get(left) + emit.i32_const(1) + emit.I32_SUB + emit.local_tee(left) + emit.br_if(0),
        emit.END,
        emit.END,
    ]
    return b"".join(parts)


def stop_function(additions: Additions, hook: int, note: int, countdown: int) -> bytes:
    """The body of (frame pointer, place (see ``_paying``), address of the stop byte) -> i32.

    Counts and notes the instruction and asks the host, as the byte says, and returns the host's answer,
    or 0.
    """
    fp, rp, at, byte = range(4)
    get = emit.local_get
    return b"".join(
        [
            emit.local_groups([(1, I32)]),
            pay_back(additions, countdown, rp),
            get(at) + additions.memory_access(0x2D, 0) + emit.local_tee(byte),
            emit.i32_const(COUNTS) + emit.I32_AND,
            emit.IF_EMPTY,
            emit.global_get(countdown) + emit.i64_const(1) + b"\x7d" + emit.global_set(countdown),
            # Mostly that is all, and the quicker the better.
            emit.global_get(countdown) + emit.i64_const(0) + b"\x55",  # i64.gt_s
            emit.IF_EMPTY,
            get(byte) + emit.i32_const(COUNTS) + b"\x46",
            emit.IF_EMPTY,
            emit.i32_const(0) + emit.RETURN,
            emit.END,
            emit.ELSE,
            get(byte) + emit.i32_const(1) + b"\x72" + emit.local_set(byte),
            emit.END,
            emit.END,
            get(byte) + emit.i32_const(RECORDS) + emit.I32_AND,
            emit.IF_EMPTY,
            get(at) + emit.call(note),
            emit.END,
            get(byte) + emit.i32_const(ASKS) + emit.I32_AND + emit.I32_EQZ,
            emit.IF_EMPTY,
            emit.i32_const(0) + emit.RETURN,
            emit.END,
            FrameAccess(additions, fp).store_i32(RESUME_OFFSET, get(rp)),
            emit.i32_const(KIND_STOP) + get(fp) + get(rp) + emit.call(hook),
            emit.END,
        ]
    )
