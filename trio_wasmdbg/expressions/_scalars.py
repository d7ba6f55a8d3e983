"""The six types of the language, and which of them two operands meet in."""

from __future__ import annotations

from enum import Enum

from ..wasm import F32, F64, I32, I64, ValType

__all__ = ["ACCESSES", "NARROW", "SHAPES", "Access", "Number", "Scalar", "Shape", "usual"]

Number = int | float
"""A value: ``int`` of the range of its type, or ``float`` (of an ``f32`` only the values that it has)."""


_VALTYPES = {str(type): type for type in (I32, I64, F32, F64)}


class Scalar(Enum):
    """A type; signed and unsigned integers are the same WebAssembly type."""

    I32 = "i32"
    U32 = "u32"
    I64 = "i64"
    U64 = "u64"
    F32 = "f32"
    F64 = "f64"

    def __init__(self, label: str) -> None:
        self.label = label
        self.wasm = label.replace("u", "i")
        """What its instructions begin with: ``i32``, ``i64``, ``f32`` or ``f64``."""
        self.valtype = _VALTYPES[self.wasm]
        self.bits = int(label[1:])
        self.signed = not label.startswith("u")
        self.is_float = label.startswith("f")

    def __str__(self) -> str:
        return self.label

    __repr__ = __str__

    @classmethod
    def of(cls, valtype: ValType) -> Scalar | None:
        """What a local, operand or global of this type counts as: integers are signed."""
        return cls(str(valtype)) if valtype.is_num else None


_RANK = {scalar: rank for rank, scalar in enumerate(Scalar)}

NARROW = {"i8": (8, True), "u8": (8, False), "i16": (16, True), "u16": (16, False)}
"""Casts to less than 32 bits: the value is cut to that width and widened to ``i32`` again."""


def usual(a: Scalar, b: Scalar) -> Scalar:
    """The type in which a binary operator meets operands of *a* and *b*: the later in :class:`Scalar`.

    So 64 bits win over 32, floats over integers, and unsigned over signed of the same width.
    """
    return a if _RANK[a] >= _RANK[b] else b


class Access(Enum):
    """The ways to read memory: type of the result, bytes, the load instruction, its ``struct`` format."""

    MEM8 = Scalar.I32, 1, "i32.load8_s", "<b"
    MEM8U = Scalar.I32, 1, "i32.load8_u", "<B"
    MEM16 = Scalar.I32, 2, "i32.load16_s", "<h"
    MEM16U = Scalar.I32, 2, "i32.load16_u", "<H"
    MEM32 = Scalar.I32, 4, "i32.load", "<i"
    MEM32U = Scalar.U32, 4, "i32.load", "<I"
    MEM64 = Scalar.I64, 8, "i64.load", "<q"
    MEM64U = Scalar.U64, 8, "i64.load", "<Q"
    MEMF32 = Scalar.F32, 4, "f32.load", "<f"
    MEMF64 = Scalar.F64, 8, "f64.load", "<d"

    def __init__(self, type: Scalar, size: int, load: str, format: str) -> None:
        self.type = type
        self.size = size
        self.load = load
        self.format = format

    def __str__(self) -> str:
        return self.name.lower()


ACCESSES: dict[str, Access] = {str(access): access for access in Access}
ACCESSES |= {f"mem{bits}s": ACCESSES[f"mem{bits}"] for bits in (8, 16, 32, 64)}


class Shape(Enum):
    """The ways to cut a ``v128`` into lanes: type of one, its instruction, the ``struct`` format of all."""

    I8X16 = Scalar.I32, "i8x16.extract_lane_s", "<16b"
    U8X16 = Scalar.I32, "i8x16.extract_lane_u", "<16B"
    I16X8 = Scalar.I32, "i16x8.extract_lane_s", "<8h"
    U16X8 = Scalar.I32, "i16x8.extract_lane_u", "<8H"
    I32X4 = Scalar.I32, "i32x4.extract_lane", "<4i"
    U32X4 = Scalar.U32, "i32x4.extract_lane", "<4I"
    I64X2 = Scalar.I64, "i64x2.extract_lane", "<2q"
    U64X2 = Scalar.U64, "i64x2.extract_lane", "<2Q"
    F32X4 = Scalar.F32, "f32x4.extract_lane", "<4f"
    F64X2 = Scalar.F64, "f64x2.extract_lane", "<2d"

    def __init__(self, type: Scalar, extract: str, format: str) -> None:
        self.type = type
        self.extract = extract
        self.format = format
        self.lanes = int(format[1:-1])

    def __str__(self) -> str:
        return self.name.lower()


SHAPES: dict[str, Shape] = {str(shape): shape for shape in Shape}
