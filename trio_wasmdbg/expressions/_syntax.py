"""The syntax tree: an expression as it was written, before names have a meaning.

``at`` is everywhere the place in the text (characters from 0) that an error about the node points at.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ._scalars import Access, Number, Scalar, Shape

__all__ = [
    "Binary",
    "Cast",
    "Conditional",
    "Constant",
    "Expression",
    "Lane",
    "MemoryRead",
    "Name",
    "Node",
    "Null",
    "Slot",
    "Unary",
]


@frozen
class Constant:
    """A literal."""

    value: Number
    type: Scalar
    at: int


@frozen
class Name:
    """A local or global by its name alone."""

    name: str
    at: int


@frozen
class Slot:
    """``local[3]``, ``stack[-1]``, ``global[counter]``."""

    space: Literal["local", "stack", "global"]
    which: int | str
    at: int


@frozen
class Null:
    """``null``: what a reference is compared with."""

    at: int


@frozen
class Lane:
    """``i32x4(x, 2)``: a lane of a ``v128``."""

    shape: Shape
    place: Name | Slot
    lane: int
    at: int


@frozen
class MemoryRead:
    """``mem32[address]``, ``mem8u@1[address]``."""

    access: Access
    memory: int
    address: Node
    at: int


@frozen
class Unary:
    """``-x``, ``+x``, ``~x``, ``!x``."""

    op: str
    operand: Node
    at: int


@frozen
class Cast:
    """``(u32) x``; *target* is a type's name, or one of the narrow ones."""

    target: str
    operand: Node
    at: int


@frozen
class Binary:
    """``left op right``; ``at`` is the operator's place."""

    op: str
    left: Node
    right: Node
    at: int


@frozen
class Conditional:
    """``condition ? then : otherwise``; ``at`` is the place of the question mark."""

    condition: Node
    then: Node
    otherwise: Node
    at: int


Node = Constant | Name | Slot | Null | Lane | MemoryRead | Unary | Cast | Binary | Conditional


@frozen
class Expression:
    """A parsed expression: what :func:`~trio_wasmdbg.expressions.parse` returns.

    :ivar text: the whole text that places count in (for a log point, all of its template).
    """

    text: str
    root: Node
