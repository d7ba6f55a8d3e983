"""Flavours: which one each function of an instance is to run in, and leading the guest there.

A flavour is a structured copy of a function that tests something at some of its instructions (see
``instrument._flavour``).  It is entered instead of the slow twin, where all that is wanted of the function is
what the flavour does; otherwise its check sites are armed, and it is not entered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, field, frozen

from .. import capi
from ..instrument import DIRECT, FunctionPlan, Layout, Recorded, Recording

if TYPE_CHECKING:
    import wasmtime

    from ._flavour_batches import Batch, Member

__all__ = ["NOTHING", "FlavourKey", "Flavours", "Wishes"]

ARMED: Final = 1
"""Value of the byte of a check site."""

MANY: Final = 200
"""Flavours of one instance that have points, besides one for each function, beyond which functions run in
slow twins: the store does not grow for ever."""


@frozen
class FlavourKey:
    """What a flavour does besides what the fast twin does."""

    points: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """(resume point, texts) in order: it leaves there if one of the conditions holds, or, where there are
    none, if the stop byte is set."""
    watched: int = 0
    """Kinds of access to memory that are compared with what is watched."""
    records: Recording | None = None
    """What it records."""


NOTHING = FlavourKey()
"""Nothing is wanted: any flavour of a function does as well as its fast twin."""


@frozen
class Wishes:
    """Which flavours the functions of one instance are to run in; None where only the slow twin will do."""

    default: FlavourKey | None = NOTHING
    functions: Mapping[int, FlavourKey | None] = Factory(dict)

    def of(self, function: int) -> FlavourKey | None:
        return self.functions.get(function, self.default)


@define(eq=False)
class _Made:
    """A flavour in this instance."""

    slot: int
    member: Member
    func: wasmtime.Func


@define(eq=False)
class Flavours:
    """The flavours of one instance.

    What is armed changes while the guest may be running in another thread.  A flavour always leaves for the
    slow twin, and the slow twin never goes to a flavour where it stands: so whatever the guest sees half
    done, it gets on.
    """

    _memory: capi.MemoryView
    _layout: Layout
    _plan_of: Callable[[int], FunctionPlan]
    _set_slot: Callable[[int, wasmtime.Func], None]
    wishes: Wishes = field(factory=lambda: Wishes(None))
    refused: dict[tuple[int, FlavourKey], str] = field(factory=dict)
    """Why a function can't have a flavour."""
    companions: int = 0
    """How many instances of companions they are in."""
    _made: dict[tuple[int, FlavourKey], _Made] = field(factory=dict)
    _functions: set[int] = field(factory=set)
    _pointed: int = 0
    """How many have points."""
    _pointed_functions: set[int] = field(factory=set)
    _new: bool = True
    """Something has been made, or slots taken, since they were selected."""
    _slots_taken: int = 0
    _blocks: dict[tuple[int, FlavourKey], range] = field(factory=dict)
    """Addresses of the bytes of check sites: of flavours, and of copies of loops that do the same."""
    _open: dict[int, FlavourKey] = field(factory=dict)
    """By function: whose check sites are not armed."""
    _direct: dict[int, _Made] = field(factory=dict)
    """By function: the flavour in the slot that its fast twin may go on in at its entry."""
    _entered: dict[int, int] = field(factory=dict)
    """By function: what its entry says."""

    def __len__(self) -> int:
        return len(self._made)

    @property
    def variants(self) -> int:
        """How many with points there are besides the first one of each function."""
        return self._pointed - len(self._pointed_functions)

    def has(self, batch: Batch) -> bool:
        """Whether all flavours in a companion are made."""
        return all((member.function, member.key) in self._made for member in batch.members)

    def has_any(self, function: int) -> bool:
        """Whether a function has a flavour."""
        return function in self._functions

    def has_room(self, count: int) -> bool:
        """Whether there are slots for so many flavours or copies of loops."""
        return self._layout.first_free_slot + self._slots_taken + count <= self._layout.slots

    def recorded(self) -> list[Recorded]:
        """The flavours that record."""
        return [
            Recorded(function, key.records, made.member.counters)
            for (function, key), made in list(self._made.items())
            if key.records is not None
        ]

    def add(self, member: Member, func: wasmtime.Func, entry: wasmtime.Func) -> None:
        """A flavour has been made; it is entered from the next :meth:`select` on.

        :param entry: what enters it with a frame.
        """
        function, key = member.function, member.key
        if (function, key) in self._made:
            return
        plan, slot = self._plan_of(function), self.take_slot()
        self.add_block(function, key, member.block)
        self._memory.set_u32(plan.head, plan.entries)
        self._set_slot(slot, entry)
        self._made[function, key] = _Made(slot, member, func)
        self._functions.add(function)
        if key.points:
            self._pointed += 1
            self._pointed_functions.add(function)
        self._new = True

    def take_slot(self) -> int:
        """A slot that nothing is in; there must be room."""
        self._slots_taken += 1
        return self._layout.first_free_slot + self._slots_taken - 1

    def add_block(self, function: int, key: FlavourKey, block: range) -> None:
        """The check sites of something that does as *key* says; armed until the next :meth:`select`."""
        if (function, key) not in self._blocks:
            self._arm(block, 1)
            self._blocks[function, key] = block
            self._new = True

    def select(self, wishes: Wishes, slow: Collection[int], *, rearmed: bool, still: bool) -> None:
        """Lead every function to the flavour that is wished, if it is made, or to the host, which makes it.

        :param slow: the functions that have a slow twin in their slot, and don't ask the host any more.
        :param rearmed: bytes of check sites have been written.
        :param still: the guest does not run, and slots may be set.
        """
        if wishes == self.wishes and not (self._new or rearmed):
            return
        before, self.wishes, self._new = self.wishes, wishes, False
        named = {*before.functions, *wishes.functions, *list(self._entered), *list(self._open)}
        if wishes.default not in (None, NOTHING):
            named.update(list(self._functions), slow)
        for function in named:
            target = self._target(function)
            entry = target or 0
            if target == 0 and function in slow:
                entry = self._plan_of(function).stub_slot
            if entry != self._entered.get(function, 0):
                # A flavour whose sites are armed would lead back here from its entry.
                self._enter(function, 0)
            self._open_block(function)
            self._enter(function, entry)
            self._enter_directly(function, still)

    def slot_taken(self, function: int) -> None:
        """The function has got a slow twin, and does not ask any more unless it is told to."""
        self._new = True
        if self._target(function) == 0:
            self._enter(function, self._plan_of(function).stub_slot)

    def _open_block(self, function: int) -> None:
        """Let activations in the flavour that is wished stay there, and those in others leave.

        Where nothing is wished any more, they may stay where they are, but for those that record.
        """
        key, now = self.wishes.of(function), self._open.get(function)
        if key == NOTHING and (now is None or now.records is None):
            return
        if key is not None and (function, key) not in self._blocks:
            key = None
        if now == key:
            return
        if now is not None:
            self._arm(self._blocks[function, now], 1)
            del self._open[function]
        if key is not None:
            self._arm(self._blocks[function, key], 0)
            self._open[function] = key

    def _arm(self, block: range, value: int) -> None:
        self._memory.fill(block.start, len(block), value)

    def _target(self, function: int) -> int | None:
        """The slot of the flavour that is to be entered; 0: it is yet to be made; None: there is none."""
        key = self.wishes.of(function)
        if key is None or key == NOTHING or (function, key) in self.refused:
            return None
        made = self._made.get((function, key))
        if made is not None:
            return made.slot
        bounded = bool(key.points) and function in self._pointed_functions
        return None if bounded and self.variants >= MANY else 0

    def _enter(self, function: int, target: int) -> None:
        if self._entered.get(function, 0) == target:
            return
        plan = self._plan_of(function)
        self._memory.set_u32(plan.head, plan.entries)
        self._memory.set_u32(plan.entries, target)
        if target:
            self._entered[function] = target
        else:
            self._entered.pop(function, None)

    def _enter_directly(self, function: int, still: bool) -> None:
        """Let the fast twin's armed entry lead to the flavour that is wished at once, if there is one."""
        plan = self._plan_of(function)
        site = plan.site_addresses.start
        if not self._memory.u8(site):
            return
        made = self._made.get((function, self.wishes.of(function) or NOTHING))
        if made is not None and self._direct.get(function) is not made:
            if still:
                self._set_slot(plan.direct_slot, made.func)
                self._direct[function] = made
            else:
                made, self._new = None, True
        self._memory.set_u8(site, ARMED if made is None else DIRECT)

    def at(self, function: int, k: int) -> int | None:
        """The slot of the flavour in which the function is to go on at resume point *k*; 0: it has to be
        made; None: there is none."""
        return self._target(function) if k == 0 else None
