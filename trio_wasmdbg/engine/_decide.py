"""What to do when a check site or stop byte fires: go on, or pause, and why.

This runs inside the debug callback, on whichever thread polls the guest, so it only reads and
writes plain attributes, never waits, and never raises.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field

from ._breakpoints import Breakpoint, BreakpointTable
from ._stepping import StepKind, StepPlan
from ._telling import Expected, Told
from ._watchpoints import GlobalWatch, LocalWatch, MemoryWatch, PendingWatch, WatchHit, WatchTable
from ._where import ModuleView

__all__ = ["Decider", "Evaluator", "Kind", "Reason", "Verdict"]


class Kind(enum.IntEnum):
    """Which of the checks has fired (the hook's first argument)."""

    SITE = 0
    """A fast twin left at a check site and has no slow twin yet."""
    STOP = 1
    """A slow twin is before an instruction whose stop byte is set."""
    TRAP = 2
    """A slow twin is before an instruction that is going to trap."""
    WATCH = 3
    """A slow twin is before an instruction that touches a watched range of memory."""
    THROW = 4
    """A slow twin has been sent to where the host throws an exception."""
    LEFT = 5
    """A flavour has left, and its function has no slow twin yet."""
    HOT = 6
    """A slow twin's loop has gone round often."""


class Reason(enum.Enum):
    """Why the guest pauses."""

    TRAP = "trap"
    WATCH = "watch"
    BREAKPOINT = "breakpoint"
    STEP = "step"
    INTERRUPT = "interrupt"
    TOLD = "told"
    """Nothing but what is told of."""

    __hash__ = object.__hash__  # enum's own takes ten times as long, and is taken at every stop


@define
class Verdict:
    """A pause, and why.  (Not frozen: one is made at each stop, and that takes a third.)"""

    reason: Reason
    breakpoints: tuple[Breakpoint, ...] = ()
    step: StepKind | None = None
    watch: tuple[WatchHit, ...] = ()
    done: tuple[Told, ...] = ()
    """To be told of first: what the instruction just executed has done."""
    next: tuple[Told, ...] = ()
    """To be told of last: what the instruction that comes next is going to do."""
    plan: StepPlan | None = None
    """The step that this is the end of, unless the callbacks say to go on."""


class Evaluator(Protocol):
    """What breakpoints need of the paused guest."""

    def holds(self, breakpoint: Breakpoint, frame: Any) -> bool:
        """Whether the condition holds; where it can't be told: True, with ``breakpoint.error`` set."""
    def calls(self, import_: str | re.Pattern[str], frame: Any) -> bool:
        """Whether the call that comes next leads to this import, ``module.name``."""
    def write(self, breakpoint: Breakpoint, frame: Any) -> None:
        """Write the log message."""


_TRAP = Verdict(Reason.TRAP)
_STEP = Verdict(Reason.STEP, step=StepKind.INSTRUCTION)
_INTERRUPT = Verdict(Reason.INTERRUPT)

# Looked up once: CPython 3.11 takes a tenth of a microsecond to find a member of an enum.
_AT_STOP, _AT_TRAP, _AT_WATCH = Kind.STOP.value, Kind.TRAP.value, Kind.WATCH.value
_CHECKS = (_AT_STOP, Kind.SITE.value, Kind.LEFT.value)


@define
class Decider:
    """All that pausing depends on, for one debuggee."""

    breakpoints: BreakpointTable = field(factory=BreakpointTable)
    watches: WatchTable = field(factory=WatchTable)
    variables: dict[int, frozenset[tuple[int, int]]] = field(factory=dict)
    """By instance: (function, resume point) of the instructions that use a watched global or local."""
    expected: Expected = field(factory=Expected)
    evaluator: Evaluator | None = None
    single_step: bool = False
    plan: StepPlan | None = None
    interrupt: bool = False
    """Somebody asked for a pause and has not got it yet."""
    ignoring: bool = False
    """``finish()`` is under way: nothing pauses."""
    unwinding: bool = False
    """Frames are being left one after the other, up to the one that returns early."""
    countdown: Callable[[], int] = lambda: 0
    """Instructions that the guest has still to count."""
    skip: tuple[int, int, int] | None = None
    """(instance, fp, resume point) whose next check is the one at which we have just paused."""

    @property
    def may_pause(self) -> bool:
        """Whether there is anything at which the guest would pause by itself."""
        if self.ignoring:
            return False
        return bool(self.plan or self.single_step or self.breakpoints or self.watches)

    @property
    def everything(self) -> bool:
        """Whether every check has to fire."""
        if self.unwinding:
            return True
        if self.ignoring:
            return False
        plan = self.plan
        if plan is not None and plan.places.everything and not plan.counted:
            return True
        return self.interrupt or self.single_step

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
        only_breakpoints = (
            kind == _AT_STOP
            and self.skip is None
            and self.plan is None
            and self.watches.pending is None
            and not (self.single_step or self.interrupt or self.ignoring)
            and not (self.variables or self.expected.at)
        )
        if only_breakpoints and look is not None:
            # One alone, without a condition or with a Python function for one: such a function is asked
            # hundreds of thousands of times a second, and mostly says no.  What follows below comes to the
            # same, and takes longer.
            here = self.breakpoints.by_place.get((id(module), function, k), ())
            evaluator = self.evaluator
            if len(here) == 1 and evaluator is not None:
                only = here[0]
                condition = only._condition
                plain = only._enabled and only.teller is None and only.where.import_ is None
                if plain and (condition is None or callable(condition)):
                    frame = None if condition is None else look()
                    holds = condition is None or evaluator.holds(only, frame)
                    if holds and self._counts(only, frame, look):
                        return self._pauses(here)
                    # The function may have asked for a pause itself.
                    if self.plan is None and not self.single_step and not self.interrupt:
                        return None
                    return self._step_or_interrupt(kind, instance, fp, function, k)
        if self.skip is not None and kind in _CHECKS:
            # Whatever stops first, the place to be skipped has been passed.
            skip, self.skip = self.skip, None
            if skip == (instance, fp, k):
                # It may be a check site: on the way from one to its slow twin, a function goes on in a
                # flavour, whose own site has been armed meanwhile.  The slow twin's check is yet to come.
                return self._counted_out() if kind == _AT_STOP else None
        if self.ignoring:
            return None
        if kind == _AT_TRAP:
            self.plan = None
            self.nothing_touched()  # not by an instruction that traps
            return _TRAP
        if kind == _AT_WATCH:
            self._touch(instance, fp, function, k, look, MemoryWatch)
            return None
        watched = () if self.watches.pending is None else self._watched(instance, fp, k, look)
        if self.variables and (function, k) in self.variables.get(instance, ()):
            self._touch(instance, fp, function, k, look, GlobalWatch, LocalWatch)
        done = self._done((instance, fp, function, k), look) if self.expected.at else ()
        pausing: tuple[Breakpoint, ...] = ()
        coming: tuple[Told, ...] = ()
        for breakpoint in self.breakpoints.at(module, function, k):
            if breakpoint.teller is not None:
                coming += self._coming(breakpoint, (instance, fp, function, k), look)
            elif self._hits(breakpoint, look):
                pausing += (breakpoint,)
        if pausing or watched or done or coming:
            return self._pauses(pausing, watched, done, coming)
        if self.plan is None and not self.single_step and not self.interrupt:
            return None
        return self._step_or_interrupt(kind, instance, fp, function, k)

    def _pauses(
        self,
        breakpoints: tuple[Breakpoint, ...],
        watched: tuple[WatchHit, ...] = (),
        done: tuple[Told, ...] = (),
        coming: tuple[Told, ...] = (),
    ) -> Verdict:
        plan, self.plan = self.plan, None
        reason = Reason.WATCH if watched else Reason.BREAKPOINT if breakpoints else Reason.TOLD
        return Verdict(reason, breakpoints, None, watched, done, coming, plan)

    def go_on(
        self, verdict: Verdict, kind: int, instance: int, fp: int, function: int, k: int
    ) -> Verdict | None:
        """The breakpoints of *verdict* don't pause after all: what else does, at the same place."""
        self.plan = verdict.plan
        return self._step_or_interrupt(kind, instance, fp, function, k)

    def _step_or_interrupt(
        self, kind: int, instance: int, fp: int, function: int, k: int
    ) -> Verdict | None:
        plan = self.plan
        if plan is None:
            pass
        elif plan.counted and self.counting:
            # A site is counted by the check that the slow twin begins with.
            ended = self._counted_out() if kind == _AT_STOP else None
            if ended is not None:
                return ended
        elif plan.ends_at(instance, fp, function, k):
            self.plan = None
            return _STEP if plan.kind is _STEP.step else Verdict(Reason.STEP, step=plan.kind)
        if self.single_step:
            return _STEP
        if self.interrupt:
            self.interrupt = False
            self.plan = None
            return _INTERRUPT
        return None

    @property
    def counting(self) -> bool:
        """Whether the guest counts its instructions for the step that is under way."""
        return self.plan is not None and self.plan.counted and not self.unwinding and not self.ignoring

    def _counted_out(self) -> Verdict | None:
        if self.counting and self.countdown() <= 0:
            self.plan = None
            return _STEP
        return None

    def _touch(
        self,
        instance: int,
        fp: int,
        function: int,
        k: int,
        look: Callable[[], Any] | None,
        *kinds: type[Any],
    ) -> None:
        """An instruction is about to use what may be watched: look again when it is done."""
        watcher = self.watches.watcher
        if watcher is None or look is None:
            return
        watchpoints = [each for kind in kinds for each in self.watches.enabled(kind)]
        hits = watcher.touched(instance, look(), watchpoints)
        if hits:
            self.watches.pending = PendingWatch(instance, fp, function, k + 1, hits)
            self.watches.notify()

    def nothing_touched(self) -> None:
        """The instruction that was about to use what is watched is not executed after all."""
        if self.watches.pending is not None:
            self.watches.pending = None
            self.watches.notify()

    def frames_gone(self, below: int) -> bool:
        """Frames with addresses lower than *below* are gone, and all that was expected of them.

        :returns: whether that was the end of a step.
        """
        pending = self.watches.pending
        if pending is not None and pending.fp < below:
            self.watches.pending = None
        self.watches.frames_gone(below)
        self.expected.frames_gone(below)
        plan = self.plan
        self.plan = None if plan is None else plan.frames_gone(below)
        return self.plan is not plan

    def _watched(
        self, instance: int, fp: int, k: int, look: Callable[[], Any] | None
    ) -> tuple[WatchHit, ...]:
        """What the instruction just executed has done to what is watched."""
        pending, watcher = self.watches.pending, self.watches.watcher
        if pending is None or (instance, fp, k) != (pending.instance, pending.fp, pending.resume_point):
            return ()
        self.watches.pending = None
        self.watches.notify()
        if watcher is None or look is None:
            return ()
        frame = look()
        found = (watcher.reports(hit, frame) for hit in pending.hits)
        return tuple(hit for hit in found if hit is not None)

    def _done(
        self, place: tuple[int, int, int, int], look: Callable[[], Any] | None
    ) -> tuple[Told, ...]:
        """What is told of the instruction just executed."""
        told = self.expected.take(place)
        if told is None or look is None:
            return ()
        self.watches.notify()
        what = told.teller.after(look(), told.what)
        return () if what is None else (Told(told.teller, what, True),)

    def _coming(
        self, breakpoint: Breakpoint, place: tuple[int, int, int, int], look: Callable[[], Any] | None
    ) -> tuple[Told, ...]:
        """What is told of the instruction that comes next."""
        teller = breakpoint.teller
        if teller is None or look is None or not breakpoint.enabled:
            return ()
        what = teller.before(look())
        if what is None:
            return ()
        told = Told(teller, what, False)
        if teller.pauses_before:
            return (told,)
        self.expect(place, told)
        return ()

    def expect(self, place: tuple[int, int, int, int], told: Told) -> None:
        """The instruction at *place* runs now; it is told of when it is done."""
        instance, fp, function, k = place
        self.expected.add((instance, fp, function, k + 1), told)
        self.watches.notify()

    def _hits(self, breakpoint: Breakpoint, look: Callable[[], Any] | None) -> bool:
        """Count a breakpoint that the guest has come to; whether it pauses."""
        if not breakpoint._enabled:
            return False
        evaluator = self.evaluator
        frame = None
        if evaluator is not None and look is not None:
            if breakpoint.where.import_ is not None:
                frame = look()
                if not evaluator.calls(breakpoint.where.import_, frame):
                    return False
            if breakpoint._condition is not None:
                if frame is None:
                    frame = look()
                if not evaluator.holds(breakpoint, frame):
                    return False
        return self._counts(breakpoint, frame, look)

    def _counts(self, breakpoint: Breakpoint, frame: Any, look: Callable[[], Any] | None) -> bool:
        """Count a hit; whether it pauses.

        :param frame: None if none has been made so far.
        """
        count = breakpoint.hit()
        if breakpoint.hits is not None and not breakpoint.hits.pauses(count):
            return False
        if breakpoint.log is not None:
            if self.evaluator is not None and look is not None:
                self.evaluator.write(breakpoint, look() if frame is None else frame)
            if breakpoint.once:
                self.breakpoints.remove(breakpoint)
            return False
        return True

    def points(self, module: ModuleView, instance: int) -> dict[tuple[int, int | None], bool]:
        """What to arm in an instance of *module*: (function index, resume point or None for all), to
        whether it is enough to ask where the slow twin's condition holds."""
        if self.ignoring:
            return {}
        points: dict[tuple[int, int | None], bool] = {}
        for function, k, texts in self.breakpoints.points(module):
            points[function, k] = bool(texts)
        for function, k in self.variables.get(instance, ()):
            points[function, k] = False
        if self.plan is not None:
            points |= {(f, k): False for i, _, f, k in self.plan.places.points if i == instance}
        points |= {(f, k): False for i, _, f, k in self.expected if i == instance}
        pending = self.watches.pending
        if pending is not None and pending.instance == instance:
            points[pending.function, pending.resume_point] = False
        return points

    @property
    def watching_memory(self) -> bool:
        """Whether every function has to run in its slow twin, which looks at each access to memory."""
        return not self.ignoring and bool(self.watches.enabled(MemoryWatch))
