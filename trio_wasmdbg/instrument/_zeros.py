"""The zeros of locals that a fast twin has never assigned: its slow twin writes them when it is entered.

Which locals certainly are still zero (null) is known statically for each place where a fast twin may leave.
It does not store them on its way out: that would be most of what is compiled there, and is hardly ever
executed.  Instead the slow twin, which is made when somebody looks, begins by writing them; the place where
the fast twin has left is in the frame's header.  If the host has written them already, and perhaps changed
one, the header's flag MATERIALISED says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import _emit as emit
from ._additions import FrameAccess
from ._frames import MATERIALISED, RESUME_OFFSET, FrameLayout

__all__ = ["PLACE", "bits", "write_zeros", "zeros"]

PLACE = ~MATERIALISED & 0xFFFF_FFFF
"""What the second header word is masked with to get the resume point."""

FEW_REFERENCES = 8
"""Fewer than this are set to null one by one."""

Ranges = tuple[tuple[int, int], ...]


def bits(mask: int) -> list[int]:
    """Numbers of the set bits, ascending."""
    if mask < 1 << 64:
        found = []
        while mask:
            low = mask & -mask
            found.append(low.bit_length() - 1)
            mask ^= low
        return found
    return [i for i, digit in enumerate(reversed(bin(mask)[2:])) if digit == "1"]


def write_zeros(unassigned: Mapping[int, int], frame: FrameLayout, access: FrameAccess) -> bytes:
    """Code that writes the zeros of a frame that its fast twin has just left, unless it is materialised.

    :param unassigned: for each place where it may have left, the mask of the locals that are zero there.
    """
    word = access.load_i32(RESUME_OFFSET)
    parts = []
    for ranges, locals in _groups(unassigned).items():
        code = zeros(locals, frame, access)
        if len(ranges) == 1 and ranges[0] == (min(unassigned), max(unassigned)):
            parts.append(code)
            continue
        for number, (first, last) in enumerate(ranges):
            parts += [word + emit.i32_const(first) + emit.I32_SUB + emit.i32_const(last - first) + b"\x4d"]
            parts += [b"\x72"] if number else []  # i32.le_u, i32.or
        parts += [emit.IF_EMPTY, code, emit.END]
    if not parts:
        return b""
    # The flag is the sign bit.
    return b"".join([word + emit.i32_const(0) + b"\x4e" + emit.IF_EMPTY, *parts, emit.END])  # i32.ge_s


def _groups(unassigned: Mapping[int, int]) -> dict[Ranges, list[int]]:
    """By the places (first to last, and those between) at which they are zero: the locals."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    since: dict[int, int] = {}
    mask, before = 0, -1
    for k in sorted(unassigned):
        changed = mask ^ unassigned[k]
        if changed:
            for local in bits(changed):
                if mask >> local & 1:
                    ranges.setdefault(local, []).append((since.pop(local), before))
                else:
                    since[local] = k
            mask = unassigned[k]
        before = k
    for local in bits(mask):
        ranges.setdefault(local, []).append((since[local], before))
    groups: dict[Ranges, list[int]] = {}
    for local in sorted(ranges):
        groups.setdefault(tuple(ranges[local]), []).append(local)
    return groups


def zeros(locals: list[int], frame: FrameLayout, access: FrameAccess) -> bytes:
    """Code that writes the zeros (nulls) of these locals, ascending."""
    parts = []
    for first, count in _runs(locals, frame, access):
        type, offset = frame.locals[first], frame.local(first)
        if not type.is_ref:
            parts.append(access.zero(offset, count * frame.slot_size))
        elif count < FEW_REFERENCES:
            parts += [access.store_null(frame.locals[i], frame.local(i)) for i in range(first, first + count)]
        else:
            parts.append(access.fill_null(type, offset, count * frame.slot_size))
    return b"".join(parts)


def _runs(locals: list[int], frame: FrameLayout, access: FrameAccess) -> list[tuple[int, int]]:
    """Neighbours whose values lie in the same place: the first, and how many."""
    runs: list[tuple[int, int]] = []
    before = -1, ""
    for i in locals:
        here = i, access.place_of(frame.locals[i])
        if runs and here == (before[0] + 1, before[1]):
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((i, 1))
        before = here
    return runs
