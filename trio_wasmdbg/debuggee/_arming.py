"""What is armed: the meeting point of the debugger's wishes and the instances' check sites.

Check sites may be armed from any thread while another one runs the guest (that is what an
interrupt is), so every change of what is wanted, and its way into the debug memories, happens
under one lock.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from ..engine import Decider
from ..errors import StoreClosedError
from ._stores import StoreState

if TYPE_CHECKING:
    from ._instances import GuestInstance

__all__ = ["Arming"]


class Arming:
    """Arms the instances of one store for one debuggee."""

    def __init__(self, state: StoreState) -> None:
        self.decider = Decider()
        self._state = state
        self._lock = threading.Lock()
        self._closed = False
        self.stopping = False
        """A cancellation is on its way: the next check suspends the guest, whatever it is."""
        self._skipped: tuple[GuestInstance, int, int] | None = None
        self._edited: set[tuple[int, int, int]] = set()
        """(instance, fp, function) of fast callers' frames that were changed."""

    def rearm(self) -> None:
        """Make all check sites what breakpoints, steps and modes ask for."""
        with self._lock:
            self._rearm_locked()

    def _rearm_locked(self) -> None:
        if self._closed:
            return
        everything = self.stopping or self.decider.everything
        for instance in self._state.instances:
            points: list[tuple[int, int | None]] = []
            if not everything:
                points = self.decider.points(instance.module, instance.id)
                # -1: no stop byte, but the function's sites, so that it reads its edited frame.
                points += [(function, -1) for owner, _, function in self._edited if owner == instance.id]
            instance.arm(everything, points)
        if self._skipped is not None and not self._skipped[0].is_stop_armed(*self._skipped[1:]):
            self.decider.skip = self._skipped = None

    def skip(self, instance: GuestInstance, function: int, fp: int, resume_point: int) -> None:
        """The next check will be one that is dealt with already, if it is armed: it is to be passed.

        If it is not armed (any more), there is nothing to pass, and a later check at the same place is
        a new one.
        """
        with self._lock:
            if instance.is_stop_armed(function, resume_point):
                self._skipped = (instance, function, resume_point)
                self.decider.skip = (instance.id, fp, resume_point)
            else:
                self.decider.skip = self._skipped = None

    def interrupt(self) -> None:
        """Ask for a pause at the next check; from any thread."""
        with self._lock:
            if not self._closed and not self.decider.interrupt:
                self.decider.interrupt = True
                self._rearm_locked()

    def stop(self) -> None:
        """Make the guest suspend at its next check, for a cancellation."""
        with self._lock:
            self.stopping = True
            self._rearm_locked()

    def call_ended(self, base_sp: int) -> None:
        """A call into the guest is over: frames below *base_sp* are gone, and so is a cancellation."""
        skip = self.decider.skip
        if skip is not None and skip[1] < base_sp:
            self.decider.skip = None
        self._edited = {edit for edit in self._edited if edit[1] >= base_sp}
        if self.stopping:
            self.stopping = False
            self.rearm()

    def frame_edited(self, instance: int, fp: int, function: int) -> None:
        """A fast caller's frame was changed: its function must leave for the slow twin."""
        self._edited.add((instance, fp, function))
        self.rearm()

    def close(self) -> None:
        """Disarm everything, for good."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(StoreClosedError):
                for instance in self._state.instances:
                    instance.arm(False, ())
