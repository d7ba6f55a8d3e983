"""The way back: the place of the next response, and how the holder waits at it.

As `_commands`, a memory channel for one message that does no more than is needed: trio's finds out that it
is empty by raising an exception, and keeps its waiting tasks in an ordered dictionary, which is a third of
what a message costs.  The holder waits alone: the handle sees to that.
"""

from __future__ import annotations

import outcome
import trio

from ._messages import Response

__all__ = ["Responses"]


class Responses:
    """One response at a time, for one receiver at a time."""

    __slots__ = ("_closed", "_response", "_waiting")

    def __init__(self) -> None:
        self._response: Response | None = None
        self._waiting: trio.lowlevel.Task | None = None
        self._closed = False

    # A KeyboardInterrupt in the middle would lose a response.
    @trio.lowlevel.enable_ki_protection
    def send_nowait(self, response: Response) -> None:
        """Send, to the receiver itself if one waits: then it has it, whatever happens to its task.

        :raises trio.WouldBlock: the last one has not been received.
        :raises trio.ClosedResourceError: :meth:`close` was called.
        """
        if self._closed:
            raise trio.ClosedResourceError
        task = self._waiting
        if task is not None:
            self._waiting = None
            trio.lowlevel.reschedule(task, outcome.Value(response))
        elif self._response is not None:
            raise trio.WouldBlock
        else:
            self._response = response

    @trio.lowlevel.enable_ki_protection
    async def receive(self) -> Response:
        """The next response; a checkpoint.

        :raises trio.EndOfChannel: there is none, and none will come.

        Cancelled: nothing has been received; what is there, or comes, stays for the next call.
        """
        if self._response is None and not self._closed:
            self._waiting = trio.lowlevel.current_task()
            received: Response = await trio.lowlevel.wait_task_rescheduled(self._leave)
            return received
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._response is None:
            raise trio.EndOfChannel
        response, self._response = self._response, None
        await trio.lowlevel.cancel_shielded_checkpoint()
        return response

    def _leave(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Nothing is sent any more; what was sent can still be received.  Idempotent."""
        self._closed = True
        task, self._waiting = self._waiting, None
        if task is not None:
            trio.lowlevel.reschedule(task, outcome.Error(trio.EndOfChannel()))
