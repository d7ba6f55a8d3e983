"""The benchmark of flavours, in small."""

from __future__ import annotations

from tests.benchmarks import flavours


async def test_flavours_are_faster_than_slow_twins() -> None:
    lines = await flavours.measure(1, 2_000_000)
    ratios = {(line["program"], line["variant"]): line["ratio"] for line in lines}
    for program in flavours.PROGRAMS:
        found, slow = ratios[program, "flavours"], ratios[program, "slow twins"]
        assert isinstance(found, float) and isinstance(slow, float)
        assert found < slow
