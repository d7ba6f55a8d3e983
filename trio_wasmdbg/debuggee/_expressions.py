"""Expressions over a paused frame: the meeting point of `expressions` and frames."""

from __future__ import annotations

from collections import OrderedDict
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
    from ._modules import GuestModule

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
    return evaluate(_checked(text, *_place(frame)), FrameReader(frame))


def format_in(frame: Frame, template: str) -> str:
    """A message with the values of its expressions in a frame."""
    return format_template(_checked_template(template, *_place(frame)), FrameReader(frame))


def _place(frame: Frame) -> tuple[GuestModule, int, tuple[ValType, ...]]:
    return frame.instance.module, frame.function_index, frame.operand_types


def _scope(module: GuestModule, function: int, operands: tuple[ValType, ...]) -> Scope:
    locals = module.plan(function).frame.locals
    return Scope.at(module.original, function, locals, operands)


def _checked(
    text: str, module: GuestModule, function: int, operands: tuple[ValType, ...]
) -> TypedExpression:
    kept, key = module._checked, (text, function, operands)
    found = kept.get(key)
    if found is None:
        found = check(parse(text), _scope(module, function, operands))
        _keep(kept, key, found)
    return found


def _checked_template(
    text: str, module: GuestModule, function: int, operands: tuple[ValType, ...]
) -> TypedTemplate:
    kept, key = module._checked_templates, (text, function, operands)
    found = kept.get(key)
    if found is None:
        found = check_template(parse_template(text), _scope(module, function, operands))
        _keep(kept, key, found)
    return found


def _keep(kept: OrderedDict[Key, T], key: Key, checked: T) -> None:
    kept[key] = checked
    if len(kept) > _KEPT:
        kept.popitem(last=False)
