"""Cancel an operation at its first, second, … checkpoint, until it gets through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
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
    _strike: Callable[[], object] | None = None
    _counting: bool = False
    _steps: int = 0

    async def make(
        self,
        operation: Callable[[], Awaitable[T]],
        *,
        family: bool = False,
        later: bool = False,
        instead: Callable[[], object] | None = None,
    ) -> T | None:
        """Run *operation* and cancel it; its result, or None if it was cancelled.

        :param family: the steps of tasks that it starts count as well.
        :param later: counting starts when the operation calls :meth:`begin`.
        :param instead: what is done instead of cancelling it.
        """
        result: T | None = None
        with trio.CancelScope() as scope:
            self._strike = instead or scope.cancel
            reset = _ATTEMPT.set(self)
            canceller = _Canceller(None if family else trio.lowlevel.current_task(), self)
            if not later:
                self.begin()
            trio.lowlevel.add_instrument(canceller)
            try:
                result = await operation()
            finally:
                trio.lowlevel.remove_instrument(canceller)
                _ATTEMPT.reset(reset)
        self.cancelled = scope.cancelled_caught
        return None if self.cancelled else result

    def begin(self) -> None:
        """From here on, steps count."""
        self._counting = True
        if self.number == 0:
            self._reach()

    def step(self, *, asleep: bool) -> None:
        """A task rests in a checkpoint, or is about to go on after one."""
        if not self._counting:
            return
        self._steps += asleep
        if self.asleep == asleep and self._steps == self.number:
            self._reach()

    def _reach(self) -> None:
        assert self._strike is not None
        self.reached = True
        self._strike()

    def __str__(self) -> str:
        return f"step {self.number}, {'asleep' if self.asleep else 'awake'}"


_ATTEMPT: ContextVar[Attempt | None] = ContextVar("attempt", default=None)
"""Inherited by the tasks that the operation starts."""


class _Canceller(trio.abc.Instrument):
    """Counts the steps of one task, or of all tasks of an attempt."""

    def __init__(self, task: Task | None, attempt: Attempt) -> None:
        self._task = task
        self._attempt: Attempt = attempt

    def _counts(self, task: Task) -> bool:
        if self._task is not None:
            return task is self._task
        return task.context.get(_ATTEMPT) is self._attempt

    def after_task_step(self, task: Task) -> None:
        if self._counts(task):
            self._attempt.step(asleep=True)

    def before_task_step(self, task: Task) -> None:
        if self._counts(task):
            self._attempt.step(asleep=False)


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
