"""Counters for leak tests: what is alive inside the C library because of us."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_wasmdbg.capi._calls import CallFuture

__all__ = ["abandoned_futures", "live_futures", "live_host_functions", "live_pendings"]

# Dictionaries, because setting and deleting a key is atomic: polls end on any thread.
FUTURES: dict[int, CallFuture] = {}
HOST_FUNCTIONS: dict[int, Callable[[int, int, int, int], None]] = {}
ABANDONED: list[int] = []


def live_futures() -> int:
    """Call futures that were started and neither completed nor were deleted."""
    return len(FUTURES)


def live_pendings() -> int:
    """Host calls (hooks and asynchronous functions) that wait for an answer."""
    return sum(future.waiting is not None for future in list(FUTURES.values()))


def live_host_functions() -> int:
    """Hooks and asynchronous functions that some linker or store still knows."""
    return len(HOST_FUNCTIONS)


def abandoned_futures() -> int:
    """Futures whose store had been closed under them; their memory can't be given back any more."""
    return len(ABANDONED)
