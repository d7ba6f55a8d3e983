"""Expressions as WebAssembly instructions, to be put where the guest runs.

The code never traps: before a division the divisor is tested, before a read the address, and a
failed test branches out with :data:`ERROR`, so that the guest asks the host, which evaluates the
expression again and finds the same error with its text.  Tests that can't fail (a constant divisor,
a constant address within the memory's minimum) are left out.
"""

from __future__ import annotations

import struct
from typing import Any, Final, assert_never

from attrs import define, field

from ..wasm import BY_NAME, I32, I64, BlockType, MemArg, ValType, instruction
from . import _typed as typed
from ._arithmetic import COMPARISONS
from ._places import Places
from ._scalars import Scalar

__all__ = ["ERROR", "MET", "NOT_MET", "compile_condition", "compile_value"]

NOT_MET: Final = 0
"""A compiled condition's answer: its value is 0."""

MET: Final = 1
"""A compiled condition's answer: its value is not 0."""

ERROR: Final = 2
"""A compiled condition's answer: it has no value."""


def compile_condition(expression: typed.TypedExpression, places: Places) -> bytes:
    """Code that pushes an ``i32``: :data:`NOT_MET`, :data:`MET` or :data:`ERROR`.

    It needs nothing on the operand stack, changes nothing but scratch locals, and can't trap if the
    frame that *places* reads is whole.
    """
    code = _Code(places)
    code.add("block", BlockType(None, (), (I32,)))
    code.truth(expression.root, 0)
    code.add("end")
    return b"".join(code.parts)


def compile_value(expression: typed.TypedExpression, places: Places, on_error: int) -> bytes:
    """Code that pushes the value of an expression.

    :param on_error: the branch depth, seen from the place of this code, of a block that takes an ``i32``:
        it gets :data:`ERROR` if there is no value.
    """
    code = _Code(places)
    code.value(expression.root, on_error)
    return b"".join(code.parts)


_BINARY: Final = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem", "&": "and", "|": "or", "^": "xor",
    "<<": "shl", ">>": "shr", "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge",
}  # fmt: skip
_SIGNED_OR_NOT: Final = frozenset(["/", "%", ">>", "<", "<=", ">", ">="])
"""Operators whose integer instruction ends in ``_s`` or ``_u``."""


def _conversion(source: Scalar, target: Scalar) -> str | None:
    """The instruction that converts, None if the bits stay as they are."""
    if source.valtype == target.valtype:
        return None
    if source.is_float and target.is_float:
        return "f64.promote_f32" if target is Scalar.F64 else "f32.demote_f64"
    if source.is_float:
        return f"{target.wasm}.trunc_sat_{source.wasm}_{'s' if target.signed else 'u'}"
    sign = "s" if source.signed else "u"
    if target.is_float:
        return f"{target.wasm}.convert_{source.wasm}_{sign}"
    return f"i64.extend_i32_{sign}" if target.bits == 64 else "i32.wrap_i64"


