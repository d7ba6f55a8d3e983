"""One life of a debuggee under attack: opened, driven by its script, dropped at some moment, checked.

The holder issues the script's operations.  Each may be cancelled any number of times before it
succeeds, and is then issued again, which must give the event that the first would have given.  What
comes on top (interrupts, breakpoints that are only noise) is left out of the trace, so the trace has
to be that of a run which nobody has attacked.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
import threading
import traceback
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from trio_wasmdbg import (
    Debuggee,
    Guest,
    StaleHandleError,
    State,
    StoreView,
    WrongStateError,
    events,
    open_debuggee,
    run_debuggee,
)

from ...engine import Breakpoint, Watchpoint
from ._attacks import FUSE, Fuse
from ._client import disconnecting_client
from ._profiles import Profile
from ._scenario import Op, Scenario, Stage, Trace, signature

__all__ = ["WAYS", "Life"]

Noise = Breakpoint | Watchpoint

WAYS = ("leave", "raise", "scope", "cancel()", "nursery", "lose the handle")
"""How a debuggee is dropped."""

_IN_NURSERY = ("nursery", "lose the handle")
_RUN, _FINISH = Op(), Op("finish")
_MOST_CANCELS = 6
_MOST_DISTURBANCES = 40
"""Pauses of one operation that are none of the script's; then it is left in peace, to get on."""


class _Left(Exception):
    """Raised in the block, to leave it."""


