"""Compiled slow twins and copies of loops, and how many of them a module keeps for further use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Final

import wasmtime
from attrs import define, field, frozen

from ._conditions import TwinKey

__all__ = ["Chunked", "Twin", "TwinCache"]


AT_ONCE: Final = 16
"""Chunks of a function of which all are made when it comes to a second part."""

FARTHEST: Final = 320
"""Instructions to a breakpoint, if all the way there is to be made at once."""

FEWEST: Final = 8
"""Chunks that are made then of a larger one."""


@frozen
class Twin:
    """A compiled companion module with a slow twin or a copy of a loop of one function, and slow twins of
    others."""

    compiled: wasmtime.Module
    export: str
    imports: tuple[str, ...]
    """What it imports, by the main module's reserved names."""
    size: int
    """Bytes of WebAssembly that it was compiled from."""
    others: Mapping[int, str] = field(factory=dict)
    """By function: the export that is its slow twin, without conditions."""
    loops: Mapping[int, tuple[int, ...]] = field(factory=dict)
    """By function of which there is a slow twin: the opening instructions of its loops."""
    number: int = 0
    """Of its table of chunks, if it is a slow twin whose chunks are made when they are come to."""
    table: str = ""
    """What that table is called."""
    chunks: range = range(0)
    """The chunks that are in it."""
    chunk_size: int = 0
    """Instructions in a chunk."""
    total: int = 0
    """How many chunks there are."""


@define
class Chunked:
    """A slow twin in one instance whose chunks are made when they are come to.

    :ivar size: instructions in a chunk.
    :ivar total: how many chunks there are.
    :ivar made: which of them.
    :ivar parts: how many instances they are in, besides the first.
    """

    function: int
    conditions: TwinKey
    size: int
    total: int
    made: set[int]
    parts: int = 0

    def wanted(self, chunk: int) -> range:
        """What to make when the guest comes to a chunk that is not there.

        All of a small function, in one piece.  Of others as many as there are already, from that one on: so a
        loop over all of it soon has all of it, and the store gets few instances.
        """
        if self.total <= AT_ONCE:
            return range(self.total)
        most = min(self.total, chunk + max(len(self.made), FEWEST))
        return range(chunk, next((n for n in range(chunk + 1, most) if n in self.made), most))


class TwinCache:
    """The twins of one sort that were used last.

    One that is forgotten lives on in the instances that have it: an instance keeps what it was made from.
    Only further instances have to make it anew.

    :param most: twins.  However small, a compiled one takes about 18 KB and two memory maps.
    :param most_bytes: of WebAssembly; machine code takes several times as much.  The last one stays,
        whatever its size.
    """

    def __init__(self, most: int = 2_000, most_bytes: int = 64 << 20) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._twins: OrderedDict[tuple[int, Hashable], Twin] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._twins)

    @property
    def functions(self) -> int:
        """How many slow twins, chunks of these, and copies of loops are in them."""
        return sum(1 + len(twin.others) + len(twin.chunks) for twin in list(self._twins.values()))

    def get(self, function: int, key: Hashable) -> Twin | None:
        """The twin of a function that does what *key* says; None if it is not kept."""
        twin = self._twins.get((function, key))
        if twin is not None:
            self._twins.move_to_end((function, key))
        return twin

    def add(self, function: int, key: Hashable, twin: Twin) -> None:
        """Keep a twin, in place of an equal one, if need be of those that were not used for longest."""
        before = self._twins.pop((function, key), None)
        self._bytes += twin.size - (0 if before is None else before.size)
        self._twins[function, key] = twin
        while len(self._twins) > 1 and (len(self._twins) > self._most or self._bytes > self._most_bytes):
            _, oldest = self._twins.popitem(last=False)
            self._bytes -= oldest.size
