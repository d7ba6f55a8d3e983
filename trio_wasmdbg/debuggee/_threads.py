"""Off the trio thread: polling a guest, and pure work such as rewriting.

A guest that computes, or sleeps in WASI, would block the trio loop, so it is polled in a worker
thread.  ``trio.to_thread.run_sync`` can't be used for that: a poll must not be abandoned (the
store is in use), yet a cancellation must reach the guest *while* the thread runs.  So the wait is
our own: its abort function asks the guest to stop at its next check site, and the wait ends when
the poll has.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import outcome
import trio

__all__ = [
    "GUEST_THREAD",
    "collections_held_back",
    "compute",
    "default_limiter",
    "poll_in_thread",
    "poll_inline",
]

T = TypeVar("T")

_LIMITER: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("trio_wasmdbg guest threads")
_GUEST_THREADS = 40
GUEST_THREAD = "trio_wasmdbg guest"
"""Name of a thread while a guest computes in it."""
SWITCH_INTERVAL = 500e-6
"""Seconds after which a thread that waits for the interpreter lock gets it while pure work runs."""
_BREATH = 20e-6
"""Seconds that pure work in a thread pauses for at each tick."""


def default_limiter() -> trio.CapacityLimiter:
    """How many guests may run at the same moment in this trio run (40, as trio's own threads).

    It is separate from trio's default thread limiter: guests that spin must not starve the
    application's other threads.
    """
    try:
        return _LIMITER.get()
    except LookupError:
        limiter = trio.CapacityLimiter(_GUEST_THREADS)
        _LIMITER.set(limiter)
        return limiter


# A KeyboardInterrupt between starting the thread and waiting for it would leave it alone with the guest.
@trio.lowlevel.enable_ki_protection
async def poll_in_thread(
    poll: Callable[[], T], on_cancel: Callable[[], None], limiter: trio.CapacityLimiter
) -> T:
    """Run *poll* in a worker thread; a checkpoint.

    Cancelled while waiting for a place: *poll* has not run.  Cancelled while it runs: *on_cancel*
    is called (in the trio thread, once), *poll* runs to its end, and its result is returned: the
    caller decides, with a checkpoint of its own, whether the cancellation still matters.
    """
    # Cancelled here: nothing has been started.
    async with limiter:
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def finish(result: outcome.Outcome[T]) -> None:
            trio.lowlevel.reschedule(task, outcome.Value(result))

        def deliver(result: outcome.Outcome[T]) -> None:
            token.run_sync_soon(finish, result)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            on_cancel()
            return trio.lowlevel.Abort.FAILED

        trio.lowlevel.start_thread_soon(poll, deliver, GUEST_THREAD)
        result: outcome.Outcome[T] = await trio.lowlevel.wait_task_rescheduled(abort)
    return result.unwrap()


@trio.lowlevel.enable_ki_protection
def poll_inline(poll: Callable[[], bool]) -> bool:
    """Run *poll*, which is short, in the trio thread.

    A KeyboardInterrupt in the debug callback would be lost; trio raises it at its next checkpoint instead.
    """
    return poll()


class _Abandoned(Exception):
    """Raised in a worker whose result nobody waits for any more."""


async def compute(work: Callable[[Callable[[], None]], T]) -> T:
    """Run pure *work* in a thread of trio's pool; a checkpoint.

    *work* gets a function to call now and then: it gives the interpreter lock away, so that the
    trio loop stays responsive while Python code computes, and it ends the work soon after the
    caller has been cancelled.  Cancelled: the caller goes on at once, the result is dropped.
    """
    abandoned = False

    def tick() -> None:
        if abandoned:
            raise _Abandoned
        # Long enough that a thread that waits for the interpreter lock really gets it.
        time.sleep(_BREATH)

    def run() -> T:
        with _switches.held():
            return work(tick)

    try:
        return await trio.to_thread.run_sync(run, abandon_on_cancel=True)
    finally:
        abandoned = True


class _WhileHeld:
    """Something of the process that is changed for as long as anybody, in whatever thread, holds it so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """For the length of a block; what was before is back after the last one."""
        with self._lock:
            if not self._holders:
                self._begin()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._end()

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class _Switches(_WhileHeld):
    """The interpreter's switch interval, shortened while pure work runs in some thread.

    A thread that wants the interpreter lock asks for it after this interval (5 ms), and gets it when the
    Python function or C call under way lets it.  Between two ticks, that is how long the trio loop stalls.
    What the application itself has made shorter, or changes meanwhile, stays.
    """

    _before = 0.0

    def _begin(self) -> None:
        self._before = sys.getswitchinterval()
        if self._before > SWITCH_INTERVAL:
            _set_switch_interval(SWITCH_INTERVAL)

    def _end(self) -> None:
        ours = abs(sys.getswitchinterval() - SWITCH_INTERVAL) < 1e-6
        if ours and self._before > SWITCH_INTERVAL:
            _set_switch_interval(self._before)


def _set_switch_interval(seconds: float) -> None:
    # It is rounded down to microseconds: what was read would become one less each time.
    sys.setswitchinterval(seconds + 0.5e-6)


_switches = _Switches()


class _Collections(_WhileHeld):
    """Automatic garbage collections, held back while pure work runs in some thread.

    Rewriting makes tuples by the hundred thousand, none of them in cycles.  They make the interpreter
    run full collections, which hold the interpreter lock for tens of milliseconds in a process of some
    size: the trio loop would stall for that long.  Held back, they die before a collection sees them.
    """

    _were_on = False

    def _begin(self) -> None:
        self._were_on = gc.isenabled()
        gc.disable()

    def _end(self) -> None:
        if self._were_on:
            gc.enable()


_collections = _Collections()
collections_held_back = _collections.held
