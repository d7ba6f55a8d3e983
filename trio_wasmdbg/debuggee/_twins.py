"""Compiled slow twins and copies of loops, and how many of them a module keeps for further use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping

import wasmtime
from attrs import field, frozen

from ..wasm import decode_module

__all__ = ["Twin", "TwinCache", "imported_names"]


def imported_names(companion: bytes) -> tuple[str, ...]:
    """What a companion module imports, by reserved names, each once."""
    return tuple(dict.fromkeys(each.name for each in decode_module(companion).imports))


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
        """How many slow twins and copies of loops are in them."""
        return sum(1 + len(twin.others) for twin in list(self._twins.values()))

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
