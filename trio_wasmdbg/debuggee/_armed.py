"""The armed bytes of one instance: which check sites and stop bytes are set, and changing that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from attrs import Factory, frozen

from .. import capi
from ..instrument import ASKS, COUNTS, COVERS, NOTES, TRACES, FunctionPlan, Layout, Recording

__all__ = ["ALWAYS", "CONDITIONALLY", "ArmedBytes", "Wanted"]

ALWAYS = 1
"""A stop byte that asks the host."""
CONDITIONALLY = 2
"""A stop byte that asks the host where the condition in the slow twin holds."""


@frozen
class Wanted:
    """What is to be armed in an instance."""

    everything: bool = False
    """Every check is to fire."""
    all_sites: bool = False
    """Every activation is to run in its slow twin."""
    functions: frozenset[int] = frozenset()
    """Activations of these are to run in their slow twin."""
    near: Mapping[int, frozenset[int]] = Factory(dict)
    """For some of these: addresses of the only check sites at which they are to leave for it."""
    stops: Mapping[tuple[int, int | None], int] = Factory(dict)
    """(function, resume point or None for all of them) to the value of its stop byte."""
    records: Recording | None = None
    """What slow twins note: every instruction that they execute, or the first one of each basic block."""
    counting: bool = False
    """Slow twins count every instruction that they execute."""

    @property
    def notes(self) -> int:
        """The bit of the stop bytes of what is noted."""
        return {None: 0, "coverage": COVERS, "trace": TRACES}.get(self.records, NOTES)

    @property
    def always(self) -> int:
        """The bits of every stop byte."""
        return self.notes | (COUNTS if self.counting else 0)

    @property
    def blocks(self) -> bool:
        """Only the first instruction of each basic block is noted."""
        return self.records == "branches"


class ArmedBytes:
    """Sites and stop bytes in an instance's debug memory.

    Changes are written byte by byte while the guest may be running in another thread: each byte is
    its own, so that the guest sees the old or the new value of each.
    """

    def __init__(
        self,
        memory: capi.MemoryView,
        layout: Layout,
        plan_of: Callable[[int], FunctionPlan],
        slow: Collection[int],
    ) -> None:
        """
        :param slow: the functions that have a slow twin, as the owner finds them to have one: only their
            stop bytes are ever read.
        """
        self._memory = memory
        self._layout = layout
        self._plan_of = plan_of
        self._slow = slow
        self._now = Wanted()
        self._leaders: dict[int, frozenset[int]] = {}

    def set(self, wanted: Wanted) -> bool:
        """Arm just what is wanted.

        :returns: whether check sites may have changed.
        """
        now, self._now = self._now, wanted
        self._set_sites(now, wanted)
        self._set_stops(now, wanted)
        return _sites_of(now) != _sites_of(wanted)

    def add_slow(self, function: int) -> None:
        """A function has got its slow twin, just now."""
        now = self._now
        if now.everything or now.always:
            self._write_stops(function, now, _by_function(now).get(function, {}))

    def stop_byte(self, function: int, k: int) -> int:
        """The bits before instruction *k* that ask the host."""
        return self._memory.u8(self._plan_of(function).stop_base + k) & ASKS

    def set_stop_byte(self, function: int, k: int, value: int) -> None:
        """Overrule the bits of a stop byte that ask, until the next :meth:`set` that changes it."""
        self._memory.set_u8(self._plan_of(function).stop_base + k, value | self._always(function, k))

    def ask_uncounted(self, function: int, k: int) -> None:
        """Let instruction *k* ask the host and not be counted, likewise."""
        value = ALWAYS | (self._always(function, k) & ~COUNTS)
        self._memory.set_u8(self._plan_of(function).stop_base + k, value)

    def wanted_stop_byte(self, function: int, k: int) -> int:
        """What the stop byte should be."""
        if self._now.everything:
            return ALWAYS
        stops = self._now.stops
        return stops.get((function, k)) or stops.get((function, None)) or 0

    def next_stop(self, function: int, k: int) -> int | None:
        """The first instruction behind *k*, in the order of the code, that is to ask the host."""
        stops = (at for owner, at in self._now.stops if owner == function and at is not None)
        return min((at for at in stops if at > k), default=None)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────

    def _set_sites(self, now: Wanted, wanted: Wanted) -> None:
        was_all, all_ = now.everything or now.all_sites, wanted.everything or wanted.all_sites
        if all_:
            if not was_all:
                self._memory.fill(self._layout.sites_base, self._layout.sites, 1)
            return
        if was_all:
            self._write_sites(wanted)
            return
        for function in now.functions - wanted.functions:
            self._fill(self._plan_of(function).site_addresses, 0)
        for function in wanted.functions:
            if function not in now.functions or now.near.get(function) != wanted.near.get(function):
                addresses = self._plan_of(function).site_addresses
                self._memory.write(addresses.start, _sites_in(addresses, wanted.near.get(function)))

    def _set_stops(self, now: Wanted, wanted: Wanted) -> None:
        if wanted.everything:
            if not now.everything or not _note_alike(now, wanted):
                for function in list(self._slow):
                    self._write_stops(function, wanted, {})
            return
        anew, before = set[int](), now.stops
        if now.everything or not _note_alike(now, wanted):
            anew, before = set(self._slow), {}
        changed = {
            point for point in before.keys() | wanted.stops.keys()
            if before.get(point) != wanted.stops.get(point)
        }  # fmt: skip
        anew.update(function for function, k in changed if k is None)
        stops = _by_function(wanted) if anew else {}
        for function in anew:
            self._write_stops(function, wanted, stops.get(function, {}))
        for function, k in changed:
            if k is not None and function not in anew:
                self.set_stop_byte(function, k, self.wanted_stop_byte(function, k))

    def _write_sites(self, wanted: Wanted) -> None:
        """Arm the sites of the functions that are wanted, and no others, in one go.

        Bytes that are armed before and after are never seen disarmed: else a guest in another thread might
        get past a breakpoint.  The same goes for :meth:`_write_stops`.
        """
        base = self._layout.sites_base
        sites = bytearray(self._layout.sites)
        for function in wanted.functions:
            addresses = self._plan_of(function).site_addresses
            content = _sites_in(addresses, wanted.near.get(function))
            sites[addresses.start - base : addresses.stop - base] = content
        self._memory.write(base, sites)

    def _write_stops(self, function: int, wanted: Wanted, stops: Mapping[int | None, int]) -> None:
        """Set all stop bytes of a function in one go.

        :param stops: what is wanted at its resume points, and (None) at all others.
        """
        plan = self._plan_of(function)
        bits = wanted.always if function in self._slow else 0
        everywhere = ALWAYS if wanted.everything else stops.get(None, 0)
        leaders: Collection[int] = ()
        if bits & NOTES and wanted.blocks:
            leaders = self._blocks_of(function)
            bits &= ~NOTES
        content = bytearray((everywhere | bits,)) * len(plan.stop_addresses)
        for k, value in stops.items():
            if k is not None:
                content[k] = (value or everywhere) | bits
        for k in leaders:
            content[k] |= wanted.notes
        self._memory.write(plan.stop_addresses.start, content)

    def _always(self, function: int, k: int) -> int:
        """The bits that instruction *k* has, whatever else is wanted of it."""
        bits = self._now.always if function in self._slow else 0
        if bits & NOTES and self._now.blocks and k not in self._blocks_of(function):
            bits &= ~NOTES
        return bits

    def _blocks_of(self, function: int) -> frozenset[int]:
        leaders = self._leaders.get(function)
        if leaders is None:
            leaders = self._leaders[function] = self._plan_of(function).leaders()
        return leaders

    def _fill(self, addresses: range, value: int) -> None:
        self._memory.fill(addresses.start, len(addresses), value)


def _by_function(wanted: Wanted) -> dict[int, dict[int | None, int]]:
    """The stops by function: resume point, or None for all others, to the value of the stop byte."""
    found: dict[int, dict[int | None, int]] = {}
    for (function, k), value in wanted.stops.items():
        found.setdefault(function, {})[k] = value
    return found


def _sites_in(addresses: range, near: frozenset[int] | None) -> bytes:
    """The bytes of a function's sites: of all of them, or only of those at some addresses, armed."""
    if near is None:
        return b"\x01" * len(addresses)
    return bytes(address in near for address in addresses)


def _sites_of(wanted: Wanted) -> tuple[bool, frozenset[int], Mapping[int, frozenset[int]]]:
    return wanted.everything or wanted.all_sites, wanted.functions, wanted.near


def _note_alike(one: Wanted, other: Wanted) -> bool:
    return (one.always, one.blocks) == (other.always, other.blocks)
