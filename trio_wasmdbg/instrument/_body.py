"""A rewritten body while it is written: copied ranges, inserted code, new locals."""

from __future__ import annotations

from array import array
from typing import Final

from attrs import Factory, frozen

from ..wasm import I32, Body, Instruction, ValType
from . import _emit as emit

__all__ = ["INSERTED", "BodyWriter", "FastTwin"]

INSERTED: Final = 0x8000_0000
"""Flag in :attr:`BodyWriter.old`: the bytes from here on were inserted before that place."""


@frozen
class FastTwin:
    """A rewritten body.

    :ivar body: local declarations and code, without the size.
    :ivar new: offsets in ``body`` at which ranges begin, ascending.
    :ivar old: for each of ``new``, the file offset in the original module; with
        :data:`~trio_wasmdbg.instrument._body.INSERTED` set, the range was inserted before that place, else
        it was copied from there.
    :ivar sites: for each check site its resume point and kind, as ``resume_point << 2 | kind``.
    :ivar unassigned: for each call, and each resume point at which the function may leave, the mask of locals
        that are zero and not in the frame.
    :ivar activity: from which instructions on the frame is pushed or not, ascending; of interest only for
        those that call or may trap.
    :ivar addresses: offsets in ``body`` of the numbers, of four bytes each, that are addresses of check
        sites' bytes: of the first site twice, of the others once.
    """

    body: bytes
    new: array[int]
    old: array[int]
    sites: array[int]
    unassigned: dict[int, int]
    activity: list[tuple[int, bool]]
    addresses: array[int] = Factory(lambda: array("I"))


class BodyWriter:
    """Collects the code of one function.

    :ivar out: the code so far.
    :ivar new: offsets in ``out`` at which ranges begin, ascending.
    :ivar old: for each of ``new``, the file offset in the original module, or that with :data:`INSERTED` set.
    """

    def __init__(self, data: bytes, body: Body, first_local: int) -> None:
        """:param first_local: index of the first new local, which is an ``i32``."""
        self._data = data
        self._body = body
        self._position = body.code_start  # of what is to be copied next
        self._first_local = first_local
        self._locals: list[ValType] = [I32]
        self._temporaries: dict[ValType, list[int]] = {}
        self.out = bytearray()
        self.new = array("I", [0])
        self.old = array("I", [body.code_start | INSERTED])

    @property
    def local_count(self) -> int:
        """All locals, parameters included."""
        return self._first_local + len(self._locals)

    def _mark(self, old: int) -> None:
        new, at = self.new, len(self.out)
        if new[-1] == at:
            self.old[-1] = old
        else:
            new.append(at)
            self.old.append(old)

    def copy_to(self, offset: int) -> None:
        """Copies the original bytes up to *offset*; what is inserted next comes before that place."""
        position = self._position
        if position < offset:
            # Two times `_mark`, written out: this is called more often than anything else here.
            out, new, old = self.out, self.new, self.old
            at = len(out)
            if new[-1] == at:
                old[-1] = position
            else:
                new.append(at)
                old.append(position)
            out += self._data[position:offset]
            self._position = offset
            new.append(len(out))
            old.append(offset | INSERTED)

    def skip_to(self, offset: int) -> None:
        """Goes on at *offset* of the original, without what comes before."""
        self._position = offset
        # Not in place of the mark there, by which the bytes that are left out are known not to be here.
        self.new.append(len(self.out))
        self.old.append(offset | INSERTED)

    def replace(self, instruction: Instruction, code: bytes) -> None:
        """Puts *code* in place of an instruction (and maps it to that instruction's offset)."""
        self.copy_to(instruction.offset)
        self._mark(instruction.offset | INSERTED)
        self.out += code
        self._position = instruction.end
        self._mark(instruction.end | INSERTED)

    def temporary(self, type: ValType, number: int) -> int:
        """The new local *number* of this type."""
        pool = self._temporaries.setdefault(type, [])
        while len(pool) <= number:
            pool.append(self._first_local + len(self._locals))
            self._locals.append(type)
        return pool[number]

    def local(self, type: ValType) -> int:
        """One more new local, which nobody else gets."""
        self._locals.append(type)
        return self._first_local + len(self._locals) - 1

    def head(self) -> bytes:
        """The local declarations."""
        groups = list(self._body.local_groups)
        for type in self._locals:
            if groups and groups[-1][1] == type:
                groups[-1] = (groups[-1][0] + 1, type)
            else:
                groups.append((1, type))
        return emit.local_groups(groups)