@define
class _Code:
    """Collects code.  *depth* is everywhere the branch depth of the block that takes the error."""

    places: Places
    parts: list[bytes] = field(factory=list)

    def add(self, name: str, imm: Any = None) -> None:
        """One instruction."""
        self.parts.append(instruction(BY_NAME[name], imm))

    def truth(self, node: typed.Node, depth: int) -> None:
        """Pushes 1 if the value is not zero, else 0."""
        self.value(node, depth)
        if not _is_boolean(node):
            self._const(node.type, 0)
            self.add(f"{node.type.wasm}.ne")

    def value(self, node: typed.Node, depth: int) -> None:
        """Pushes the value.  Recursion is bounded by the parser's limit on depth."""
        match node:
            case typed.Const():
                self._const(node.type, node.value)
            case typed.Local():
                self.parts.append(self.places.local(node.index, node.type.valtype))
            case typed.Operand():
                self.parts.append(self.places.operand(node.height, node.type.valtype))
            case typed.Global():
                self.add("global.get", self.places.global_(node.index))
            case typed.Lane():
                self._read(node.place)
                self.add(node.shape.extract, node.lane)
            case typed.IsNull():
                self._read(node.place)
                self.add("ref.is_null")
            case typed.Load():
                self._load(node, depth)
            case typed.Convert():
                self.value(node.operand, depth)
                if name := _conversion(node.operand.type, node.type):
                    self.add(name)
            case typed.Narrow():
                self.value(node.operand, depth)
                if node.signed:
                    self.add(f"i32.extend{node.bits}_s")
                else:
                    self.add("i32.const", (1 << node.bits) - 1)
                    self.add("i32.and")
            case typed.Unary():
                self._unary(node, depth)
            case typed.Arithmetic():
                self.value(node.left, depth)
                self.value(node.right, depth)
                self._arithmetic(node, depth)
            case typed.Logical():
                self.truth(node.left, depth)
                if node.op == "||":
                    self.add("i32.eqz")
                self.add("if", BlockType(None, (), (I32,)))
                self.truth(node.right, depth + 1)
                self.add("else")
                self.add("i32.const", int(node.op == "||"))
                self.add("end")
            case typed.Choice():
                self.truth(node.condition, depth)
                self.add("if", BlockType(None, (), (node.type.valtype,)))
                self.value(node.then, depth + 1)
                self.add("else")
                self.value(node.otherwise, depth + 1)
                self.add("end")
            case _:
                assert_never(node)

    def _read(self, place: typed.Place) -> None:
        """Pushes the value of a place that is no number."""
        if place.space == "global":
            self.add("global.get", self.places.global_(place.index))
        elif place.space == "local":
            self.parts.append(self.places.local(place.index, place.valtype))
        else:
            self.parts.append(self.places.operand(place.index, place.valtype))

    def _const(self, type: Scalar, value: int | float) -> None:
        if type.is_float:
            self.add(f"{type.wasm}.const", struct.pack("<f" if type is Scalar.F32 else "<d", value))
        else:
            self.add(f"{type.wasm}.const", value)

    def _unary(self, node: typed.Unary, depth: int) -> None:
        operand = node.operand
        wasm = operand.type.wasm
        if node.op == "-" and not operand.type.is_float:
            self._const(operand.type, 0)
            self.value(operand, depth)
            self.add(f"{wasm}.sub")
            return
        self.value(operand, depth)
        if node.op == "-":
            self.add(f"{wasm}.neg")
        elif node.op == "~":
            self.add(f"{wasm}.const", -1)
            self.add(f"{wasm}.xor")
        elif operand.type.is_float:
            self._const(operand.type, 0)
            self.add(f"{wasm}.eq")
        else:
            self.add(f"{wasm}.eqz")

    def _arithmetic(self, node: typed.Arithmetic, depth: int) -> None:
        """Applies the operator to the two values on the stack."""
        type = node.left.type
        name = f"{type.wasm}.{_BINARY[node.op]}"
        if not type.is_float and node.op in _SIGNED_OR_NOT:
            name += "_s" if type.signed else "_u"
        if type.is_float or node.op not in ("/", "%"):
            self.add(name)
            return
        divisor = node.right.value if isinstance(node.right, typed.Const) else None
        overflows = node.op == "/" and type.signed
        if divisor and not (overflows and divisor == -1):
            self.add(name)
            return
        right = self.places.scratch(type.valtype, 1)
        self.add("local.set", right)
        if not divisor:
            self._begin_test()
            self.add("local.get", right)
            self.add(f"{type.wasm}.eqz")
            self._end_test(depth)
        if overflows:
            self._divide_signed(type.valtype, name, right)
        else:
            self.add("local.get", right)
            self.add(name)

    def _divide_signed(self, type: ValType, name: str, right: int) -> None:
        """``left / right``, which is ``0 - left`` for -1: there the instruction could overflow and trap."""
        left = self.places.scratch(type, 0)
        self.add("local.set", left)
        self.add("local.get", right)
        self.add(f"{type}.const", -1)
        self.add(f"{type}.eq")
        self.add("if", BlockType(None, (), (type,)))
        self.add(f"{type}.const", 0)
        self.add("local.get", left)
        self.add(f"{type}.sub")
        self.add("else")
        self.add("local.get", left)
        self.add("local.get", right)
        self.add(name)
        self.add("end")

    def _begin_test(self) -> None:
        self.add("i32.const", ERROR)

    def _end_test(self, depth: int) -> None:
        """Leaves with the error that lies below if the ``i32`` on top is not zero."""
        self.add("br_if", depth)
        self.add("drop")

    def _load(self, node: typed.Load, depth: int) -> None:
        address, access, limits = node.address, node.access, node.memory_type.limits
        minimum = limits.minimum << limits.page_size_log2
        memarg = MemArg(0, 0, self.places.memory(node.memory))
        memory_type = node.memory_type.address_type
        if isinstance(address, typed.Const):
            place = int(address.value) & (1 << address.type.bits) - 1
            if place + access.size <= minimum:  # memories don't shrink
                self.add(f"{memory_type}.const", place)
                self.add(access.load, memarg)
                return
        self.value(address, depth)
        own_type = address.type.valtype
        local = self.places.scratch(own_type, 0)
        self.add("local.set", local)
        self._begin_test()
        # address > size - width, in 64 bits, unsigned
        self.add("local.get", local)
        if own_type == I32:
            self.add("i64.extend_i32_u")
        self._memory_size(node)
        self.add("i64.const", access.size)
        self.add("i64.sub")
        self.add("i64.gt_u")
        if minimum < access.size:  # the subtraction may have wrapped
            self._memory_size(node)
            self.add("i64.const", access.size)
            self.add("i64.lt_u")
            self.add("i32.or")
        self._end_test(depth)
        self.add("local.get", local)
        if own_type != memory_type:
            self.add("i64.extend_i32_u" if memory_type == I64 else "i32.wrap_i64")
        self.add(access.load, memarg)

    def _memory_size(self, node: typed.Load) -> None:
        """Pushes the memory's size in bytes, an ``i64``."""
        limits = node.memory_type.limits
        self.add("memory.size", self.places.memory(node.memory))
        if not limits.is64:
            self.add("i64.extend_i32_u")
        if limits.page_size_log2:
            self.add("i64.const", limits.page_size_log2)
            self.add("i64.shl")


def _is_boolean(node: typed.Node) -> bool:
    """Whether the value is an ``i32`` of 0 or 1 already."""
    match node:
        case typed.Logical() | typed.Unary(op="!") | typed.IsNull():
            return True
        case typed.Arithmetic(op=op):
            return op in COMPARISONS
        case _:
            return False
