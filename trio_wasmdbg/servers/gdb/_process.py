"""Several targets as the threads of one process: one stops, all stop.

Theory of operation.  While the process runs, a task waits for each thread's event.  The first event
that matters stops the process: all other threads are interrupted, and pause at their next check.
A thread whose guest does not compute (it is in a host function, say) executes nothing without
passing a check, so it counts as stopped although no event of it has come; it is *parked*.  Its
event may come at any moment, also while the client believes everything to be still.

What a parked thread's interrupt brings, later, is noise, and so is the end of a step that the
client has given up: such events let the thread go on.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import TypeVar

import trio
from attrs import define

from ...abc import BreakpointToken, DebugTarget, TargetView
from ...engine import events
from ...errors import WrongStateError
from ._space import AddressSpace

__all__ = ["Process", "Thread"]

R = TypeVar("R")

logger = logging.getLogger("trio_wasmdbg.gdbremote")

_ENTRY = 1.0
"""Seconds that a guest which has not been called yet gets to reach its first instruction."""
_PATIENCE = 2.0
"""Seconds after which a thread that computes and passes no check (it sleeps in WASI) is given up."""
_GLANCE = 0.01


@define(eq=False)
class Thread:
    """One target, as the client's thread *tid*."""

    tid: int
    target: DebugTarget
    event: events.Event | None = None
    """At which it is stopped; None where it is stopped without one."""
    waiting: bool = False
    """A task waits for its event."""
    stepping: bool = False
    """The client wants a step, no run."""
    interrupted: bool = False
    """We have asked for an interrupt that has not come."""
    reported: bool = True
    """The client knows of the event."""

    @property
    def finished(self) -> bool:
        return self.target.finished is not None


