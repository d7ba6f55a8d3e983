"""Edits of where the guest goes on: asked for at a pause, carried out when it is resumed.

Locals, operands and memory are edited in place; these are the edits that need the guest's help.  A
slow twin can be told to continue at any of its instructions.  So "set next instruction" is such a
redirection; "return early" is one to the function's final ``end``, with the results put on its
operand stack; and to leave a frame further out, each frame above it is sent to its own end first, at the
check site after its call.  "Throw" goes to where the frame's own clauses see what the debug callback
throws.  How frames are left, also of an activation further out, is `_leaving`'s matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import define, frozen

if TYPE_CHECKING:
    from .. import capi
    from ..wasm import ValType
    from ._instances import GuestInstance

__all__ = ["EarlyReturn", "EarlyThrow", "Edits", "Leave"]


@frozen
class EarlyReturn:
    """A frame that is to return these values, as soon as those above it are gone."""

    instance: GuestInstance
    function: int
    fp: int
    values: tuple[Any, ...]

    def carry_out(self) -> None:
        """Put the values where the function's final ``end`` takes its results from."""
        plan = self.instance.module.plan(self.function)
        types: tuple[ValType, ...] = plan.operand_types(plan.instructions - 1)
        for height, (valtype, value) in enumerate(zip(types, self.values, strict=True)):
            self.instance._write_slot(valtype, self.fp + plan.frame.operand(height), value)


@frozen
class EarlyThrow:
    """A frame that is to throw this exception where it is, as soon as those above it are gone."""

    instance: GuestInstance
    function: int
    fp: int
    resume_point: int
    exception: capi.WasmException

    @property
    def throw_point(self) -> int | None:
        """See :meth:`trio_wasmdbg.instrument.FunctionPlan.throw_point`."""
        return self.instance.module.plan(self.function).throw_point(self.resume_point)


Leave: TypeAlias = EarlyReturn | EarlyThrow


@define
class Edits:
    """What was asked for at the current pause."""

    redirect: int | None = None
    """The innermost frame goes on at this resume point."""
    leave: Leave | None = None
    """This frame is to be left."""
    trap: str | None = None
    """The guest traps here and now, with this message."""
    retry: bool = False
    """The trapping instruction is to be executed again."""
    host_values: tuple[Any, ...] | None = None
    """Arguments or results of the host call at which the guest is paused, to be used instead."""
    beyond: Leave | None = None
    """A frame of an activation further out is to be left: the calls above it are being ended."""
    unwinding: Leave | None = None
    """Frames above this one are being left right now."""
    throwing: capi.WasmException | None = None
    """A slow twin was sent to where this is to be thrown."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for, and nothing is under way."""
        asked_for = self.retry or self.redirect is not None or self.leave or self.trap is not None
        under_way = self.beyond or self.unwinding or self.throwing
        return not asked_for and not under_way and self.host_values is None

    def clear(self) -> None:
        """Forget what was asked for; a new pause begins."""
        self.redirect = self.leave = self.trap = self.host_values = None
        self.retry = False
