"""How much CPU do a hundred paused guests use while nobody asks for anything?  (Row 12.)"""

from __future__ import annotations

from tests.benchmarks import stops
from tests.benchmarks._report import Figure, Matrix
from tests.benchmarks._settings import Settings

__all__ = ["measure"]


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Milliseconds of CPU in ten seconds."""
    guests, seconds = (10, 1.0) if settings.quick else (100, 10.0)
    used = await stops.idle(guests, seconds)
    what = f"{guests} paused guests, CPU in {seconds:g} s"
    return [Figure(12, what, "exact", 1000 * used, "ms", goal=("≤", 20))]
