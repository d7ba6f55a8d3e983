"""Walking the shadow stack: from raw memory to frames, innermost first.

The layout is `instrument`'s (see its ``_frames`` module): a frame starts at its lowest address
with a header of four 32-bit words, and the stack grows down, so the caller's frame begins where
this one ends.  Frames of several instances share one stack pointer but lie each in its own
instance's debug memory; a function that can be entered from outside its instance keeps the id of
the instance that was current before it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from attrs import define

from ..errors import InternalError
from ..instrument import FUNCTION, MATERIALISED, SLOW
from ..wasm import F32, F64, I32, I64, V128, NaN, ValType

__all__ = [
    "SLOT_LAYOUTS",
    "RawFrame",
    "StackReader",
    "count_frames",
    "decode_value",
    "encode_value",
    "walk_frames",
]


class StackReader(Protocol):
    """Read access to the debug memories of a store's instances."""

    def header(self, instance: int, address: int) -> tuple[int, int, int]:
        """The first three words of a frame."""
    def frame_size(self, instance: int, function: int) -> int:
        """Size of a function's frame in bytes; raises InternalError for a function unknown."""
    def is_escapable(self, instance: int, function: int) -> bool: ...


@define
class RawFrame:
    """One frame of the shadow stack.  (Not frozen: one is made at each stop, and that takes a third.)"""

    instance: int
    fp: int
    """The frame's lowest address."""
    function: int
    resume_point: int
    slow: bool
    """Run by the slow twin: all of its locals and operands are in memory, always."""
    materialised: bool
    size: int

    @property
    def end(self) -> int:
        """The first address after it: where the caller's frame begins."""
        return self.fp + self.size


def walk_frames(reader: StackReader, instance: int, sp: int, base: int) -> Iterator[RawFrame]:
    """The frames from *sp* up to *base* (where the activation began), innermost first."""
    while sp < base:
        head, position, before = reader.header(instance, sp)
        function = head & FUNCTION
        size = reader.frame_size(instance, function)
        if size <= 0:
            raise InternalError(f"shadow frame of size {size} at {sp:#x} in instance {instance}")
        yield RawFrame(
            instance,
            sp,
            function,
            position & ~MATERIALISED,
            bool(head & SLOW),
            bool(position & MATERIALISED),
            size,
        )
        if reader.is_escapable(instance, function):
            instance = before
        sp += size
    if sp != base:
        raise InternalError(f"the shadow stack ends at {sp:#x}, not at its base {base:#x}")


def count_frames(reader: StackReader, instance: int, sp: int, base: int) -> int:
    """How many frames :func:`walk_frames` gives, in a tenth of its time."""
    count = 0
    shapes: dict[tuple[int, int], tuple[int, bool]] = {}
    while sp < base:
        head, _, before = reader.header(instance, sp)
        key = instance, head & FUNCTION
        shape = shapes.get(key)
        if shape is None:
            shape = shapes[key] = reader.frame_size(*key), reader.is_escapable(*key)
            if shape[0] <= 0:
                raise InternalError(f"shadow frame of size {shape[0]} at {sp:#x} in instance {instance}")
        size, escapable = shape
        if escapable:
            instance = before
        sp += size
        count += 1
    if sp != base:
        raise InternalError(f"the shadow stack ends at {sp:#x}, not at its base {base:#x}")
    return count


_FORMATS = {I32: "<i", I64: "<q", F32: "<f", F64: "<d"}
SLOT_LAYOUTS: Final[Mapping[int, struct.Struct]] = {
    each.code: struct.Struct(_FORMATS.get(each, "16s")) for each in (I32, I64, F32, F64, V128)
}
"""By the type's code: how a number or vector lies in its slot.  What it unpacks is the value."""


def decode_value(valtype: ValType, raw: bytes) -> object:
    """A number or vector from its slot: signed ints, floats (a NaN with its bits), 16 bytes for ``v128``."""
    value: object = SLOT_LAYOUTS[valtype.code].unpack_from(raw)[0]
    if value != value:
        width = 32 if valtype == F32 else 64
        return NaN(int.from_bytes(raw[: width // 8], "little"), width)
    return value


def encode_value(valtype: ValType, value: object) -> bytes:
    """The inverse of :func:`decode_value`; also takes unsigned ints that fit the width.

    :raises TypeError, ValueError: *value* is not one of this type.
    """
    if valtype == V128:
        if isinstance(value, int):
            return (value & (1 << 128) - 1).to_bytes(16, "little")
        if isinstance(value, bytes | bytearray) and len(value) == 16:
            return bytes(value)
        raise TypeError("a v128 is written as 16 bytes or an int")
    if valtype in (I32, I64):
        if not isinstance(value, int):
            raise TypeError(f"an {valtype} is written as an int, not {type(value).__name__}")
        bits = 32 if valtype == I32 else 64
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise ValueError(f"{value} does not fit an {valtype}")
        return (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
    if valtype in (F32, F64):
        if not isinstance(value, int | float):
            raise TypeError(f"an {valtype} is written as a float, not {type(value).__name__}")
        if isinstance(value, NaN) and value.width == (32 if valtype == F32 else 64):
            return value.bits.to_bytes(value.width // 8, "little")
        try:
            return struct.pack(_FORMATS[valtype], float(value))
        except OverflowError:
            # Spec, "Rounding": what does not fit becomes an infinity.
            return struct.pack(_FORMATS[valtype], math.inf if value > 0 else -math.inf)
    raise TypeError(f"{valtype} is not a number")
