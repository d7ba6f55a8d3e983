"""How many slow twins share a companion module.

A store takes 10,000 instances, of which each companion is one, and a module may have a million functions.  So
the more companions a store holds already, the more twins are made at a time: of the function that needs one
now, and of those that follow it, which are likely to be next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

__all__ = ["ENOUGH_FLAVOURS", "batch_of", "batch_size"]

_DOUBLED_EACH: Final = 500
"""Companions after which batches are twice as large.  6,000 are enough for a million functions."""

_INSTRUCTIONS: Final = 20_000
"""Of the functions that are added to the first; compiling them takes about half a second."""

_LOOKED_AT: Final = 10_000
"""Functions that are looked at for some that have no slow twin."""

ENOUGH_FLAVOURS: Final = 4_000
"""Companions of a store from which on no flavours are made: slow twins do as well, and need the room."""


def batch_size(companions: int) -> int:
    """How many slow twins the next companion of a store is to hold that has so many."""
    return 1 << min(companions // _DOUBLED_EACH, 20)


def batch_of(
    function: int, count: int, size: int, instructions: Callable[[int], int | None]
) -> list[int]:
    """Other functions whose slow twins are to be made together with this one's.

    :param count: functions of the module.
    :param size: of the whole batch.
    :param instructions: how many a function has; None: it needs no slow twin, or has one.
    """
    found: list[int] = []
    room = _INSTRUCTIONS
    following: Iterator[int] = chain(range(function + 1, count), range(function))
    for other in islice(following, _LOOKED_AT):
        if len(found) + 1 >= size:
            break
        length = instructions(other)
        if length is not None and length <= room:
            room -= length
            found.append(other)
    return found
