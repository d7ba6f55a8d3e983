"""Which single steps are sure to be short: so short that the trio thread makes them itself.

Told from the instruction that comes next, and kept, since steps go through loops.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from ..engine import walk_frames
from ._frames import is_call

if TYPE_CHECKING:
    from ._instances import GuestInstance
    from ._modules import GuestModule
    from ._requests import HookStop
    from ._stack import CallRecord
    from ._stores import StoreState

__all__ = ["Length", "is_short_step", "length_of_step"]


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


_SHORT, _LEAVES = Length.SHORT, Length.LEAVES


def is_short_step(instance: GuestInstance, call: CallRecord, stop: HookStop) -> bool:
    """Whether the instruction at a check leads straight to another one, if all fire, without blocking."""
    length = length_of_step(instance._module, stop.function, stop.resume_point)
    return length is _SHORT or (length is _LEAVES and _returns_to_a_check(instance._state, call, stop))


def _returns_to_a_check(state: StoreState, call: CallRecord, stop: HookStop) -> bool:
    """Whether the guest comes to a check, or to its end, straight after this function.

    Code without checks may stand between it and the next shadow frame, if that is not in a direct
    call of this very function.
    """
    raws = walk_frames(state, stop.instance, stop.fp, call.base_sp)
    next(raws)
    caller = next(raws, None)
    if caller is None:
        return not call.opaque
    module = state.instance(caller.instance).module
    instruction = module.plan(caller.function).instruction(caller.resume_point)
    return (
        caller.instance == stop.instance
        and instruction.op.name == "call"
        and bool(instruction.imm == stop.function)
    )


def length_of_step(module: GuestModule, function: int, resume_point: int) -> Length:
    """Of the instruction at a resume point."""
    known = module._lengths.get((function, resume_point))
    if known is None:
        known = module._lengths[function, resume_point] = _length(module, function, resume_point)
    return known


def _length(module: GuestModule, function: int, resume_point: int) -> Length:
    plan = module.plan(function)
    instruction = plan.instruction(resume_point)
    name = instruction.op.name
    if is_call(instruction):
        # A direct call of a function with a body reaches that function's entry site.
        direct = name == "call" and module.is_instrumented(instruction.imm)
        return Length.SHORT if direct else Length.LONG
    if name == "return" or name.startswith("br") or resume_point == plan.instructions - 1:
        return Length.LEAVES if plan.escapable else Length.SHORT
    return Length.LONG if name in _MAY_BE_LONG else Length.SHORT
