"""Evaluation on the host: the same values, and the same errors, as the compiled expression."""

from __future__ import annotations

import struct
from typing import Protocol, assert_never

from attrs import define

from ..errors import EvaluationError
from . import _typed as typed
from ._arithmetic import binary, convert, narrow, negate, wrap
from ._scalars import Number

__all__ = ["Reader", "constant_value", "evaluate", "holds"]


class Reader(Protocol):
    """Where values come from: a paused frame.

    Integers may be given signed or unsigned; a ``v128`` is 16 bytes, a null reference None, any other one
    an object.  What is not available is told by a :exc:`LookupError`, or for a number or ``v128`` by a value
    that is none.
    """

    def local(self, index: int, /) -> object:
        """A local's value."""

    def operand(self, height: int, /) -> object:
        """The value of the operand that has *height* others below it."""

    def global_(self, index: int, /) -> object:
        """The value of a global of the original module."""

    def memory_size(self, memory: int, /) -> int:
        """The size of a memory in bytes."""

    def read(self, memory: int, address: int, size: int, /) -> bytes:
        """*size* bytes of a memory; they are sure to lie inside it."""


def evaluate(expression: typed.TypedExpression, reader: Reader) -> Number:
    """The value of an expression.

    :returns: an int in the range of ``expression.type``, or a float.
    :raises EvaluationError: it divides an integer by zero, reads outside a memory, or needs a value
        that *reader* doesn't have.
    """
    return _Evaluator(expression.text, reader).value(expression.root)


def holds(expression: typed.TypedExpression, reader: Reader) -> bool:
    """Whether a condition is met: its value is not zero.  Raises like :func:`evaluate`."""
    return evaluate(expression, reader) != 0


def constant_value(node: typed.Node) -> Number:
    """The value of a node that reads nothing."""
    return _Evaluator("", _Nothing()).value(node)


class _Nothing:
    def local(self, index: int) -> None: ...
    def operand(self, height: int) -> None: ...
    def global_(self, index: int) -> None: ...
    def memory_size(self, memory: int) -> int:
        return 0

    def read(self, memory: int, address: int, size: int) -> bytes:
        raise AssertionError


@define
class _Evaluator:
    text: str
    reader: Reader

    def _fail(self, message: str, at: int) -> EvaluationError:
        return EvaluationError(message, text=self.text, column=at + 1)

    def value(self, node: typed.Node) -> Number:
        """The value of *node*.  Recursion is bounded by the parser's limit on depth."""
        match node:
            case typed.Const():
                return node.value
            case typed.Local():
                return self._read(node, typed.Place("local", node.index, node.type.valtype))
            case typed.Operand():
                return self._read(node, typed.Place("stack", node.height, node.type.valtype))
            case typed.Global():
                return self._read(node, typed.Place("global", node.index, node.type.valtype))
            case typed.Lane():
                return self._lane(node)
            case typed.IsNull():
                return int(self._get(node.place, node.at) is None)
            case typed.Load():
                return self._load(node, int(self.value(node.address)))
            case typed.Convert():
                return convert(node.operand.type, node.type, self.value(node.operand))
            case typed.Narrow():
                return narrow(int(self.value(node.operand)), node.bits, node.signed)
            case typed.Unary():
                value = self.value(node.operand)
                if node.op == "!":
                    return int(value == 0)
                return negate(node.type, value) if node.op == "-" else wrap(node.type, ~int(value))
            case typed.Arithmetic():
                left, right = self.value(node.left), self.value(node.right)
                try:
                    return binary(node.op, node.left.type, left, right)
                except ZeroDivisionError:
                    raise self._fail("division by zero", node.at) from None
            case typed.Logical():
                decided = node.op == "||"
                if (self.value(node.left) != 0) == decided:
                    return int(decided)
                return int(self.value(node.right) != 0)
            case typed.Choice():
                return self.value(node.then if self.value(node.condition) != 0 else node.otherwise)
            case _:
                assert_never(node)

    def _get(self, place: typed.Place, at: int) -> object:
        """The value of a place."""
        reader = self.reader
        get = {"local": reader.local, "stack": reader.operand, "global": reader.global_}[place.space]
        try:
            return get(place.index)
        except LookupError:
            raise self._fail(f"{place} is not available here", at) from None

    def _lane(self, node: typed.Lane) -> Number:
        value = self._get(node.place, node.at)
        if not isinstance(value, bytes):
            raise self._fail(f"{node.place} is not available here", node.at)
        lane: Number = struct.unpack(node.shape.format, value)[node.lane]
        return lane

    def _read(self, node: typed.Local | typed.Operand | typed.Global, place: typed.Place) -> Number:
        value = self._get(place, node.at)
        if not isinstance(value, int | float):
            raise self._fail(f"{place} is not available here", node.at)
        return float(value) if node.type.is_float else wrap(node.type, int(value))

    def _load(self, node: typed.Load, address: int) -> Number:
        address &= (1 << node.address.type.bits) - 1
        size, memory = node.access.size, node.memory
        limit = self.reader.memory_size(memory)
        if address + size > limit:
            place = f"{node.access} at {address:#x}, memory {memory} has {limit:#x} bytes"
            raise self._fail(f"out of bounds: {place}", node.at)
        value: Number = struct.unpack(node.access.format, self.reader.read(memory, address, size))[0]
        return float(value) if node.type.is_float else wrap(node.type, int(value))
