"""What is alive in this process: a count at rest, to be compared with an earlier one."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from ...debuggee import process_census

__all__ = ["census", "growth", "listening_to_complaints"]

_OURS = ("trio_wasmdbg", "wasmtime", "trio")


def census() -> dict[str, int]:
    """Count what is alive; runs the garbage collector."""
    for _ in range(3):
        gc.collect()
    types: Counter[type] = Counter(type(each) for each in gc.get_objects() if not _is_deadline(each))
    ours: Counter[str] = Counter()
    total = 0
    for kind, number in types.items():
        module = str(getattr(kind, "__module__", ""))
        if module.partition(".")[0] in _OURS or kind.__name__ in ("coroutine", "generator", "frame"):
            name = f"{module.partition('.')[0]}.{kind.__qualname__}"
            ours[name] += number
            if f"objects: {name}" in _MAY_GROW:
                continue  # it has a bound of its own
        total += number
    found = {
        **process_census(),
        "trio tasks": trio.lowlevel.current_statistics().tasks_living,
        "threads": threading.active_count(),
        **{f"objects: {name}": number for name, number in ours.items()},
        "objects": total,
    }
    if os.path.isdir("/proc/self/fd"):
        found["file descriptors"] = len(os.listdir("/proc/self/fd"))
        with open("/proc/self/statm", encoding="ascii") as file:
            found["resident KiB"] = int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") >> 10)
    return found


def _is_deadline(each: object) -> bool:
    """What trio's heap of deadlines keeps for a scope (see below)."""
    return type(each) is tuple and len(each) == 3 and isinstance(each[2], trio.CancelScope)


_MUST_BE_ZERO = ("call futures", "host calls waiting", "abandoned futures", "guest threads")
_MAY_GROW = {
    "objects": 1_000,
    "memory maps": 60,
    "resident KiB": 64 << 10,
    "host functions": 0,
    "trio tasks": 0,
    "file descriptors": 0,
    # trio's end after ten idle seconds; as many as were needed at a time: 40 guests, and what is computed.
    "threads": 60,
    # A scope with a deadline stays in trio's heap of deadlines until a thousand are over.
    "objects: trio.CancelScope": 1_200,
    "objects: trio.CancelReason": 1_200,
    # A module keeps the places that it was asked for.
    "objects: trio_wasmdbg.Location": 1_000,
    # Modules keep what they have compiled, up to a bound of their own; see below for what comes with it.
    "companions": 2_000,
    "functions in companions": 10_000,
}
"""What grows without being a leak: caches, the arenas of the allocators, trio's idle threads."""
_FEW = 20
"""Objects of one type: tracebacks of the last exceptions.  What leaks, leaks with every cycle."""


_FOR_A_COMPANION = {
    "objects: wasmtime.Module": 1,
    "objects: wasmtime.LP_wasmtime_module": 1,
    "memory maps": 4,
    "resident KiB": 100,
}
"""What each companion that a module keeps accounts for, at most."""
_FOR_A_FUNCTION = {
    # In the store that is kept open: what leads to it, and it.
    "objects: wasmtime.Func": 2,
    "objects: wasmtime.wasmtime_func": 2,
    "objects": 200,
}
"""The same of each function in a companion; and a few objects of each type of our own."""


def _accounted_for(name: str, companions: int, functions: int) -> int:
    own = 4 if name.startswith("objects: trio_wasmdbg.") else 0
    return _FOR_A_COMPANION.get(name, 0) * companions + _FOR_A_FUNCTION.get(name, own) * functions


def growth(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """What has grown more than noise explains, and what should never be there at rest."""
    found = [f"{now[name]} {name}" for name in _MUST_BE_ZERO if now[name]]
    kept = [max(0, now[name] - before[name]) for name in ("companions", "functions in companions")]
    for name, number in now.items():
        earlier = before.get(name, 0)
        most = _MAY_GROW.get(name, _FEW) + _accounted_for(name, *kept)
        if name not in _MUST_BE_ZERO and number - earlier > most:
            found.append(f"{name}: {earlier} before, {number} now")
    return found


@contextmanager
def listening_to_complaints(expected: str) -> Iterator[list[str]]:
    """Collect warnings, and exceptions that nobody could catch, for the length of a block.

    :param expected: a warning whose text begins like this is none.
    """
    complaints: list[str] = []
    token = trio.lowlevel.current_trio_token()
    hook, thread_hook = sys.unraisablehook, threading.excepthook

    def unraisable(info: Any) -> None:
        if isinstance(info.exc_value, KeyboardInterrupt):
            # Raised in somebody's finalizer, where nobody could catch it: it is the user's, who gets it now.
            token.run_sync_soon(signal.raise_signal, signal.SIGINT)
            return
        where = f"{info.err_msg or 'Exception ignored in'} {info.object!r}"
        complaints.append(f"unraisable: {where}: {info.exc_value!r}")

    def in_thread(info: Any) -> None:
        complaints.append(f"a thread ended with {info.exc_value!r}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")

        def show(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
            if not str(message).startswith(expected):
                complaints.append(f"{category.__name__}: {message}")

        warnings.showwarning = show
        sys.unraisablehook, threading.excepthook = unraisable, in_thread
        try:
            yield complaints
        finally:
            sys.unraisablehook, threading.excepthook = hook, thread_hook
