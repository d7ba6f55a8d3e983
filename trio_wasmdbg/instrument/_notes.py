"""Reading what was recorded, and putting right what a trap has left half done.

See ``_trace`` for what lies where, and ``_recorder`` for what flavours do.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Protocol

from attrs import field, frozen

from ._flavour import Recording
from ._layout import TRACE_ENTRIES, TRACE_LENGTH
from ._plans import FunctionPlan, Instrumented
from ._trace import BLOCK, RING, SHIFT

__all__ = ["DebugMemory", "Notes", "Recorded"]


class DebugMemory(Protocol):
    """The debug memory of an instance."""

    def read(self, address: int, size: int) -> bytes:
        """A copy of ``size`` bytes."""

    def write(self, address: int, data: bytes) -> None:
        """Overwrite bytes."""

    def fill(self, address: int, size: int, byte: int) -> None:
        """Set ``size`` bytes to one value."""


@frozen
class Recorded:
    """A flavour that records.

    :ivar counters: address of its first counter.
    """

    function: int
    records: Recording
    counters: int


@frozen
class Notes:
    """What was recorded in one instance.

    :ivar flavours: those of the instance that record.
    """

    instrumented: Instrumented
    memory: DebugMemory
    flavours: Iterable[Recorded] = field(factory=tuple)

    def last(self, count: int) -> list[tuple[int, int]]:
        """Function and resume point of the last *count* notes, oldest first; at most 65,535 are kept."""
        count = min(count, TRACE_LENGTH - 1)  # the word that is 0 says where the ring ends
        at, words = self._head() // 4, self._ring()
        plans = list(self.instrumented.defined())
        starts = [plan.stop_base for plan in plans]
        stops = self.instrumented.layout.stops_base
        leaders: dict[int, list[int]] = {}
        found: list[tuple[int, int]] = []
        for word in (*words[at - 1 :: -1], *words[: at - 1 : -1]) if at else words[::-1]:
            if not word or len(found) >= count:
                break
            stop = stops + (word & ~BLOCK) - 1
            plan = plans[bisect_right(starts, stop) - 1]
            k = end = stop - plan.stop_base
            if word & BLOCK:
                if plan.index not in leaders:
                    leaders[plan.index] = sorted(plan.leaders())
                end = _end(leaders[plan.index], k, plan)
            found += [(plan.index, each) for each in range(end, k - 1, -1)]
        return found[:count][::-1]

    def counts(self, plan: FunctionPlan) -> list[int]:
        """How often each instruction of a function was noted."""
        layout = self.instrumented.layout
        first = layout.counts_base + 4 * (plan.stop_base - layout.stops_base)
        found = list(array("I", self.memory.read(first, 4 * plan.instructions)))
        for each in self.flavours:
            if each.function == plan.index:
                for first, end, times in self._blocks(each):
                    for k in range(first, first + 1 if each.records == "branches" else end + 1):
                        found[k] += times
        return found

    def total(self) -> int:
        """How many instructions were noted."""
        (total,) = struct.unpack("<Q", self.memory.read(self._base + 8, 8))
        for each in self.flavours:
            for first, end, times in self._blocks(each):
                total += times if each.records == "branches" else times * (end - first + 1)
        return int(total)

    def clear(self) -> None:
        """Begin anew."""
        layout = self.instrumented.layout
        self.memory.fill(self._base, TRACE_ENTRIES + RING + 4, 0)
        self.memory.fill(layout.counts_base, 4 * layout.stops, 0)
        self.memory.fill(layout.counters_base, layout.counters, 0)

    def settle(self) -> None:
        """The guest has trapped: find where in the ring the next entry will be."""
        if any(each.records != "coverage" for each in self.flavours):
            self._put(self._base, "<I", self._head() << SHIFT)

    def cut(self, flavour: Recorded, k: int) -> None:
        """The guest has trapped in a flavour, at instruction *k*; the ring is settled."""
        if flavour.records == "branches":
            return
        plan = self.instrumented.plan(flavour.function)
        leaders = sorted(plan.leaders())
        number = bisect_right(leaders, k) - 1
        first, counter = leaders[number], flavour.counters + 8 * number
        if k == _end(leaders, first, plan):
            return
        layout = self.instrumented.layout
        stop = plan.stop_base - layout.stops_base + first
        done = range(stop, stop + k - first + 1)
        if flavour.records != "coverage":
            head = (self._head() - 4) % RING
            for n in done:
                self._put(self._base + TRACE_ENTRIES + head, "<Q", n + 1)
                head = (head + 4) % RING
            self._put(self._base, "<I", head << SHIFT)
        if flavour.records != "trace":
            self._add(counter, "<Q", -1)
            for n in done:
                self._add(layout.counts_base + 4 * n, "<I", 1)
            self._add(self._base + 8, "<Q", len(done))

    # ── inside ─────────────────────────────────────────────────────────────────────────────────

    @property
    def _base(self) -> int:
        return self.instrumented.layout.trace_base

    def _ring(self) -> array[int]:
        return array("I", self.memory.read(self._base + TRACE_ENTRIES, RING))

    def _head(self) -> int:
        """Where the next entry will be: where the 0 is, from where it was written last on."""
        words = self._ring()
        (head,) = struct.unpack("<I", self.memory.read(self._base, 4))
        at = (head >> SHIFT) // 4
        for start, end in ((at, TRACE_LENGTH), (0, at)):
            try:
                return 4 * words.index(0, start, end)
            except ValueError:
                continue
        return 0

    def _blocks(self, flavour: Recorded) -> Iterator[tuple[int, int, int]]:
        """First and last instruction of each block, and how often it was noted."""
        plan = self.instrumented.plan(flavour.function)
        leaders = sorted(plan.leaders())
        counters = array("Q", self.memory.read(flavour.counters, 8 * len(leaders)))
        for first, times in zip(leaders, counters, strict=True):
            if times:
                yield first, _end(leaders, first, plan), times

    def _put(self, address: int, layout: str, value: int) -> None:
        self.memory.write(address, struct.pack(layout, value))

    def _add(self, address: int, layout: str, value: int) -> None:
        size = struct.calcsize(layout)
        (before,) = struct.unpack(layout, self.memory.read(address, size))
        self._put(address, layout, (before + value) % (1 << 8 * size))


def _end(leaders: list[int], first: int, plan: FunctionPlan) -> int:
    """The last instruction of the block that begins with this leader."""
    at = bisect_right(leaders, first)
    return (leaders[at] if at < len(leaders) else plan.instructions) - 1
