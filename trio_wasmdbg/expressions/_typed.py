"""The typed tree: every name resolved, every conversion spelled out.

Operands of a binary node have the same type; comparisons, ``&&``, ``||`` and ``!`` give an ``i32``
of 0 or 1.  ``at`` is as in the syntax tree.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from ..wasm import MemoryType, ValType
from ._scalars import Access, Number, Scalar, Shape
from ._syntax import Expression

__all__ = [
    "Arithmetic",
    "Choice",
    "Const",
    "Convert",
    "Global",
    "IsNull",
    "Lane",
    "Load",
    "Local",
    "Logical",
    "Narrow",
    "Node",
    "Operand",
    "Place",
    "References",
    "TypedExpression",
    "Unary",
    "children",
]


@frozen
class Const:
    """A constant, in the range of its type."""

    type: Scalar
    value: Number
    at: int


@frozen
class Local:
    """A local by its index."""

    type: Scalar
    index: int
    at: int


@frozen
class Operand:
    """An operand; *height* others lie below it."""

    type: Scalar
    height: int
    at: int


@frozen
class Global:
    """A global by its index in the original module."""

    type: Scalar
    index: int
    at: int


@frozen
class Place:
    """A local, operand or global of any type, by its index or height."""

    space: Literal["local", "stack", "global"]
    index: int
    valtype: ValType

    def __str__(self) -> str:
        return f"{'operand' if self.space == 'stack' else self.space} {self.index}"


@frozen
class Lane:
    """A lane of a ``v128``."""

    type: Scalar
    shape: Shape
    lane: int
    place: Place
    at: int


@frozen
class IsNull:
    """Whether a reference is null, an ``i32``."""

    type: Scalar
    place: Place
    at: int


@frozen
class Load:
    """A read of memory; the address is an integer of any type and counts as unsigned."""

    type: Scalar
    access: Access
    memory: int
    memory_type: MemoryType
    address: Node
    at: int


@frozen
class Convert:
    """The operand as another type."""

    type: Scalar
    operand: Node
    at: int


@frozen
class Narrow:
    """The operand, an ``i32``, cut to *bits* bits."""

    type: Scalar
    bits: int
    signed: bool
    operand: Node
    at: int


@frozen
class Unary:
    """``-``, ``~`` (type of the operand), ``!`` (``i32``)."""

    type: Scalar
    op: str
    operand: Node
    at: int


@frozen
class Arithmetic:
    """A binary operator that needs both operands, which have the same type."""

    type: Scalar
    op: str
    left: Node
    right: Node
    at: int


@frozen
class Logical:
    """``&&`` or ``||``: the right operand is evaluated only if it decides."""

    type: Scalar
    op: str
    left: Node
    right: Node
    at: int


@frozen
class Choice:
    """``?:``: one of two operands of the node's type is evaluated."""

    type: Scalar
    condition: Node
    then: Node
    otherwise: Node
    at: int


Node = (
    Const | Local | Operand | Global | Lane | IsNull | Load
    | Convert | Narrow | Unary | Arithmetic | Logical | Choice
)  # fmt: skip


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below."""
    match node:
        case Load(address=address):
            return (address,)
        case Convert(operand=operand) | Narrow(operand=operand) | Unary(operand=operand):
            return (operand,)
        case Arithmetic(left=left, right=right) | Logical(left=left, right=right):
            return left, right
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return condition, then, otherwise
        case _:
            return ()


@frozen
class References:
    """The indices of everything that an expression reads."""

    locals: frozenset[int]
    operands: frozenset[int]
    globals: frozenset[int]
    memories: frozenset[int]


@frozen
class TypedExpression:
    """A checked expression: what :func:`~trio_wasmdbg.expressions.check` returns."""

    expression: Expression
    root: Node = field(repr=False)

    @property
    def text(self) -> str:
        """The text that places count in."""
        return self.expression.text

    @property
    def type(self) -> Scalar:
        """The type of its value."""
        return self.root.type

    def references(self) -> References:
        """What it reads, so that a companion imports that and no more."""
        locals, operands, globals, memories = set[int](), set[int](), set[int](), set[int]()
        spaces = {"local": locals, "stack": operands, "global": globals}
        todo: list[Node] = [self.root]
        while todo:
            node = todo.pop()
            todo += children(node)
            match node:
                case Local(index=index):
                    locals.add(index)
                case Operand(height=height):
                    operands.add(height)
                case Global(index=index):
                    globals.add(index)
                case Load(memory=memory):
                    memories.add(memory)
                case Lane(place=place) | IsNull(place=place):
                    spaces[place.space].add(place.index)
                case _:
                    pass
        return References(*map(frozenset, (locals, operands, globals, memories)))
