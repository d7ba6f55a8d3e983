"""Conditions that the guest evaluates itself, in its slow twins and flavours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import define, frozen

from ..errors import ExpressionError
from ..expressions import (
    FramePlaces,
    LocalPlaces,
    Places,
    Scope,
    TypedExpression,
    check,
    compile_condition,
    parse,
)
from ..instrument import Condition, ConditionPlaces, FunctionPlan
from ..wasm import Module, ValType

__all__ = ["TwinKey", "compile_conditions"]

TwinKey: TypeAlias = tuple[tuple[int, tuple[str, ...]], ...]
"""The conditions of one slow twin: (resume point, texts), in order."""


@define(kw_only=True)
class _RegisterPlaces(LocalPlaces):
    """Locals and operands are in WebAssembly locals, but for those operands that are in the frame only."""

    frame: Places

    def operand(self, height: int, type: ValType) -> bytes:
        if height in self.operands:
            return super().operand(height, type)
        return self.frame.operand(height, type)


@frozen
class AnyOf:
    """Satisfies ``instrument.Condition``: true where one of the expressions is, or has no value."""

    expressions: tuple[TypedExpression, ...]

    @property
    def globals(self) -> frozenset[int]:
        return frozenset().union(*(each.references().globals for each in self.expressions))

    def code(self, places: ConditionPlaces) -> bytes:
        where: Places = FramePlaces(
            places.layout, places.fp, places.debug_memory, places.scratch, places.reference, places.global_
        )
        if places.operands is not None:
            where = _RegisterPlaces(places.scratch, {}, places.operands, places.global_, frame=where)
        first, *rest = (compile_condition(each, where) for each in self.expressions)
        return first + b"".join(each + b"\x72" for each in rest)  # i32.or


def compile_conditions(module: Module, plan: FunctionPlan, key: TwinKey) -> Mapping[int, Condition]:
    """The conditions of a twin.  Those that don't fit their place are left out: the host says why."""
    found: dict[int, Condition] = {}
    for k, texts in key:
        scope = Scope.at(module, plan.index, plan.frame.locals, plan.operand_types(k))
        try:
            checked = tuple(check(parse(text), scope) for text in texts)
        except ExpressionError:
            continue
        # In live mode the frame may have a local that is optimised out there, or not: the host knows.
        kept = plan.kept(k)
        if all(kept >> local & 1 for each in checked for local in each.references().locals):
            found[k] = AnyOf(checked)
    return found
