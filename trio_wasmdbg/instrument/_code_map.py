"""From places in the rewritten module back to the original one.

A rewritten body consists of ranges copied from the original and of ranges inserted between them;
each is one entry of two arrays, so that the map of a large module stays a few per cent of its size.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from attrs import define, field, frozen

from ..addresses import InstrumentedOffset, ModuleOffset
from ._body import INSERTED, FastTwin

__all__ = ["CodeMap", "Place"]


@frozen
class Place:
    """Where an instrumented offset comes from.

    :ivar function: function index.
    :ivar offset: offset in the original module: of the byte itself, or for inserted code of what it precedes.
    :ivar inserted: the code there is not in the original.
    """

    function: int
    offset: ModuleOffset
    inserted: bool


@define
class CodeMap:
    """The whole module's map.  Bodies are added in the order of the code section."""

    _functions: array[int] = field(factory=lambda: array("I"))
    _starts: array[int] = field(factory=lambda: array("I"))
    _ends: array[int] = field(factory=lambda: array("I"))
    _ranges: list[tuple[array[int], array[int]]] = field(factory=list)

    def add(self, function: int, start: int, twin: FastTwin) -> None:
        """The body of *function* begins (after its size) at instrumented offset *start*."""
        self._functions.append(function)
        self._starts.append(start)
        self._ends.append(start + len(twin.body))
        self._ranges.append((twin.new, twin.old))

    def bodies(self) -> Iterator[tuple[int, int, int, array[int], array[int]]]:
        """Of each body its function, start and end, offsets from its start, and where these come from."""
        for function, start, end, (new, old) in zip(
            self._functions, self._starts, self._ends, self._ranges, strict=True
        ):
            yield function, start, end, new, old

    def function_at(self, offset: InstrumentedOffset) -> int | None:
        """Index of the function whose fast twin covers *offset*; None for stubs, helpers, other bytes."""
        at = bisect_right(self._starts, offset) - 1
        if at < 0 or offset >= self._ends[at]:
            return None
        return self._functions[at]

    def to_original(self, offset: InstrumentedOffset) -> Place | None:
        """What is at *offset*; None if it belongs to no original function."""
        at = bisect_right(self._starts, offset) - 1
        if at < 0 or offset >= self._ends[at]:
            return None
        new, old = self._ranges[at]
        relative = offset - self._starts[at]
        i = max(bisect_right(new, relative) - 1, 0)
        origin = old[i]
        if origin & INSERTED:
            return Place(self._functions[at], ModuleOffset(origin & ~INSERTED), True)
        return Place(self._functions[at], ModuleOffset(origin + relative - new[i]), False)

    def to_instrumented(self, function: int, offset: ModuleOffset) -> InstrumentedOffset | None:
        """Where *function*'s byte at *offset* was copied to; None if it was replaced or is no code."""
        at = bisect_left(self._functions, function)
        if at == len(self._functions) or self._functions[at] != function:
            return None
        new, old = self._ranges[at]
        for i in range(len(new)):
            origin = old[i]
            if not origin & INSERTED and origin <= offset:
                end = new[i + 1] if i + 1 < len(new) else self._ends[at] - self._starts[at]
                if offset < origin + end - new[i]:
                    return InstrumentedOffset(self._starts[at] + new[i] + offset - origin)
        return None
