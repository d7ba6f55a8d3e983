"""Steps as plans: tables of what a step arms and where it ends.

A frame is known by its address on the shadow stack.  The same place of the same function in another
activation, be it a deeper one or one that was tail-called, is another place; so recursion does not end a
step early.  A plan's places are armed while it lasts and only then: nothing of it is left when it ends,
or when its frames are gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from attrs import define, evolve, frozen

__all__ = ["RULES", "FramePlace", "Places", "Point", "StepKind", "StepPlan", "make_plan"]

Point: TypeAlias = tuple[int, int, int, int | None]
"""(instance, frame pointer, function index, resume point; None: the whole function)"""


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

    def include(self, instance: int, fp: int, function: int, resume_point: int) -> bool:
        if self.everything:
            return True
        frame = instance, fp, function
        return (*frame, resume_point) in self.points or (*frame, None) in self.points


COUNTED_FROM: Final = 16
"""Instructions of a step from which on the guest counts them; a few are quicker asked for one by one."""

_EVERYWHERE: Final = Places(everything=True)

_ONE: Final = StepKind.INSTRUCTION


@define
class StepPlan:
    """A step under way."""

    kind: StepKind
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
        if not self.places.include(instance, fp, function, resume_point):
            return False
        self.remaining -= 1
        return self.remaining <= 0

    def frames_gone(self, below: int) -> StepPlan | None:
        """The plan when frames with addresses lower than *below* are gone; None if nothing is left of it."""
        left = tuple(point for point in self.places.points if point[1] >= below)
        if self.places.everything or len(left) == len(self.places.points):
            return self
        return evolve(self, places=Places(points=left)) if left else None


Ends: TypeAlias = tuple[int | None, ...]


def _after(frame: FramePlace) -> Ends:
    """Where a frame goes on after the call that comes next in it: behind it, or where it catches."""
    # A frame that an injected call stands on may be at its end: there is nothing behind that.
    behind = (frame.resume_point + 1,) if frame.resume_point < frame.last else ()
    return (*behind, *frame.landings)


def _over(frame: FramePlace, target: int) -> Ends:
    # What is no call may branch, so that the whole function is armed.
    return _after(frame) if frame.is_call else (None,)


def _out(frame: FramePlace, target: int) -> Ends:
    return ()


def _until(frame: FramePlace, target: int) -> Ends:
    return (target,)


def _return(frame: FramePlace, target: int) -> Ends:
    # A tail call leaves the frame without coming to its end.
    return (frame.last,)


RULES: Final[Mapping[StepKind, Callable[[FramePlace, int], Ends]]] = {
    StepKind.OVER: _over,
    StepKind.OUT: _out,
    StepKind.UNTIL: _until,
    StepKind.RETURN: _return,
}
"""Where a step may end in the frame that it begins in, given a target.  All may end where that frame's
caller goes on, and where a frame further out catches an exception."""


def _points(frame: FramePlace, ends: Ends) -> tuple[Point, ...]:
    return tuple((frame.instance, frame.fp, frame.function, k) for k in ends)


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

    :param count: for INSTRUCTION: how many.
    :param target: for UNTIL: the resume point.
    :param outer: the frames beyond the caller, as far as they may catch an exception.
    """
    if kind is _ONE:
        return StepPlan(kind, _EVERYWHERE, count, count >= COUNTED_FROM)
    if frame is None:
        return StepPlan(StepKind.INSTRUCTION, _EVERYWHERE) if kind is StepKind.OVER else None
    points = _points(frame, RULES[kind](frame, target))
    if caller is not None:
        points += _points(caller, _after(caller))
    for each in outer:
        points += _points(each, each.landings)
    return StepPlan(kind, Places(points=points))
