"""The skeleton of a body: its constructs, what can be reached, and which locals are still zero where.

Of a function of ten thousand instructions, somebody wants to see a hundred.  Typing it all (see
:func:`~trio_wasmdbg.wasm.type_body`), and making its fast twin once more for what that knows of its locals,
takes 3 µs an instruction.  A skeleton looks only at instructions of control, and at assignments.  It knows
where the operand stack is empty; from the nearest such place on, a part of the body can be typed by itself.

As outlines (see ``_outline``), skeletons are of bodies of numbers only.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, compress, pairwise
from typing import Any, Final, TypeVar

from attrs import define, evolve, field

from ..wasm import (
    ControlFrame,
    Function,
    Instruction,
    Module,
    Operand,
    TypedPart,
    read_part,
    type_part,
)
from ._kinds import CONSTRUCTS, Kind, division_can_trap
from ._survey import branch_depths
from ._words import Words

__all__ = ["PartlyTyped", "Skeleton", "opened_by", "skeleton"]

_PIECE: Final = 16384
"""Instructions between two ticks."""

_MIDDLE: Final = 128
"""Stands for 0, where a byte tells by how much the operand stack grows."""

# Plain ints: comparing with a member of an enum would look it up each time.
_ASSIGN, _BLOCK, _LOOP, _IF, _ELSE, _END = (
    int(k) for k in (Kind.ASSIGN, Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.ELSE, Kind.END)
)
_BRANCH, _BRANCH_TABLE = int(Kind.BRANCH), int(Kind.BRANCH_TABLE)
_DIVISION = int(Kind.DIVISION)

_STRUCTURE: Final = frozenset(
    {Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.ELSE, Kind.END}
    | {Kind.BRANCH, Kind.BRANCH_TABLE, Kind.RETURN, Kind.UNREACHABLE, Kind.TAIL_CALL}
)
_FLOW: Final = (_STRUCTURE | {Kind.ASSIGN, Kind.BRANCH_IF}) - {Kind.RETURN, Kind.UNREACHABLE, Kind.TAIL_CALL}
_LEAVES: Final = frozenset({Kind.CALL, Kind.DIVISION, Kind.UNREACHABLE})
"""At these, the fast twin may leave, besides at check sites; or its frame is one of a call."""


def opened_by(kind: str, controls: Mapping[int, ControlFrame], reachable: Sequence[int]) -> list[int]:
    """The instructions that begin a construct of this kind and can be reached, in order."""
    return [
        k for k, control in controls.items()
        if control.kind == kind and control.start == k and reachable[k]
    ]  # fmt: skip


@define(eq=False)
class Skeleton:
    """What there is to know of a body without its operands.

    :ivar controls: as of a :class:`~trio_wasmdbg.wasm.TypedBody`.
    :ivar reachable: likewise.
    :ivar assigned: for each loop, by its beginning: mask of the locals that are assigned somewhere inside.
    """

    _module: Module
    function: Function
    _words: Words
    _classes: bytes
    _offsets: array[int]
    _end: int
    controls: dict[int, ControlFrame] = field(factory=dict)
    reachable: bytearray = field(factory=bytearray)
    assigned: dict[int, int] = field(factory=dict)
    _places: list[int] = field(factory=list)
    """The keys of :attr:`controls`, in order."""

    @property
    def count(self) -> int:
        """Number of instructions."""
        return len(self._classes)

    def instruction(self, k: int) -> Instruction:
        """Instruction *k*."""
        start, end = self._offsets[k], self._end_of(k)
        decoded = self._words.instruction(self._module.data[start:end])
        return Instruction(start, end, decoded.op, decoded.imm)

    def _end_of(self, k: int) -> int:
        return self._offsets[k + 1] if k + 1 < len(self._offsets) else self._end

    def loops(self) -> tuple[int, ...]:
        """The ``loop`` instructions that can be reached, in order."""
        return tuple(opened_by("loop", self.controls, self.reachable))

    # ── typing a part ──────────────────────────────────────────────────────────────────────────

    def part(self, wanted: range, tick: Callable[[], None]) -> TypedPart:
        """The operand types of these instructions, and of some before them.

        :raises: as :func:`~trio_wasmdbg.wasm.type_part`.
        """
        first, innermost = self._empty_before(wanted.start)
        around = [innermost]
        while (outside := around[-1].parent) is not None:
            around.append(outside)
        open_: list[ControlFrame] = []
        for scope in reversed(around):
            # What comes later, typing finds itself.
            else_ = scope.else_ if scope.else_ is not None and scope.else_ < first else None
            open_.append(evolve(scope, else_=else_, parent=open_[-1] if open_ else None))
        start, end = self._offsets[first], self._end_of(wanted.stop - 1)
        instructions = read_part(self._module, self.function, start, end)
        typed = type_part(self._module, self.function, first, instructions, open_, tick)
        for control in (*typed.controls.values(), *open_):
            if control.start >= 0:
                known = self.controls[control.start]
                control.end, control.else_ = known.end, known.else_
        return typed

    def _empty_before(self, k: int) -> tuple[int, ControlFrame]:
        """The last instruction up to *k* that control comes to with no operands, and the construct there."""
        deltas, reachable = self._words.deltas, self.reachable
        at = bisect_left(self._places, k) - 1
        while True:
            # From behind a place up to the next one, or to the instruction that is wanted.
            place, height, scope = -1, 0, self.controls[self._places[-1]]
            if at >= 0:
                place = self._places[at]
                control = self.controls[place]
                height, scope = control.height, control
                if control.end == place:
                    assert control.parent is not None
                    height, scope = height + len(control.results), control.parent
            grown = map(deltas.__getitem__, self._classes[place + 1 : k])
            heights = enumerate(accumulate(grown, initial=height), place + 1)
            empty = [j for j, height in heights if not height and reachable[j]]
            if empty:
                return empty[-1], scope
            k, at = place, at - 1

    # ── locals that are zero ───────────────────────────────────────────────────────────────────

    def zeros(self, sites: Iterable[int]) -> dict[int, int]:
        """For each of these resume points, and each other place where the fast twin may leave or calls: the
        mask of the locals that are zero, as the fast twin knows it (see ``_fast_twin``).

        Nothing, where there are only parameters.
        """
        count = len(self.function.type.params)
        body = self.function.body
        assert body is not None
        own = (1 << body.local_count) - 1 << count
        if not own:
            return {}
        keys = sorted({*sites, *self._leaves()})
        found: dict[int, int] = {}
        changes = [*self._changes(own), (len(self._classes) + 1, 0)]
        for (since, mask), (until, _) in pairwise(changes):
            for k in keys[bisect_left(keys, since) : bisect_left(keys, until)]:
                found[k] = mask
        return found

    def _leaves(self) -> Iterator[int]:
        for k, kind in self._at(_LEAVES):
            if not self.reachable[k]:
                continue
            if kind == _DIVISION:
                around = {j: self.instruction(j) for j in (k - 1, k) if j >= 0}
                if not division_can_trap(around, k):
                    continue
            yield k

    def _changes(self, zero: int) -> Iterator[tuple[int, int]]:
        """From which instructions on which locals are zero, ascending; *zero* are at the beginning.

        As the fast twin's builder goes through the code, in what can't be reached, too.
        """
        words, reachable = self._words, self.reachable
        bits, now = words.bits, zero
        yield 0, now
        # Of each open construct: what is zero at its end, by the branches to it, and in an other arm.
        labels: list[_Label] = [_Label(False)]
        for k, kind in self._at(_FLOW):
            live = reachable[k]
            before = now
            if kind == _ASSIGN:
                if live:
                    now &= ~bits[self._word(k)]
            elif kind == _END:
                label = labels.pop()
                if label.at_else is not None:
                    label.come(label.at_else)
                if not label.loop:
                    if live:
                        label.come(now)
                    if label.at_end is not None:
                        now = label.at_end
            elif kind == _ELSE:
                label = labels[-1]
                if live:
                    label.come(now)
                if label.at_else is not None:
                    now, label.at_else = label.at_else, None
            elif kind in CONSTRUCTS:
                label = _Label(kind == _LOOP)
                labels.append(label)
                if live and kind == _IF:
                    label.at_else = now
                elif live and kind == _LOOP:
                    now &= ~self.assigned[k]
            elif live and _BRANCH <= kind <= _BRANCH_TABLE:
                for depth in branch_depths(words.instruction(self._word(k))):
                    labels[-1 - depth].come(now)
            if now != before:
                yield k + 1, now

    def _at(self, kinds: Collection[int]) -> Iterator[tuple[int, int]]:
        """The instructions of these kinds, and their kinds."""
        numbers = self._words.kinds
        wanted = bytes(number and number - 1 in kinds for number in numbers)
        for k in compress(range(len(self._classes)), self._classes.translate(wanted)):
            yield k, numbers[self._classes[k]] - 1

    def _word(self, k: int) -> bytes:
        return self._module.data[self._offsets[k] : self._end_of(k)]


@define
class _Label:
    """An open construct, as :meth:`Skeleton._changes` sees it.

    :ivar at_end: which locals are zero at its end, by the branches to it; None if there was none.
    :ivar at_else: which are at the beginning of an ``if``'s other arm, until that has begun.
    """

    loop: bool
    at_end: int | None = None
    at_else: int | None = None

    def come(self, zero: int) -> None:
        """Control comes to its end."""
        if not self.loop:
            self.at_end = zero if self.at_end is None else self.at_end & zero


T = TypeVar("T")


class _Shifted(Sequence[T]):
    """A list whose first item has another number than 0."""

    def __init__(self, items: Sequence[T], first: int) -> None:
        self._items = items
        self._first = first

    def __len__(self) -> int:
        return self._first + len(self._items)

    def __getitem__(self, k: Any) -> Any:
        at = k - self._first
        if at < 0:
            raise IndexError(f"instruction {k} has not been typed")
        return self._items[at]


class _Instructions(Sequence[Instruction]):
    """All instructions of a body, those outside of the part that is typed decoded when they are wanted."""

    def __init__(self, bones: Skeleton, part: TypedPart) -> None:
        self._bones = bones
        self._first = part.first
        self._decoded = part.instructions

    def __len__(self) -> int:
        return self._bones.count

    def __getitem__(self, k: Any) -> Any:
        at = k - self._first
        return self._decoded[at] if 0 <= at < len(self._decoded) else self._bones.instruction(k)


class PartlyTyped:
    """A body of which only a part is typed; that part is as in a :class:`~trio_wasmdbg.wasm.TypedBody`.

    ``instructions`` has all of them, ``reachable`` too; the others raise :exc:`IndexError` or :exc:`KeyError`
    outside of the part.
    """

    def __init__(self, bones: Skeleton, part: TypedPart) -> None:
        self.function = bones.function
        self.count = bones.count
        self.instructions: Sequence[Instruction] = _Instructions(bones, part)
        self.stacks: Sequence[Operand | None] = _Shifted(part.stacks, part.first)
        self.reachable = bones.reachable
        self.scopes: Sequence[ControlFrame] = _Shifted(part.scopes, part.first)
        self.controls = part.controls


def skeleton(
    module: Module,
    function: Function,
    words: Words,
    classes: bytes,
    offsets: array[int],
    tick: Callable[[], None],
) -> Skeleton | None:
    """The skeleton of a body; None if it has none.

    :param classes: of its instructions; none is unknown.
    :param offsets: of its instructions.
    """
    body = function.body
    assert body is not None
    types = {*function.type.params, *function.type.results, *(type for _, type in body.local_groups)}
    if not all(type.is_num for type in types):
        return None
    if not all(-_MIDDLE <= delta < _MIDDLE for delta in words.deltas):
        return None
    grown = classes.translate(bytes(delta + _MIDDLE for delta in words.deltas))
    all_of_it = bytearray(b"\1") * len(classes)
    it = Skeleton(module, function, words, classes, offsets, body.end, reachable=all_of_it)
    controls, reachable, bits = it.controls, it.reachable, words.bits
    last = len(classes) - 1
    frame = ControlFrame("function", -1, None, last, 0, (), function.type.results, None)
    assigned, outside = 0, list[int]()  # in the innermost construct so far, and in those around it
    height, before, dead = 0, 0, -1  # operands at `before`; and since when nothing can be reached
    since = 0
    for k, kind in it._at(_STRUCTURE if not body.local_count else _STRUCTURE | {Kind.ASSIGN}):
        if kind == _ASSIGN:
            assigned |= bits[it._word(k)]
            continue
        if k - since > _PIECE:
            since = k
            tick()
        if kind == _END:
            frame.end = k
            controls[k] = frame
            if frame.live:
                height, before = frame.height + len(frame.results), k + 1
                if dead >= 0:
                    reachable[dead : k + 1] = bytes(k + 1 - dead)
                    dead = -1
            if frame.kind == "loop":
                it.assigned[frame.start] = assigned
            if frame.parent is None:
                break
            assigned |= outside.pop()
            frame = frame.parent
        elif kind == _ELSE:
            frame.else_ = k
            controls[k] = frame
            if frame.live:
                height, before = frame.height, k + 1
                if dead >= 0:
                    reachable[dead : k + 1] = bytes(k + 1 - dead)
                    dead = -1
        elif kind in CONSTRUCTS:
            if dead < 0:
                height += sum(grown[before:k]) - _MIDDLE * (k - before) - (kind == _IF)
                before = k + 1
            results = words.instruction(it._word(k)).imm.results
            frame = ControlFrame(CONSTRUCTS[kind], k, None, k, height, (), results, frame, dead < 0)
            controls[k] = frame
            outside.append(assigned)
            assigned = 0
        elif dead < 0:
            dead = k + 1
    else:
        return None
    it._places = list(controls)
    return it
