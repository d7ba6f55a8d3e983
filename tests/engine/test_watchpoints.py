"""Watchpoints without a guest: merging of ranges, and pending ones in verdicts."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_wasmdbg.engine import (
    Decider,
    Kind,
    MemoryWatch,
    Range,
    Reason,
    WatchHit,
    Watchpoint,
    merge_ranges,
)
from trio_wasmdbg.errors import UsageError

RANGES = st.lists(
    st.builds(
        lambda first, size, memory, kinds: (first, first + size, memory, kinds),
        st.integers(0, 1000),
        st.integers(1, 50),
        st.integers(0, 2),
        st.integers(1, 3),
    ),
    max_size=40,
)


def covers(ranges: list[Range], each: Range) -> bool:
    return any(
        first <= each[0] and each[1] <= end and memory == each[2] and kinds & each[3] == each[3]
        for first, end, memory, kinds in ranges
    )


@given(RANGES, st.integers(3, 10))
def test_merged_ranges_fit_and_cover(ranges: list[Range], capacity: int) -> None:
    merged = merge_ranges(ranges, capacity)
    assert len(merged) <= capacity
    assert all(covers(merged, each) for each in ranges)


def test_ranges_that_fit_stay_as_they_are() -> None:
    ranges = [(8, 12, 0, 2), (0, 4, 0, 2), (0, 4, 1, 1)]
    assert merge_ranges(ranges, 3) == [(0, 4, 0, 2), (8, 12, 0, 2), (0, 4, 1, 1)]
    assert merge_ranges(ranges, 2) == [(0, 12, 0, 2), (0, 4, 1, 1)]
    with pytest.raises(UsageError, match="more than 1 memories"):
        merge_ranges(ranges, 1)


class FakeWatcher:
    """Touches every watchpoint it is asked about; the frame is the value now."""

    def touched(self, instance: int, frame: Any, watchpoints: list[Watchpoint]) -> tuple[WatchHit, ...]:
        return tuple(WatchHit(each, "write", 0, 4, frame, None) for each in watchpoints)

    def reports(self, hit: WatchHit, frame: Any) -> WatchHit | None:
        return evolve(hit, new=frame) if frame != hit.old else None


class FakeModule:
    name = None


@pytest.mark.parametrize(("before", "after", "reports"), [(1, 2, True), (1, 1, False)])
def test_a_touch_reports_after_the_instruction(before: int, after: int, reports: bool) -> None:
    decider: Any = Decider()
    decider.watches.watcher = FakeWatcher()
    changes: list[int] = []
    decider.watches.changed = lambda: changes.append(1)
    watchpoint = decider.watches.add(MemoryWatch(b"m", 0, 4), "change")
    module = FakeModule()
    assert decider.watching_memory
    assert decider.decide(Kind.WATCH, module, 1, 64, 3, 7, lambda: before) is None
    assert len(changes) == 2
    # a deeper activation of the same function is none of its business
    assert decider.decide(Kind.STOP, module, 1, 32, 3, 8, lambda: after) is None
    verdict = decider.decide(Kind.STOP, module, 1, 64, 3, 8, lambda: after)
    if reports:
        assert verdict.reason is Reason.WATCH
        (hit,) = verdict.watch
        assert (hit.watchpoint, hit.old, hit.new) == (watchpoint, before, after)
    else:
        assert verdict is None
    assert decider.watches.pending is None


def test_an_unknown_access_is_refused() -> None:
    decider = Decider()
    with pytest.raises(UsageError, match="read, write, access, change"):
        decider.watches.add(MemoryWatch(b"m", 0, 4), "execute")
    assert len(decider.watches) == 0
