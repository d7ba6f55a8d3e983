"""Cancel an operation at its first, second, … checkpoint, until it gets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio
from attrs import define
from trio.lowlevel import Task

__all__ = ["Attempt", "cancel_everywhere"]

T = TypeVar("T")

_MOST = 2_000
"""More steps than any operation here takes."""


@define
class Attempt:
    """One try, to be made once by :meth:`make`."""

    number: int
    """0: cancelled before it begins; else the task's step that is cancelled."""
    asleep: bool
    """Cancelled while it waits in that step; else when it has just been woken up from it."""
    cancelled: bool = False
    reached: bool = False
    """Whether there was such a step."""

    async def make(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Run *operation* and cancel it; its result, or None if it was cancelled."""
        result: T | None = None
        with trio.CancelScope() as scope:
            canceller = _Canceller(trio.lowlevel.current_task(), scope, self)
            if self.number == 0:
                self.reached = True
                scope.cancel()
            trio.lowlevel.add_instrument(canceller)
            try:
                result = await operation()
            finally:
                trio.lowlevel.remove_instrument(canceller)
        self.cancelled = scope.cancelled_caught
        return None if self.cancelled else result

    def __str__(self) -> str:
        return f"step {self.number}, {'asleep' if self.asleep else 'awake'}"


class _Canceller(trio.abc.Instrument):
    def __init__(self, task: Task, scope: trio.CancelScope, attempt: Attempt) -> None:
        self._task = task
        self._scope = scope
        self._attempt: Attempt = attempt
        self._steps = 0

    def after_task_step(self, task: Task) -> None:
        # The task rests in a checkpoint.
        if task is self._task:
            self._steps += 1
            if self._attempt.asleep:
                self._cancel_in_step()

    def before_task_step(self, task: Task) -> None:
        # The task has passed its checkpoint and is about to go on.
        if task is self._task and not self._attempt.asleep:
            self._cancel_in_step()

    def _cancel_in_step(self) -> None:
        if self._steps == self._attempt.number:
            self._attempt.reached = True
            self._scope.cancel()


async def cancel_everywhere() -> AsyncIterator[Attempt]:
    """All attempts, until one asks for a step that the operation does not have any more."""
    for asleep in (True, False):
        for number in range(_MOST):
            attempt: Attempt = Attempt(number, asleep)
            yield attempt
            if not attempt.reached:
                assert not attempt.cancelled
                assert number > 0
                break
        else:
            raise AssertionError("the operation does not end")
