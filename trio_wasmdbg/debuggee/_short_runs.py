"""Which single steps are sure to be short: so short that the trio thread makes them itself.

Told from the instruction that comes next, and kept, since steps go through loops.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from ._frames import is_call

if TYPE_CHECKING:
    from ._modules import GuestModule

__all__ = ["Length", "length_of_step"]


class Length(enum.Enum):
    """How long the guest may run, while every check fires, until it comes to one."""

    SHORT = "short"
    LEAVES = "leaves"
    """Short if the function, which may be left, returns to code that has checks."""
    LONG = "long"
    """It may wait, be large work in itself, or run code without checks."""


_MAY_BE_LONG: Final = frozenset(
    {
        "memory.fill", "memory.copy", "memory.init", "memory.grow",
        "table.fill", "table.copy", "table.init", "table.grow",
        "memory.atomic.wait32", "memory.atomic.wait64",
    }
)  # fmt: skip


def length_of_step(module: GuestModule, function: int, resume_point: int) -> Length:
    """Of the instruction at a resume point."""
    known = module._lengths.get((function, resume_point))
    if known is None:
        known = module._lengths[function, resume_point] = _length(module, function, resume_point)
    return known


def _length(module: GuestModule, function: int, resume_point: int) -> Length:
    plan = module.plan(function)
    instruction = plan.typed().instructions[resume_point]
    name = instruction.op.name
    if is_call(instruction):
        # A direct call of a function with a body reaches that function's entry site.
        direct = name == "call" and module.is_instrumented(instruction.imm)
        return Length.SHORT if direct else Length.LONG
    if name == "return" or name.startswith("br") or resume_point == plan.instructions - 1:
        return Length.LEAVES if plan.escapable else Length.SHORT
    return Length.LONG if name in _MAY_BE_LONG else Length.SHORT
