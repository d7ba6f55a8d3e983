"""Edits of where the guest goes on: asked for at a pause, carried out when it is resumed.

Locals, operands and memory are edited in place; these are the edits that need the guest's help.  A
slow twin can be told to continue at any of its instructions.  So "set next instruction" is such a
redirection; "return early" is one to the function's final ``end``, with the results put on its
operand stack; and to return early from a frame further out, each frame above it is sent to its own
end first, at the check site after its call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

if TYPE_CHECKING:
    from ..wasm import ValType
    from ._instances import GuestInstance

__all__ = ["EarlyReturn", "Edits"]


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


@define
class Edits:
    """What was asked for at the current pause."""

    redirect: int | None = None
    """The innermost frame goes on at this resume point."""
    early_return: EarlyReturn | None = None
    trap: str | None = None
    """The guest traps here and now, with this message."""
    retry: bool = False
    """The trapping instruction is to be executed again."""
    host_values: tuple[Any, ...] | None = None
    """Arguments or results of the host call at which the guest is paused, to be used instead."""
    unwinding: EarlyReturn | None = field(default=None)
    """Frames above this one are being left right now."""

    def clear(self) -> None:
        """Forget what was asked for; a new pause begins."""
        self.redirect = self.early_return = self.trap = self.host_values = None
        self.retry = False

    def __bool__(self) -> bool:
        return self.redirect is not None or self.early_return is not None or self.trap is not None
