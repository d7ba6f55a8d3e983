"""When to strike: at the nth step of a life's tasks, after a time, or in the middle of a slice.

A :class:`Fuse` belongs to one life.  It counts the steps of all tasks of that life (they inherit a
context variable), which is the same as counting the awaits of the debugger's, the body's and the
holder's code; an :class:`Inspector`, the run's one trio instrument, feeds it.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import trio

__all__ = ["FUSE", "Delays", "Fuse", "Inspector"]

FUSE: contextvars.ContextVar[Fuse | None] = contextvars.ContextVar("trio_wasmdbg stress", default=None)

Action = Callable[[], None]


class Fuse:
    """The strikes that are planned for one life."""

    def __init__(self, on_error: Callable[[str, BaseException], None]) -> None:
        self.steps = 0
        self._on_error = on_error
        self._planned: list[tuple[int, int, Action, bool]] = []
        self._in_slice: list[Action] = []
        self._order = itertools.count()
        self._token = trio.lowlevel.current_trio_token()

    def after_steps(self, steps: int, action: Action, *, lasting: bool = False) -> None:
        """Strike before the *steps*-th step from now; *lasting*: :meth:`clear` leaves it alone."""
        heapq.heappush(self._planned, (self.steps + steps, next(self._order), action, lasting))

    def in_slice(self, action: Action) -> None:
        """Strike when guest code next says that it computes."""
        self._in_slice.append(action)

    def step(self) -> None:
        """A task of this life is about to be stepped."""
        self.steps += 1
        while self._planned and self._planned[0][0] <= self.steps:
            self.strike(heapq.heappop(self._planned)[2])

    def slice(self) -> None:
        """Guest code is computing, on whichever thread polls it."""
        while self._in_slice:
            action = self._in_slice.pop()
            try:
                self._token.run_sync_soon(self.strike, action)
            except trio.RunFinishedError:
                return

    def clear(self) -> None:
        """Forget what was planned for one operation and has not happened."""
        self._planned = [each for each in self._planned if each[3]]
        heapq.heapify(self._planned)
        self._in_slice.clear()

    def stop(self) -> None:
        """Nothing happens any more."""
        self._planned.clear()
        self._in_slice.clear()

    @trio.lowlevel.enable_ki_protection
    def strike(self, action: Action) -> None:
        """Do it now; in the trio thread.  Ctrl-C is no error of the action's: it comes afterwards."""
        try:
            action()
        except BaseException as exc:
            self._on_error("an attack raised", exc)


_NOTE_DELAYS_EVERY = 0.25
"""Seconds."""


class Delays:
    """For how long threads of this process were ready to compute and had no processor."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._total = 0

    def seconds(self) -> float:
        """Of all threads together, from the beginning; 0 where it is not known (Linux tells it)."""
        with contextlib.suppress(OSError):
            for task in os.listdir("/proc/self/task"):
                # A thread may be gone by now.
                with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/schedstat", "rb") as file:
                    now = int(file.read().split()[1])
                    self._total += max(0, now - self._last.get(task, 0))
                    self._last[task] = now
        return self._total / 1e9


class Inspector(trio.abc.Instrument):
    """Feeds the fuses, and measures how long each step of a life's tasks keeps the loop.

    A step that was long because other processes have used the machine meanwhile is nobody's stall.
    """

    def __init__(
        self, on_stall: Callable[[str, float, float], None], wall: float, cpu: float, delays: Delays
    ) -> None:
        self.longest = 0.0
        self.steps = 0
        self._on_stall = on_stall
        self._wall, self._cpu = wall, cpu
        self._began = self._cpu_began = 0.0
        self._collecting = 0.0
        self._collected = 0.0
        self._delays = delays
        self._noted = self._delayed = 0.0
        """When delays were looked at last, and what they came to."""

    def before_run(self) -> None:
        """Nothing to do; the instrument is added to a run that is under way."""

    @trio.lowlevel.enable_ki_protection  # what a collection's callback raises, is lost
    def on_gc(self, phase: str, info: dict[str, Any]) -> None:
        """A garbage collection is nobody's stall; for ``gc.callbacks``."""
        now = time.perf_counter()
        if phase == "start":
            self._collecting = now
        else:
            self._collected += now - self._collecting

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        fuse = task.context.get(FUSE)
        if fuse is None:
            # Not of a life: it may count what is left, or be the application's.
            self._began = 0.0
            return
        fuse.step()
        self._collected = 0.0
        self._cpu_began = time.thread_time()
        self._began = time.perf_counter()
        if self._began - self._noted > _NOTE_DELAYS_EVERY:
            self._noted, self._delayed = self._began, self._delays.seconds()
            self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._began:
            return
        took = time.perf_counter() - self._began - self._collected
        if took > self.longest or took > self._cpu:
            self.longest = max(self.longest, took)
            computed = max(0.0, time.thread_time() - self._cpu_began - self._collected)
            if took > self._wall:
                took -= self._delays.seconds() - self._delayed
            if took > self._wall or computed > self._cpu:
                self._on_stall(task.name, took, computed)

    def start(self) -> None:
        """Begin; in the trio thread."""
        gc.callbacks.append(self.on_gc)
        trio.lowlevel.add_instrument(self)

    def stop(self) -> None:
        """End; in the trio thread."""
        with contextlib.suppress(KeyError):  # trio takes away an instrument in which something was raised
            trio.lowlevel.remove_instrument(self)
        gc.callbacks.remove(self.on_gc)
