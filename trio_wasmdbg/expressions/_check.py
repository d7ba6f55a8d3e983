"""The checker: names get their meaning, and every node its type.

The conversions are C's where C defines them: each operand of a binary operator is converted to the
*usual* type (``_scalars.usual``), a shift keeps the type of its left operand, and constants are
folded by the evaluator itself, so that folding can't change a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Final, assert_never

from attrs import define

from ..errors import EvaluationError, ExpressionError
from ..wasm import V128
from . import _syntax as syntax
from . import _typed as typed
from ._arithmetic import COMPARISONS
from ._evaluate import constant_value
from ._lexer import error
from ._parse import near_misses
from ._scalars import NARROW, Scalar, usual
from ._scope import Scope

__all__ = ["check"]

_INTEGERS_ONLY: Final = frozenset(["%", "&", "|", "^", "<<", ">>", "~"])
_MOST_NAMES: Final = 1000
"""Names that are searched for near misses: a hostile module has millions."""

_NUMBERS: Final[dict[str, type[typed.Local | typed.Operand | typed.Global]]] = {
    "local": typed.Local, "stack": typed.Operand, "global": typed.Global,
}  # fmt: skip
_READS: Final = (
    typed.Const, typed.Local, typed.Operand, typed.Global, typed.Lane, typed.IsNull, typed.Load,
)  # fmt: skip
"""Nodes that are not computed from constants alone."""


def check(expression: syntax.Expression, scope: Scope) -> typed.TypedExpression:
    """The typed tree of an expression in a scope.

    :raises ExpressionError: a name or index that *scope* doesn't have, a lane of what is no ``v128``, a
        null test of what is no reference, another use of one of these, or an operator that its operands
        don't allow.
    """
    return typed.TypedExpression(expression, _Checker(expression.text, scope).node(expression.root))


@define
class _Checker:
    text: str
    scope: Scope

    def _fail(self, message: str, at: int) -> ExpressionError:
        return error(message, self.text, at)

    def node(self, node: syntax.Node) -> typed.Node:
        """The typed node for *node*.  Recursion is bounded by the parser's limit on depth."""
        match node:
            case syntax.Constant(value=value, type=type, at=at):
                return typed.Const(type, value, at)
            case syntax.Name() | syntax.Slot():
                return self._number(node)
            case syntax.Lane():
                return self._lane(node)
            case syntax.Null():
                raise self._fail("null can be compared with a reference only, by == or !=", node.at)
            case syntax.MemoryRead():
                made = self._load(node, self.node(node.address))
            case syntax.Unary():
                made = self._unary(node, self.node(node.operand))
            case syntax.Cast():
                made = self._cast(node, self.node(node.operand))
            case syntax.Binary(op="==" | "!=") if isinstance(node.left, syntax.Null) or isinstance(
                node.right, syntax.Null
            ):
                return self._null_test(node)
            case syntax.Binary():
                made = self._binary(node, self.node(node.left), self.node(node.right))
            case syntax.Conditional():
                condition = self.node(node.condition)
                then, otherwise = self.node(node.then), self.node(node.otherwise)
                type = usual(then.type, otherwise.type)
                made = typed.Choice(type, condition, _convert(then, type), _convert(otherwise, type), node.at)
            case _:
                assert_never(node)
        return _fold(made)

    # ── names and indices ──────────────────────────────────────────────────────────────────────

    def _number(self, node: syntax.Name | syntax.Slot) -> typed.Node:
        place = self._place(node)
        scalar = Scalar.of(place.valtype)
        if scalar is None:
            problem = f"{place} is of type {place.valtype}: "
            if place.valtype.is_ref:
                raise self._fail(problem + "a reference can be compared with null only", node.at)
            raise self._fail(problem + "i32x4(…, 0) gives a lane of it", node.at)
        return _NUMBERS[place.space](scalar, place.index, node.at)

    def _lane(self, node: syntax.Lane) -> typed.Node:
        place, shape = self._place(node.place), node.shape
        if place.valtype != V128:
            raise self._fail(f"{place} is of type {place.valtype}: only a v128 has lanes", node.place.at)
        if node.lane >= shape.lanes:
            raise self._fail(f"no lane {node.lane}: {shape} has {shape.lanes}", node.at)
        return typed.Lane(shape.type, shape, node.lane, place, node.at)

    def _null_test(self, node: syntax.Binary) -> typed.Node:
        """``x == null``, either way round."""
        tested = node.left if isinstance(node.right, syntax.Null) else node.right
        if not isinstance(tested, syntax.Name | syntax.Slot):
            raise self._fail("null is compared with a local, operand or global", tested.at)
        place = self._place(tested)
        if not place.valtype.is_ref:
            raise self._fail(f"{place} is of type {place.valtype}: only a reference can be null", tested.at)
        made: typed.Node = typed.IsNull(Scalar.I32, place, node.at)
        if not place.valtype.nullable:
            # Structured code may not even read such a local before it is set.
            made = typed.Const(Scalar.I32, 0, node.at)
        return made if node.op == "==" else _fold(typed.Unary(Scalar.I32, "!", made, node.at))

    def _place(self, node: syntax.Name | syntax.Slot) -> typed.Place:
        if isinstance(node, syntax.Slot):
            return self._slot(node)
        name, scope = node.name, self.scope
        if found := self._indices(name, scope.local_names, len(scope.locals)):
            return self._local(self._only(found, "local", node))
        if found := self._indices(name, scope.global_names, len(scope.globals)):
            return self._global(self._only(found, "global", node))
        known = self._some(scope.local_names, len(scope.locals))
        known += self._some(scope.global_names, len(scope.globals))
        raise self._fail(f"no local or global is named {name!r}{near_misses(name, known)}", node.at)

    @staticmethod
    def _indices(name: str, names: Mapping[int, str], count: int) -> list[int]:
        # A name section may name things that don't exist.
        return [index for index, known in names.items() if known == name and index < count]

    def _only(self, found: list[int], space: str, node: syntax.Name | syntax.Slot) -> int:
        if len(found) > 1:
            places = " and ".join(f"{space}[{index}]" for index in found[:4])
            raise self._fail(f"the name is ambiguous: it means {places}", node.at)
        return found[0]

    @staticmethod
    def _some(names: Mapping[int, str], count: int) -> list[str]:
        some = islice(names.items(), _MOST_NAMES)
        return [name for index, name in some if index < count and len(name) <= 64]

    def _slot(self, node: syntax.Slot) -> typed.Place:
        if node.space == "stack":
            return self._operand(node)
        is_local = node.space == "local"
        names = self.scope.local_names if is_local else self.scope.global_names
        count = len(self.scope.locals if is_local else self.scope.globals)
        index = node.which
        if isinstance(index, str):
            found = self._indices(index, names, count)
            if not found:
                hint = near_misses(index, self._some(names, count))
                raise self._fail(f"no {node.space} is named {index!r}{hint}", node.at)
            index = self._only(found, node.space, node)
        if not 0 <= index < count:
            raise self._fail(f"no {node.space} {index}: there are {count}", node.at)
        return self._local(index) if is_local else self._global(index)

    def _local(self, index: int) -> typed.Place:
        return typed.Place("local", index, self.scope.locals[index])

    def _global(self, index: int) -> typed.Place:
        return typed.Place("global", index, self.scope.globals[index])

    def _operand(self, node: syntax.Slot) -> typed.Place:
        operands, height = self.scope.operands, node.which
        if not isinstance(height, int):
            raise self._fail("operands have no names", node.at)
        if not -len(operands) <= height < len(operands):
            raise self._fail(f"no operand {height}: the operand stack holds {len(operands)} here", node.at)
        height %= len(operands)
        return typed.Place("stack", height, operands[height])

    # ── operators ──────────────────────────────────────────────────────────────────────────────

    def _load(self, node: syntax.MemoryRead, address: typed.Node) -> typed.Node:
        memories = self.scope.memories
        if node.memory >= len(memories):
            raise self._fail(f"no memory {node.memory}: there are {len(memories)}", node.at)
        if address.type.is_float:
            raise self._fail(f"an address is an integer, not an {address.type}", node.at)
        access = node.access
        return typed.Load(access.type, access, node.memory, memories[node.memory], address, node.at)

    def _unary(self, node: syntax.Unary, operand: typed.Node) -> typed.Node:
        if node.op == "+":
            return operand
        self._require_integers(node.op, operand.type, node.at)
        type = Scalar.I32 if node.op == "!" else operand.type
        return typed.Unary(type, node.op, operand, node.at)

    def _cast(self, node: syntax.Cast, operand: typed.Node) -> typed.Node:
        if node.target in NARROW:
            bits, signed = NARROW[node.target]
            return typed.Narrow(Scalar.I32, bits, signed, _convert(operand, Scalar.I32), node.at)
        return _convert(operand, Scalar[node.target.upper()])

    def _binary(self, node: syntax.Binary, left: typed.Node, right: typed.Node) -> typed.Node:
        op, at = node.op, node.at
        if op in ("&&", "||"):
            return typed.Logical(Scalar.I32, op, left, right, at)
        self._require_integers(op, left.type, at)
        self._require_integers(op, right.type, at)
        type = left.type if op in ("<<", ">>") else usual(left.type, right.type)
        result = Scalar.I32 if op in COMPARISONS else type
        return typed.Arithmetic(result, op, _convert(left, type), _convert(right, type), at)

    def _require_integers(self, op: str, type: Scalar, at: int) -> None:
        if op in _INTEGERS_ONLY and type.is_float:
            raise self._fail(f"{op!r} takes integers, not an {type} (a cast makes one: (i64) x)", at)


def _convert(node: typed.Node, type: Scalar) -> typed.Node:
    return node if node.type is type else _fold(typed.Convert(type, node, node.at))


def _fold(node: typed.Node) -> typed.Node:
    """The constant that *node* is, if all that it needs is constant and it has a value."""
    if not all(isinstance(child, typed.Const) for child in typed.children(node)):
        return node
    if isinstance(node, _READS):
        return node
    try:
        return typed.Const(node.type, constant_value(node), node.at)
    except EvaluationError:
        return node  # a division by zero: it counts when it is reached
