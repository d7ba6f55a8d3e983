"""How are things timed, so that a ratio of two of them can be trusted?

Both are measured in one run, turn by turn (A B C, C B A, A B C, …), so that what else happens on the machine
meets all of them.  A ratio is given twice, of the minima and of the medians; where the two differ, it is
noise.  Times of computations are CPU times of this process, so a neighbour that takes the processor is not
counted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from attrs import frozen

__all__ = ["NotMeasured", "Ratio", "Spread", "geomean", "interleaved", "ratio_of"]

Key = TypeVar("Key")


class NotMeasured(Exception):
    """Something is not there: its text is the reason."""


@frozen
class Spread:
    """What a number of measurements have given.

    :ivar low: the first quartile.
    :ivar high: the third.
    """

    minimum: float
    low: float
    median: float
    high: float
    maximum: float
    samples: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return cls(
            ordered[0],
            quantile(ordered, 0.25),
            statistics.median(ordered),
            quantile(ordered, 0.75),
            ordered[-1],
            len(ordered),
        )


def quantile(ordered: Sequence[float], where: float) -> float:
    """The smallest value that is not exceeded by this part of *ordered*."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(where * len(ordered)) - 1))]


@frozen
class Ratio:
    """How much longer something takes than something else.

    :ivar low: of the ratios of the rounds, one by one: their first quartile.
    :ivar high: their third.
    """

    minima: float
    medians: float
    low: float
    high: float


def ratio_of(times: Sequence[float], base: Sequence[float]) -> Ratio:
    """The ratio of two lists of measurements, taken turn by turn."""
    rounds = Spread.of([one / other for one, other in zip(times, base, strict=True)])
    return Ratio(
        min(times) / min(base), statistics.median(times) / statistics.median(base), rounds.low, rounds.high
    )


def geomean(values: Iterable[float]) -> float:
    """The geometric mean."""
    return statistics.geometric_mean(values)


async def interleaved(
    actions: Mapping[Key, Callable[[], Awaitable[float]]], rounds: int
) -> dict[Key, list[float]]:
    """Carry out each action in turn, so many times; each gives its own time."""
    found: dict[Key, list[float]] = {name: [] for name in actions}
    order = list(actions)
    for _ in range(rounds):
        for name in order:
            found[name].append(await actions[name]())
        order.reverse()
    return found
