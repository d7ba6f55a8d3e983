"""Runs that the trio thread makes itself, for a slice of time at most.

Handing a poll over to another thread and back costs as much as all the rest of a stop.  From one stop to
the next a guest mostly runs for microseconds; so where that was so several times in a row, the trio thread
polls it.  Nobody knows beforehand, therefore a *watchman*, one thread for the process while there are such
runs, looks at the clock: a run that it sees twice has taken a slice, and is ended as an interrupt would be.
The guest suspends at its next check, nobody is told, and it goes on in a thread of its own.

A check must be near for that: code that may wait, or work for long in one instruction, runs in other
threads from the beginning (see :func:`may_block`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from ._arming import Arming
    from ._instances import GuestInstance
    from ._stores import StoreState

__all__ = ["Place", "Slices", "may_block"]

SLICE: Final = 1e-3
"""Seconds between two looks of the watchman: a run takes two of them at most, and the way to a check."""

PROMISING: Final = 3
"""Short runs in a row from one place, from which on the next one is thought to be short."""

SHORT: Final = 200e-6
"""Seconds that a short run takes at most."""

LARGE: Final = 8 << 20
"""Bytes of memory that one instruction may fill or copy in a slice of time."""

_NAME: Final = "trio_wasmdbg watchman"

_LINGER: Final = 50
"""Looks at nothing after which the watchman goes: a paused guest keeps none."""

_PLACES: Final = 1_000
"""Places whose runs are remembered."""

_LOOK_AGAIN: Final = 100
"""Runs after which memories may have grown."""

Place = tuple[int, int, int]
"""Instance, function, resume point at which the guest goes on."""


def may_block(instances: Iterable[GuestInstance]) -> bool:
    """Whether code of these instances may wait, or take long between two checks.

    It may where functions are imported that are neither ours nor debugged (WASI, say), where functions
    have no checks, where threads share a memory, and where one instruction may fill a large memory.  What
    others have put into tables and references is not looked at: a call of it costs time, and nothing else.
    """
    return any(_may_block(instance) for instance in instances)


def _may_block(instance: GuestInstance) -> bool:
    module = instance.module
    original = module.original
    if module._instrumented.opaque or any(memory.type.limits.shared for memory in original.memories):
        return True
    for function in original.functions:
        if function.import_ is None:
            break  # imports come first
        if f"{function.import_.module}.{function.import_.name}" not in instance._own_imports:
            return True
    return sum(instance._memory_sizes()) > LARGE


class Slices:
    """The runs of one debuggee in the trio thread."""

    def __init__(self, arming: Arming, state: StoreState) -> None:
        self._arming = arming
        self._state = state
        self._short: dict[Place, int] = {}
        """Short runs in a row, by the place from which they went."""
        self._look_in = 0
        self._blocks = False

    def likely(self, place: Place) -> bool:
        """Whether the run from *place* is probably short, and can be ended."""
        return self._short.get(place, 0) >= PROMISING and not self._may_block()

    def note(self, place: Place, short: bool) -> None:
        """How long a run from *place* was, wherever it was made."""
        if not short:
            self._short.pop(place, None)
        else:
            if len(self._short) >= _PLACES:
                self._short.clear()
            self._short[place] = self._short.get(place, 0) + 1

    @trio.lowlevel.enable_ki_protection
    def run(self, place: Place, poll: Callable[[], bool]) -> bool:
        """Run *poll* here and now; it ends soon after its slice of time.

        A KeyboardInterrupt in the debug callback would be lost; trio raises it at its next checkpoint
        instead.
        """
        arming = self._arming
        _watchman.watch(arming)
        began = time.perf_counter()
        try:
            return poll()
        finally:
            _watchman.forget(arming)
            if time.perf_counter() - began > SHORT:
                self._short.pop(place, None)

    def _may_block(self) -> bool:
        self._look_in -= 1
        if self._look_in < 0:
            self._look_in = _LOOK_AGAIN
            self._blocks = may_block(self._state.instances)
        return self._blocks

    def changed(self) -> None:
        """An instance has been added."""
        self._look_in = 0


class _Watchman:
    """Ends the runs of all debuggees that take longer than a slice."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._alive = False
        self._runs: dict[Arming, int] = {}
        """Under way now: whose, and which of its runs."""
        self._count = 0

    def watch(self, arming: Arming) -> None:
        """The guest runs in this thread from now on."""
        self._runs[arming] = arming.run
        with self._mutex:
            self._count += 1
            if not self._alive:
                self._alive = True
                trio.lowlevel.start_thread_soon(self._serve, lambda result: None, _NAME)

    def forget(self, arming: Arming) -> None:
        """It does not any more."""
        del self._runs[arming]

    def _serve(self) -> None:
        seen: dict[Arming, int] = {}
        counted, idle = -1, 0
        while True:
            time.sleep(SLICE)
            now = self._runs.copy()
            for arming, run in now.items():
                if seen.get(arming) == run:
                    arming.end_slice(run)
            seen = now
            idle = 0 if now or counted != self._count else idle + 1
            counted = self._count
            if idle > _LINGER:
                with self._mutex:
                    if counted == self._count:
                        self._alive = False
                        return


_watchman = _Watchman()


def _forked() -> None:
    global _watchman
    _watchman = _Watchman()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
