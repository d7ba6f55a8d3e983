"""The benchmark of a recursion by hand, in small."""

from __future__ import annotations

from tests.benchmarks import idle_floor


def test_every_variant_computes_the_same() -> None:
    found = idle_floor.measure(1, 2)  # which compares the results
    assert list(found) == list(idle_floor.VARIANTS)
    assert all(ratio > 0 for ratio in found.values())


def test_every_variant_adds_something() -> None:
    made = [idle_floor.module(**options) for options in idle_floor.VARIANTS.values()]  # type: ignore[arg-type]
    sizes = [len(each) for each in made]
    assert made[0] == made[1]
    assert len(set(made[1:])) == len(made) - 1
    assert sizes[1] < sizes[2] < sizes[3] < min(sizes[4:])
