"""Expressions over a paused frame: the meeting point of `expressions` and frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from .. import capi
from ..expressions import (
    Scope,
    TypedExpression,
    TypedTemplate,
    check,
    check_template,
    evaluate,
    format_template,
    parse,
    parse_template,
)
from ..wasm import ValType
from ._missing import OPTIMISED_OUT, UNAVAILABLE

if TYPE_CHECKING:
    from ._frames import Frame

__all__ = ["evaluate_in", "format_in"]

T = TypeVar("T")
Key: TypeAlias = tuple[str, int, tuple[ValType, ...]]
"""A text, and where it was checked: function and types of the operands."""

_KEPT = 1_024
"""Texts, checked at a place, that a module keeps, the last ones: a condition is evaluated at its place again
and again.  They go with the module, which nothing of ours may keep alive."""


class FrameReader:
    """Satisfies ``expressions.Reader`` for one frame."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._store = frame.instance.store

    def local(self, index: int) -> object:
        return _there(self._frame.local(index))

    def operand(self, height: int) -> object:
        return _there(self._frame.operand_stack[height])

    def global_(self, index: int) -> object:
        return capi.get_global(self._store, self._frame.instance.global_(index))

    def memory_size(self, memory: int) -> int:
        return capi.MemoryView(self._store, self._frame.instance.memory(memory)).size

    def read(self, memory: int, address: int, size: int) -> bytes:
        return capi.MemoryView(self._store, self._frame.instance.memory(memory)).read(address, size)


def _there(value: object) -> object:
    if value is UNAVAILABLE or value is OPTIMISED_OUT:
        raise LookupError(repr(value))
    return value


def evaluate_in(frame: Frame, text: str) -> int | float:
    """The value of an expression in a frame."""
    return evaluate(_once(frame.instance.module._checked, _check, frame, text), FrameReader(frame))


def format_in(frame: Frame, template: str) -> str:
    """A message with the values of its expressions in a frame."""
    checked = _once(frame.instance.module._checked_templates, _check_template, frame, template)
    return format_template(checked, FrameReader(frame))


def _check(text: str, scope: Scope) -> TypedExpression:
    return check(parse(text), scope)


def _check_template(text: str, scope: Scope) -> TypedTemplate:
    return check_template(parse_template(text), scope)


def _once(kept: OrderedDict[Key, T], make: Callable[[str, Scope], T], frame: Frame, text: str) -> T:
    """A text, checked at a frame's place: as it is *kept*, or made now."""
    function, operands = frame.function_index, frame.operand_types
    found = kept.get((text, function, operands))
    if found is None:
        module = frame.instance.module
        locals = module.plan(function).frame.locals
        found = make(text, Scope.at(module.original, function, locals, operands))
        kept[text, function, operands] = found
        if len(kept) > _KEPT:
            kept.popitem(last=False)
    return found
