"""Leaving frames: by an early return, or by an exception that the debugger throws.

A frame is left where the guest asks next in it: each frame above it is sent to its end on the way.  If
host functions stand between the frame and where the guest is paused, their calls into the guest end with
:exc:`CallAbandonedError`, innermost first; whatever such a host function does then, its own result does
not count any more, and the guest that it was called from leaves the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CallAbandonedError, UsageError
from ._edits import EarlyThrow, Leave

if TYPE_CHECKING:
    from .. import capi
    from ._core import Core
    from ._instances import GuestInstance
    from ._requests import Call, HookStop

__all__ = ["Leaving"]


class Leaving:
    """What is done about :attr:`Edits.leave`, for one debuggee."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def _calls_above(self, fp: int) -> list[Call]:
        """The calls under way that are not the one whose frame lies at *fp*, but further in."""
        return [call for call in self._core.calls.records if call.base_sp <= fp]

    def check(self, fp: int) -> None:
        """:raises UsageError: the frame at *fp* can't be left, because an injected call is above it."""
        if any(call.injected for call in self._calls_above(fp)):
            raise UsageError("an injected call stands above this frame: let that end first")

    def begin(self, leave: Leave) -> None:
        """Send the frames above to their ends.

        :raises CallAbandonedError: the frame is of a call further out, so the innermost one is to end.
        """
        core = self._core
        if self._calls_above(leave.fp):
            core.edits.beyond = leave
            raise CallAbandonedError("the debugger has made a frame further out return or throw")
        core.edits.beyond = None
        core.edits.unwinding = leave
        core.arming.decider.unwinding = True
        core.arming.rearm()

    def pass_through(self, instance: GuestInstance, fp: int, function: int, resume_point: int) -> int | None:
        """In the debug callback: the answer for a frame on the way; None: it is the one that throws."""
        core = self._core
        target = core.edits.unwinding
        assert target is not None
        last = instance.module.plan(function).instructions - 1
        if fp != target.fp:
            return 0 if resume_point == last else last + 1
        self._arrived()
        if isinstance(target, EarlyThrow):
            core.edits.leave = target
            return None
        target.carry_out()
        core.arming.skip(instance, function, fp, last)
        return last + 1

    def _arrived(self) -> None:
        core = self._core
        core.edits.unwinding = None
        core.arming.decider.unwinding = False
        core.arming.rearm()

    def here(self, leave: Leave, stop: HookStop) -> int | None:
        """Leave the frame that is paused at a check; the resume point to go on at, None if it throws."""
        if isinstance(leave, EarlyThrow):
            self._core.edits.throwing = leave.exception
            return leave.throw_point
        leave.carry_out()
        return leave.instance.module.plan(stop.function).instructions - 1

    def host_call(self, leave: Leave, pending: capi.Pending) -> None:
        """Answer a host call from which the guest is to go on leaving frames.

        :raises CallAbandonedError: as :meth:`begin`.
        """
        if isinstance(leave, EarlyThrow) and leave.fp == self._core.state.sp.get():
            # Its own clauses are round the call.
            self._core.edits.beyond = None
            pending.throw(leave.exception)
            return
        self.begin(leave)
        pending.finish_with_zeros()

    def call_ended(self, call: Call) -> None:
        """A call into the guest is over, and with it what its frames should have done."""
        edits = self._core.edits
        if edits.unwinding is not None and edits.unwinding.fp < call.base_sp:
            self._arrived()
        if edits.beyond is not None and edits.beyond.fp < call.base_sp:
            edits.beyond = None
        edits.throwing = None
