"""What to do when a check site or stop byte fires: go on, or pause, and why.

This runs inside the debug callback, on whichever thread polls the guest, so it only reads and
writes plain attributes, never waits, and never raises.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field, frozen

from ._breakpoints import Breakpoint, BreakpointTable, ModuleView
from ._stepping import StepKind, StepPlan

__all__ = ["Decider", "Evaluator", "Kind", "Reason", "Verdict"]


class Kind(enum.IntEnum):
    """Which of the checks has fired (the hook's first argument)."""

    SITE = 0
    """A fast twin left at a check site and has no slow twin yet."""
    STOP = 1
    """A slow twin is before an instruction whose stop byte is set."""
    TRAP = 2
    """A slow twin is before an instruction that is going to trap."""


class Reason(enum.Enum):
    """Why the guest pauses."""

    TRAP = "trap"
    BREAKPOINT = "breakpoint"
    STEP = "step"
    INTERRUPT = "interrupt"


@frozen
class Verdict:
    """A pause, and why."""

    reason: Reason
    breakpoints: tuple[Breakpoint, ...] = ()
    step: StepKind | None = None


class Evaluator(Protocol):
    """What breakpoints need of the paused guest."""

    def holds(self, breakpoint: Breakpoint, frame: Any) -> bool:
        """Whether the condition holds; where it can't be told: True, with ``breakpoint.error`` set."""
    def write(self, breakpoint: Breakpoint, frame: Any) -> None:
        """Write the log message."""


_TRAP = Verdict(Reason.TRAP)
_STEP = Verdict(Reason.STEP, step=StepKind.INSTRUCTION)
_INTERRUPT = Verdict(Reason.INTERRUPT)


@define
class Decider:
    """All that pausing depends on, for one debuggee."""

    breakpoints: BreakpointTable = field(factory=BreakpointTable)
    evaluator: Evaluator | None = None
    single_step: bool = False
    plan: StepPlan | None = None
    interrupt: bool = False
    """Somebody asked for a pause and has not got it yet."""
    ignoring: bool = False
    """``finish()`` is under way: nothing pauses."""
    unwinding: bool = False
    """Frames are being left one after the other, up to the one that returns early."""
    skip: tuple[int, int, int] | None = None
    """(instance, fp, resume point) whose next check is the one at which we have just paused."""

    @property
    def everything(self) -> bool:
        """Whether every check has to fire."""
        if self.unwinding:
            return True
        if self.ignoring:
            return False
        return self.interrupt or self.single_step or (self.plan is not None and self.plan.places.everything)

    def decide(
        self,
        kind: int,
        module: ModuleView,
        instance: int,
        fp: int,
        function: int,
        k: int,
        look: Callable[[], Any] | None = None,
    ) -> Verdict | None:
        """Why to pause before resume point *k*, or None to go on.

        :param look: makes the frame, for conditions and messages.
        """
        if kind == Kind.STOP:
            # Whatever stops first, the place to be skipped has been passed.
            skip, self.skip = self.skip, None
            if skip == (instance, fp, k):
                return None
        if self.ignoring:
            return None
        if kind == Kind.TRAP:
            self.plan = None
            return _TRAP
        here = self.breakpoints.at(module, function, k)
        if here:
            pausing = tuple(breakpoint for breakpoint in here if self._hits(breakpoint, look))
            if pausing:
                self.plan = None
                return Verdict(Reason.BREAKPOINT, pausing)
        if self.plan is not None and self.plan.ends_at(instance, fp, function, k):
            verdict = Verdict(Reason.STEP, step=self.plan.kind)
            self.plan = None
            return verdict
        if self.single_step:
            return _STEP
        if self.interrupt:
            self.interrupt = False
            self.plan = None
            return _INTERRUPT
        return None

    def _hits(self, breakpoint: Breakpoint, look: Callable[[], Any] | None) -> bool:
        """Count a breakpoint that the guest has come to; whether it pauses."""
        if not breakpoint.enabled:
            return False
        evaluator = self.evaluator
        frame = None
        if evaluator is not None and look is not None and breakpoint.condition is not None:
            frame = look()
            if not evaluator.holds(breakpoint, frame):
                return False
        breakpoint.hit_count += 1
        if breakpoint.hits is not None and not breakpoint.hits.pauses(breakpoint.hit_count):
            return False
        if breakpoint.log is not None:
            if evaluator is not None and look is not None:
                evaluator.write(breakpoint, frame or look())
            return False
        return True

    def points(self, module: ModuleView, instance: int) -> list[tuple[int, int | None]]:
        """(function index, resume point or None for all) to arm in an instance of *module*."""
        if self.ignoring:
            return []
        points: list[tuple[int, int | None]] = list(self.breakpoints.points(module))
        if self.plan is not None:
            points += [(f, k) for i, f, k in self.plan.places.points if i == instance]
        return points
