"""Steps as plans: a table of rules that say at which stop a step ends.

The shadow stack grows down, so a caller's frame has a *higher* address than its callee's; that
one comparison tells deeper, same and shallower apart, through recursion and across instances.
A plan arms places only in its own table; nothing of it is left when it ends.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

__all__ = ["ENDS", "PLACES", "FramePlace", "Places", "StepKind", "StepPlan", "make_plan"]


class StepKind(enum.Enum):
    """How far a step goes."""

    INSTRUCTION = "instruction"
    """To the next instruction that is executed anywhere."""
    OVER = "over"
    """To the next instruction of this activation of the function, or of its caller's."""
    OUT = "out"
    """To the instruction after the call, in the caller."""


@frozen
class FramePlace:
    """A frame on the stack, as far as a plan needs it."""

    instance: int
    fp: int
    function: int
    resume_point: int
    is_call: bool
    """Whether the instruction at the resume point is a call."""


@frozen
class Places:
    """What a plan arms: everything, or these points (``None`` for a whole function)."""

    everything: bool = False
    points: tuple[tuple[int, int, int | None], ...] = ()
    """(instance, function index, resume point or None)"""


@frozen
class StepPlan:
    """A step under way."""

    kind: StepKind
    fp: int
    places: Places

    def ends_at(self, fp: int) -> bool:
        """Whether a stop in the frame at *fp* ends this step."""
        return ENDS[self.kind](self.fp, fp)


ENDS: Final[Mapping[StepKind, Callable[[int, int], bool]]] = {
    StepKind.INSTRUCTION: lambda start, now: True,
    StepKind.OVER: lambda start, now: now >= start,
    StepKind.OUT: lambda start, now: now > start,
}


def _after(frame: FramePlace) -> tuple[int, int, int | None]:
    return (frame.instance, frame.function, frame.resume_point + 1)


def _over(frame: FramePlace, caller: FramePlace | None) -> Places:
    # A call comes back to the one place after it; anything else may branch, so that the whole
    # function is armed.  Stops in deeper activations of the same function don't end the step.
    here = _after(frame) if frame.is_call else (frame.instance, frame.function, None)
    return Places(points=(here,) if caller is None else (here, _after(caller)))


def _out(frame: FramePlace, caller: FramePlace | None) -> Places:
    return Places(points=() if caller is None else (_after(caller),))


PLACES: Final[Mapping[StepKind, Callable[[FramePlace, FramePlace | None], Places]]] = {
    StepKind.INSTRUCTION: lambda frame, caller: Places(everything=True),
    StepKind.OVER: _over,
    StepKind.OUT: _out,
}


def make_plan(kind: StepKind, frame: FramePlace | None, caller: FramePlace | None) -> StepPlan | None:
    """The plan for a step of *kind* from the pause in *frame*, or None for "just run".

    Without a frame (no guest code on the stack yet) a step goes to the first instruction that is
    executed, and a step out has nowhere to go.
    """
    if frame is None:
        if kind is StepKind.OUT:
            return None
        return StepPlan(StepKind.INSTRUCTION, 0, Places(everything=True))
    return StepPlan(kind, frame.fp, PLACES[kind](frame, caller))
