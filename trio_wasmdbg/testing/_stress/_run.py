"""A stress run: workers that live one life of a debuggee after the other, and pauses to count what is left.

The plan of a cycle is made from the seed and the cycle's number alone; what the threads make of it is
up to the machine.  So a cycle that failed is run again with ``cycle=``, maybe several times.  Negative
cycles are lives in the one store that is kept open.
"""

from __future__ import annotations

import gc
import itertools
import random
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import wasmtime
from attrs import define, field

from trio_wasmdbg import Guest, load_module, make_engine, open_debuggee

from ...errors import UnsupportedFeatureError, UnsupportedInstructionError
from ._attacks import Delays, Inspector
from ._census import census, growth, listening_to_complaints
from ._life import Life
from ._profiles import PROFILES, QUIET, Profile
from ._programs import make_program
from ._report import DEBUGGEES, Count, Failure, Report, StressFailure
from ._scenario import (
    STYLES,
    Scenario,
    Stage,
    Trace,
    digest,
    make_ops,
    make_own_breakpoints,
)

__all__ = ["stress"]

LIVES = 10
"""Lives with the same guest and script."""
_LIVES_A_STORE = 3
_GROUPS_BETWEEN_COUNTS = 8
_WARM = 100
"""Cycles after which nothing grows any more."""
_GRACE = (0.1, 0.4, 1.5, 4.0)
"""Seconds to wait before what seems to be left is counted again: a rewriting that was cancelled is over when
its thread notices that, which takes a while on a busy machine.  What leaks does not go away."""
_OLDEST = 60.0
"""Seconds after which a life is thought to hang."""
_MOST_FAILURES = 20


