"""Branch hints (the branch hinting proposal, "Branch Hints Section"): which way a branch is likely to go.

Hints are advice: of a section that is damaged, what comes before the damage counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from ._leb import LebError, read_u32, uleb
from ._module import Module

__all__ = ["BRANCH_HINTS", "branch_hints", "hint_section"]

BRANCH_HINTS = "metadata.code.branch_hint"
"""The custom section's name.  It has to stand before the code section."""


def branch_hints(module: Module) -> dict[int, list[tuple[int, int]]]:
    """By defined function: the file offset of each hinted instruction, and 1 if it is likely, else 0.

    Hints that lie outside of their function are left out, and so are all but a function's first list.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    for custom in module.custom:
        if custom.name == BRANCH_HINTS:
            try:
                _read(module, custom.start, custom.end, found)
            except LebError:
                continue
    return found


def _read(module: Module, pos: int, end: int, found: dict[int, list[tuple[int, int]]]) -> None:
    data = module.data
    functions, pos = read_u32(data, pos, end)
    for _ in range(functions):
        index, pos = read_u32(data, pos, end)
        count, pos = read_u32(data, pos, end)
        body = module.functions[index].body if index < len(module.functions) else None
        hints = found.setdefault(index, []) if body is not None and index not in found else []
        for _ in range(count):
            offset, pos = read_u32(data, pos, end)
            size, pos = read_u32(data, pos, end)
            value, pos = read_u32(data, pos, end)
            if size != 1 or value > 1:
                return
            # Offsets count from the body's local declarations.
            if body is not None and body.start + offset < body.end:
                hints.append((body.start + offset, value))


def hint_section(hints: Iterable[tuple[int, int, int]]) -> bytes:
    """The contents of a section.

    :param hints: function index, offset from the start of its body (after the size), and 0 or 1; ascending.
    """
    entries = []
    for index, group in groupby(hints, itemgetter(0)):
        each = [uleb(offset) + b"\x01" + bytes((value,)) for _, offset, value in group]
        entries.append(uleb(index) + uleb(len(each)) + b"".join(each))
    return uleb(len(entries)) + b"".join(entries)
