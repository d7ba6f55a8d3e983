"""Branch hints, taken along into rewritten code.

A hint stands at an ``if`` or ``br_if``; these are copied as they are, to another offset of the body.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from ..wasm import BRANCH_HINTS, Module, SectionId, branch_hints, hint_section, name, section
from ._body import INSERTED, FastTwin

__all__ = ["moved_hints"]


def moved_hints(module: Module, twins: Iterable[tuple[int, int, FastTwin]]) -> list[bytes]:
    """The custom section with the hints of *module* for these bodies; nothing if there are none.

    :param twins: function index in the original, index in the new module, and body; ascending by the second.
    """
    hints = branch_hints(module)
    if not hints:
        return []
    moved = [
        (index, new, value)
        for function, index, twin in twins
        for offset, value in hints.get(function, ())
        if (new := _moved(twin, offset)) is not None
    ]
    return [section(SectionId.CUSTOM, name(BRANCH_HINTS) + hint_section(moved))] if moved else []


def _moved(twin: FastTwin, offset: int) -> int | None:
    """Where in the new body the byte at *offset* of the original file was copied to; None if it was not."""
    at = bisect_right(twin.old, offset, key=lambda old: old & ~INSERTED) - 1
    if at < 0 or twin.old[at] & INSERTED:
        return None
    return twin.new[at] + offset - twin.old[at]
