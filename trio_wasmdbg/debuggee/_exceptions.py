"""WebAssembly exceptions at their throw point: which tag, what payload, and whether anybody catches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import capi
from ..errors import UsageError
from ..wasm import ControlFrame
from ._frames import Frame
from ._instances import GuestInstance

__all__ = ["THROWS", "exception_filter", "is_caught", "tag_of", "thrown"]

THROWS = frozenset({"throw", "throw_ref"})
"""Instructions that throw."""


def tag_of(frame: Frame) -> int | None:
    """Index of the tag that the next instruction throws; None for ``throw_ref``, whose exception has it."""
    instruction = frame.instruction
    return instruction.imm if instruction.op.name == "throw" else None


def thrown(frame: Frame) -> tuple[int | None, tuple[Any, ...]]:
    """Tag and payload of the exception that the next instruction throws.

    For ``throw_ref`` the payload is the reference alone.
    """
    tag = tag_of(frame)
    if tag is None:
        return None, frame.operand_stack[-1:]
    count = len(frame.instance.module.original.tags[tag].type.type.params)
    operands = frame.operand_stack
    return tag, operands[len(operands) - count :]


def is_caught(frame: Frame) -> bool | None:
    """Whether a ``try_table`` of this activation catches what the next instruction throws.

    None where it depends on the exception's tag and that is not known (``throw_ref``).

    Spec, "Execution, Instructions, throw_ref": the innermost handler on the stack whose clause has the
    exception's tag, or catches all, takes it.
    """
    tag = tag_of(frame)
    identity = _identity(frame.instance, tag) if tag is not None else None
    undecided = False
    at: Frame | None = frame
    while at is not None:
        for clause_tag in _clauses(at):
            if clause_tag is None:
                return True
            if identity is None:
                undecided = True
            elif _identity(at.instance, clause_tag) == identity:
                return True
        at = at.parent
    return None if undecided else False


def _clauses(frame: Frame) -> Iterable[int | None]:
    """The tags that the ``try_table`` constructs around a frame's place catch, innermost first; None: all."""
    scope: ControlFrame | None = frame.scope
    while scope is not None:
        if scope.kind == "try_table":
            for catch in frame.body[scope.start].imm.catches:
                yield catch.tag
        scope = scope.parent


def _identity(instance: GuestInstance, tag: int) -> bytes:
    return capi.identity_of(instance.tag(tag))


def exception_filter(which: str, tag: int | None) -> Callable[[Frame], bool]:
    """The condition of a breakpoint at every throw.

    :raises UsageError: *which* is neither ``"all"`` nor ``"uncaught"``.
    """
    if which not in ("all", "uncaught"):
        raise UsageError(f"exceptions pause the guest if 'all' or 'uncaught' are asked for, not {which!r}")

    def wanted(frame: Frame) -> bool:
        if tag is not None and tag_of(frame) not in (tag, None):
            return False
        return which == "all" or not is_caught(frame)

    return wanted
