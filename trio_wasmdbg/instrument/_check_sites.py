"""The check sites of a fast twin, and its ways out.

At a check site the function leaves for good if the site's byte is set: the frame gets what it lacks, and a
tail call goes on in the slow twin, or in the stub that asks for it.
"""

from __future__ import annotations

from array import array
from typing import Final

from ..wasm import FuncType, uleb
from . import _emit as emit
from ._additions import KEEP, Additions
from ._layout import SITES_BASE
from ._liveness import Liveness
from ._pushes import FramePushes
from ._stores import Copied, FrameStores

__all__ = [
    "ADDRESS_SIZE",
    "AFTER_CALL",
    "CATCH",
    "CUT",
    "ENTRY",
    "LARGE",
    "LOOP",
    "MOST_SITES",
    "CheckSites",
    "first_cut",
]

ENTRY, LOOP, AFTER_CALL, CATCH = 0, 1, 2, 3
"""Kinds of sites; those that only divide a large function count as loops'."""

ADDRESS_SIZE: Final = 4
"""Bytes of the number, in the code, that is the address of a site's byte."""

MOST_SITES: Final = (1 << 28) - SITES_BASE
"""How many sites of a module have addresses of that size."""

LARGE: Final = 5_000
"""Functions with more instructions are divided by check sites, so that one can stop anywhere soon."""
CUT: Final = 300
"""Instructions from one of these to the next."""


def first_cut(instructions: int) -> int:
    """What ``_cut_at`` is at first."""
    return 0 if instructions > LARGE else instructions


class CheckSites(FramePushes):
    """What a builder has to do with check sites."""

    _type: FuncType
    _additions: Additions
    _stores: FrameStores
    _live: Liveness | None
    _unassigned: dict[int, int]
    _sites: array[int]
    _address_places: array[int]
    """Where in the code the sites' addresses are."""
    _first_site: int
    _resume_point: int
    """Local with the resume point, on the way out."""
    _load_byte: bytes
    _many: bool
    """Each site has a way out of its own."""
    _cut_at: int
    """After which instruction the last site was that only divides the function."""

    def _site_address(self, resume_point: int, kind: int) -> int:
        """Address of the byte of the next check site."""
        return SITES_BASE + self._first_site + len(self._sites)

    def _exit(self, resume_point: int, inside: int = 1, *, keep: bool = False) -> bytes:
        """Goes to the way out from inside so many constructs of ours, besides those of the original.

        The zeros that the frame lacks are written later (see ``_zeros``).

        :param keep: the host may have written them already: what its flag says is kept.
        """
        self._unassigned[resume_point] = self._now.zero
        number = emit.i32_const(resume_point | (KEEP if keep else 0)) + emit.local_set(self._resume_point)
        if self._many:
            return number + self._way_out()
        return number + emit.br(len(self._labels) + inside)

    def _way_out(self) -> bytes:
        """Goes on in the slow twin (or the stub) and never comes back; all sites of a function share it,
        unless there are very many."""
        leave = self._additions.leave(self._type.results)
        return self._access.fp + emit.local_get(self._resume_point) + emit.return_call(leave)

    def _needed(self, k: int) -> int:
        """Mask of the locals that the frame must have at instruction *k*."""
        return -1 if self._live is None else self._live.at(k)

    def _locals(self, needed: int) -> bytes:
        """Stores those of the locals *needed* that have been assigned and that the frame does not have."""
        return self._stores.locals(self._now.dirty & needed)

    def _leave(self, operands: list[Copied], resume_point: int, needed: int) -> bytes:
        """Stores everything that the frame lacks, and goes."""
        stores = self._stores.operands(operands)
        return b"".join([self._activation(), stores, self._locals(needed), self._exit(resume_point)])

    def _check(self, resume_point: int, kind: int, cold: bytes) -> None:
        """A check site.  Each has its own address: of two checks of one byte, Cranelift would delete
        the second if the first dominates it, and a loop could not be interrupted any more."""
        address = self._site_address(resume_point, kind)
        self._sites.append(resume_point << 2 | kind)
        self._address_places.append(len(self._writer.out) + len(self._load_byte))
        self._writer.out += b"".join([self._load_byte, uleb(address), emit.IF_EMPTY, cold, emit.END])

    def _is_cut(self, k: int, live: bool) -> bool:
        """Whether there is a check site after this ``end``: in large functions, with nothing on the stack."""
        if not live or k - self._cut_at < CUT or k == self._typed.count - 1:
            return False
        control = self._typed.controls[k]
        return control.height + len(control.results) == 0

    def _check_after_end(self, k: int) -> None:
        self._cut_at = k
        self._writer.copy_to(self._typed.instructions[k].end)
        self._check(k + 1, LOOP, self._leave([], k + 1, self._needed(k)))
