"""A bounded sample of the stress test: fixed seeds, and a random one that is printed."""

from __future__ import annotations

import random

import pytest

from trio_wasmdbg.testing import PROFILES, stress

SECONDS = 90.0
"""At most.  These numbers of cycles take 5 and 10 seconds on a machine that has nothing else to do."""
CYCLES = 400
RANDOM = random.SystemRandom().randrange(1 << 32)


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"quiet"}))
async def test_fixed_seeds(profile: str) -> None:
    report = await stress(seconds=SECONDS, cycles=CYCLES, seed=1, profile=profile)

    assert report.failures == []
    assert report.counts["cycles"] > 50
    assert report.counts["cancels"] > 20
    assert report.counts["ended: finished"] > 0 or PROFILES[profile].drop == 1


async def test_a_random_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"[stress: seed {RANDOM}]", end=" ", flush=True)
    report = await stress(seconds=SECONDS, cycles=2 * CYCLES, seed=RANDOM)

    assert (report.failures, report.seed) == ([], RANDOM)
    # Every kind of attack was made.
    for attack in ("cancels", "interrupted", "queries", "breakpoint edits", "clients cut off", "collections"):
        assert report.counts[attack] > 0, attack


async def test_left_alone_nothing_happens() -> None:
    report = await stress(seconds=60, cycles=60, seed=2, profile="quiet", debuggees=2)

    assert report.counts["ended: finished"] == report.counts["cycles"]
    assert report.counts["cancels"] == report.counts["interrupts"] == 0