class Life:
    """One debuggee, from opening to the last check."""

    def __init__(
        self,
        scenario: Scenario,
        stage: Stage,
        profile: Profile,
        rng: random.Random,
        counts: Counter[str],
        fail: Callable[[str, str], None],
    ) -> None:
        self.trace = Trace()
        self.dropped: str | None = None
        self._scenario = scenario
        self._stage = stage
        self._profile = profile
        self._rng = rng
        self._counts = counts
        self._fail = fail
        self._fuse = Fuse(lambda what, exc: fail(what, repr(exc)))
        self._way = rng.choice(WAYS)
        drops = rng.random() < profile.drop or scenario.endless
        # Two thirds of the drops come early; an endless guest is dropped late, or when it never returns.
        self._drop_at: int | None = rng.randint(0, max(1, len(scenario.ops) // 2)) if drops else None
        self._body_state = "not started"
        self._raised: Exception | None = None
        """What the body has raised, which may come out of the block if nobody has collected it."""
        self._struck: set[str] = set()
        """The attacks of its teardown."""
        self._handle: weakref.ref[Debuggee] | None = None
        self._outer = trio.CancelScope()
        self._outermost = trio.CancelScope()
        self._holder = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._side: trio.Nursery
        self._displaced = [False]
        """Of each injected call that is under way, and on top of none: see ``signature``."""
        self._interruptible = False
        self._over = False
        self._in_operation = False
        self._operations = 0
        """How many are over: what was planned for one of them is not for the next one."""
        self._token = trio.lowlevel.current_trio_token()

    # ── the whole of it ────────────────────────────────────────────────────────────────────────

    async def live(self) -> None:
        """Run it, and check what it has left; returns when nothing of it is under way any more."""
        before = len(self._stage.printed())
        self._stage.ready = False
        async with trio.open_nursery() as self._side:
            reset = FUSE.set(self._fuse)
            try:
                with self._outermost, self._outer:
                    await (self._live_in_nursery if self._way in _IN_NURSERY else self._live_in_block)()
            except BaseException as exc:
                self._judge_exception(exc)
            finally:
                FUSE.reset(reset)
                self._over = True
                self._fuse.stop()
                self._side.cancel_scope.cancel()
        if self._body_state == "running":
            self._fail("the body has outlived its debuggee", self._way)
        self.trace.printed = self._stage.printed()[before:]
        self._counts["cycles"] += 1
        self._counts[f"ended: {self.dropped or 'finished'}"] += 1

    def describe(self) -> str:
        """For a failure: what kind of life this is, and where it has got."""
        handle = self._handle() if self._handle is not None else None
        program = self._scenario.program
        return (
            f"program {program.seed if program is not None else None}, style {self._scenario.style}, "
            f"dropped by {self.dropped} (planned: {self._way}), {handle!r}, body {self._body_state}, "
            f"{len(self.trace.events)} events"
        )

    async def _live_in_block(self) -> None:
        async with open_debuggee(self._stage.store, self._body) as debuggee:
            with self._holder:
                await self._hold(debuggee)
            if self._way == "raise" and self.dropped:
                raise _Left

    async def _live_in_nursery(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._hold_and_forget, nursery)

    async def _hold_and_forget(self, nursery: trio.Nursery) -> None:
        # Shielded, so that there is always somebody to whom the handle is given.
        with self._holder:
            debuggee = await nursery.start(run_debuggee, self._stage.store, self._body)
            await self._hold(debuggee)
        if self.dropped == "lose the handle":
            # trio keeps a task's last Cancelled, and with its traceback our frame.
            del debuggee
            self._side.start_soon(self._collect_soon)

    async def _collect_soon(self) -> None:
        handle = None
        for _ in range(10):
            handle = None
            await trio.lowlevel.checkpoint()
            gc.collect()
            handle = self._handle() if self._handle is not None else None
            if handle is None or self._struck & {"scope", "cancel()"}:
                return
        self._fail("a handle that was lost is kept", repr(gc.get_referrers(handle)))

    async def _body(self, guest: Guest) -> Any:
        self._body_state = "running"
        try:
            return await self._scenario.body(self._stage, self.trace, self)(guest)
        except Exception as exc:
            self._raised = exc
            raise
        finally:
            self._body_state = "ended"

    def _judge_exception(self, exc: BaseException) -> None:
        # An event may arrive just before the end, and then its frames are of the past at once.
        endings = (_Left, trio.Cancelled, StaleHandleError) if self.dropped else ()

        def expected(exc: BaseException) -> bool:
            return exc is self._raised or isinstance(exc, endings)

        rest: BaseException | None = exc
        meant_for_us: BaseException | None = None
        if expected(exc):
            rest = None
        elif isinstance(exc, BaseExceptionGroup):
            rest = exc.split(expected)[1]
            meant_for_us = exc.split((KeyboardInterrupt, SystemExit))[0]
        elif isinstance(exc, KeyboardInterrupt | SystemExit):
            meant_for_us = exc
        if meant_for_us is not None:
            raise meant_for_us  # what else is in the group has come of it
        if trio.current_effective_deadline() == -math.inf:
            raise exc  # the stress run itself has been cancelled
        if rest is not None:
            self._fail(f"{type(rest).__name__} came out", "".join(traceback.format_exception(rest)))

    # ── Watcher ────────────────────────────────────────────────────────────────────────────────

    def in_slice(self) -> None:
        self._fuse.slice()
        if self._interruptible and self._profile.interrupt and self._rng.random() < 0.05:
            self._interrupt()

    def in_host_function(self) -> None:
        self._fuse.slice()

    def never_returns(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._drop_soon)

    def _drop_soon(self) -> None:
        if not self._over:
            self._side.start_soon(self._after, self._rng.random() ** 2 * 0.01, self.drop)

    # ── attacks ────────────────────────────────────────────────────────────────────────────────

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _some_time(self, action: Callable[[], None], *, lasting: bool = False) -> None:
        """Strike after some steps, some time, or in a slice."""
        match self._rng.randrange(5):
            case 0 | 1 | 2:
                steps = self._rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 12, 20))
                self._fuse.after_steps(steps, action, lasting=lasting)
            case 3:
                during = None if lasting else self._operations
                self._side.start_soon(self._after, self._rng.random() ** 3 * 0.01, action, during)
            case _:
                self._fuse.in_slice(action)

    async def _after(self, seconds: float, action: Callable[[], None], during: int | None = None) -> None:
        await trio.sleep(seconds)
        if during in (None, self._operations):
            self._fuse.strike(action)

    def drop(self) -> None:
        """Drop the debuggee, in this life's way; from now on everything may end early."""
        if self.dropped:
            return
        self.dropped = self._way
        match self._way:
            case "leave" | "raise" | "lose the handle":
                self._holder.cancel()
            case "scope":
                self._outer.cancel()
            case "nursery":
                if self._nursery is not None:
                    self._nursery.cancel_scope.cancel()
            case "cancel()":
                self._with_handle(Debuggee.cancel)
        if self._chance(self._profile.teardown):
            for _ in range(self._rng.randint(1, 4)):
                steps, strike = self._rng.randint(1, 12), self._rng.choice(self._in_teardown)
                self._fuse.after_steps(steps, strike, lasting=True)

    def _with_handle(self, action: Callable[[Debuggee], object]) -> None:
        handle = self._handle() if self._handle is not None else None
        if handle is not None:
            action(handle)

    @property
    def _in_teardown(self) -> list[Callable[[], None]]:
        def count(name: str, action: Callable[[], object]) -> Callable[[], None]:
            def strike() -> None:
                self._counts[f"in teardown: {name}"] += 1
                self._struck.add(name)
                action()

            return strike

        return [
            count("scope", self._outermost.cancel),
            count("scope", self._outer.cancel),
            count("cancel()", lambda: self._with_handle(Debuggee.cancel)),
            count("interrupt", lambda: self._with_handle(Debuggee.interrupt)),
            count("breakpoint", lambda: self._with_handle(lambda d: d.add_breakpoint(0))),
            count("collection", gc.collect),
        ]

    def _interrupt(self) -> None:
        if self._interruptible:
            self._counts["interrupts"] += 1
            self._with_handle(Debuggee.interrupt)

    def _interrupt_from_thread(self) -> None:
        thread = threading.Thread(target=self._interrupt)
        thread.start()
        thread.join()

    def _noise(self, noise: list[Noise]) -> Callable[[], None]:
        during = self._operations

        def strike() -> None:
            handle = self._handle() if self._handle is not None else None
            # One that comes late, from a slice of the operation before, would never be taken away.
            if handle is None or not self._interruptible or during != self._operations:
                return
            self._counts["breakpoint edits"] += 1
            if noise and self._chance(0.4):
                _remove([noise.pop()], handle)
            else:
                noise.append(self._some_stop(handle))

        return strike

    def _some_stop(self, handle: Debuggee) -> Noise:
        """A breakpoint or watchpoint anywhere, of any kind."""
        instance = self._stage.instance
        if self._stage.ready and instance is not None and self._chance(0.25):
            self._counts["watchpoint edits"] += 1
            access = self._rng.choice(("write", "read", "access", "change"))
            return handle.watch_memory(instance, 4 * self._rng.randrange(1024), 4, access=access)
        program = self._scenario.program
        names: tuple[str | int, ...] = program.functions if program is not None else (0,)
        how: dict[str, Any] = {"at_end": self._chance(0.3)}
        match self._rng.randrange(6):
            case 0:
                # No function has this local, or its condition is mostly false: each is to be tried.
                how["condition"] = self._rng.choice(("x == 3", "x & 1", "z > 0", "n % 3 == 0", "no_such > 1"))
            case 1:
                how["condition"] = lambda frame: frame.depth % 3 == 1
            case 2:
                how["callback"] = self._called_back
        return handle.add_breakpoint(self._rng.choice(names), **how)

    async def _called_back(self, event: events.Breakpoint) -> bool:
        await trio.lowlevel.checkpoint()
        return event.frame is not None and event.frame.depth % 2 == 0

    async def _intrude(self) -> None:
        handle = self._handle() if self._handle is not None else None
        if handle is None or not self._in_operation:
            return
        try:
            await handle.with_store(lambda view: None)
        except trio.BusyResourceError:
            self._counts["intruders turned away"] += 1
        except (WrongStateError, trio.ClosedResourceError):
            pass

    def _arm(self, op: Op, scope: trio.CancelScope, tries: int, noise: list[Noise]) -> None:
        """Plan the attacks on one operation."""
        profile = self._profile
        if tries < _MOST_CANCELS and self._chance(profile.cancel):
            if self._chance(0.25):
                scope.deadline = trio.current_time() + self._rng.random() ** 3 * 0.005
            else:
                self._some_time(scope.cancel)
        if self._interruptible:
            if self._chance(profile.interrupt):
                how = self._interrupt_from_thread if self._chance(0.1) else self._interrupt
                self._some_time(how)
            if self._chance(profile.noise):
                for _ in range(self._rng.randint(1, 3)):
                    self._some_time(self._noise(noise))
        if self._chance(profile.collect):
            self._counts["collections"] += 1
            self._some_time(_collect)
        if self._chance(profile.intrude):
            self._some_time(lambda: self._side.start_soon(self._intrude))

    # ── the holder ─────────────────────────────────────────────────────────────────────────────

    async def _hold(self, debuggee: Debuggee) -> None:
        self._handle = weakref.ref(debuggee)
        scenario = self._scenario
        if self.dropped == "cancel()":
            # Before there was a handle.
            debuggee.cancel()
        own = {
            debuggee.add_breakpoint(each.function, at_end=each.at_end, hits=each.hits).id: i
            for i, each in enumerate(scenario.own)
        }
        if scenario.stop_on_host_calls:
            debuggee.stop_on_host_calls = "plain"
        unwound = False
        for i, op in enumerate((*scenario.ops, _FINISH)):
            if self._drop_at is not None and i >= self._drop_at and not scenario.endless:
                self._some_time(self.drop, lasting=True)
                self._drop_at = None
            if op.kind == "inject" and self._can_inject:
                self._displaced.append(self._displaced[-1] or unwound)
            event = await self._perform(debuggee, op, own)
            if event is None:
                return
            if isinstance(event, events.CallReturned):
                self._displaced.pop()
            frame = event.frame if isinstance(event, events.Paused) else None
            unwound = frame is not None and not frame.resumable
            del frame
            self._counts["events"] += 1
            self.trace.events.append(signature(event, own, displaced=self._displaced[-1]))
            if isinstance(event, events.Finished):
                self.trace.complete = True
                return
            await self._at_pause(debuggee, op, event, own)
            del event

    async def _perform(self, debuggee: Debuggee, op: Op, own: dict[int, int]) -> events.Event | None:
        """Issue an operation until it has given its event; None: the debuggee was dropped."""
        noise: list[Noise] = []
        tries = disturbances = 0
        try:
            while True:
                if disturbances == _MOST_DISTURBANCES:
                    _remove(noise, debuggee)
                self._interruptible = op.kind == "run" and disturbances < _MOST_DISTURBANCES
                event: events.Event | None = None
                with trio.CancelScope() as scope:
                    self._arm(op, scope, tries, noise)
                    event = await self._issue(debuggee, op)
                self._interruptible = False
                if event is None:
                    if scope.cancelled_caught:
                        self._counts["cancels"] += 1
                        self._counts[f"cancels: {op.kind}"] += 1
                        tries += 1
                        if op.kind == "inject" and debuggee.state is State.RUNNING:
                            op = _RUN
                        continue
                    return None
                if isinstance(event, events.Interrupted):
                    self._counts["interrupted"] += 1
                elif isinstance(event, events.Watch):
                    self._counts["watched"] += 1
                    mine = tuple(each for each in event.breakpoints if each.id in own)
                    if mine:
                        return events.Breakpoint(event.location, event.frame, mine)
                elif isinstance(event, events.Breakpoint) and not any(
                    breakpoint.id in own for breakpoint in event.breakpoints
                ):
                    self._counts["noise"] += 1
                else:
                    return event
                disturbances += 1
                if op.kind == "inject":
                    op = _RUN
        finally:
            self._interruptible = False
            self._operations += 1
            self._fuse.clear()
            _remove(noise, debuggee)

    async def _issue(self, debuggee: Debuggee, op: Op) -> events.Event | None:
        self._in_operation = True
        try:
            if debuggee.state is State.RUNNING and op.kind != "finish":
                return await debuggee.run()
            match op.kind:
                case "step":
                    return await debuggee.step(op.count)
                case "step_over":
                    return await debuggee.step_over()
                case "step_out":
                    return await debuggee.step_out()
                case "run_to_return":
                    return await debuggee.run_to_return()
                case "finish":
                    return await debuggee.finish()
                case "inject" if self._can_inject and self._stage.instance is not None:
                    return await debuggee.inject_call(self._stage.instance.func("quick"), op.count)
                case _:
                    return await debuggee.run()
        except Exception as exc:
            if exc is self._raised:
                # What finish() does with the body's own.
                return events.Finished(error=exc)
            if not isinstance(exc, trio.ClosedResourceError | WrongStateError):
                raise
            if not self.dropped:
                self._fail(f"{op.kind} of a debuggee that was not dropped", repr(exc))
            return None
        finally:
            self._in_operation = False

    @property
    def _can_inject(self) -> bool:
        return self._stage.ready and self._stage.instance is not None

    # ── pauses ─────────────────────────────────────────────────────────────────────────────────

    async def _at_pause(self, debuggee: Debuggee, op: Op, event: events.Event, own: dict[int, int]) -> None:
        frame = event.frame if isinstance(event, events.Paused) else None
        if op.edit is not None and frame is not None and frame.resumable:
            types = frame.local_types
            if types and str(types[0]) == "i32":
                frame.set_local(0, op.edit)
        if op.query or self._chance(self._profile.query):
            await self._query(debuggee, event, own)
        # A guest without frames would be brought to its first instruction, and its events are ours.
        if frame is not None and self._chance(self._profile.serve):
            self._counts["clients cut off"] += 1
            await disconnecting_client(debuggee, self._rng)

    async def _query(self, debuggee: Debuggee, event: events.Event, own: dict[int, int]) -> None:
        """Look at the store, and write two words there: whole or not at all, whatever is cancelled."""
        expected = signature(event, own, displaced=self._displaced[-1])
        instance = self._stage.instance
        value = self._rng.randbytes(4)
        runs = 0

        def look(view: StoreView) -> tuple[Any, ...]:
            nonlocal runs
            runs += 1
            if instance is not None and instance in view.instances:
                for address in _SCRATCH:
                    instance.write_memory(address, value)
            return signature(event, own, displaced=self._displaced[-1])

        for tries in range(_MOST_CANCELS + 1):
            runs = 0
            before = self._scratch()
            found: tuple[Any, ...] | None = None
            try:
                with trio.CancelScope() as scope:
                    self._arm(Op("query"), scope, tries, [])
                    self._counts["queries"] += 1
                    found = await debuggee.with_store(look)
            except (trio.ClosedResourceError, WrongStateError) as exc:
                if not self.dropped:
                    self._fail("a query of a debuggee that was not dropped", repr(exc))
                return
            if not scope.cancelled_caught:
                if runs != 1:
                    self._fail(f"a query has run {runs} times", "")
                if found != expected:
                    self._fail("a query saw another state than the event", f"{found} != {expected}")
                return
            self._counts["cancels"] += 1
            self._counts["cancels: query"] += 1
            while not runs and debuggee.state is State.QUERIED:
                # It was sent: the function is going to run, and nobody receives the answer.
                await trio.lowlevel.cancel_shielded_checkpoint()
            if runs > 1 or self._scratch() != ((value, value) if runs and instance is not None else before):
                self._fail("a cancelled query has not run whole or not at all", f"{runs} runs")

    def _scratch(self) -> tuple[bytes, ...]:
        instance = self._stage.instance
        if instance is None:
            return ()
        return tuple(instance.read_memory(address, 4) for address in _SCRATCH)


def _remove(noise: list[Noise], debuggee: Debuggee) -> None:
    while noise:
        each = noise.pop()
        if isinstance(each, Watchpoint):
            debuggee.remove_watchpoint(each)
        else:
            debuggee.remove_breakpoint(each)


def _collect() -> None:
    gc.collect()


_SCRATCH = (61_000, 61_100)
