"""What the debug callback asks of the caller, and the record of a call while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from .. import capi
from ..engine import Reason, Told, Verdict, events
from ._exceptions import is_caught, thrown
from ._foreseen import live_trap
from ._slices import Place
from ._stack import CallRecord
from ._tellers import told_event
from ._traps import IN_EXCEPTION, GuestTrap, returned_values, trap_frames

if TYPE_CHECKING:
    from ._core import Core
    from ._host import HostFunction

__all__ = ["Call", "CallEnded", "GuestTrapRequest", "HookStop", "HostCall", "LeaveRequest", "event_at"]


@define
class HookStop:
    """The debug callback has suspended the guest at a check."""

    instance: int
    kind: int
    fp: int
    head: int
    """The first word of the frame: the function, and whether its slow twin runs."""
    function: int
    resume_point: int
    verdict: Verdict | None
    answer: int = 0
    """What the hook is to answer, where that is known already: 0, or 1 + a resume point.  Where a chunk is
    missing: the number of its slow twin."""
    flavoured: bool = False
    """Nothing has been decided: the function is to go on in a flavour, which has to be made."""
    hot: bool = False
    """No check: a loop is to go on in a copy, which has to be made."""

    @property
    def place(self) -> Place:
        """From where the guest goes on."""
        return self.instance, self.function, self.resume_point

    def become(self, other: HookStop) -> None:
        """The guest stands somewhere else now, in the same call and instance."""
        self.fp, self.head, self.function = other.fp, other.head, other.function
        self.resume_point, self.verdict = other.resume_point, other.verdict


@define
class HostCall:
    """The guest has called a host function of ours and is suspended in it."""

    pending: capi.Pending
    function: HostFunction


@define(eq=False)
class Call(CallRecord):
    """One call from the host into the guest, while it lasts."""

    _done: trio.Event | None = None
    """Made by the first who waits: most calls have nobody, and an event takes 300 bytes."""
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    """Ends this call alone."""
    host_token: object | None = None
    """Set while the guest is suspended in a host function: who may call in from there."""
    future: capi.CallFuture | None = None
    """From its beginning to its end."""
    injected: bool = False
    """Called by the debugger, not by the body or a host function."""
    thrown_at: tuple[int, int] | None = None
    """Frame and resume point of the last throw that the holder was told of."""
    announced: BaseException | None = None
    """A host function's exception that the holder has been told of before the guest unwinds."""

    async def wait_done(self) -> None:
        """Return when the call has ended; a checkpoint.

        Cancelled: nothing has happened.
        """
        if self._done is None:
            self._done = trio.Event()
        await self._done.wait()

    def ended(self) -> None:
        """The call has ended, and is not waited for by anybody who has not begun to."""
        if self._done is not None:
            self._done.set()


class GuestTrapRequest(Exception):
    """Carries a trap that the holder asked for out of a host call, past its error handling."""

    def __init__(self, trap: GuestTrap) -> None:
        self.trap = trap


class LeaveRequest(Exception):
    """The holder wants a frame to be left, at a pause before or after a host function."""


class CallEnded(trio.ClosedResourceError):
    """A call was ended, or refused, because its debuggee is being dropped.

    A class of its own, so that it is told from a failure of the body's: whoever drops a debuggee is not
    told that by an exception.
    """


# Looked up once: CPython 3.11 takes a tenth of a microsecond to find a member of an enum.
_WATCH, _BREAKPOINT, _STEP, _INTERRUPT = Reason.WATCH, Reason.BREAKPOINT, Reason.STEP, Reason.INTERRUPT


def event_at(core: Core, stop: HookStop, verdict: Verdict, told: Told | None = None) -> events.Event:
    """The event for a pause at a check, or for one of the things told there; the stack is shown already."""
    location, frame = core.here()
    assert frame is not None
    if told is not None:
        return told_event(told, location, frame, core)
    reason = verdict.reason
    if reason is _STEP:
        return events.Step(location, frame, returned_values(frame, verdict.step, stop.fp))
    if reason is _BREAKPOINT:
        for breakpoint in verdict.breakpoints:
            if breakpoint.on_exception:
                tag, payload = thrown(frame)
                return events.ExceptionThrown(location, frame, tag, payload, is_caught(frame))
        return events.Breakpoint(location, frame, verdict.breakpoints)
    if reason is _WATCH:
        offset = frame.instance.module.module_offset(stop.function, stop.resume_point - 1)
        return events.Watch(location, frame, verdict.watch, offset, verdict.breakpoints)
    if reason is _INTERRUPT:
        return events.Interrupted(location, frame)
    code, message = live_trap(frame)
    backtrace = trap_frames(core.first_frames(IN_EXCEPTION))
    return events.Trap(location, frame, code=code, message=message, live=True, backtrace=backtrace)
