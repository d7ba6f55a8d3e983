"""WebAssembly values, and text that comes out of a module, as people read them.

A module's names and messages are written by whoever made the module.  Nothing in them may move the
cursor, change colours, or reorder a line: :func:`clean` escapes whatever does not print.
"""

from __future__ import annotations

import math
import struct

from trio_wasmdbg.cli._records import Reference, Value

__all__ = ["clean", "float_bits", "format_offset", "format_operands", "format_value", "json_value"]

MOST_CHARACTERS = 200
"""Of a name or message; the rest is cut off, and said to be."""

_INTEGER_BITS = {"i32": 32, "i64": 64}
_FLOAT_BITS = {"f32": 32, "f64": 64}


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """*text* with everything unprintable escaped, and cut to *most* characters.

    Unprintable is what Unicode puts under "Other" and "Separator" except the space: control
    characters, the marks that reverse the direction of writing, lone surrogates, line separators.
    """
    cut = text[:most]
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in cut
    )
    return shown + "…" if len(text) > most else shown


def format_offset(offset: int | None) -> str:
    """A file offset in hexadecimal; ``?`` where there is none."""
    return "?" if offset is None else f"{offset:#x}"


def float_bits(type_: str, value: float) -> int:
    """The bit pattern of a float of this type."""
    if type_ == "f32":
        # Packing a NaN as a C float keeps the payload's high bits, and makes a signalling one quiet.
        return int.from_bytes(struct.pack("<f", value), "little")
    return int.from_bytes(struct.pack("<d", value), "little")


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


def _format_float(type_: str, value: float) -> str:
    if math.isnan(value):
        return f"nan ({float_bits(type_, value):#0{_FLOAT_BITS[type_] // 4 + 2}x})"
    if type_ == "f32" and math.isfinite(value):
        return _shortest_f32(value)
    return repr(value)


def _format_integer(bits: int, value: int) -> str:
    pattern = value % (1 << bits)
    signed = pattern - (1 << bits) if pattern >> (bits - 1) else pattern
    # A hexadecimal digit says nothing about a decimal one.
    return str(signed) if 0 <= signed <= 9 else f"{signed} ({pattern:#x})"


def format_value(value: Value) -> str:
    """One value, without its type: ``-2 (0xfffffffe)``, ``0.1``, ``nan (0x7fc00000)``, ``null``."""
    content = value.value
    if not value.known:
        # Why it is not known, as text; what else is there is not looked at.
        return clean(content) if isinstance(content, str) else "unavailable"
    if value.type in _INTEGER_BITS and isinstance(content, int):
        return _format_integer(_INTEGER_BITS[value.type], content)
    if value.type in _FLOAT_BITS and isinstance(content, int | float):
        return _format_float(value.type, float(content))
    if value.type == "v128" and isinstance(content, bytes) and len(content) == 16:
        return "i32x4 " + " ".join(f"0x{lane:08x}" for lane in struct.unpack("<4I", content))
    if content is None:
        return "null"
    if isinstance(content, Reference):
        return clean(content.text)
    try:
        text = repr(content)
    except Exception as error:  # an externref's object is the user's, and so is its __repr__
        text = f"<{type(content).__name__} whose repr() raised {type(error).__name__}>"
    return clean(text)


def format_operands(operands: tuple[Value, ...]) -> str:
    """An operand stack on one line, bottom first: ``[i32 7, i64 -1 (0xffffffffffffffff)]``."""
    return "[" + ", ".join(f"{operand.type} {format_value(operand)}" for operand in operands) + "]"


def json_value(value: Value) -> dict[str, object]:
    """One value for a script: type, text, and where they exist the number and its bit pattern.

    JSON has no NaN or infinity, and many readers no 64-bit integers; ``bits`` is a string and exact.
    """
    shown: dict[str, object] = {"type": value.type, "text": format_value(value)}
    content = value.value
    if not value.known:
        shown["known"] = False
    elif value.type in _INTEGER_BITS and isinstance(content, int):
        shown |= {"value": content, "bits": f"{content % (1 << _INTEGER_BITS[value.type]):#x}"}
    elif value.type in _FLOAT_BITS and isinstance(content, int | float):
        number = float(content)
        if math.isfinite(number):
            shown["value"] = number
        shown["bits"] = f"{float_bits(value.type, number):#x}"
    elif value.type == "v128" and isinstance(content, bytes):
        shown["bits"] = f"0x{int.from_bytes(content, 'little'):032x}"
    return shown
