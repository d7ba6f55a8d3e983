"""What one more paused guest costs, on a small number of them."""

from __future__ import annotations

import sys

import pytest

from tests.benchmarks import scale


@pytest.mark.skipif(sys.platform != "linux", reason="memory maps are counted as Linux shows them")
async def test_many_guests_take_three_maps_each_and_little_memory() -> None:
    found = await scale.measure(100, 300)
    # 10,000 of them have to fit under 65,530.
    assert found.maps < 4
    # 64 KB is the goal; with so few of them, what the process allocates in large pieces is seen as well.
    assert found.resident < 90
    assert found.address_space < 20


@pytest.mark.skipif(sys.platform != "linux", reason="memory maps are counted as Linux shows them")
async def test_by_default_memories_have_their_guard_regions() -> None:
    found = await scale.measure(20, 60, many_guests=False)
    # 10,000 of these fit as well.
    assert 4 < found.maps < 6.3
