"""The name section (spec, "Appendix, Custom Sections, Name Section" and the extended-name-section proposal).

Names are decoration: damage never raises, the rest of the damaged subsection is simply missing.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from ._leb import LebError, read_u32

__all__ = ["Names", "decode_names"]


@define
class Names:
    """Names by index; whatever has no name is missing."""

    module: str | None = None
    functions: dict[int, str] = Factory(dict)
    locals: dict[int, dict[int, str]] = Factory(dict)
    labels: dict[int, dict[int, str]] = Factory(dict)
    types: dict[int, str] = Factory(dict)
    tables: dict[int, str] = Factory(dict)
    memories: dict[int, str] = Factory(dict)
    globals: dict[int, str] = Factory(dict)
    elements: dict[int, str] = Factory(dict)
    data: dict[int, str] = Factory(dict)
    fields: dict[int, dict[int, str]] = Factory(dict)
    tags: dict[int, str] = Factory(dict)


_MAPS = {1: "functions", 4: "types", 5: "tables", 6: "memories", 7: "globals", 8: "elements", 9: "data"}
_MAPS[11] = "tags"
_INDIRECT_MAPS = {2: "locals", 3: "labels", 10: "fields"}


def decode_names(data: bytes, ranges: Iterable[tuple[int, int]]) -> Names:
    """Decode every name section in *ranges* (contents, file offsets); the first name of a thing wins."""
    names = Names()
    for pos, end in ranges:
        while pos < end:
            kind = data[pos]
            try:
                size, start = read_u32(data, pos + 1, end)
            except LebError:
                break
            stop = min(start + size, end)
            try:
                if kind == 0:
                    text, _ = _string(data, start, stop)
                    if names.module is None:
                        names.module = text
                elif kind in _MAPS:
                    _map(data, start, stop, getattr(names, _MAPS[kind]))
                elif kind in _INDIRECT_MAPS:
                    _indirect(data, start, stop, getattr(names, _INDIRECT_MAPS[kind]))
            except LebError:
                pass
            pos = stop
    return names


def _string(data: bytes, pos: int, end: int) -> tuple[str, int]:
    size, pos = read_u32(data, pos, end)
    if size > end - pos:
        raise LebError("string runs out of its section", pos)
    return data[pos : pos + size].decode("utf-8", "replace"), pos + size


def _map(data: bytes, pos: int, end: int, into: dict[int, str]) -> int:
    count, pos = read_u32(data, pos, end)
    for _ in range(min(count, end - pos)):
        index, pos = read_u32(data, pos, end)
        text, pos = _string(data, pos, end)
        into.setdefault(index, text)
    return pos


def _indirect(data: bytes, pos: int, end: int, into: dict[int, dict[int, str]]) -> None:
    count, pos = read_u32(data, pos, end)
    for _ in range(min(count, end - pos)):
        index, pos = read_u32(data, pos, end)
        pos = _map(data, pos, end, into.setdefault(index, {}))
