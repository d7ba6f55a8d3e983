"""How far loading a module has come: told by the worker thread, heard in the trio thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Literal

import trio
from attrs import frozen

__all__ = ["Progress", "Stage", "Teller"]

Stage = Literal["read", "validate", "rewrite", "compile"]
"""What :func:`load_module` is doing, in this order."""

_PAUSE: Final = 0.05
"""Seconds between two reports of one stage."""


@frozen
class Progress:
    """How far :func:`load_module` has come.

    Each stage begins with ``done == 0`` and ends with ``done == total``; only rewriting, which takes longest,
    says more in between.

    :ivar stage: ``"read"``, ``"validate"``, ``"rewrite"`` or ``"compile"``, in this order.
    :ivar done: bytes of the module that are done (when rewriting: bytes of function bodies).
    :ivar total: of how many; 0 where there is nothing to do, or nothing known yet.
    """

    stage: Stage
    done: int
    total: int


class Teller:
    """Carries reports from a worker thread to a callback in the trio thread.

    The worker may report as often as it likes: of each stage the latest report is delivered, at most every
    50 ms, and its last one always.
    """

    def __init__(self, callback: Callable[[Progress], None], token: trio.lowlevel.TrioToken) -> None:
        self._callback = callback
        self._token = token
        self._waiting: dict[tuple[Stage, bool], Progress] = {}
        self._stage: Stage | None = None
        self._next = 0.0
        self._closed = False
        self.scope: Final = trio.CancelScope()
        """Cancelled when the callback has raised."""
        self.error: BaseException | None = None
        """What it has raised."""

    def report(self, stage: Stage, done: int, total: int) -> None:
        """Tell of it, or not if there was a report just now; from the worker thread."""
        first = stage != self._stage
        now = time.monotonic()
        if not first and done != total and now < self._next:
            return
        self._stage, self._next = stage, now + _PAUSE
        self._waiting[stage, first] = Progress(stage, done, total)
        try:
            self._token.run_sync_soon(self.deliver, idempotent=True)
        except trio.RunFinishedError:
            pass  # abandoned: nobody listens any more

    def deliver(self) -> None:
        """Hand on what has been reported; in the trio thread."""
        while self._waiting and not self._closed:
            # Insertion order; the worker may add meanwhile, or replace what is still there.
            try:
                progress = self._waiting.pop(next(iter(self._waiting)))
            except (KeyError, RuntimeError):  # pragma: no cover - a race with the worker
                continue
            try:
                self._callback(progress)
            except BaseException as error:
                # Here it would end the whole trio run; load_module raises it.
                self.error = error
                self._closed = True
                self.scope.cancel()

    def close(self) -> None:
        """Deliver nothing any more."""
        self._closed = True
