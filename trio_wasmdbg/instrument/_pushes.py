"""Where a fast twin's frame is pushed and popped, and what branches and returns have to do with that."""

from __future__ import annotations

from ..wasm import Instruction, TypedBody
from . import _emit as emit
from ._additions import FrameAccess
from ._body import BodyWriter
from ._early_pops import can_pop_before, early_pops
from ._flow import ACTIVE, INACTIVE, UNCERTAIN, Flowing, Label
from ._frames import FrameLayout
from ._kinds import Kind
from ._outline import Outline
from ._survey import Survey, branch_depths

__all__ = ["FramePushes"]

_BRANCH, _BRANCH_IF = int(Kind.BRANCH), int(Kind.BRANCH_IF)


class FramePushes:
    """The part of :class:`~trio_wasmdbg.instrument._fast_twin.FastTwinBuilder` that knows of it.

    :ivar _early: the constructs before whose end the frame is popped; None: it may be there on some paths
        only.
    """

    _typed: TypedBody | Outline
    _survey: Survey
    _writer: BodyWriter
    _frame: FrameLayout
    _access: FrameAccess
    _fp: int
    _escapable: bool
    _now: Flowing
    _labels: list[Label]
    _activity: list[tuple[int, bool]]
    _early: frozenset[int] | None

    # ── these flavours do in their own way ─────────────────────────────────────────────────────

    def _early_pops(self) -> frozenset[int] | None:
        """What :attr:`_early` is to be."""
        return early_pops(self._typed, self._survey, returns=self._before_return() is None)

    def _before_return(self) -> bytes | None:
        """What to do at a ``return`` besides popping the frame; None: what is done at the end."""
        return b""

    def _return_depth(self) -> int:
        """What a ``return`` that leads to the end branches by."""
        return len(self._labels) - 1

    def _label(self, depth: int) -> Label:
        """What a branch of this depth in the original leads to."""
        return self._labels[-1 - depth]

    # ── pushed and popped ──────────────────────────────────────────────────────────────────────

    def _activation(self) -> bytes:
        """Pushes the frame, if it may be missing."""
        if self._now.active == ACTIVE:
            return b""
        access = self._access
        parts = []
        if self._early is not None:
            parts += [access.new_frame(self._frame.size), emit.local_set(self._fp)]
        uncertain = self._escapable and self._now.active == UNCERTAIN
        if uncertain:
            # Doing it twice would lose the instance that was current before.
            parts += [access.sp, access.fp, b"\x47", emit.IF_EMPTY]  # i32.ne
        parts.append(access.push(self._typed.function.index, self._escapable))
        if uncertain:
            parts.append(emit.END)
        return b"".join(parts)

    def _deactivation(self) -> bytes:
        """Pops the frame, if it is pushed."""
        active = self._now.active
        if active == INACTIVE:
            return b""
        pop = self._access.pop(self._frame.size, self._escapable)
        if active == UNCERTAIN and self._escapable:
            return b"".join([self._access.sp, self._access.fp, b"\x46", emit.IF_EMPTY, pop, emit.END])
        return pop

    def _activate(self, k: int) -> None:
        """Pushes the frame before instruction *k*."""
        if self._now.active != ACTIVE:
            self._writer.copy_to(self._typed.instructions[k].offset)
            self._writer.out += self._activation()
            self._now.active = ACTIVE
        self._note_activity(k)

    def _settle_before_trap(self, after: int, before: int) -> None:
        """Pushes the frame, which some paths have done, before the next instruction that may trap."""
        at = self._survey.trap_between(after + 1, before)
        # Between two places, all of the code can be reached or none.
        if at >= 0 and self._typed.reachable[before]:
            self._activate(at)

    def _note_activity(self, k: int) -> None:
        active = self._now.active == ACTIVE
        activity = self._activity
        if (activity[-1][1] if activity else False) is not active:
            activity.append((k, active))

    # ── control goes elsewhere ─────────────────────────────────────────────────────────────────

    def _return(self, instruction: Instruction, live: bool) -> None:
        """``return``: it stays one where it can.

        A common end is one more jump, by which the processor tells paths apart less well: that costs
        recursions more than the jump does.
        """
        before = self._before_return()
        if not live or before is None or (self._escapable and self._now.active == UNCERTAIN):
            if live:
                self._come_to(self._labels[0], instruction.offset)
            self._writer.replace(instruction, emit.br(self._return_depth()))
        else:
            self._writer.replace(instruction, before + self._deactivation() + emit.RETURN)

    def _branch_popping(self, kind: int, instruction: Instruction) -> None:
        """A branch, with the frame pushed, that it may have to be popped before."""
        for depth in branch_depths(instruction):
            label = self._label(depth)
            if kind == _BRANCH_IF and label.pops:
                assert can_pop_before(instruction.op.code, label.values)
                taken = [emit.IF_EMPTY, self._deactivation(), emit.br(depth + 1), emit.END]
                self._writer.replace(instruction, b"".join(taken))
                label.branch(self._popped())
            else:
                assert kind == _BRANCH or not label.pops
                self._come_to(label, instruction.offset)

    def _come_to(self, label: Label, offset: int) -> None:
        """Control goes to a label, by the original's instruction at *offset* alone."""
        if label.pops and self._now.active == ACTIVE:
            self._writer.copy_to(offset)
            self._writer.out += self._deactivation()
            label.branch(self._popped())
        else:
            label.branch(self._now)

    def _popped(self) -> Flowing:
        """The state behind a pop: what is in the frame stays there, since nothing else runs meanwhile."""
        state = self._now.copy()
        state.active = INACTIVE
        return state
