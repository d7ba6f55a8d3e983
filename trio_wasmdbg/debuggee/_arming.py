"""What is armed: the meeting point of the debugger's wishes and the instances' check sites.

Check sites may be armed from any thread while another one runs the guest (that is what an
interrupt is), so every change of what is wanted, and its way into the debug memories, happens
under one lock.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from attrs import evolve

from ..engine import Decider, MemoryWatch, Range, StepKind, StepPlan, merge_ranges
from ..errors import StoreClosedError
from ..instrument import MOST_OF_A_FLAVOUR, WATCH_CAPACITY, FunctionPlan, Recording
from ._armed import ALWAYS, CONDITIONALLY, Wanted
from ._conditions import TwinKey
from ._flavours import FlavourKey, Wishes
from ._stores import StoreState
from ._twins import FARTHEST

if TYPE_CHECKING:
    from ._instances import GuestInstance

__all__ = ["Arming"]

FEW: Final = 8
"""Functions that may wait for their flavours."""

AT_ONCE: Final = 1_000
"""Functions of more instructions stop for the first time without a flavour."""


class Arming:
    """Arms the instances of one store for one debuggee."""

    def __init__(self, state: StoreState) -> None:
        self.decider = Decider()
        self.interrupted: Callable[[], object] | None = None
        """Called when a pause is asked for, from any thread: what the guest waits for is not worth it now."""
        self._state = state
        self._lock = threading.Lock()
        self._closed = False
        self.stopping = False
        """A cancellation is on its way: the next check suspends the guest, whatever it is."""
        self.run = 0
        """Counts the runs of the guest."""
        self.sliced = False
        """The run under way has taken all of its time, or is in the way of a change: the next check suspends
        the guest, and nobody is told."""
        self.precise = False
        """Accesses that are out of bounds pause before they trap."""
        self.records: Recording | None = None
        """What is recorded of all functions, by flavours or slow twins."""
        self.flavours = True
        """Functions may run in flavours where those do all that is wanted."""
        self.conditions_changed = False
        """Slow twins may have to be made anew, at the next stop."""
        self._armed_for: tuple[bool, bool, StepPlan | None] = (False, False, None)
        """What :meth:`_wanted_by_plan` was when the sites were armed."""
        self._later: set[tuple[int, int]] = set()
        """(instance, function): it is to run in a flavour when a slow twin of it has been made."""
        self._guest_runs = False
        self._behind = False
        """Breakpoints have changed since sites were armed, while the guest did not run."""
        self.skipped: tuple[GuestInstance, int, int, bool] | None = None
        """A check that is still to be passed: instance, function, resume point, whether it is counted."""
        self._edited: frozenset[tuple[int, int, int]] = frozenset()
        """(instance, fp, function) of fast callers' frames that were changed."""

    def rearm(self) -> None:
        """Make all check sites what breakpoints, steps and modes ask for."""
        with self._lock:
            self._rearm_locked()

    def plan_changed(self) -> None:
        """The same where nothing but the plan of a step may be another: mostly nothing is to be done."""
        if self._wanted_by_plan() != self._armed_for:
            self.rearm()

    def _wanted_by_plan(self) -> tuple[bool, bool, StepPlan | None]:
        decider = self.decider
        plan = decider.plan
        everything = self.stopping or self.sliced or decider.everything
        counting = plan is not None and plan.counted and decider.counting
        # While everything is armed, it does not matter for which step.
        return everything, counting, None if everything else plan

    def _rearm_locked(self) -> None:
        self._behind = False
        if self._closed:
            return
        watched = self._watched_ranges()
        instances = self._state.instances
        if self._guest_runs and any(each._rewatches(watched.get(each.id, ())) for each in instances):
            # It would miss accesses while the table changes, and may go on in a loop with what it has read
            # there before.
            self.sliced = True
        self._later.clear()
        self._armed_for = self._wanted_by_plan()
        everything, counting, _ = self._armed_for
        slow = counting or (self.precise and not self.decider.ignoring)
        for instance in self._state.instances:
            ranges = watched.get(instance.id, ())
            if not (self._guest_runs and instance._rewatches(ranges)):
                instance._watch(ranges)
            instance._foresee_traps(self.precise and not self.decider.ignoring)
            if everything:
                wanted = Wanted(everything=True, counting=counting, records=self.records)
                instance._arm(wanted, Wishes(None), still=not self._guest_runs)
                continue
            points = self.decider.points(instance.module, instance.id)
            standing: dict[tuple[int, int | None], tuple[str, ...]] = {
                (f, k): texts for f, k, texts in self.decider.breakpoints.points(instance.module)
            }
            stops: dict[tuple[int, int | None], int] = {}
            for (function, k), guarded in points.items():
                here = guarded and instance._evaluates(function, k or 0, standing[function, k])
                # Where the condition is false, the slow twin does not count.
                stops[function, k] = CONDITIONALLY if here and not counting else ALWAYS
            # An edited frame is read by the slow twin, for which its function leaves at the next site.
            edited = {function for owner, _, function in self._edited if owner == instance.id}
            functions = frozenset(edited | {function for function, _ in stops})
            kinds = functools.reduce(operator.or_, (kinds for *_, kinds in ranges), 0)
            all_sites = slow or kinds != 0 or self.records is not None
            fast = self.flavours and not slow
            if kinds and not instance._coverable:
                fast = False
            default = FlavourKey(watched=kinds, records=self.records) if fast else None
            wished = _wishes(default, points, standing, edited)
            near: dict[int, frozenset[int]] = {}
            if not all_sites:
                later = _later(instance, wished)
                near = _near(instance, functions - edited, stops, later)
                later &= near.keys()
                wished.update(dict.fromkeys(later))
                self._later.update((instance.id, function) for function in later)
            wanted = Wanted(False, all_sites, functions, near, stops, self.records, counting)
            wishes = Wishes(default, wished)
            instance._arm(wanted, wishes, still=not self._guest_runs)
        if self.skipped is None:
            return
        if self.decider.skip is None or not self._is_passed(*self.skipped):
            self._pass_nothing()
        else:
            self._ask(*self.skipped)

    def _pass_nothing(self) -> None:
        self.decider.skip = None
        if self.skipped is not None:
            instance, function, k, _ = self.skipped
            instance._armed.set_stop_byte(function, k, instance._armed.wanted_stop_byte(function, k))
            self.skipped = None

    def _is_passed(self, instance: GuestInstance, function: int, k: int, counted: bool) -> bool:
        """Whether the host would be asked there, or an instruction be counted that is not to be."""
        asks = bool(instance._armed.wanted_stop_byte(function, k))
        return asks or (self.decider.counting and not counted)

    def _ask(self, instance: GuestInstance, function: int, k: int, counted: bool) -> None:
        # A condition of the slow twin's own might not ask, and the pass would be left over.
        if counted:
            instance._armed.set_stop_byte(function, k, ALWAYS)
        else:
            instance._armed.ask_uncounted(function, k)

    def passed(self) -> None:
        """A check has been decided: if it was the one to be passed, that is over."""
        if self.skipped is not None and self.decider.skip is None:
            with self._lock:
                self._pass_nothing()

    def breakpoints_changed(self) -> None:
        """Breakpoints, or what they depend on, have changed.

        While the guest does not run, it is enough to arm once, when it goes on: else a thousand breakpoints
        would be armed a thousand times.
        """
        self.conditions_changed = True
        with self._lock:
            if self._guest_runs:
                self._rearm_locked()
            else:
                self._behind = True

    def guest_goes_on(self) -> None:
        """From here on it runs, in this or in another thread, and breakpoints are armed as they change."""
        with self._lock:
            if self._behind:
                self._rearm_locked()
            self._guest_runs = True
            self.run += 1

    def guest_stands(self) -> bool:
        """It does not run any more.

        :returns: whether it had taken all of its time.
        """
        with self._lock:
            self._guest_runs = False
            sliced, self.sliced = self.sliced, False
            if sliced:
                self._rearm_locked()
        return sliced

    def end_slice(self, run: int) -> None:
        """Make the guest suspend at its next check, if it is still in this run; from any thread."""
        with self._lock:
            if self._guest_runs and self.run == run:
                self.sliced = True
                self._rearm_locked()

    def outdated_twins(self, instance: GuestInstance) -> list[tuple[int, TwinKey]]:
        """Functions whose slow twin does not evaluate what it should, and what that is."""
        points = self.decider.breakpoints.points(instance.module)
        wanted: dict[int, list[tuple[int, tuple[str, ...]]]] = {}
        for function, k, texts in points:
            if texts and instance._has_slow_twin(function):
                wanted.setdefault(function, []).append((k, texts))
        return [
            (function, tuple(sorted(key)))
            for function, key in wanted.items()
            if not all(instance._evaluates(function, k, texts) for k, texts in key)
        ]

    def conditions_of(self, instance: GuestInstance, function: int) -> TwinKey:
        """What the function's slow twin should evaluate itself."""
        points = self.decider.breakpoints.points_in(instance.module, function)
        return tuple(sorted((k, texts) for k, texts in points if texts))

    def is_behind(self, instance: GuestInstance, function: int) -> bool:
        """Whether something else is to be armed now that a slow twin of this function has been made."""
        return (instance.id, function) in self._later

    def next_stop(self, instance: GuestInstance, function: int, k: int) -> int | None:
        """The instruction at which the guest is likely to stop next when it goes on in this function at *k*;
        None if it is likely to go far."""
        plan = self.decider.plan
        if self.decider.single_step:
            return k + 1
        if plan is not None:
            brief = plan.kind in (StepKind.INSTRUCTION, StepKind.OVER) and not plan.counted
            return k + plan.remaining if brief else None
        # Small ones have flavours that stop at breakpoints.
        large = instance._module.plan(function).instructions > AT_ONCE
        return instance._armed.next_stop(function, k) if large else None

    def _watched_ranges(self) -> dict[int, list[Range]]:
        """By instance: the ranges to watch, as its own code numbers the memories."""
        watchpoints = [] if self.decider.ignoring else self.decider.watches.enabled(MemoryWatch)
        watched = [(each.what, each.kinds) for each in watchpoints if isinstance(each.what, MemoryWatch)]
        if not watched:
            return {}
        found: dict[int, list[Range]] = {}
        for instance in self._state.instances:
            ranges = [
                (what.address, what.address + what.size, index, kinds)
                for index, identity in enumerate(instance._memory_identities())
                for what, kinds in watched
                if what.memory == identity
            ]
            found[instance.id] = merge_ranges(ranges, WATCH_CAPACITY)
        return found

    def skip(
        self, instance: GuestInstance, function: int, fp: int, resume_point: int, *, counted: bool = False
    ) -> None:
        """The next check will be one that is dealt with already, if it is armed: it is to be passed.

        If it is not armed (any more), there is nothing to pass, and a later check at the same place is
        a new one.

        :param counted: a step of several instructions is under way, and this check is one of them; else it
            is where the guest stood when the step began.
        """
        with self._lock:
            if self._behind:
                self._rearm_locked()
            self._pass_nothing()
            check = (instance, function, resume_point, counted)
            if self._is_passed(*check):
                self._ask(*check)
                self.skipped = check
                self.decider.skip = (instance.id, fp, resume_point)

    def interrupt(self) -> None:
        """Ask for a pause at the next check; from any thread."""
        with self._lock:
            if not self._closed and not self.decider.interrupt:
                self.decider.interrupt = True
                self._rearm_locked()
                if self.interrupted is not None:
                    self.interrupted()

    def stop(self) -> None:
        """Make the guest suspend at its next check, for a cancellation."""
        with self._lock:
            self.stopping = True
            self._rearm_locked()

    def call_ended(self, base_sp: int) -> None:
        """A call into the guest is over: frames below *base_sp* are gone, and so is a cancellation."""
        skip = self.decider.skip
        if skip is not None and skip[1] < base_sp:
            with self._lock:
                self._pass_nothing()
        step_ended = self.decider.frames_gone(base_sp)
        self._edited = frozenset(edit for edit in self._edited if edit[1] >= base_sp)
        if self.stopping or step_ended:
            self.stopping = False
            self.rearm()

    def frame_edited(self, instance: int, fp: int, function: int) -> None:
        """A fast caller's frame was changed: its function must leave for the slow twin."""
        self._edited |= {(instance, fp, function)}
        self.rearm()

    def frame_is_slow(self, instance: int, fp: int, function: int) -> None:
        """A frame is run by its slow twin: what was changed in it is read from there, and that is over."""
        edit = (instance, fp, function)
        if edit in self._edited:
            with self._lock:
                self._edited -= {edit}
                self._rearm_locked()

    def close(self) -> None:
        """Disarm everything, for good."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(StoreClosedError):
                for instance in self._state.instances:
                    instance._arm(Wanted(), Wishes(), still=False)
                    instance._loops.switch(False)
                    instance._watch(())
                    instance._foresee_traps(False)


def _later(instance: GuestInstance, wished: Mapping[int, FlavourKey | None]) -> set[int]:
    """Functions whose first stop does not wait for their flavours.

    Making one takes longer than making the part of a slow twin that leads to the place.  That is for once:
    when they have a slow twin, they get their flavours, too.

    None where there are many: it takes time to find out which check sites are near.
    """
    found = {
        function
        for function, key in wished.items()
        if key is not None and instance._module.plan(function).instructions > AT_ONCE
        and key == FlavourKey(key.points) and not any(texts for _, texts in key.points)
        and not instance._has_slow_twin(function) and not instance._flavours.has_any(function)
    }  # fmt: skip
    return found if len(found) <= FEW else set()


def _near(
    instance: GuestInstance,
    functions: Iterable[int],
    stops: Iterable[tuple[int, int | None]],
    later: Collection[int],
) -> dict[int, frozenset[int]]:
    """For functions that are too large for flavours: the check sites before what is armed in them.

    So what is before the place stays fast, and need not be made for the slow twin.

    :param later: other functions of which they are wanted, if they lie not far before the places.
    """
    large = {each for each in functions if instance._module.plan(each).instructions > MOST_OF_A_FLAVOUR}
    found: dict[int, frozenset[int]] = dict.fromkeys(large.union(later), frozenset())
    for function, k in stops if found else ():
        if function in found:
            plan = instance._module.plan(function)
            sites = None if k is None else plan.nearest_sites(k)
            if k is None or sites is None or (function in later and _are_far(plan, sites, k)):
                del found[function]
            else:
                found[function] |= sites
    return found


def _are_far(plan: FunctionPlan, sites: Iterable[int], k: int) -> bool:
    """Whether some of these check sites don't lie shortly before instruction *k*."""
    return not all(0 <= k - plan.site_point(site) <= FARTHEST for site in sites)


def _wishes(
    default: FlavourKey | None,
    points: Mapping[tuple[int, int | None], bool],
    standing: Mapping[tuple[int, int | None], tuple[str, ...]],
    edited: Iterable[int],
) -> dict[int, FlavourKey | None]:
    """The flavours of the functions that something is wanted of.

    :param points: what is armed, as ``Decider.points`` tells it.
    :param standing: the texts of the breakpoints there; what else is armed comes and goes too fast to make
        flavours for it.
    """
    found: dict[int, list[tuple[int, tuple[str, ...]]]] = {}
    slow = set(edited)
    for (function, k), guarded in points.items():
        texts = standing.get((function, k))
        if k is None or texts is None or guarded is not bool(texts) or (k == 0 and not texts):
            # At its entry without a condition, a function stops each time.
            slow.add(function)
        else:
            found.setdefault(function, []).append((k, texts))
    wishes: dict[int, FlavourKey | None] = dict.fromkeys(slow)
    if default is not None:
        for function, here in found.items():
            if function not in slow:
                wishes[function] = evolve(default, points=tuple(sorted(here)))
    return wishes
