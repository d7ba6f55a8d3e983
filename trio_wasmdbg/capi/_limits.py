"""How near the process is to the kernel's limit on memory maps.

Every paused guest takes about six maps (its fiber's stack with guard pages, its memories), and
Wasmtime ends the process when ``mmap`` fails.  So it is our duty to refuse before.
"""

from __future__ import annotations

__all__ = ["max_map_count", "memory_maps_in_use"]


def max_map_count() -> int | None:
    """The kernel's limit (``vm.max_map_count``), or None where there is no such thing."""
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def memory_maps_in_use() -> int | None:
    """How many memory maps this process has, or None where that can't be told.  Takes a few ms."""
    try:
        with open("/proc/self/maps", "rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 16), b""))
    except OSError:
        return None
