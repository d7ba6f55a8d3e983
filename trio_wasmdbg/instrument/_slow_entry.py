"""How a slow twin is entered: what its slot gets, and what stands for chunks that are not there yet."""

from __future__ import annotations

from ..wasm import I32, sleb32
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._frames import ENTERED_OFFSET, RESUME_OFFSET, SLOW
from ._jumps import FP, RP
from ._layout import ASK, KIND_CHUNK, KIND_SCALE
from ._plans import FunctionPlan
from ._zeros import PLACE, write_zeros

__all__ = ["entry", "missing"]


def entry(plan: FunctionPlan, additions: Additions, dispatch: bytes) -> bytes:
    """What the slot gets: goes on in a flavour if there is one to be entered here; else makes the frame
    whole, marks it as slow, and goes on by *dispatch*."""
    access = FrameAccess(additions, FP)
    results = additions.module.functions[plan.index].type.results
    header = sleb32(plan.index | SLOW)
    left_at = access.load_i32(RESUME_OFFSET) + emit.i32_const(PLACE) + emit.I32_AND
    fp, rp, found = emit.local_get(FP), emit.local_get(RP), emit.local_get(2)
    parts = [
        emit.local_groups([(1, I32)]),
        rp + emit.i32_const(ASK) + b"\x49",  # i32.lt_u: no flag
        emit.IF_EMPTY,
        rp + emit.i32_const(2) + b"\x74",  # i32.shl
        additions.memory_access(0x28, plan.entries, 2) + emit.local_tee(2),
        emit.i32_const(0) + b"\x4a",  # i32.gt_s
        emit.IF_EMPTY,
        fp + rp + emit.i32_const(ASK) + emit.I32_ADD + found,
        emit.return_call_indirect(additions.cold_type(results), additions.slots_table),
        emit.END,
        emit.END,
        rp + emit.i32_const(ASK - 1) + emit.I32_AND + emit.local_set(RP),
        access.store_i32(ENTERED_OFFSET, left_at),
        write_zeros(plan.zeros(), plan.frame, access),
        access.store_i32(0, b"\x41" + header),
        access.store_i32(RESUME_OFFSET, rp),
        dispatch,
        emit.END,
    ]
    return b"".join(parts)


def missing(number: int, access: FrameAccess, dispatch: bytes) -> bytes:
    """Asks the host for the chunk of slow twin *number* that the resume point is in, and goes there."""
    rp = emit.local_get(RP)
    parts = [
        emit.local_groups([]),
        access.store_i32(RESUME_OFFSET, rp),
        emit.i32_const(KIND_CHUNK + KIND_SCALE * number) + access.fp + rp + emit.call(0) + emit.DROP,
        dispatch,
        emit.END,
    ]
    return b"".join(parts)
