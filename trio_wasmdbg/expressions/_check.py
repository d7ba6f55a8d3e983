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
from ..wasm import ValType
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


def check(expression: syntax.Expression, scope: Scope) -> typed.TypedExpression:
    """The typed tree of an expression in a scope.

    :raises ExpressionError: a name or index that *scope* doesn't have, a value that is no number
        (a reference, a ``v128``), or an operator that its operands don't allow.
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
            case syntax.Name():
                return self._name(node)
            case syntax.Slot():
                return self._slot(node)
            case syntax.MemoryRead():
                made = self._load(node, self.node(node.address))
            case syntax.Unary():
                made = self._unary(node, self.node(node.operand))
            case syntax.Cast():
                made = self._cast(node, self.node(node.operand))
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

    def _name(self, node: syntax.Name) -> typed.Node:
        name, scope = node.name, self.scope
        if found := self._indices(name, scope.local_names, len(scope.locals)):
            return self._local(self._only(found, "local", node), node.at)
        if found := self._indices(name, scope.global_names, len(scope.globals)):
            return self._global(self._only(found, "global", node), node.at)
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

    def _slot(self, node: syntax.Slot) -> typed.Node:
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
        return self._local(index, node.at) if is_local else self._global(index, node.at)

    def _local(self, index: int, at: int) -> typed.Node:
        return typed.Local(self._number(self.scope.locals[index], f"local {index}", at), index, at)

    def _global(self, index: int, at: int) -> typed.Node:
        return typed.Global(self._number(self.scope.globals[index], f"global {index}", at), index, at)

    def _operand(self, node: syntax.Slot) -> typed.Node:
        operands, height = self.scope.operands, node.which
        if not isinstance(height, int):
            raise self._fail("operands have no names", node.at)
        if not -len(operands) <= height < len(operands):
            raise self._fail(f"no operand {height}: the operand stack holds {len(operands)} here", node.at)
        height %= len(operands)
        return typed.Operand(self._number(operands[height], f"operand {height}", node.at), height, node.at)

    def _number(self, type: ValType, what: str, at: int) -> Scalar:
        scalar = Scalar.of(type)
        if scalar is None:
            raise self._fail(f"{what} is of type {type}: expressions work on numbers only", at)
        return scalar

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
    if isinstance(node, typed.Const | typed.Local | typed.Operand | typed.Global | typed.Load):
        return node
    try:
        return typed.Const(node.type, constant_value(node), node.at)
    except EvaluationError:
        return node  # a division by zero: it counts when it is reached
