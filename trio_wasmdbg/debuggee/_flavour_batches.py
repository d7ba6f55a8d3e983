"""Making flavours, several at a time: a function's, and those of the functions that it calls.

Flavours in one companion call each other directly, and those in earlier companions by an import.  What is
called otherwise comes by the fast twin and the slots, which takes several times as long as a short function.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final

import trio
import wasmtime
from attrs import define, evolve, field, frozen

from .. import capi
from ..instrument import MOST_OF_A_FLAVOUR, CodeMap, Flavour, FlavourOptions, NoFlavourError, flavours
from ._capacity import MODULE, check_room
from ._conditions import compile_conditions
from ._flavours import FlavourKey
from ._threads import collections_held_back, compute

if TYPE_CHECKING:
    from ..instrument import FunctionPlan, Instrumented

__all__ = ["Batch", "Batches", "Member"]

MOST: Final = 10_000
"""Instructions of the functions in one companion, all together: the guest waits while it is made."""


@frozen
class Member:
    """A flavour of one function."""

    function: int
    key: FlavourKey
    block: range
    """Addresses of the bytes of its check sites."""
    counters: int
    """If it records: address of its first counter."""
    entry: str
    """The export to be put into a slot."""
    called: str
    """The export by which flavours in other companions call it."""


@frozen(eq=False)
class Batch:
    """A compiled companion module with flavours."""

    compiled: wasmtime.Module
    imports: tuple[str, ...]
    """What it imports, by reserved names."""
    members: tuple[Member, ...]
    needs: tuple[Batch, ...]
    """Those whose flavours it imports: earlier ones."""
    number: int

    def in_order(self) -> list[Batch]:
        """What is to be instantiated, one after the other, this one last."""
        found = {self.number: self}
        for each in (waiting := [self]):
            for needed in each.needs:
                if needed.number not in found:
                    found[needed.number] = needed
                    waiting.append(needed)
        return [found[number] for number in sorted(found)]


@frozen
class _Found:
    """Functions that get their flavours together."""

    blocks: dict[int, int]
    """By function: how many basic blocks it has, if that matters."""
    calls: set[int]
    """What they call directly."""


@define(eq=False)
class Batches:
    """The flavours of one module's functions."""

    _engine: wasmtime.Engine
    _instrumented: Instrumented
    maps: dict[str, CodeMap] = field(factory=dict)
    """By the name that the engine's backtraces have for a companion."""
    _named: dict[str, Batch] = field(factory=dict)
    _made: dict[tuple[int, FlavourKey], Batch] = field(factory=dict)
    _blocks: dict[tuple[int, FlavourKey], range] = field(factory=dict)
    _blocks_used: int = 0
    _counters: dict[tuple[int, FlavourKey], int] = field(factory=dict)
    _counters_used: int = 0
    _numbers: Iterator[int] = field(factory=itertools.count)

    def __len__(self) -> int:
        return len(self._named)

    @property
    def functions(self) -> int:
        """How many flavours are in them."""
        return len(self._made)

    async def get(self, function: int, key: FlavourKey) -> Batch:
        """The companion with a flavour of a function, which has those of others as well; a checkpoint.

        It is made off the trio thread.  Cancelled: nothing is kept.
        Two tasks that ask at the same time may both make it; either is as good.

        :raises NoFlavourError: there can't be one.
        """
        known = self._made.get((function, key))
        if known is not None:
            await trio.lowlevel.checkpoint()
            return known
        # Where only points are wanted, what it calls runs in its fast twin.
        found = _Found({function: 0}, set())
        if key != FlavourKey(key.points):
            found = await self._with_callees(function, key)
        try:
            return await self._make(found, key)
        except NoFlavourError:
            if len(found.blocks) == 1:
                raise
        # One of the others is the reason; it will be told when that is called.
        return await self._make(evolve(found, blocks={function: found.blocks[function]}), key)

    def _with_callees(self, function: int, key: FlavourKey) -> Awaitable[_Found]:
        """It, and what it calls directly and by others, the nearest first."""

        def work(tick: Callable[[], None]) -> _Found:
            found = {function: 0}
            room, calls = MOST, set[int]()
            for index in (waiting := [function]):
                plan = self._instrumented.plan(index)
                if key.records is not None:
                    plan.typed(tick)
                    found[index] = len(plan.leaders())
                room -= plan.instructions
                for called in self._called_by(plan, tick):
                    calls.add(called)
                    if called not in found and not key.points and self._may_come(called, key, room):
                        found[called] = 0
                        waiting.append(called)
            return _Found(found, calls)

        return compute(work)

    def _may_come(self, function: int, key: FlavourKey, room: int) -> bool:
        plans = self._instrumented.plans
        plan = plans[function] if function < len(plans) else None
        if plan is None or (function, key) in self._made:
            return False
        return plan.instructions <= min(room, MOST_OF_A_FLAVOUR)

    def _called_by(self, plan: FunctionPlan, tick: Callable[[], None]) -> Iterator[int]:
        typed = plan.typed(tick)
        for k, instruction in enumerate(typed.instructions):
            if instruction.op.name in ("call", "return_call") and typed.reachable[k]:
                yield instruction.imm

    async def _make(self, found: _Found, key: FlavourKey) -> Batch:
        wanted: list[tuple[int, range, int]] = []
        for function, blocks in found.blocks.items():
            block, counters = self.block(function, key), self._counters_of(function, key, blocks)
            if block is not None and counters is not None:
                wanted.append((function, block, counters))
            elif not wanted:
                await trio.lowlevel.checkpoint()
                raise NoFlavourError("there is no room for its check sites or counters")
        family = evolve(key, points=())
        earlier = {f: self._made[f, family] for f in found.calls if (f, family) in self._made}
        outside = {f: self._instrumented.names.flavour(self._blocks[f, family].start) for f in earlier}
        number = next(self._numbers)
        name = f"{self._instrumented.names.companion}:{wanted[0][1].start}"

        def work(tick: Callable[[], None]) -> tuple[Batch, CodeMap]:
            with collections_held_back():
                options = self.options(wanted[0][0], key)
                made = flavours(
                    self._instrumented,
                    [Flavour(f, block.start, options, counters) for f, block, counters in wanted],
                    called=name,
                    outside=outside,
                    tick=tick,
                )
            members = tuple(
                Member(function, key, block, counters, entry, called)
                for (function, block, counters), entry, called in zip(
                    wanted, made.entries, made.functions, strict=True
                )
            )
            needs = {batch.number: batch for f, batch in earlier.items() if outside[f] in made.imports}
            compiled = capi.compile(self._engine, made.wasm)
            return Batch(compiled, made.imports, members, tuple(needs.values()), number), made.code_map

        check_room(MODULE, lasting=True)
        made, code_map = await compute(work)
        for member in made.members:
            self._made[member.function, key] = made
        self.maps[name] = code_map
        self._named[name] = made
        return made

    def member(self, name: str | None, function: int) -> Member | None:
        """The flavour of a function in the companion of this name; None if there is no such companion."""
        batch = self._named.get(name or "")
        if batch is None:
            return None
        return next(member for member in batch.members if member.function == function)

    def options(self, function: int, key: FlavourKey) -> FlavourOptions:
        """What *key* says, its conditions compiled."""
        guarded = tuple((k, texts) for k, texts in key.points if texts)
        plan = self._instrumented.plan(function)
        conditions = compile_conditions(self._instrumented.original, plan, guarded)
        return FlavourOptions({k: conditions.get(k) for k, _ in key.points}, key.watched, key.records)

    def block(self, function: int, key: FlavourKey) -> range | None:
        """The bytes of the check sites of what does as *key* says; None if there is no room.

        If it is not made after all, the place stays for the next time.
        """
        block = self._blocks.get((function, key))
        if block is None:
            layout, count = self._instrumented.layout, len(self._instrumented.plan(function).sites)
            if self._blocks_used + count > layout.blocks:
                return None
            first = layout.blocks_base + self._blocks_used
            block = self._blocks[function, key] = range(first, first + count)
            self._blocks_used += count
        return block

    def _counters_of(self, function: int, key: FlavourKey, count: int) -> int | None:
        """Address of so many counters; None if there is no room.  Likewise."""
        first = self._counters.get((function, key))
        if first is None:
            layout = self._instrumented.layout
            if self._counters_used + 8 * count > layout.counters:
                return None
            first = self._counters[function, key] = layout.counters_base + self._counters_used
            self._counters_used += 8 * count
        return first
