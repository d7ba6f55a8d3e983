"""Polls that are probably over in a moment: the trio thread waits for them, but not for long.

From a stop to the next one, a guest often runs for microseconds, and waking the trio loop from another
thread takes fifty.  Nobody knows beforehand, so such a poll is made in a thread of its own all the same;
but it is handed over by locks, and the trio thread waits at the lock for a fraction of a millisecond.
Where that is not enough, it goes back to its loop and is woken up, and the next polls are made the usual
way until one of them was short.

Only a poll right after a pause may be made so: a pause lets other tasks run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import outcome
import trio

from ._threads import poll_in_thread

__all__ = ["BriefRuns"]

PATIENCE = 150e-6
"""Seconds that the trio thread waits at most."""

_NAME = "trio_wasmdbg brief runs"

LINGER = 0.05
"""Seconds that a thread waits for the next poll before it goes: a paused guest keeps none."""


class BriefRuns:
    """Makes the polls of one debuggee: one at a time."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self.probably = True
        """The last poll after a pause was short."""
        self._mutex = threading.Lock()
        self._alive = False
        self._poll: Callable[[], bool] | None = None
        self._result: outcome.Outcome[bool] | None = None
        self._wake_up: Callable[[], None] | None = None
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()

    @trio.lowlevel.enable_ki_protection
    async def run(
        self, poll: Callable[[], bool], on_cancel: Callable[[], None], *, likely: bool = True
    ) -> bool:
        """As :func:`poll_in_thread`, but not always a checkpoint.

        :param likely: it may be short, and other tasks have run since the last poll.
        """
        if not likely:
            return await poll_in_thread(poll, on_cancel, self._limiter)
        if not self.probably:
            return await self._run_long(poll, on_cancel)
        try:
            self._limiter.acquire_nowait()
        except trio.WouldBlock:
            return await self._run_long(poll, on_cancel)
        try:
            self._hand_over(poll)
            if not self._done.acquire(timeout=PATIENCE):
                self.probably = False
                await self._wait(on_cancel)
            result, self._result = self._result, None
        finally:
            self._limiter.release()
        assert result is not None
        return result.unwrap()

    async def _run_long(self, poll: Callable[[], bool], on_cancel: Callable[[], None]) -> bool:
        def timed() -> bool:
            began = time.perf_counter()
            done = poll()
            self.probably = time.perf_counter() - began < PATIENCE / 2
            return done

        return await poll_in_thread(timed, on_cancel, self._limiter)

    async def _wait(self, on_cancel: Callable[[], None]) -> None:
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            on_cancel()
            return trio.lowlevel.Abort.FAILED

        with self._mutex:
            running = self._result is None
            if running:
                self._wake_up = lambda: token.run_sync_soon(trio.lowlevel.reschedule, task)
        if running:
            # Cancelled here: the guest is asked to stop, and the wait ends when it has.
            await trio.lowlevel.wait_task_rescheduled(abort)
        else:
            self._done.acquire()

    def close(self) -> None:
        """Nothing is going to be run any more: the thread need not wait for it."""
        with self._mutex:
            if self._alive:
                self._go.release()

    # ── the thread ─────────────────────────────────────────────────────────────────────────────

    def _hand_over(self, poll: Callable[[], bool]) -> None:
        with self._mutex:
            self._poll = poll
            alive, self._alive = self._alive, True
        if not alive:
            trio.lowlevel.start_thread_soon(self._serve, lambda result: None, _NAME)
        self._go.release()

    def _serve(self) -> None:
        while self._next():
            poll, self._poll = self._poll, None
            assert poll is not None
            result = outcome.capture(poll)
            with self._mutex:
                self._result = result
                wake_up, self._wake_up = self._wake_up, None
            # Nothing of the guest is held while waiting for the next poll.
            del poll, result
            if wake_up is None:
                self._done.release()
            else:
                wake_up()
                del wake_up

    def _next(self) -> bool:
        """Wait for a poll; False if none comes."""
        told = self._go.acquire(timeout=LINGER)
        with self._mutex:
            if self._poll is None:
                self._alive = False
                return False
        # If it was handed over at the last moment, the lock was, or is about to be.
        return told or self._go.acquire()
