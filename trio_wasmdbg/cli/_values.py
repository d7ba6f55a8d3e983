"""WebAssembly values, and text that comes out of a module, as people read them.

A module's names and messages are written by whoever made the module.  Nothing in them may move the
cursor, change colours, or reorder a line: :func:`clean` escapes whatever does not print.
"""

from __future__ import annotations

import math

from trio_wasmdbg import symbols
from trio_wasmdbg.cli._records import Reference, Value

__all__ = ["clean", "format_offset", "format_operands", "format_value", "json_value"]

MOST_CHARACTERS = 200
"""Of a name or message; the rest is cut off, and said to be."""

_INTEGER_BITS = {"i32": 32, "i64": 64}
_NUMBERS = frozenset({"i32", "i64", "f32", "f64", "v128"})


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


def format_value(value: Value) -> str:
    """One value, without its type: ``-2 (0xfffffffe)``, ``0.1``, ``nan (0x7fc00000)``, ``null``."""
    content = value.value
    if not value.known:
        # Why it is not known, as text; what else is there is not looked at.
        return clean(content) if isinstance(content, str) else "unavailable"
    if value.type in _NUMBERS and isinstance(content, int | float | bytes):
        return symbols.format_value(value.type, content)
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
    elif value.type in ("f32", "f64") and isinstance(content, int | float):
        number = float(content)
        if math.isfinite(number):
            shown["value"] = number
        shown["bits"] = f"{symbols.float_bits(value.type, content):#x}"
    elif value.type == "v128" and isinstance(content, bytes):
        shown["bits"] = f"0x{int.from_bytes(content, 'little'):032x}"
    return shown
