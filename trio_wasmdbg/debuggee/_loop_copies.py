"""Making copies of loops, of one module's functions: see ``_loops`` for when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio
import wasmtime
from attrs import define, field

from .. import capi
from ..instrument import CodeMap, Flavour, NoFlavourError, flavours
from ._capacity import MODULE, check_room
from ._flavour_batches import Batches
from ._flavours import NOTHING, FlavourKey
from ._threads import collections_held_back, compute
from ._twins import Twin, TwinCache

if TYPE_CHECKING:
    from ..instrument import Instrumented

__all__ = ["LoopCopies"]


@define(eq=False)
class LoopCopies:
    """The copies of loops of one module's functions."""

    _engine: wasmtime.Engine
    _instrumented: Instrumented
    _batches: Batches
    """They give out the bytes of check sites, which a copy has in common with the flavour that does the same.
    """
    _made: TwinCache = field(factory=lambda: TwinCache(most=1_000))
    """By what flavours they are like, and the loop."""
    _named: set[str] = field(factory=set)

    def __len__(self) -> int:
        return len(self._made)

    @property
    def functions(self) -> int:
        """How many copies of loops are in them."""
        return self._made.functions

    async def get(self, function: int, key: FlavourKey, loop: int) -> tuple[Twin, range]:
        """The compiled companion that holds a copy of a loop; a checkpoint.

        It is made off the trio thread.  Cancelled: nothing is kept.
        Raises :exc:`TooManyGuests` where the process has no room for compiled code.

        :param key: the flavour that it is like; not one that records.
        :param loop: ordinal of the loop's opening instruction.
        :returns: also the addresses of its check sites' bytes; empty where they are the fast twin's.
        :raises NoFlavourError: there can't be one.
        """
        block = self._batches.block(function, key) if key != NOTHING else range(0)
        if block is None:
            await trio.lowlevel.checkpoint()
            raise NoFlavourError("there is no room for its check sites")
        known = self._made.get(function, (key, loop))
        if known is not None:
            await trio.lowlevel.checkpoint()
            return known, block
        first = block.start if key != NOTHING else None
        called = f"{self._instrumented.names.companion}:{function}:{loop}:{first}"

        def work(tick: Callable[[], None]) -> tuple[Twin, CodeMap]:
            with collections_held_back():
                wanted = Flavour(function, first, self._batches.options(function, key), loop=loop)
                made = flavours(self._instrumented, [wanted], called=called, tick=tick)
            compiled = capi.compile(self._engine, made.wasm)
            return Twin(compiled, made.entries[0], made.imports, len(made.wasm)), made.code_map

        check_room(MODULE, lasting=True)
        twin, code_map = await compute(work)
        self._made.add(function, (key, loop), twin)
        self._batches.maps[called] = code_map
        self._named.add(called)
        return twin, block

    def is_named(self, called: str | None) -> bool:
        """Whether the engine's backtraces call one of these by this name."""
        return called in self._named
