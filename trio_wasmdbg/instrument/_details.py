"""What is worked out again on demand about one function that somebody looks at.

Modules have ten million instructions, so this is kept for a few functions only.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final

from attrs import define, field, frozen

from ..wasm import (
    Body,
    Function,
    Instruction,
    Module,
    TypedBody,
    cut,
    in_pieces,
    read_word,
    type_body,
)
from ._blocks import leaders
from ._body import FastTwin
from ._liveness import Liveness, liveness
from ._modes import FrameMode
from ._recipes import Recipes
from ._skeleton import PartlyTyped, Skeleton, opened_by, skeleton
from ._words import UNKNOWN, Words

__all__ = ["Details", "details_of", "no_tick"]

KEPT_PARTS: Final = 8
"""Typed parts kept of one function."""

TYPED_WHOLE: Final = 400
"""Functions of more instructions are typed in parts."""

PART: Final = 50
"""Parts are multiples of so many instructions."""


def no_tick() -> None:
    """The default *tick*."""


@frozen
class _Cut:
    """A body that was cut into instructions.

    :ivar words: what these mean to a skeleton.
    :ivar classes: of the instructions; None if one of them is unknown there.
    """

    offsets: array[int]
    words: Words
    classes: bytes | None


def _cut(module: Module, body: Body, tick: Callable[[], None]) -> _Cut | None:
    """The body cut into instructions; None if that can't be done by their bytes alone."""
    found = cut(module.data, body.code_start, body.end, tick)
    # Not one for the whole module: this may be done in several threads.
    words = Words(module)
    classes = bytes(map(words.classes.__getitem__, in_pieces(found, tick)))
    if UNKNOWN in classes:
        unknown = [word for word, number in words.classes.items() if number == UNKNOWN]
        if not all(read_word(module, word) for word in in_pieces(unknown, tick)):
            return None
    offsets = array("I", accumulate(map(len, in_pieces(found[:-1], tick)), initial=body.code_start))
    return _Cut(offsets, words, None if UNKNOWN in classes else classes)


@define(eq=False)
class Details:
    """What is worked out again on demand for one function.

    The offsets alone are found five times as fast as the types (see :func:`~trio_wasmdbg.wasm.cut`), and are
    all that is needed to stop at a function's beginning.
    """

    offsets: array[int]
    end: int
    _module: Module
    _function: Function
    _analyse: Callable[[TypedBody], FastTwin]
    _mode: FrameMode
    _cut: _Cut | None
    _typed: TypedBody | None
    _analysis: FastTwin | None = None
    _live: Liveness | None = None
    _recipes: Recipes | None = None
    _leaders: frozenset[int] | None = None
    _skeleton: Skeleton | None = None
    _zeros: Mapping[int, int] | None = None
    _parts: dict[range, PartlyTyped] = field(factory=dict)
    nearest: dict[int, frozenset[int] | None] = field(factory=dict)

    @property
    def may_catch(self) -> bool:
        """Whether there may be a ``try_table``: none can be cut."""
        return self._cut is None

    def skeleton(self, tick: Callable[[], None] = no_tick) -> Skeleton | None:
        """Its skeleton; None if it has none."""
        if self._skeleton is None and self._cut is not None and self._cut.classes is not None:
            words, classes = self._cut.words, self._cut.classes
            self._skeleton = skeleton(self._module, self._function, words, classes, self.offsets, tick)
        return self._skeleton

    def typed_part(self, wanted: range, tick: Callable[[], None]) -> TypedBody | PartlyTyped:
        """See :meth:`FunctionPlan.typed_part`."""
        bones = None
        if self._typed is None and len(self.offsets) > TYPED_WHOLE:
            bones = self.skeleton(tick)
        if bones is None:
            return self.typed(tick)
        for known, part in list(self._parts.items()):
            if known.start <= wanted.start and wanted.stop <= known.stop:
                return part
        # Neighbours are asked for next.
        first = wanted.start - wanted.start % PART
        wanted = range(first, min(-(-wanted.stop // PART) * PART, len(self.offsets)))
        part = self._parts[wanted] = PartlyTyped(bones, bones.part(wanted, tick))
        for oldest in list(self._parts)[:-KEPT_PARTS]:
            self._parts.pop(oldest, None)
        return part

    def loops(self) -> tuple[int, ...]:
        """The ``loop`` instructions that can be reached, in order."""
        bones = self.skeleton() if self._typed is None else None
        return tuple(self.opened_by("loop")) if bones is None else bones.loops()

    def zeros(self, sites: Iterable[int]) -> Mapping[int, int]:
        """See :meth:`FunctionPlan.zeros`.

        :param sites: resume points of its check sites.
        """
        if self._zeros is None:
            # In post-mortem mode, they are to be known at more places.
            bones = self.skeleton() if self._mode != "post-mortem" else None
            self._zeros = self.analysis().unassigned if bones is None else bones.zeros(sites)
        return self._zeros

    def opened_by(self, kind: str) -> list[int]:
        """The instructions that begin a construct of this kind and can be reached, in order."""
        typed = self.typed()
        return opened_by(kind, typed.controls, typed.reachable)

    def leaders(self) -> frozenset[int]:
        """Where basic blocks begin."""
        if self._leaders is None:
            self._leaders = leaders(self.typed())
        return self._leaders

    @property
    def is_prepared(self) -> bool:
        """See :attr:`FunctionPlan.is_prepared`."""
        if self._typed is not None:
            return True
        return self._skeleton is not None and self._zeros is not None and self._mode == "exact"

    def typed(self, tick: Callable[[], None] = no_tick) -> TypedBody:
        """The body with its operand types."""
        if self._typed is None:
            self._typed = type_body(self._module, self._function, tick)
        return self._typed

    def instruction(self, k: int) -> Instruction:
        """Instruction *k*."""
        if self._typed is not None:
            return self._typed.instructions[k]
        start = self.offsets[k]
        end = self.offsets[k + 1] if k + 1 < len(self.offsets) else self.end
        word = read_word(self._module, self._module.data[start:end])
        if word is None:
            return self.typed().instructions[k]
        return Instruction(start, end, word.op, word.imm)

    def analysis(self) -> FastTwin:
        """The fast twin, made once more."""
        if self._analysis is None:
            self._analysis = self._analyse(self.typed())
        return self._analysis

    def live(self) -> Liveness | None:
        """What is live where; None if that does not matter."""
        if self._live is None and self._mode == "live":
            self._live = liveness(self.typed())
        return self._live

    def recipes(self) -> Recipes | None:
        """Which operands are not stored before traps; None if none are."""
        if self._recipes is None and self._mode == "post-mortem":
            self._recipes = Recipes(self.typed())
        return self._recipes


def details_of(
    module: Module,
    function: Function,
    analyse: Callable[[TypedBody], FastTwin],
    mode: FrameMode,
    tick: Callable[[], None],
) -> Details:
    """The details of a function.

    :param analyse: makes its fast twin once more.
    """
    body = function.body
    assert body is not None
    found, typed = _cut(module, body, tick), None
    if found is None:
        typed = type_body(module, function, tick)
        offsets = array("I", [i.offset for i in typed.instructions])
    else:
        offsets = found.offsets
    return Details(offsets, body.end, module, function, analyse, mode, found, typed)
