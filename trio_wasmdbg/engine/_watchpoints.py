"""Watchpoints: what is watched, which ranges of memory that makes, and when one reports.

The guest asks before an access that touches a watched range; the new value is there after it.  So a
watchpoint reports at the instruction that follows, with both values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from attrs import define, field, frozen, setters

from ..errors import UsageError
from ._breakpoints import HitRule, as_hit_rule, check_callable, check_condition

__all__ = [
    "ACCESSES",
    "GlobalWatch",
    "LocalWatch",
    "MemoryWatch",
    "PendingWatch",
    "Range",
    "WatchHit",
    "WatchTable",
    "Watchpoint",
    "merge_ranges",
]

READS, WRITES = 1, 2

ACCESSES = {"read": READS, "write": WRITES, "access": READS | WRITES, "change": WRITES}
"""What a watchpoint may be asked to watch for, and the kinds of access that matter for it."""


@frozen
class MemoryWatch:
    """*size* bytes of a memory, from *address*."""

    memory: bytes
    """Identity of the memory, however instances number it."""
    address: int
    size: int

    def __str__(self) -> str:
        return f"{self.size} bytes at {self.address:#x}"


@frozen
class GlobalWatch:
    """A global variable of one instance."""

    instance: int
    index: int

    def __str__(self) -> str:
        return f"global {self.index}"


@frozen
class LocalWatch:
    """A local of one frame."""

    instance: int
    fp: int
    function: int
    index: int

    def __str__(self) -> str:
        return f"local {self.index}"


@define(eq=False)
class Watchpoint:
    """A watchpoint, as :meth:`Debuggee.watch_memory` and its kin return it."""

    id: int = field(on_setattr=setters.frozen)
    what: MemoryWatch | GlobalWatch | LocalWatch = field(on_setattr=setters.frozen)
    access: str = field(on_setattr=setters.frozen)
    """``"read"``, ``"write"``, ``"access"`` or ``"change"``."""
    condition: Callable[[Any], object] | str | None = field(default=None, validator=check_condition)
    """As a breakpoint's; it may be changed at any time, like the next three."""
    hits: HitRule | None = field(default=None, converter=as_hit_rule)
    once: bool = False
    """Removed when it has paused the guest."""
    callback: Callable[[Any], Any] | None = field(default=None, validator=check_callable)
    """Called (and awaited) with the event; where it returns True, the guest goes on."""
    hit_count: int = 0
    """How often it was touched with the condition holding."""
    error: str | None = None
    """Why the condition could not be evaluated, or what the callback has raised, the last time."""
    _enabled: bool = True
    _changed: Callable[[], None] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        notes = "" if self.enabled else ", disabled"
        if self.hit_count:
            notes += f", hit {self.hit_count} time{'s' if self.hit_count > 1 else ''}"
        return f"<Watchpoint {self.id}: {self.access} of {self.what}{notes}>"

    @property
    def enabled(self) -> bool:
        """A disabled watchpoint costs nothing."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        if on != self._enabled:
            self._enabled = on
            if self._changed is not None:
                self._changed()

    @property
    def kinds(self) -> int:
        """The kinds of access that it watches, as bits: 1 reads, 2 writes."""
        return ACCESSES[self.access]


@frozen
class WatchHit:
    """One watchpoint that an instruction has touched."""

    watchpoint: Watchpoint
    kind: str
    """``"read"`` or ``"write"``"""
    address: int | None
    """Where the access began, for memory."""
    size: int | None
    """Bytes accessed, for memory."""
    old: Any
    """The watched value (all of it) before the instruction."""
    new: Any
    """And after it."""


@frozen
class PendingWatch:
    """An instruction that touches what is watched is being executed: look when it is done."""

    instance: int
    fp: int
    function: int
    resume_point: int
    """Of the instruction that comes next."""
    hits: tuple[WatchHit, ...]
    """With the old values; the new ones are not known yet."""


Range = tuple[int, int, int, int]
"""(first address, end, memory index, kinds of access)"""


def merge_ranges(ranges: Iterable[Range], capacity: int) -> list[Range]:
    """As many ranges as the guest's table takes, covering all of *ranges*.

    Where they are too many, neighbours are joined, those with the smallest gaps first; the host sorts
    out the false alarms.
    """
    found = sorted(set(ranges), key=lambda each: (each[2], each[0]))
    while len(found) > capacity:
        gaps = [
            (after[0] - before[1], i)
            for i, (before, after) in enumerate(itertools.pairwise(found))
            if before[2] == after[2]
        ]
        if not gaps:
            raise UsageError(f"more than {capacity} memories can't be watched at the same time")
        too_many = len(found) - capacity
        join = {i for _, i in sorted(gaps)[:too_many]}
        joined: list[Range] = []
        for i, each in enumerate(found):
            if i - 1 in join and i > 0:
                first, end, memory, kinds = joined[-1]
                joined[-1] = (first, max(end, each[1]), memory, kinds | each[3])
            else:
                joined.append(each)
        found = joined
    return found


class Watcher(Protocol):
    """What watchpoints need of the guest."""

    def touched(self, instance: int, frame: Any, watchpoints: list[Watchpoint]) -> tuple[WatchHit, ...]:
        """Which of these the instruction that comes next touches, with the old values."""

    def reports(self, hit: WatchHit, frame: Any) -> WatchHit | None:
        """The hit with its new value, if it is one that pauses."""


@define
class WatchTable:
    """All watchpoints of one debuggee."""

    changed: Callable[[], None] | None = field(default=None, repr=False)
    watcher: Watcher | None = field(default=None, repr=False)
    pending: PendingWatch | None = None
    _by_id: dict[int, Watchpoint] = field(factory=dict)
    _next_id: int = 1

    def add(self, what: MemoryWatch | GlobalWatch | LocalWatch, access: str, **how: Any) -> Watchpoint:
        """:raises UsageError: *access* is none of :data:`ACCESSES`."""
        if access not in ACCESSES:
            raise UsageError(f"a watchpoint watches for {', '.join(ACCESSES)}, not {access!r}")
        watchpoint = Watchpoint(self._next_id, what, access, changed=self.changed, **how)
        self._next_id += 1
        self._by_id[watchpoint.id] = watchpoint
        self.notify()
        return watchpoint

    def remove(self, watchpoint: Watchpoint) -> bool:
        """Take it away; False if it was not there."""
        if self._by_id.pop(watchpoint.id, None) is None:
            return False
        self.notify()
        return True

    def frames_gone(self, below: int) -> None:
        """Frames with addresses lower than *below* are gone, and with them their locals."""
        for watchpoint in self:
            if isinstance(watchpoint.what, LocalWatch) and watchpoint.what.fp < below:
                self.remove(watchpoint)

    def enabled(self, kind: type[Any]) -> list[Watchpoint]:
        """The enabled ones that watch such a thing."""
        return [each for each in self if each.enabled and isinstance(each.what, kind)]

    def notify(self) -> None:
        """What has to be armed may have changed."""
        if self.changed is not None:
            self.changed()

    def __iter__(self) -> Any:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)
