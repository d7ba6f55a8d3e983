"""What a slow twin does at a set stop byte: count or note the instruction, ask the host, or all of it.

Bits of a stop byte: 1 asks the host; 2 asks it where the twin's condition holds; 4 notes the
instruction, which costs the host nothing; 8 counts it: a global of the store, which all companions
import, is decremented, and when it is not positive any more, the host is asked.

Noted are, in the debug memory:

* at ``trace_base``: u32 head, a count of entries ever written; at +8 the u64 number of instructions;
  from +16 a ring of entries: u32 function index, u32 resume point;
* from ``counts_base``: for each stop byte a u32, how often its instruction was come to.
"""

from __future__ import annotations

from ..wasm import I32
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._frames import RESUME_OFFSET
from ._layout import KIND_STOP, TRACE_ENTRIES, TRACE_LENGTH, Layout

__all__ = ["ASKS", "COUNTS", "NOTES", "note_function", "stop_function"]

ASKS = 3
"""The bits of a stop byte that ask the host."""

NOTES = 4
"""The bit of a stop byte that notes the instruction."""

COUNTS = 8
"""The bit of a stop byte that counts the instruction down."""


def note_function(additions: Additions, layout: Layout) -> bytes:
    """The body of (frame pointer, resume point, address of the stop byte) -> (): notes the instruction."""
    fp, rp, at, head, entry, count = range(6)
    get, access = emit.local_get, additions.memory_access
    zero, one = emit.i32_const(0), emit.i32_const(1)
    base = layout.trace_base
    return b"".join(
        [
            emit.local_groups([(3, I32)]),
            zero + access(0x28, base) + emit.local_tee(head),
            emit.i32_const(TRACE_LENGTH - 1) + emit.I32_AND + emit.i32_const(3) + b"\x74",  # i32.shl
            emit.local_tee(entry),
            get(fp) + access(0x28, 0) + emit.i32_const(0x7FFF_FFFF) + emit.I32_AND,
            access(0x36, base + TRACE_ENTRIES),
            get(entry) + get(rp) + access(0x36, base + TRACE_ENTRIES + 4),
            zero + get(head) + one + emit.I32_ADD + access(0x36, base),
            zero + zero + access(0x29, base + 8) + emit.i64_const(1) + b"\x7c",
            access(0x37, base + 8),
            get(at) + emit.i32_const(layout.stops_base) + emit.I32_SUB + emit.i32_const(2) + b"\x74",
            emit.local_tee(count),
            get(count) + access(0x28, layout.counts_base) + one + emit.I32_ADD,
            access(0x36, layout.counts_base),
            emit.END,
        ]
    )


def stop_function(additions: Additions, hook: int, note: int, countdown: int) -> bytes:
    """The body of (frame pointer, resume point, address of the stop byte) -> i32.

    Counts and notes the instruction and asks the host, as the byte says, and returns the host's answer,
    or 0.
    """
    fp, rp, at, byte = range(4)
    get = emit.local_get
    return b"".join(
        [
            emit.local_groups([(1, I32)]),
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
            get(byte) + emit.i32_const(NOTES) + emit.I32_AND,
            emit.IF_EMPTY,
            get(fp) + get(rp) + get(at) + emit.call(note),
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
