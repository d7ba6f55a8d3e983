"""Waiting for what nobody tells of: a guest that has come to its worker thread, or out of it."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["until"]


async def until(condition: Callable[[], object]) -> None:
    """Return when *condition* is true.

    A loop of bare checkpoints lets go of the interpreter lock for a microsecond at a time, each time anew
    before a worker that waits for it has asked for it: the worker may come to it after seconds only.
    Here the trio thread is really idle.  Not for tests under an autojump clock.
    """
    while not condition():  # noqa: ASYNC110 - nobody tells
        await trio.sleep(0.0005)
