"""Numbers and vectors as people write them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Final

from ..wasm import NaN

__all__ = ["float_bits", "format_value", "format_values"]

_INTEGERS: Final = {"i32": 32, "i64": 64}
_FLOATS: Final = {"f32": 32, "f64": 64}


def format_value(type: object, value: object) -> str:
    """One value, without its type.

    Integers are signed, with their bits (``-2 (0xfffffffe)``); floats are the shortest text that reads back
    the same, a NaN has its bits (``nan (0x7fc00000)``); vectors are four lanes of 32 bits, ``null`` is the
    null reference.  Anything else, such as what a reference stands for, is shown by its ``repr()``.

    :param type: a type of the guest, as text (``"i32"``) or as :attr:`Variable.type` and its like give it.
    :param value: as frames, events and call traces have it.
    """
    name = str(type)
    if name in _INTEGERS and isinstance(value, int):
        return _integer(_INTEGERS[name], value)
    if name in _FLOATS and isinstance(value, int | float):
        return _float(name, value)
    if name == "v128" and isinstance(value, bytes) and len(value) == 16:
        return "i32x4 " + " ".join(f"0x{lane:08x}" for lane in struct.unpack("<4I", value))
    return "null" if value is None else repr(value)


def format_values(types: Iterable[object], values: Iterable[object]) -> str:
    """Values in a row, integers without their bits."""
    return ", ".join(
        str(value) if isinstance(value, int) else format_value(type, value)
        for type, value in zip(types, values, strict=True)
    )


def float_bits(type: str, value: float) -> int:
    """The bit pattern of a float of this type."""
    if isinstance(value, NaN) and value.width == _FLOATS[type]:
        return value.bits
    if type == "f32":
        # Packing a NaN as a C float keeps the payload's high bits, and makes a signalling one quiet.
        return int.from_bytes(struct.pack("<f", value), "little")
    return int.from_bytes(struct.pack("<d", value), "little")


def _integer(bits: int, value: int) -> str:
    pattern = value % (1 << bits)
    signed = pattern - (1 << bits) if pattern >> (bits - 1) else pattern
    # A hexadecimal digit says nothing about a decimal one.
    return str(signed) if 0 <= signed <= 9 else f"{signed} ({pattern:#x})"


def _float(type: str, value: float) -> str:
    value = value if isinstance(value, NaN) else float(value)
    if math.isnan(value):
        return repr(NaN(float_bits(type, value), _FLOATS[type]))
    if type == "f32" and math.isfinite(value):
        return _shortest_f32(value)
    return repr(value)


def _shortest_f32(value: float) -> str:
    """The shortest decimal that reads back as the same f32 (``0.1``, not ``0.10000000149011612``)."""
    for digits in range(1, 10):  # nine always suffice
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("<f", float(text)) == struct.pack("<f", value):
                return repr(float(text))
        except OverflowError:  # rounded up past the largest f32: more digits are needed
            continue
    return repr(value)  # not an f32 after all: show what was given
