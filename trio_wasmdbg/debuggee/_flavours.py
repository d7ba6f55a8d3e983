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
from ..instrument import FunctionPlan, Layout

if TYPE_CHECKING:
    import wasmtime

__all__ = ["NOTHING", "FlavourKey", "Flavours", "Wishes"]

MANY: Final = 200
"""Flavours of one instance, besides one for each function, beyond which functions run in slow twins: the
store does not grow for ever."""


@frozen
class FlavourKey:
    """What a flavour does besides what the fast twin does."""

    points: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """(resume point, texts) in order: it leaves there if one of the conditions holds, or, where there are
    none, if the stop byte is set."""
    watched: int = 0
    """Kinds of access to memory that are compared with what is watched."""


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
class Flavours:
    """The flavours of one instance.

    What is armed changes while the guest may be running in another thread.  A flavour always leaves for the
    slow twin, and the slow twin never goes to a flavour where it stands: so whatever the guest sees half
    done, it gets on.
    """

    _memory: capi.MemoryView
    _layout: Layout
    _plan_of: Callable[[int], FunctionPlan]
    wishes: Wishes = field(factory=lambda: Wishes(None))
    refused: dict[tuple[int, FlavourKey], str] = field(factory=dict)
    """Why a function can't have a flavour."""
    _made: dict[tuple[int, FlavourKey], int] = field(factory=dict)
    """The slots of the flavours."""
    _functions: set[int] = field(factory=set)
    _blocks: dict[tuple[int, FlavourKey], range] = field(factory=dict)
    """Addresses of the bytes of check sites: of flavours, and of copies of loops that do the same."""
    _open: dict[int, FlavourKey] = field(factory=dict)
    """By function: whose check sites are not armed."""
    _slots_taken: int = 0
    _entered: dict[int, int] = field(factory=dict)
    """By function: what its entry says."""

    def __len__(self) -> int:
        return len(self._made)

    @property
    def variants(self) -> int:
        """How many there are besides the first one of each function."""
        return len(self._made) - len(self._functions)

    def add(self, function: int, key: FlavourKey, func: wasmtime.Func, block: range,
            set_slot: Callable[[int, wasmtime.Func], None]) -> None:  # fmt: skip
        """A flavour has been made; it is entered from the next :meth:`select` on."""
        plan = self._plan_of(function)
        slot = self.take_slot()
        self.add_block(function, key, block)
        set_slot(slot, func)
        self._memory.set_u32(plan.head, plan.entries)
        self._made[function, key] = slot
        self._functions.add(function)

    def take_slot(self) -> int:
        """A slot that nothing is in."""
        self._slots_taken += 1
        return self._layout.first_free_slot + self._slots_taken - 1

    def add_block(self, function: int, key: FlavourKey, block: range) -> None:
        """The check sites of something that does as *key* says; armed until the next :meth:`select`."""
        if (function, key) not in self._blocks:
            self._arm(block, 1)
            self._blocks[function, key] = block

    def select(self, wishes: Wishes, slow: Collection[int]) -> None:
        """Lead every function to the flavour that is wished, if it is made, or to the host, which makes it.

        :param slow: the functions that have a slow twin in their slot, and don't ask the host any more.
        """
        before, self.wishes = self.wishes, wishes
        named = {*before.functions, *wishes.functions, *list(self._entered)}
        if wishes.default is None:
            named.update(list(self._open))
        elif wishes.default != NOTHING:
            named.update(list(self._functions), slow)
        for function in named:
            target = self._target(function)
            if target is None:
                self._enter(function, 0)
            self._open_block(function)
            if target is not None:
                ask = self._plan_of(function).stub_slot if function in slow else 0
                self._enter(function, target or ask)

    def slot_taken(self, function: int) -> None:
        """The function has got a slow twin, and does not ask any more unless it is told to."""
        if self._target(function) == 0:
            self._enter(function, self._plan_of(function).stub_slot)

    def _open_block(self, function: int) -> None:
        """Let activations in the flavour that is wished stay there, and those in others leave.

        Where nothing is wished any more, they may stay where they are.
        """
        key, now = self.wishes.of(function), self._open.get(function)
        if key == NOTHING:
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
        slot = self._made.get((function, key))
        if slot is not None:
            return slot
        return 0 if self.variants < MANY or function not in self._functions else None

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

    def at(self, function: int, k: int) -> int | None:
        """The slot of the flavour in which the function is to go on at resume point *k*; 0: it has to be
        made; None: there is none."""
        return self._target(function) if k == 0 else None
