"""In a step of many instructions, a slow twin pays for a run of instructions at once.

While a step is counted (see ``_trace``), every stop byte has the value :data:`COUNTS`.  Where a *run* begins,
instructions that are executed one after the other, the twin takes all of them off the count, if more is left
than they are, and says so in the byte at :data:`PAID`, which is :data:`COUNTS` while a run is paid for, and
else 0.  Each further check in the run compares its stop byte with that one.

Whoever is about to ask the host, in the middle of a run, first gives back what is not executed yet, and the
rest of the run is not paid for any more.  So while the host decides, or the guest is paused, the count is
right to the instruction: the step may end there, and another one begin.

There is one such byte for an instance.  Runs contain no calls, so no two of them are under way; and whoever
comes into the middle of one has come by the chunk's ``br_table``, before which the byte is set to 0.
"""

from __future__ import annotations

from typing import Final

from ..wasm import Flow, TypedBody
from . import _emit as emit
from ._additions import Additions
from ._layout import PAID
from ._skeleton import PartlyTyped

__all__ = ["COUNTS", "Runs", "begin_function", "pay_back"]

COUNTS: Final = 8
"""The bit of a stop byte that counts the instruction down."""

SHORTEST: Final = 3
"""Instructions of a run that is worth paying for at once."""

LONGEST: Final = 511
"""Instructions of a run."""

_POINT_BITS: Final = 23
"""Bits of a resume point: a function has at most 7,654,321 bytes."""

_GOES_ON: Final = frozenset({Flow.NEXT, Flow.BLOCK, Flow.TRY_TABLE})
"""After anything else, a run ends: control goes elsewhere, or may come from elsewhere to what follows."""


class Runs:
    """The runs of one chunk of a slow twin."""

    def __init__(self, additions: Additions, typed: TypedBody | PartlyTyped, low: int, high: int) -> None:
        """
        :param low: the first instruction of the chunk; *high* is the one after its last.
        """
        self._additions = additions
        self._ends: dict[int, int] = {}
        self._begins: set[int] = set()
        begin, last = low, typed.count - 1
        for k in range(low, high):
            goes_on = typed.instructions[k].op.flow in _GOES_ON and k + 1 - begin < LONGEST
            # To the function's end lead branches and returns.
            if goes_on and k + 1 < high and k + 1 != last:
                continue
            if k + 1 - begin >= SHORTEST:
                self._begins.add(begin)
                self._ends.update(dict.fromkeys(range(begin, k + 1), k + 1))
            begin = k + 1

    def begins(self, k: int) -> bool:
        """Whether a run begins with instruction *k*."""
        return k in self._begins

    def differs(self, k: int) -> bytes:
        """From the stop byte of instruction *k* to an i32: 0 if there is nothing to be done at it."""
        if k not in self._ends or k in self._begins:
            return b""
        return _load_paid(self._additions) + b"\x47"  # i32.ne

    def unpaid(self) -> bytes:
        """Code for where control may come into the middle of a run."""
        return _store_paid(self._additions, 0)

    def place(self, k: int, *, checked: bool) -> int:
        """Instruction *k*, and how many instructions may have been paid for from there on (:func:`pay_back`).

        :param checked: only those behind it; else with itself, whose check is being made.
        """
        return k | self._ends.get(k, k + checked) - k - checked << _POINT_BITS


def _load_paid(additions: Additions) -> bytes:
    return emit.i32_const(0) + additions.memory_access(0x2D, PAID)


def _store_paid(additions: Additions, value: int) -> bytes:
    return emit.i32_const(0) + emit.i32_const(value) + additions.memory_access(0x3A, PAID)


def begin_function(additions: Additions, countdown: int, stop: int) -> bytes:
    """The body of (frame pointer, place, address of the stop byte) -> i32, for where a run begins.

    Pays for it, and returns 0.  If that would use the count up, or the byte asks for more than counting, it
    does and returns what the function for a stop byte does.

    :param stop: index of that function, of the same type.
    """
    fp, place, at = (emit.local_get(i) for i in range(3))
    left, count = emit.global_get(countdown), place + emit.i32_const(_POINT_BITS) + b"\x76\xad"
    return b"".join(
        [
            emit.local_groups([]),
            at + additions.memory_access(0x2D, 0) + emit.i32_const(COUNTS) + b"\x46",  # i32.eq
            left + count + b"\x55",  # i64.gt_s
            emit.I32_AND,
            emit.IF_EMPTY,
            left + count + b"\x7d" + emit.global_set(countdown),  # i64.sub
            _store_paid(additions, COUNTS),
            emit.i32_const(0) + emit.RETURN,
            emit.END,
            _store_paid(additions, 0),
            fp + place + at + emit.return_call(stop),
            emit.END,
        ]
    )


def pay_back(additions: Additions, countdown: int, place: int) -> bytes:
    """Code that gives back what is paid for.

    :param place: the local with what :meth:`Runs.place` gives; afterwards it has the resume point.
    """
    get = emit.local_get(place)
    return b"".join(
        [
            _load_paid(additions),
            emit.IF_EMPTY,
            get + emit.i32_const(_POINT_BITS) + b"\x76\xad",  # i32.shr_u, i64.extend_i32_u
            emit.global_get(countdown) + b"\x7c" + emit.global_set(countdown),  # i64.add
            _store_paid(additions, 0),
            emit.END,
            get + emit.i32_const((1 << _POINT_BITS) - 1) + emit.I32_AND + emit.local_set(place),
        ]
    )