class Process:
    """The threads, and what is done with all of them."""

    def __init__(self, targets: Iterable[DebugTarget]) -> None:
        self.threads = [Thread(tid, target) for tid, target in enumerate(targets, 1)]
        self.space = AddressSpace()
        self.exceptions_stop = True
        """Whether an exception that nobody has caught stops a thread."""
        self._nursery: trio.Nursery | None = None
        self._news_in, self._news = trio.open_memory_channel[Thread | None](math.inf)

    @property
    def live(self) -> list[Thread]:
        """The threads that have not ended."""
        return [thread for thread in self.threads if not thread.finished]

    def thread(self, tid: int | None) -> Thread | None:
        """The live thread of this number; the first one for 0, -1 and None."""
        live = self.live
        if tid in (None, 0, -1):
            return live[0] if live else None
        return next((thread for thread in live if thread.tid == tid), None)

    @asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Hold all targets; leaving lets whatever runs go on.

        :raises trio.BusyResourceError: somebody else is waiting for one.
        """
        with ExitStack() as stack:
            for thread in self.threads:
                if not thread.finished:
                    stack.enter_context(thread.target.attach())
                    stack.enter_context(thread.target.stop_on_instances())
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    yield
                finally:
                    self._nursery = None
                    nursery.cancel_scope.cancel()
                    for thread in self.threads:
                        thread.waiting = False

    # ── stopping ───────────────────────────────────────────────────────────────────────────────

    async def settle(self) -> None:
        """At a client's arrival: bring everything to a stop; what has not begun, to its beginning."""
        fresh = []
        for thread in self.live:
            thread.event, thread.reported = None, True
            if thread.target.running:
                self._drive(thread)
            elif not await _look(thread, lambda view: any(True for _ in view.frames()), instead=True):
                thread.stepping = True
                self._drive(thread)
                fresh.append(thread)
        with trio.move_on_after(_ENTRY):
            while any(thread.waiting for thread in fresh):
                await self._news.receive()
                for thread in fresh:
                    # Before the first instruction come the instances.
                    if isinstance(thread.event, events.InstanceCreated) and not thread.waiting:
                        self._drive(thread)
        await self._pause_all()
        await self.look_round()
        self._all_told()
        self.space.changed = False

    def _all_told(self) -> None:
        for thread in self.threads:
            thread.reported = thread.reported or not thread.waiting

    async def wait_stop(self) -> Thread | None:
        """Until the process stops; returns the thread that it stopped for.

        None: the client's interrupt, and no thread has an event to show for it.
        """
        while True:
            thread = await self._news.receive()
            if thread is not None:
                if self._is_noise(thread):
                    self._drive(thread)
                    continue
                if thread.finished and self.live:
                    continue
                if isinstance(thread.event, events.InstanceCreated):
                    await self.look_round()
                    if not self.space.changed:
                        self._drive(thread)
                        continue
            await self._pause_all()
            if thread is None:
                # What has come instead of an interrupt is more interesting than it.
                thread = next((t for t in self.live if t.event is not None and not t.reported), None)
            self._all_told()
            return thread

    def interrupt(self) -> None:
        """The client wants a stop; from the trio thread."""
        self._news_in.send_nowait(None)

    async def _pause_all(self) -> None:
        for thread in self.live:
            if thread.waiting:
                thread.interrupted = True
                thread.target.interrupt()
        with trio.move_on_after(_PATIENCE):
            while any(thread.waiting and thread.target.computing for thread in self.live):
                # An event wakes us at once; nothing tells of a guest that enters a host function.
                with trio.move_on_after(_GLANCE):
                    await self._news.receive()
        self._forget_news()
        for thread in self.live:
            if not thread.waiting and thread.interrupted:
                # It has paused: for the interrupt, or for something else that came first.
                thread.interrupted = False
                thread.target.clear_interrupt()

    def _forget_news(self) -> None:
        while True:
            try:
                self._news.receive_nowait()
            except trio.WouldBlock:
                return

    def _is_noise(self, thread: Thread) -> bool:
        event = thread.event
        if isinstance(event, events.Interrupted) and thread.interrupted:
            thread.interrupted = False
            return not thread.stepping
        if isinstance(event, events.UncaughtException):
            return not self.exceptions_stop
        return isinstance(event, events.Step) and not thread.stepping

    async def look_round(self) -> None:
        """Note modules and memories that have appeared."""
        for thread in self.threads:
            await _look(thread, functools.partial(self.space.note, thread.tid), instead=None)

    # ── going on ───────────────────────────────────────────────────────────────────────────────

    async def resume(self, steps: Mapping[int, bool], ours: Mapping[BreakpointToken, int]) -> None:
        """Let threads go on, *steps* says which, and whether by one instruction only.

        As on a real machine, a breakpoint at the place from which a thread goes on stops it at once:
        clients take it away before they step over it.
        """
        self._forget_news()
        for thread in self.live:
            if thread.tid not in steps:
                continue
            thread.stepping = steps[thread.tid]
            if thread.waiting:
                # Parked.  For a step, the interrupt that is still armed ends it at the next check.
                if thread.interrupted and not thread.stepping:
                    thread.target.clear_interrupt()
                continue
            if not thread.reported:
                if self._is_noise(thread):
                    self._drive(thread)
                else:
                    self._news_in.send_nowait(thread)
                continue
            if isinstance(thread.event, _REPEATABLE) or thread.event is None:
                nothing: Sequence[BreakpointToken] = ()
                here = await _look(thread, lambda view: view.breakpoints_here(), instead=nothing)
                hit = tuple(token for token in here if token in ours)
                if hit:
                    thread.event = events.Breakpoint(None, None, hit)
                    self._news_in.send_nowait(thread)
                    continue
            self._drive(thread)

    def _drive(self, thread: Thread) -> None:
        assert self._nursery is not None
        thread.waiting, thread.event = True, None
        self._nursery.start_soon(self._wait, thread)

    async def _wait(self, thread: Thread) -> None:
        target = thread.target
        try:
            # Cancelled here: the guest goes on, its event stays for whoever waits next.
            event = await (target.step() if thread.stepping else target.run())
        except (trio.ClosedResourceError, WrongStateError) as exc:
            event = events.Finished(error=exc)
        thread.event, thread.waiting, thread.reported = event, False, False
        logger.debug("thread %d: %s", thread.tid, event)
        self._news_in.send_nowait(thread)


async def _look(thread: Thread, look: Callable[[TargetView], R], *, instead: R) -> R:
    """What *look* finds; *instead* if the guest computes, or is gone (its holder may drop it any time)."""
    try:
        return await thread.target.inspect(look)
    except (WrongStateError, trio.ClosedResourceError):
        return instead


_REPEATABLE = (events.Step, events.Interrupted, events.Breakpoint, events.Watch, events.InstanceCreated)
"""Stopped at one of these, the next instruction has not been executed, and its breakpoints count."""
