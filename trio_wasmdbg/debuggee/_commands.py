"""The place of the next command, and how a pause waits at it.

It is a memory channel for one command, and takes a quarter of the memory of trio's: there may be ten
thousand debuggees.  A pause is shielded from the cancel scopes of the program under debug.  A shielding
scope of trio's for each pause costs as much as a message does; so the receiver waits here without one,
and refuses to be cancelled until the debuggee itself ends.
"""

from __future__ import annotations

import trio

from ._messages import Command

__all__ = ["Commands", "WaitBroken"]


class WaitBroken(Exception):
    """The debuggee ends: no command will come."""


class Commands:
    """One command at a time, first come, first served."""

    __slots__ = ("_broken", "_cancelled", "_closed", "_command", "_waiting")

    def __init__(self) -> None:
        self._command: Command | None = None
        self._waiting: list[trio.lowlevel.Task] = []
        """A call that was injected waits before the pause in which it was."""
        self._cancelled = False
        """A cancellation is held back."""
        self._broken = False
        self._closed = False

    # In all of these, a KeyboardInterrupt in the middle would leave a task behind that nobody wakes up, or
    # one that is woken up where it waits for something else.
    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, command: Command) -> None:
        """Send, and wake up who waits.

        :raises trio.WouldBlock: the last one has not been received.
        :raises trio.BrokenResourceError: nobody is going to receive any more.
        """
        if self._closed:
            raise trio.BrokenResourceError
        if self._command is not None:
            raise trio.WouldBlock
        self._command = command
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.pop(0))

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> Command:
        """The next command.  Not cancellable; always lets other tasks run.

        :raises WaitBroken: :meth:`break_waits` was called.
        """
        if self._command is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not self._broken:
            if self._command is not None:
                command, self._command = self._command, None
                return command
            self._waiting.append(trio.lowlevel.current_task())
            self._cancelled = False
            await trio.lowlevel.wait_task_rescheduled(self._refuse)
        raise WaitBroken

    def _refuse(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._cancelled = True
        return trio.lowlevel.Abort.FAILED

    @property
    def is_quiet(self) -> bool:
        """Whether one pause waits, and neither a command nor a cancellation is waiting for it."""
        return len(self._waiting) == 1 and self._command is None and not self._cancelled and not self._broken

    @trio.lowlevel.enable_ki_protection
    def break_waits(self) -> None:
        """End all waits, for good."""
        self._broken = True
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.pop(0))

    def close(self) -> None:
        """Nothing is received any more; a command that was not, is dropped."""
        self._closed = True
        self._command = None
