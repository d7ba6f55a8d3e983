"""How soon is a loop paused or cancelled, and how long does the trio loop wait meanwhile?  (Row 11.)

The scenes of ``latency`` and ``loop_gaps``, as lines of the table: gaps are those beyond the ones that the
machine has without a guest, in the same run.
"""

from __future__ import annotations

from tests.benchmarks import latency, loop_gaps
from tests.benchmarks._report import Figure, Matrix, number
from tests.benchmarks._settings import Settings

__all__ = ["measure"]


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Latencies at the 99th percentile, gaps at the 99.9th."""
    figures: list[Figure | Matrix] = []
    for found in await latency.measure(20 if settings.quick else 300):
        spread = f"median {number(found.median)}, worst {number(found.worst)}, of {found.rounds}"
        figures.append(
            Figure(11, f"{found.what}, 99 %", "exact", found.p99, "ms", spread=spread, goal=("≤", 2))
        )
    idle, *scenes = await loop_gaps.measure(0.5 if settings.quick else 10.0)
    of_machine = f"without a guest {number(idle.p999)}"
    for gaps in scenes:
        # Where the machine's own gaps are longer, the guest has added nothing that can be told.
        value = max(gaps.p999 - idle.p999, 0.001)
        spread = f"{number(gaps.p999)}, {of_machine}; worst {number(gaps.worst)}"
        what = f"gaps of other tasks, {gaps.scene}, 99.9 %"
        figures.append(Figure(11, what, "exact", value, "ms", "no guest", spread, ("≤", 5)))
    return figures
