"""The channel of commands, and how a pause waits at it.

A pause is shielded from the cancel scopes of the program under debug.  A shielding scope of trio's for
each pause costs as much as a message does; so the receiver waits here without one, and refuses to be
cancelled until the debuggee itself ends.
"""

from __future__ import annotations

from collections import deque

import trio

from ._messages import Command

__all__ = ["Commands", "WaitBroken"]


class WaitBroken(Exception):
    """The debuggee ends: no command will come."""


def _refuse(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class Commands:
    """A memory channel for one command at a time."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Command](1)
        self._unreceived = 0
        self._waiting: deque[trio.lowlevel.Task] = deque()
        self._broken = False

    def send_nowait(self, command: Command) -> None:
        """Send, and wake up who waits.

        :raises trio.WouldBlock: the last one has not been received.
        :raises trio.BrokenResourceError: nobody is going to receive any more.
        """
        self._send.send_nowait(command)
        self._unreceived += 1
        if self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())

    async def receive(self) -> Command:
        """The next command.  Not cancellable; always lets other tasks run.

        :raises WaitBroken: :meth:`break_waits` was called.
        """
        if self._unreceived:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not self._broken:
            if self._unreceived:
                self._unreceived -= 1
                return self._receive.receive_nowait()
            self._waiting.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_refuse)
        raise WaitBroken

    def break_waits(self) -> None:
        """End all waits, for good."""
        self._broken = True
        while self._waiting:
            trio.lowlevel.reschedule(self._waiting.popleft())

    def close(self) -> None:
        """Nothing is received any more."""
        self._receive.close()
