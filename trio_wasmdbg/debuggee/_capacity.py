"""The process-wide limit on guests, checked before Wasmtime runs into it.

A fiber's stack with its guard page, and a memory with what is reserved for it, take several memory
maps each; at ``vm.max_map_count`` an ``mmap`` or ``munmap`` fails inside Wasmtime, which then ends the
process.  So what would come near the limit is refused.
"""

from __future__ import annotations

from typing import Final

from .. import capi
from ..errors import TooManyGuests

__all__ = ["CALL", "MODULE", "check_room", "maps_of_instance"]

CALL: Final = 2
"""Maps of a call while it lasts: its fiber's stack, and the guard page below."""

MODULE: Final = 3
"""More than a compiled module takes."""

_MEMORY: Final = 3
"""A memory: what the guest may touch, what is reserved behind, maybe an image of its data."""

_RESERVE: Final = 1_000
"""Maps left for the rest of the process (threads, libraries, the interpreter's own arenas)."""


class _Room:
    """How much was free when somebody last looked, and what was taken since then.

    Looking takes time in proportion to the maps there are (0.1 s for 60,000), so it is done again only
    when half of what was free may be gone.
    """

    def __init__(self) -> None:
        self.until = 0
        """Value of :meth:`taken` up to which there is room without looking again."""
        self._lasting = 0

    def taken(self) -> int:
        """Grows at least as the process's maps do because of us."""
        return self._lasting + CALL * capi.live_futures()

    def take(self, maps: int, lasting: bool) -> None:
        taken = self.taken() + maps
        if taken > self.until:
            self._look(maps, taken)
        if lasting:
            # When a store is gone, so are its maps; that is seen at the next look.
            self._lasting += maps

    def _look(self, maps: int, taken: int) -> None:
        limit, used = capi.max_map_count(), capi.memory_maps_in_use()
        if limit is None or used is None:
            return
        free = limit - _RESERVE - used
        if free < maps:
            raise TooManyGuests(
                f"{used} of {limit} memory maps are in use, by {capi.live_futures()} calls of guests and the "
                'rest of the process: make the engine with many_guests=True, raise vm.max_map_count '
                "(sysctl), or run fewer guests in one process"
            )
        self.until = taken + (free - maps) // 2


_room = _Room()


def check_room(maps: int = CALL, *, lasting: bool = False) -> None:
    """Refuse what could run the process out of memory maps.

    :param maps: how many it may take at most.
    :param lasting: not only for the length of a call.
    :raises TooManyGuests: says how many maps are in use, and what to do.
    """
    _room.take(maps, lasting)


def maps_of_instance(memories: int) -> int:
    """How many maps an instance with so many memories may take, and the call that makes it."""
    return CALL + _MEMORY * memories
