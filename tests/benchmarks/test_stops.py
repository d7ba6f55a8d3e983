"""The benchmark of stops and steps, in small: its rows are what they say, and paused guests cost nothing."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import stops

GUESTS, SECONDS = 20, 1.0
CPU = 0.1
"""CPU seconds that so many paused guests may take in so long; the goal is a tenth of it."""

TRIES = 3
"""A neighbour that takes the processor for a moment is not our fault; three times in a row is."""


async def test_its_rows() -> None:
    found = await stops.measure(1, 0.02)
    assert [each.what for each in found] == list(stops.ROWS)
    assert all(each.microseconds > 0 for each in found)
    assert found[0].ratio == 1


async def test_paused_guests_cost_nothing() -> None:
    used = []
    for _ in range(TRIES):
        used.append(await stops.idle(GUESTS, SECONDS))
        if used[-1] <= CPU:
            return
    pytest.fail(f"{GUESTS} paused guests used {used} s of CPU in {SECONDS} s")


def test_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--rounds", "1", "--only", "condition"]
    stops.main([*few, "--idle", "0"])
    assert len(capsys.readouterr().out.splitlines()) == 3
    stops.main([*few, "--idle", "0.1", "--json"])
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
