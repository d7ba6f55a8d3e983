"""The process-wide limit on guests, checked before Wasmtime runs into it.

A fiber's stack, with its guard page, and a memory, with its guard regions, take several memory
maps each; at ``vm.max_map_count`` an ``mmap`` fails inside Wasmtime, which then ends the process.
So a call that would come near the limit is refused.
"""

from __future__ import annotations

from .. import capi
from ..errors import TooManyGuests

__all__ = ["check_room"]

_RESERVE = 1_000
"""Maps left for the rest of the process (threads, libraries, the interpreter's own arenas)."""
_MAPS_A_GUEST = 8
"""More than one guest was seen to take."""

_room_until = 0
"""Number of live futures up to which there is room without looking again."""


def check_room() -> None:
    """Refuse one more fiber where it could run the process out of memory maps.

    Counting maps takes time in proportion to their number, so it is done again only when half of
    what was free at the last look may be gone.

    :raises TooManyGuests: says how many maps are in use, and what to do.
    """
    global _room_until
    live = capi.live_futures()
    if live < _room_until:
        return
    limit, maps = capi.max_map_count(), capi.memory_maps_in_use()
    if limit is None or maps is None:
        return
    free = limit - _RESERVE - maps
    if free < _MAPS_A_GUEST:
        raise TooManyGuests(
            f"{maps} of {limit} memory maps are in use, by {live} guests and the rest of the process; "
            "raise vm.max_map_count (sysctl), or run fewer guests in one process"
        )
    _room_until = live + max(1, free // _MAPS_A_GUEST // 2)
