"""``run --invoke``: words of the command line as a function's arguments, and its results as words."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from trio_wasmdbg import GuestModule
from trio_wasmdbg.cli._records import Value
from trio_wasmdbg.cli._values import clean, format_value
from trio_wasmdbg.wasm import ExternKind, FuncType

__all__ = ["BadInvocation", "convert_arguments", "exported_function", "result_lines"]


class BadInvocation(Exception):
    """The command line asks for a call that can't be made; the message says why."""


def exported_function(module: GuestModule, name: str) -> FuncType:
    """The type of an exported function.

    :raises BadInvocation: nothing of that name is exported, or it is no function.
    """
    functions = {
        export.name: export.index
        for export in module.original.exports
        if export.kind is ExternKind.FUNCTION
    }
    if name in functions:
        return module.original.functions[functions[name]].type
    there = ", ".join(sorted(clean(each) for each in functions)) or "none"
    if name == "_start":
        raise BadInvocation(f"no WASI command (nothing exports _start); --invoke calls one of: {there}")
    raise BadInvocation(f"no function is exported as {clean(name)!r}; exported are: {there}")


def convert_arguments(words: Sequence[str], type: FuncType, name: str) -> list[int | float]:
    """Words as numbers of the function's parameter types.

    Integers are decimal, or ``0x``, ``0o``, ``0b``, and may be given as signed or unsigned; floats
    are what Python's ``float`` reads, or hexadecimal (``0x1.8p3``).

    :raises BadInvocation: their number is wrong, or one of them doesn't fit its type.
    """
    params = [str(param) for param in type.params]
    if len(words) != len(params):
        takes = f"takes {len(params)} argument{'s' if len(params) != 1 else ''}"
        shown = f" ({', '.join(params)})" if params else ""
        raise BadInvocation(f"{clean(name)} {takes}{shown}, not {len(words)}")
    numbers = []
    for place, (word, param) in enumerate(zip(words, params, strict=True), start=1):
        try:
            numbers.append(_convert(word, param))
        except (ValueError, OverflowError):
            raise BadInvocation(f"argument {place} of {clean(name)}: {clean(word)!r} is no {param}") from None
    return numbers


def _convert(word: str, type: str) -> int | float:
    if type in ("i32", "i64"):
        bits = int(type[1:])
        number = int(word, 0)
        if not -(1 << bits - 1) <= number < 1 << bits:
            raise OverflowError
        return number - (1 << bits) if number >= 1 << bits - 1 else number
    if type in ("f32", "f64"):
        floating = float.fromhex(word) if "0x" in word.lower() else float(word)
        if type == "f32":
            struct.pack("<f", floating)  # raises OverflowError where it is too large
        return floating
    raise ValueError


def result_lines(result: object, type: FuncType) -> list[str]:
    """What a function has returned, a line for each result."""
    results = [str(each) for each in type.results]
    values = [result] if len(results) == 1 else list(result) if isinstance(result, tuple) else []
    return [_shown(value, kind) for value, kind in zip(values, results, strict=True)]


def _shown(value: object, type: str) -> str:
    # An integer alone, for scripts: the hexadecimal form is for people who look at frames.
    return str(value) if isinstance(value, int) else format_value(Value(type, value))
