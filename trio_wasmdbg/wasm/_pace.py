"""Long work in pieces: a caller may let others run between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Final, TypeVar

__all__ = ["PIECE", "Tick", "for_ever", "in_pieces", "no_tick"]

T = TypeVar("T")

Tick = Callable[[], None]

PIECE: Final = 4096
"""Items of a piece: about a millisecond's work."""


def no_tick() -> None:
    """The default: nobody is waiting."""


def in_pieces(items: Sequence[T], tick: Tick) -> Iterable[T]:
    """The items; *tick* is called between pieces.  Costs nothing for each item."""
    return items if len(items) <= PIECE else chain.from_iterable(_pieces(items, tick))


def _pieces(items: Sequence[T], tick: Tick) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), PIECE):
        if first:
            tick()
        yield items[first : first + PIECE]


def for_ever(tick: Tick) -> Iterable[None]:
    """For a loop that ends otherwise; *tick* is called now and then."""
    return chain.from_iterable(_for_ever(tick))


def _for_ever(tick: Tick) -> Iterator[Iterable[None]]:
    while True:
        yield repeat(None, PIECE)
        tick()
