"""Steps as plans: tables of what a step arms and where it ends.

The shadow stack grows down, so a caller's frame has a *higher* address than its callee's; that
one comparison tells deeper, same and shallower apart, through recursion and across instances.
A plan's places are armed while it lasts and only then: nothing of it is left when it ends.
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from attrs import define, frozen

__all__ = ["RULES", "FramePlace", "Places", "Point", "StepKind", "StepPlan", "StepRule", "make_plan"]

Point = tuple[int, int, int | None]
"""(instance, function index, resume point; None: the whole function)"""


class StepKind(enum.Enum):
    """How far a step goes."""

    INSTRUCTION = "instruction"
    """So many instructions, wherever they are."""
    OVER = "over"
    """To the next instruction of this activation of the function, or of its caller's."""
    OUT = "out"
    """To the instruction after the call, in the caller."""
    UNTIL = "until"
    """To a place in this activation of the function, or out of it."""
    RETURN = "return"
    """To the function's end, before it returns, or out of it."""

    __hash__ = object.__hash__  # enum's own takes ten times as long, and is taken at every step


@frozen
class FramePlace:
    """A frame on the stack, as far as a plan needs it."""

    instance: int
    fp: int
    function: int
    resume_point: int
    is_call: bool
    """Whether the instruction at the resume point is a call."""
    last: int
    """Resume point of the function's final ``end``."""
    landings: tuple[int, ...] = ()
    """Where this activation goes on if the instruction at the resume point throws, or its callee does."""


@frozen
class Places:
    """What a plan arms: everything, or these points."""

    everything: bool = False
    points: tuple[Point, ...] = ()

    def include(self, instance: int, function: int, resume_point: int) -> bool:
        return self.everything or any(
            instance == i and function == f and k in (None, resume_point) for i, f, k in self.points
        )


COUNTED_FROM: Final = 16
"""Instructions of a step from which on the guest counts them; a few are quicker asked for one by one."""

_EVERYWHERE: Final = Places(everything=True)

_ONE: Final = StepKind.INSTRUCTION


@define
class StepPlan:
    """A step under way."""

    kind: StepKind
    fp: int
    """The frame it began in."""
    places: Places
    remaining: int = 1
    """Stops still to come; the last one ends the step."""
    counted: bool = False
    """The slow twins count them, and ask when it is over."""

    def ends_at(self, instance: int, fp: int, function: int, resume_point: int) -> bool:
        """Whether a stop here ends the step; counts it.

        A check may fire at a place which the plan did not arm (a site serves its whole function,
        an interrupt arms everything): that is none of the step's.
        """
        if not self.places.everything:
            if not self.places.include(instance, function, resume_point):
                return False
            if not RULES[self.kind].depth(fp, self.fp):
                return False
        self.remaining -= 1
        return self.remaining <= 0


def _after(frame: FramePlace | None) -> tuple[Point, ...]:
    if frame is None:
        return ()
    ends = (frame.resume_point + 1, *frame.landings)
    return tuple((frame.instance, frame.function, k) for k in ends)


def _instruction(frame: FramePlace, caller: FramePlace | None, target: int) -> Places:
    return _EVERYWHERE


def _over(frame: FramePlace, caller: FramePlace | None, target: int) -> Places:
    # A call comes back to the one place after it, or where an exception is caught; anything else may
    # branch, so that the whole function is armed.  Stops in deeper activations of the same function
    # don't end the step.
    here: tuple[Point, ...] = _after(frame) if frame.is_call else ((frame.instance, frame.function, None),)
    return Places(points=here + _after(caller))


def _out(frame: FramePlace, caller: FramePlace | None, target: int) -> Places:
    return Places(points=_after(caller))


def _until(frame: FramePlace, caller: FramePlace | None, target: int) -> Places:
    return Places(points=((frame.instance, frame.function, target), *_after(caller)))


def _return(frame: FramePlace, caller: FramePlace | None, target: int) -> Places:
    # A tail call leaves the frame without coming to its end.
    return Places(points=((frame.instance, frame.function, frame.last), *_after(caller)))


def _anywhere(now: int, start: int) -> bool:
    return True


@frozen
class StepRule:
    """One kind of step."""

    places: Callable[[FramePlace, FramePlace | None, int], Places]
    """What it arms, from the frame it begins in, that frame's caller, and a target."""
    depth: Callable[[int, int], bool]
    """Of the frame stopped in and the frame begun in: whether it may end there."""


RULES: Final[Mapping[StepKind, StepRule]] = {
    StepKind.INSTRUCTION: StepRule(_instruction, _anywhere),
    StepKind.OVER: StepRule(_over, operator.ge),
    StepKind.OUT: StepRule(_out, operator.gt),
    StepKind.UNTIL: StepRule(_until, operator.ge),
    StepKind.RETURN: StepRule(_return, operator.ge),
}


def make_plan(
    kind: StepKind,
    frame: FramePlace | None,
    caller: FramePlace | None,
    *,
    count: int = 1,
    target: int = 0,
    outer: Iterable[FramePlace] = (),
) -> StepPlan | None:
    """The plan for a step of *kind* from the pause in *frame*, or None for "just run".

    Without a frame (no guest code on the stack yet) a step goes to the first instruction that is
    executed, and a step that needs a function to be in has nowhere to go.

    :param count: for INSTRUCTION and OVER: how many.
    :param target: for UNTIL: the resume point.
    :param outer: the frames beyond the caller, as far as they may catch an exception.
    """
    if kind is _ONE:
        return StepPlan(kind, 0, _EVERYWHERE, count, count >= COUNTED_FROM)
    if frame is None:
        if kind is StepKind.OVER:
            return StepPlan(StepKind.INSTRUCTION, 0, _EVERYWHERE, count)
        return None
    places = RULES[kind].places(frame, caller, target)
    if not places.everything:
        caught = tuple((each.instance, each.function, k) for each in outer for k in each.landings)
        places = Places(points=places.points + caught)
    return StepPlan(kind, frame.fp, places, count)
