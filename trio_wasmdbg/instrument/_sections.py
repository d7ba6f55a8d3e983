"""Sections of a rewritten module: copied with edits, and appended to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import MalformedModuleError
from ..wasm import ExternKind, Module, Range, Section, func_type, name, read_u32, uleb
from ._additions import Additions
from ._constants import in_constants

__all__ = ["Edit", "appended", "body", "exports", "global_edits", "kept_names", "type_section"]

GLOBAL_GET = 0x23
KEPT_NAMES = (0, 1, 2)
"""Subsections of the name section that stay true: module, functions, locals."""


class Edit(NamedTuple):
    """Bytes ``[start, end)`` of the original file become ``new``."""

    start: int
    end: int
    new: bytes


def appended(
    module: Module,
    section: Section | None,
    entries: Sequence[bytes],
    edits: Iterable[Edit] = (),
    first: Sequence[bytes] = (),
) -> bytes:
    """A section that is a vector: its entries with *edits*, between *first* and *entries*."""
    count, parts = 0, [b""]
    if section is not None:
        count, position = read_u32(module.data, section.start, section.end)
        parts = []
        for start, end, new in edits:
            parts += [module.data[position:start], new]
            position = end
        parts.append(module.data[position : section.end])
    return b"".join([uleb(len(first) + count + len(entries)), *first, *parts, *entries])


def type_section(additions: Additions) -> bytes:
    """The original types as they are, then the appended ones."""
    entries = additions.module.type_entries
    original = additions.module.data[entries.start : entries.end]
    return b"".join([uleb(entries.count + len(additions.types)), original, *map(func_type, additions.types)])


def body(code: bytes) -> bytes:
    """An entry of the code section."""
    return uleb(len(code)) + code


def global_edits(additions: Additions, expressions: Iterable[Range | None]) -> list[Edit]:
    """Edits that raise the global indices in constant expressions."""
    return [
        Edit(found.offset, found.end, bytes((GLOBAL_GET,)) + uleb(additions.global_(found.imm)))
        for found in in_constants(additions.module, expressions, GLOBAL_GET)
    ]


def exports(additions: Additions) -> list[Edit]:
    """Edits that raise the indices of exported globals."""
    return [
        Edit(e.start, e.end, name(e.name) + bytes((e.kind,)) + uleb(additions.global_(e.index)))
        for e in additions.module.exports
        if e.kind is ExternKind.GLOBAL
    ]


def kept_names(module: Module) -> bytes:
    """What of the name section stays true in the rewritten module, as contents of a custom section; or empty.

    The engine doesn't care whether it is damaged, so only the subsections' framing is read.
    """
    data, out = module.data, []
    for custom in module.custom:
        if custom.name != "name":
            continue
        position = custom.start
        while position < custom.end:
            id = data[position]
            try:
                size, start = read_u32(data, position + 1, custom.end)
            except MalformedModuleError:
                break
            if start + size > custom.end:
                break
            if id in KEPT_NAMES:
                out.append(data[position : start + size])
            position = start + size
        break
    return b"".join(out)
