"""Which functions others may call: the host, or another instance."""

from __future__ import annotations

from typing import Final

from ..wasm import BY_NAME, ExternKind, Module, Range
from ._constants import in_constants

__all__ = ["entered_from_outside"]

_REF_FUNC: Final = BY_NAME["ref.func"].code


def entered_from_outside(module: Module) -> set[int]:
    """Functions that the host or another instance may call: exported ones, the start function, and those
    of which there may be references.

    Spec, "Validation, ref.func": a function that a body refers to must occur outside the bodies as well.
    """
    found = {e.index for e in module.exports if e.kind is ExternKind.FUNCTION}
    if module.start is not None:
        found.add(module.start)
    expressions: list[Range | None] = [g.init for g in module.globals]
    expressions += [t.init for t in module.tables]
    for segment in module.elements:
        found.update(segment.functions or ())
        expressions += segment.expressions or ()
    found.update(instruction.imm for instruction in in_constants(module, expressions, _REF_FUNC))
    return found
