"""What the fast twin knows at each point of the code, and how that merges where control does.

Control flow is structured, so one pass is enough: every branch to a label other than a loop's comes
before the label.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from ..wasm import Operand

__all__ = ["ACTIVE", "INACTIVE", "UNCERTAIN", "Flowing", "Label"]

INACTIVE: Final = 0
"""No frame has been pushed in this activation."""

ACTIVE: Final = 1
"""The frame has been pushed."""

UNCERTAIN: Final = 2
"""Some paths have pushed it, and it can't be popped on the way (see ``_early_pops``).  Nothing that may trap
is ever executed in this state."""


@define
class Flowing:
    """The state at one point.

    :ivar dirty: mask of the locals that may differ from their slot in the frame.
    :ivar zero: mask of the locals that have certainly never been assigned; their slots hold garbage.
    :ivar active: is the frame pushed: one of :data:`INACTIVE`, :data:`ACTIVE`, :data:`UNCERTAIN`.
    """

    dirty: int
    zero: int
    active: int = INACTIVE

    def copy(self) -> Flowing:
        """A state of its own."""
        return Flowing(self.dirty, self.zero, self.active)

    def join(self, other: Flowing) -> None:
        """Control may also come from there: dirty is what either says, zero what both say."""
        self.dirty |= other.dirty | self.zero ^ other.zero
        self.zero &= other.zero
        if self.active != other.active:
            self.active = UNCERTAIN


@define
class Label:
    """An open construct.

    :ivar stored: topmost of the operands that are stored at its end, whatever happens inside.
    :ivar at_end: state merged from the branches to its end; None if there was none.
    :ivar at_else: state at the beginning of an ``if``'s other arm, until that has begun.
    :ivar settable: mask of the non-nullable locals that had no value yet where it was entered; they have
        none again at its end (spec, "Validation, Instructions, Instruction Sequences").
    :ivar catches: an exception may lead to its end (for a loop, to its header).
    :ivar targets: of a ``try_table``: where its clauses lead; None for other constructs.
    :ivar at_throw: of a ``try_table``: state merged from all places inside that may throw.
    :ivar pops: whoever comes to its end with the frame pushed pops it before (see ``_early_pops``).
    :ivar values: a branch to its end takes values there.
    """

    loop: bool
    stored: Operand | None
    at_end: Flowing | None = None
    at_else: Flowing | None = None
    settable: int = 0
    catches: bool = False
    targets: tuple[Label, ...] | None = None
    at_throw: Flowing | None = None
    pops: bool = False
    values: bool = False

    def branch(self, state: Flowing) -> None:
        """A branch comes here with this state (a loop's header expects the worst anyway)."""
        if self.loop:
            return
        if self.at_end is None:
            self.at_end = state.copy()
        else:
            self.at_end.join(state)

    def throw(self, state: Flowing) -> None:
        """Something inside this ``try_table`` may throw in this state."""
        if self.at_throw is None:
            self.at_throw = state.copy()
        else:
            self.at_throw.join(state)