async def stress(
    body: Callable[[Guest], Awaitable[Any]] | None = None,
    *,
    make_store: Callable[[], wasmtime.Store] | None = None,
    seconds: float = 10.0,
    cycles: int | None = None,
    cycle: int | None = None,
    seed: int | None = None,
    debuggees: int = DEBUGGEES,
    profile: str = "mixed",
    deterministic: bool = True,
    longest_step: float = 1.0,
    longest_computation: float = 0.25,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Attack debuggees at random moments, and check that nothing is lost, invented or left behind.

    :param body: the body under attack; without one: random guests.
    :param make_store: makes the store for *body*; default: one of :func:`make_engine`.
    :param seconds: for how long.
    :param cycles: stop after so many lives of debuggees, if that is sooner.
    :param cycle: only this one (and those with the same guest), until *seconds* are over; those in the store
        that is kept open are negative.
    :param seed: of all random choices; default: a random one (it is in the report).
    :param debuggees: how many at the same time.
    :param profile: which attacks are preferred, a key of :data:`PROFILES`.
    :param deterministic: the body does the same each time; then an attacked run has to show the events
        of one that was left alone.
    :param longest_step: seconds that no step of a task may keep the trio loop.
    :param longest_computation: the same, in processor time of the trio thread.
    :param progress: called with the report now and then, in the trio thread.
    :returns: the report, in which there is no failure.
    :raises StressFailure: an invariant did not hold; its ``report`` has all failures.

    While it runs, warnings and exceptions that nobody can catch come here, and the garbage collector does
    not look at what was there before (:func:`gc.freeze`).

    Cancelled: every debuggee is dropped, then Cancelled is raised.
    """
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}: there are {', '.join(PROFILES)}")
    if seed is None:
        seed = random.SystemRandom().randrange(1 << 32)
    report = Report(seed, profile, debuggees)
    run = _Run(report, PROFILES[profile], body, make_store, deterministic, cycle, progress)
    began = time.monotonic()
    inspector = Inspector(run.on_stall, longest_step, longest_computation, run.delays)
    with listening_to_complaints("the last reference to a running debuggee") as complaints:
        # What is there already is not ours to look at, again and again.
        gc.collect()
        gc.freeze()
        inspector.start()
        try:
            await run.main(debuggees, began + seconds, cycles, complaints)
        finally:
            inspector.stop()
            gc.unfreeze()
    for complaint in complaints:
        report.failures.append(Failure(complaint))
    report.longest_step = inspector.longest
    report.counts["task steps"] = inspector.steps
    report.seconds = time.monotonic() - began
    if report.failures:
        raise StressFailure(report)
    return report


class _Enough(Exception):
    """Too many failures to go on."""


@define(eq=False)
class _Run:
    report: Report
    profile: Profile
    body: Callable[[Guest], Awaitable[Any]] | None
    make_store: Callable[[], wasmtime.Store] | None
    deterministic: bool
    only: int | None
    progress: Callable[[Report], None] | None
    throws: bool = False
    engine: wasmtime.Engine = field(factory=make_engine)
    baseline: Count | None = None
    living: dict[Life, tuple[int | None, float]] = field(factory=dict)
    """With the number of the cycle, and when it began, by :meth:`_clock`."""
    delays: Delays = field(factory=Delays)

    # ── rounds of groups of lives ──────────────────────────────────────────────────────────────

    async def main(self, debuggees: int, until: float, cycles: int | None, complaints: list[str]) -> None:
        """Rounds, with a count at rest after each."""
        await self._find_out()
        groups = itertools.count() if self.only is None else itertools.repeat(self.only // LIVES)
        number_of_groups = None if cycles is None else max(1, cycles // LIVES)
        done = 0
        keeper = await self._keeper()
        try:
            async with trio.open_nursery() as watch:
                watch.start_soon(self._watch, watch.cancel_scope)
                while time.monotonic() < until and (number_of_groups is None or done < number_of_groups):
                    most = _GROUPS_BETWEEN_COUNTS * debuggees
                    if number_of_groups is not None:
                        most = min(most, number_of_groups - done)
                    batch = list(itertools.islice(groups, most))
                    done += len(batch)
                    await self._round(batch, debuggees, until, keeper)
                    await self._count_what_is_left(complaints, keeper is not None)
                    if len(self.report.failures) >= _MOST_FAILURES:
                        break
                watch.cancel_scope.cancel()
        finally:
            if keeper is not None:
                keeper[1].close()

    async def _round(
        self, batch: list[int], debuggees: int, until: float, keeper: tuple[Scenario, Stage, Trace] | None
    ) -> None:
        batch = batch[::-1]

        async def worker() -> None:
            while batch and time.monotonic() < until and len(self.report.failures) < _MOST_FAILURES:
                await self._group(batch.pop())
                await trio.lowlevel.checkpoint()

        async def keep() -> None:
            assert keeper is not None
            while batch and time.monotonic() < until and not self.report.failures:
                number = -1 - self.report.counts["cycles in one store"]
                self.report.counts["cycles in one store"] += 1
                if self.only is not None:
                    number = self.only
                    batch.pop()
                scenario, stage, reference = keeper
                await self._life(number, scenario, stage, reference, self._rng("kept", number))

        async with trio.open_nursery() as nursery:
            for _ in range(debuggees if self.only is None or self.only >= 0 else 0):
                nursery.start_soon(worker)
            if keeper is not None:
                nursery.start_soon(keep)

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Tell of the progress, and give up where a life hangs."""
        began = time.monotonic()
        while True:
            await trio.sleep(0.25)
            if self._find_the_old():
                scope.cancel()
            self.report.seconds = time.monotonic() - began
            if self.progress is not None:
                self.progress(self.report)
            if scope.cancel_called:
                return

    def _clock(self) -> float:
        """Seconds, but for those in which this process had no processor: on a machine that has too much to
        do, a life with a thousand changes of threads takes minutes."""
        return time.monotonic() - self.delays.seconds()

    def _find_the_old(self) -> bool:
        # Not in the task that waits, whose variables would keep a life and all that belongs to it.
        now = self._clock()
        old = [each for each in self.living.items() if now - each[1][1] > _OLDEST]
        for life, (number, _) in old:
            self.fail(number, f"a life has not ended after {_OLDEST:.0f} s", life.describe())
        return bool(old)

    # ── guests ─────────────────────────────────────────────────────────────────────────────────

    async def _find_out(self) -> None:
        try:
            await load_module(self.engine, make_program(1, throws=True).text)
        except (UnsupportedFeatureError, UnsupportedInstructionError, wasmtime.WasmtimeError):
            self.report.notes.append("exceptions are not instrumented: no guest throws")
        else:
            self.throws = True

    def _rng(self, *what: object) -> random.Random:
        return random.Random(" ".join(map(str, (self.report.seed, self.report.profile, *what))))

    async def _group(self, group: int) -> None:
        """One guest with one script: left alone once, then attacked in several lives."""
        rng = self._rng("group", group)
        scenario = await self._scenario(group, rng)
        reference = Trace()
        stage = self._stage()
        try:
            await self._life(group * LIVES, scenario, stage, None, rng, reference)
        finally:
            stage.close()
        if not reference.complete and not scenario.endless and scenario.comparable:
            self.fail(group * LIVES, "a guest that was left alone has not finished", repr(reference))
            return
        number = 1
        while number < LIVES:
            stage = self._stage()
            try:
                for _ in range(rng.randint(1, _LIVES_A_STORE)):
                    if number < LIVES:
                        cycle = group * LIVES + number
                        number += 1
                        if self.only is None or self.only in (cycle, group * LIVES):
                            await self._life(cycle, scenario, stage, reference, self._rng("life", cycle))
                await self._canary(scenario, stage)
            finally:
                stage.close()
            del stage

    async def _scenario(self, group: int, rng: random.Random, *, keep: bool = False) -> Scenario:
        ops = make_ops(rng, 25)
        if self.body is not None:
            return Scenario(ops, (), user_body=self.body, comparable=self.deterministic)
        program = make_program(
            rng.randrange(1 << 32),
            endless=not keep and rng.random() < self.profile.endless,
            grows=not keep,
            throws=self.throws,
        )
        module = await load_module(self.engine, program.text)
        return Scenario(
            ops,
            make_own_breakpoints(rng, program.functions),
            rng.choice(STYLES),
            rng.random() < 0.2,
            module,
            program,
        )

    def _stage(self) -> Stage:
        if self.make_store is not None:
            return Stage(self.make_store())
        return Stage.make(self.engine)

    async def _keeper(self) -> tuple[Scenario, Stage, Trace] | None:
        """One store with one instance, which live as long as the run."""
        if self.body is not None or (self.only is not None and self.only >= 0):
            return None
        rng = self._rng("keeper")
        scenario = await self._scenario(-1, rng, keep=True)
        stage = Stage.make(self.engine, keep_instance=True)
        reference = Trace()
        await self._life(None, scenario, stage, None, rng, reference)
        assert scenario.module is not None
        for function in range(len(scenario.module.original.functions)):
            if scenario.module.is_instrumented(function):
                # Made at the first step in each, and kept with the module.
                scenario.module.plan(function).typed()
        return scenario, stage, reference

    # ── one life ───────────────────────────────────────────────────────────────────────────────

    async def _life(
        self,
        cycle: int | None,
        scenario: Scenario,
        stage: Stage,
        reference: Trace | None,
        rng: random.Random,
        trace: Trace | None = None,
    ) -> None:
        profile = self.profile if reference is not None else QUIET

        def fail(what: str, details: str) -> None:
            self.fail(cycle, what, details)

        life = Life(scenario, stage, profile, rng, self.report.counts, fail)
        if trace is not None:
            life.trace = trace
        self.living[life] = cycle, self._clock()
        try:
            await life.live()
        except Exception as exc:
            fail(f"{type(exc).__name__} came out", "".join(traceback.format_exception(exc)))
        finally:
            del self.living[life]
        if reference is not None and scenario.comparable:
            prefix = scenario.endless or not life.trace.complete
            difference = life.trace.difference(reference, prefix=prefix)
            if difference is not None:
                fail(f"not what it did when it was left alone ({life.describe()})", difference)

    async def _canary(self, scenario: Scenario, stage: Stage) -> None:
        """The store's instances still answer, whatever was done to its debuggees, and are as they were."""
        self.report.counts["stores"] += 1
        if scenario.user_body is not None:
            return

        async def body(guest: Guest) -> list[Any]:
            return [await guest.call(each.func("quick"), 5) for each in stage.instances]

        async with open_debuggee(stage.store, body) as debuggee:
            results = (await debuggee.finish()).result
        if results != [0x5A5A ^ 15] * len(stage.instances):
            self.fail(None, f"after all that, the store's instances answer {results}", repr(scenario.program))
        for instance, state in stage.left:
            if digest(instance) != state:
                self.fail(None, "another life has changed this one's instance", repr(scenario.program))

    # ── what is wrong ──────────────────────────────────────────────────────────────────────────

    def fail(self, cycle: int | None, what: str, details: str = "") -> None:
        self.report.failures.append(Failure(what, cycle, details))

    def on_stall(self, task: str, took: float, computed: float) -> None:
        times = f"{took:.3f} s ({computed:.3f} s of them computing)"
        self.fail(None, f"a step of {task} kept the loop for {times}")

    async def _count_what_is_left(self, complaints: list[str], kept: bool) -> None:
        for complaint in complaints:
            self.fail(None, complaint)
        complaints.clear()
        cycles = self.report.counts["cycles in one store" if kept else "cycles"]
        now = Count(cycles, census())
        if self.baseline is None or self.baseline.cycles < _WARM:
            self.baseline = now
        self.report.census = (self.baseline, now)
        found = growth(self.baseline.alive, now.alive)
        for seconds in _GRACE:
            if not found:
                break
            await trio.sleep(seconds)
            found = growth(self.baseline.alive, census())
        for what in found:
            self.fail(None, f"left over after {cycles} cycles: {what}")
