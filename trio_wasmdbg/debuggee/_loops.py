"""Copies of loops: leading an activation that is in its slow twin back to full speed.

A function that the guest was stopped in goes on in its slow twin, and in that each loop counts its rounds
(see ``instrument._loop_copy``).  A loop that has gone round often is *hot*: the host is asked, makes a copy
that begins there, and the guest goes on in it.  Which copy, follows from what is wanted of the function, as
with flavours; and where only the slow twin does what is wanted, the guest stays in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from .. import capi
from ..instrument import LOOPS, FunctionPlan
from ._flavours import NOTHING, FlavourKey, Flavours, Wishes

if TYPE_CHECKING:
    from ._core import Core
    from ._instances import GuestInstance

__all__ = ["HOT", "MANY_COPIES", "Loops", "go_on_in_copy"]

HOT = 10_000
"""Rounds of a loop in a slow twin until a copy is made.  A short loop's take a millisecond or less, and
making the copy takes some."""

MANY_COPIES: Final = 300
"""Copies in one instance beyond which loops stay in slow twins: the store does not grow for ever."""


@define(eq=False)
class Loops:
    """The loops of one instance's slow twins.

    As with flavours, all of this may change while the guest runs in another thread: a copy is left at its
    next check site, and an entry that the guest and the host write at the same time has either value, of
    which both do.
    """

    _memory: capi.MemoryView
    _plan_of: Callable[[int], FunctionPlan]
    _flavours: Flavours
    refused: dict[tuple[int, FlavourKey, int], str] = field(factory=dict)
    """Why a loop can't have a copy."""
    _wishes: Wishes = field(factory=lambda: Wishes(None))
    """The last ones with which slow twins could be left for copies at all."""
    _on: bool = False
    _loops: dict[int, tuple[int, ...]] = field(factory=dict)
    """By function that has a slow twin: the opening instructions of its loops."""
    _keys: dict[int, FlavourKey | None] = field(factory=dict)
    """What their entries were written for."""
    _made: dict[tuple[int, FlavourKey, int], int] = field(factory=dict)
    """The slots of the copies."""

    def __len__(self) -> int:
        return len(self._made)

    def slow_twin_made(self, function: int, loops: tuple[int, ...]) -> None:
        """The function has got a slow twin."""
        self._loops[function] = loops
        self._write(function)

    def select(self, wishes: Wishes) -> None:
        """Lead each loop to the copy that is wished, if it is made; else count its rounds."""
        if wishes.default is None or wishes.default.records is not None:
            # A copy does not record: it would leave gaps.
            self.switch(False)
            return
        before, self._wishes = self._wishes, wishes
        named = (
            {*before.functions, *wishes.functions} & self._loops.keys()
            if before.default == wishes.default
            else list(self._loops)
        )
        for function in named:
            if self._keys[function] != wishes.of(function):
                self._write(function)
        self.switch(True)

    def switch(self, on: bool) -> None:
        """Whether slow twins are left for copies at all."""
        if self._on is not on:
            self._on = on
            self._memory.set_u8(LOOPS, on)

    def at(self, function: int, loop: int) -> int | None:
        """The slot of the copy in which the loop is to go on; 0: it has to be made; None: there is none."""
        key = self.key_of(function)
        if key is None or (function, key, loop) in self.refused:
            return None
        return self._made.get((function, key, loop), 0)

    def key_of(self, function: int) -> FlavourKey | None:
        """What its copies are to do; None: only its slow twin will do."""
        return self._wishes.of(function) if self._on else None

    def count_again(self, function: int, loop: int) -> None:
        """It is hot, and could not go on in a copy for now."""
        key = self._wishes.of(function)
        if key is None or (function, key, loop) not in self.refused:
            self._set_entry(function, loop, -HOT)

    def refuse(self, function: int, key: FlavourKey, loop: int, why: str) -> None:
        """There is no copy of this loop."""
        self.refused[function, key, loop] = why

    def add(self, function: int, key: FlavourKey, loop: int, block: range,
            set_slot: Callable[[int], None]) -> None:  # fmt: skip
        """A copy has been made; it is entered from now on, if it is still wished.

        :param block: addresses of its check sites' bytes; empty where they are the fast twin's.
        :param set_slot: puts it into a slot.
        """
        slot = self._flavours.take_slot()
        if key != NOTHING:
            self._flavours.add_block(function, key, block)
        set_slot(slot)
        self._made[function, key, loop] = slot
        self._write(function)

    def _write(self, function: int) -> None:
        """Write the entries of a function's loops."""
        key = self._keys[function] = self._wishes.of(function)
        for loop in self._loops.get(function, ()):
            entry = -HOT
            if key is not None:
                refused = (function, key, loop) in self.refused
                entry = 0 if refused else self._made.get((function, key, loop), -HOT)
            self._set_entry(function, loop, entry)

    def _set_entry(self, function: int, loop: int, value: int) -> None:
        at = self._plan_of(function).entries + 4 * (loop + 1)
        self._memory.set_u32(at, value & 0xFFFF_FFFF)


async def go_on_in_copy(core: Core, instance: GuestInstance, function: int, loop: int) -> None:
    """Let the guest go on in a copy of a loop that is hot, or, if there can't be one now, where it is.

    A checkpoint.  Cancelled: the copy is not made, and the guest is still suspended.
    """
    slot = 0

    def give_up() -> None:
        with suppress(trio.RunFinishedError):
            core.token.run_sync_soon(scope.cancel)

    with trio.CancelScope() as scope:
        core.arming.interrupted = give_up
        try:
            # An interrupt does not wait for the compiler: the copy is made another time.
            slot = await instance._copy_of(function, loop, core.arming.rearm)
        finally:
            core.arming.interrupted = None
    if not slot:
        instance._loops.count_again(function, loop)
    instance._resume(slot)
