"""Why a module is refused: with the feature, the function, and the offset in the original.

The engine's messages name feature and offset, but no function; and what it says of a rewritten module is
about bytes that nobody has seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import wasmtime

from .. import capi
from ..errors import MalformedModuleError, UnsupportedFeatureError
from ..wasm import Function, Module, decode_module, read_body

__all__ = ["not_compiled", "not_validated"]

_OFFSET: Final = re.compile(r"at offset 0x([0-9a-f]{1,15})\b")
_NEAR: Final = 8
"""Bytes between the place that the engine names, and ours, if they mean the same instruction or type."""


def not_validated(data: bytes, error: wasmtime.WasmtimeError, tick: Callable[[], None]) -> Exception:
    """What to raise where the engine's validator refuses a module with *error*.

    That is an error of ours if what it has met is a feature that is known not to be supported; else *error*,
    with the function as a note.
    """
    found = _OFFSET.search(str(error))
    offset = int(found[1], 16) if found is not None else None
    try:
        module = decode_module(data, tick)
        function = _function_at(module, offset)
        if function is not None:
            name = module.function_name(function.index)
            error.add_note(f"in function {function.index}" + (f" '{name}'" if name is not None else ""))
            read_body(module, function, tick)
    except UnsupportedFeatureError as why:
        if offset is None or why.offset is None or abs(why.offset - offset) <= _NEAR:
            return why
    except MalformedModuleError:
        pass  # the engine's words are as good
    return error


def _function_at(module: Module, offset: int | None) -> Function | None:
    if offset is None:
        return None
    for function in module.functions:
        if function.body is not None and function.body.start <= offset < function.body.end:
            return function
    return None


def not_compiled(
    engine: wasmtime.Engine, original: Module, error: wasmtime.WasmtimeError
) -> UnsupportedFeatureError:
    """What to raise where the engine can't compile a rewritten module.

    :raises wasmtime.WasmtimeError: it can't compile the original either: validating does not find everything.
    """
    capi.compile(engine, original.data)
    start = original.code_section.start if original.code_section is not None else 0
    return UnsupportedFeatureError(f"the engine can't compile what the code becomes ({error})", offset=start)
