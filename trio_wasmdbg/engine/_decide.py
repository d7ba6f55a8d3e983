"""What to do when a check site or stop byte fires: go on, or pause, and why.

This runs inside the debug callback, on whichever thread polls the guest, so it only reads and
writes plain attributes, never waits, and never raises.
"""

from __future__ import annotations

import enum

from attrs import define, field, frozen

from ._breakpoints import Breakpoint, BreakpointTable, ModuleView
from ._stepping import Places, StepPlan

__all__ = ["Decider", "Kind", "Reason", "Verdict"]


class Kind(enum.IntEnum):
    """Which of the three checks has fired (the hook's first argument)."""

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


_TRAP = Verdict(Reason.TRAP)
_STEP = Verdict(Reason.STEP)
_INTERRUPT = Verdict(Reason.INTERRUPT)


@define
class Decider:
    """All that pausing depends on, for one debuggee."""

    breakpoints: BreakpointTable = field(factory=BreakpointTable)
    single_step: bool = False
    plan: StepPlan | None = None
    interrupt: bool = False
    """Somebody asked for a pause and has not got it yet."""
    ignoring: bool = False
    """``finish()`` is under way: nothing pauses."""
    skip: tuple[int, int, int] | None = None
    """(instance, fp, resume point) whose next check is the one at which we have just paused."""

    @property
    def everything(self) -> bool:
        """Whether every check has to fire."""
        if self.interrupt:
            return not self.ignoring
        if self.ignoring:
            return False
        return self.single_step or (self.plan is not None and self.plan.places.everything)

    def decide(
        self, kind: int, module: ModuleView, instance: int, fp: int, function: int, k: int
    ) -> Verdict | None:
        """Why to pause before resume point *k*, or None to go on."""
        if kind == Kind.STOP and self.skip == (instance, fp, k):
            self.skip = None
            return None
        if self.ignoring:
            return None
        if kind == Kind.TRAP:
            self.plan = None
            return _TRAP
        here = self.breakpoints.at(module, function, k)
        if here:
            for breakpoint in here:
                breakpoint.hit_count += 1
            self.plan = None
            return Verdict(Reason.BREAKPOINT, here)
        if self.plan is not None and self.plan.ends_at(fp) and self._reached(instance, function, k):
            self.plan = None
            return _STEP
        if self.single_step:
            return _STEP
        if self.interrupt:
            self.interrupt = False
            self.plan = None
            return _INTERRUPT
        return None

    def _reached(self, instance: int, function: int, k: int) -> bool:
        # A check may fire at a place which the plan did not arm (a site serves its whole
        # function, an interrupt arms everything), and that doesn't end the step.
        assert self.plan is not None
        places: Places = self.plan.places
        if places.everything:
            return True
        return any(
            instance == i and function == f and point in (None, k) for i, f, point in places.points
        )

    def points(self, module: ModuleView, instance: int) -> list[tuple[int, int | None]]:
        """(function index, resume point or None for all) to arm in an instance of *module*."""
        if self.ignoring:
            return []
        points: list[tuple[int, int | None]] = list(self.breakpoints.points(module))
        if self.plan is not None:
            points += [(f, k) for i, f, k in self.plan.places.points if i == instance]
        return points
