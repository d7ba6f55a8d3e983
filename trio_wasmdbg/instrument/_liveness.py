"""Which locals the program still needs, at each place of a function: a dataflow backwards through the code.

A local is *live* where some path from there reads it before it assigns it.  Control flow is structured, so
one pass from the end to the beginning meets every label but those of loops before the branches to it.  What
is live at a loop's header is found by one pass over the loop that takes nothing to be live there: for if
``G`` is what that pass finds, and ``P`` what goes through the loop unassigned, then the header's equation
is ``H = G | (H & P)``, of which ``G`` is the least solution.  So code in ``n`` loops is passed ``n + 1``
times; beyond :data:`MAX_NESTING` loops, a superset is good enough.

An exception may come out of a call, or of a throw: what the handlers around need is live before it.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import compress
from typing import Final

from attrs import define, field

from ..wasm import TypedBody
from ._kinds import KINDS, Kind
from ._outline import Outline
from ._survey import branch_depths

__all__ = ["Liveness", "liveness"]

MAX_NESTING: Final = 4
"""Loops in one another up to which the sets are exact."""

MAX_BITS: Final = 100_000_000
"""Locals times places beyond which a function's locals are all taken to be live: the sets would fill the
memory, and no compiler makes such a function."""

_ASSIGN, _DIVISION, _CALL, _TAIL_CALL, _THROW = (
    int(k) for k in (Kind.ASSIGN, Kind.DIVISION, Kind.CALL, Kind.TAIL_CALL, Kind.THROW)
)
_BLOCK, _LOOP, _IF, _TRY_TABLE, _ELSE, _END = (
    int(k) for k in (Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.TRY_TABLE, Kind.ELSE, Kind.END)
)
_BRANCH, _BRANCH_IF, _BRANCH_TABLE, _RETURN, _UNREACHABLE = (
    int(k) for k in (Kind.BRANCH, Kind.BRANCH_IF, Kind.BRANCH_TABLE, Kind.RETURN, Kind.UNREACHABLE)
)
_READ: Final = -1

# What the pass stops at, and `local.get`, which only adds to the set.
_WANTED: Final = {
    code: kind for code, kind in KINDS.items() if kind in (_ASSIGN, _DIVISION) or kind >= _BLOCK
}
_WANTED[0x20] = _READ


@define
class _Label:
    """An open construct, as the pass comes to it from its end.

    :ivar live: what is live where a branch to it goes.
    :ivar after: what is live after its end.
    :ivar end: number of its ``end`` among the places.
    :ivar caught: what handlers need inside of it.
    :ivar probing: of a loop: the pass is the one that finds what is live at its header.
    """

    kind: int
    live: int
    after: int
    end: int
    caught: int
    probing: bool = False
    at_else: int | None = None


@define
class Liveness:
    """What is live where, in one function.

    :ivar everything: mask of all locals.
    """

    everything: int
    _typed: TypedBody | Outline
    _places: list[int] = field(factory=list)
    _live: list[int] = field(factory=list)
    _by_place: dict[int, int] = field(factory=dict)

    def at(self, k: int) -> int:
        """Mask of the locals that are live before instruction *k*, which is a place of the fast twin (a
        construct's beginning or end, a branch, call, throw, division, ``unreachable``)."""
        return self._by_place.get(k, self.everything)

    def before(self, k: int) -> int:
        """Mask of the locals that are live before instruction *k*, any one."""
        places = self._places
        if not places:
            return self.everything
        at = bisect_left(places, k)
        live, next = self._live[at], places[at]
        assert isinstance(self._typed, TypedBody)
        for instruction in reversed(self._typed.instructions[k:next]):
            code = instruction.op.code
            if code == 0x20:
                live |= 1 << instruction.imm
            elif code == 0x21 or code == 0x22:
                live &= ~(1 << instruction.imm)
        return live


def liveness(typed: TypedBody | Outline) -> Liveness:
    """Find what is live where.

    Of an outline, it can be asked for places only.
    """
    count = len(typed.locals)
    everything = (1 << count) - 1
    between = _between(typed) if isinstance(typed, TypedBody) else _between_words(typed)
    places, kinds, reads, keeps = between
    if count * len(places) > MAX_BITS:
        return Liveness(everything, typed)
    found = _Pass(typed, places, kinds, reads, keeps).run()
    return Liveness(everything, typed, places, found, dict(zip(places, found, strict=True)))


_Between = tuple[list[int], list[int], list[int], list[int]]


def _between(typed: TypedBody) -> _Between:
    """The places and their kinds, and what is read before it is assigned, and what is not assigned, between
    each and the one before."""
    instructions = typed.instructions
    wanted = _WANTED
    # Between two places, what is read before it is assigned, and what is assigned.
    places: list[int] = []
    kinds: list[int] = []
    reads: list[int] = []
    keeps: list[int] = []
    read = assigned = 0
    for k, instruction in enumerate(instructions):
        code = instruction[2].code
        if code in wanted:
            kind = wanted[code]
            if kind == _READ:
                bit = 1 << instruction[3]
                if not assigned & bit:
                    read |= bit
            elif kind == _ASSIGN:
                assigned |= 1 << instruction[3]
            else:
                places.append(k)
                kinds.append(kind)
                reads.append(read)
                keeps.append(~assigned)
                read = assigned = 0
    return places, kinds, reads, keeps


_FIRST: Final = bytes(n if n in (0, _ASSIGN + 1, _DIVISION + 1) or n > _BLOCK else 0 for n in range(256))


def _between_words(outline: Outline) -> _Between:
    """The same of an outline."""
    known, classes = outline.known, outline.classes
    bits = known.bits
    # Kinds + 1; 255 for what reads.
    table = known.kinds.translate(_FIRST)
    for number, local in enumerate(known.locals):
        if local == 1:
            table = table[:number] + b"\xff" + table[number + 1 :]
    wanted = classes.translate(table)
    places: list[int] = []
    kinds: list[int] = []
    reads: list[int] = []
    keeps: list[int] = []
    read = assigned = 0
    for k, kind, word in zip(
        compress(range(len(wanted)), wanted),
        wanted.translate(None, b"\0"),
        compress(outline.words, wanted),
        strict=True,
    ):
        if kind == 255:
            bit = bits[word]
            if not assigned & bit:
                read |= bit
        elif kind == _ASSIGN + 1:
            assigned |= bits[word]
        else:
            places.append(k)
            kinds.append(kind - 1)
            reads.append(read)
            keeps.append(~assigned)
            read = assigned = 0
    return places, kinds, reads, keeps


class _Pass:
    """The pass over the places of one function; use once."""

    def __init__(
        self,
        typed: TypedBody | Outline,
        places: list[int],
        kinds: list[int],
        reads: list[int],
        keeps: list[int],
    ) -> None:
        self._typed = typed
        self._places = places
        self._kinds = kinds
        self._reads = reads
        self._keeps = keeps
        self._headers: dict[int, int] = {}  # of loops, by the number of their `end`
        self._labels: list[_Label] = []
        self._loops = 0
        self._probing = 0

    def run(self) -> list[int]:
        """For each place what is live before it."""
        instructions, places, kinds = self._typed.instructions, self._places, self._kinds
        reads, keeps, labels = self._reads, self._keeps, self._labels
        result = [0] * len(places)
        live = caught = 0
        i = len(places)
        while i:
            i -= 1
            kind = kinds[i]
            if kind == _CALL:
                live |= caught
            elif kind == _BRANCH_IF:
                imm = instructions[places[i]][3]
                live |= labels[-1 - (imm if isinstance(imm, int) else imm.label)].live
            elif kind == _END:
                label = self._open(i, live, caught)
                caught = label.caught
            elif kind == _BRANCH:
                live = labels[-1 - instructions[places[i]][3]].live
            elif kind == _BRANCH_TABLE:
                live = 0
                for depth in branch_depths(instructions[places[i]]):
                    live |= labels[-1 - depth].live
            elif kind in (_RETURN, _UNREACHABLE, _TAIL_CALL):
                live = 0
            elif kind == _THROW:
                live = caught
            elif kind == _ELSE:
                label = labels[-1]
                label.at_else, live = live, label.live
            elif kind != _DIVISION:
                # The beginning of a construct.
                label = labels[-1]
                if kind == _IF:
                    live |= label.after if label.at_else is None else label.at_else
                elif kind == _LOOP:
                    label.live = live
                    if label.probing:
                        # Once more, knowing the header.
                        self._probing -= 1
                        label.probing = False
                        i, live = label.end, label.after
                        result[i] = live
                        live = live & keeps[i] | reads[i]
                        continue
                    self._loops -= 1
                    if self._probing:
                        self._headers[label.end] = live
                labels.pop()
                caught = labels[-1].caught
            result[i] = live
            live = live & keeps[i] | reads[i]
        return result

    def _open(self, i: int, live: int, caught: int) -> _Label:
        """An ``end`` opens a construct for a pass that comes from there."""
        k = self._places[i]
        scope = self._typed.controls[k]
        labels = self._labels
        if scope.kind == "loop":
            self._loops += 1
            label = _Label(_LOOP, 0, live, i, caught)
            if not self._probing:
                if self._loops <= MAX_NESTING:
                    label.probing = True
                    self._probing += 1
                else:
                    outer = next(each for each in reversed(labels) if each.kind == _LOOP)
                    label.live = self._headers[i] | outer.live
        else:
            label = _Label(_BLOCK, live, live, i, caught)
            if scope.kind == "try_table":
                for catch in self._typed.instructions[scope.start].imm.catches:
                    # Labels count from outside of the try_table.
                    label.caught |= labels[-1 - catch.label].live
        labels.append(label)
        return label
