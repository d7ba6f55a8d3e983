"""The engine as assembler and as judge, for tests only."""

from __future__ import annotations

import re
from functools import cache

import wasmtime
from hypothesis import settings
from wasmtime import _bindings

from trio_wasmdbg.wasm import (
    F32,
    F64,
    I32,
    I64,
    MAGIC,
    V128,
    Module,
    SectionId,
    TypedBody,
    decode_module,
    operand_types,
    section,
    type_body,
    uleb,
)

__all__ = ["LETTERS", "STEADY", "assemble", "engine", "is_valid", "letters", "typed", "with_body"]

STEADY = settings(deadline=None, derandomize=True)
"""For property tests: the same examples in every run, on a slow machine too."""

LETTERS = {I32: "i", I64: "I", F32: "f", F64: "F", V128: "v"}


@cache
def engine() -> wasmtime.Engine:
    """An engine that accepts every proposal it knows."""
    config = wasmtime.Config()
    for switch in dir(wasmtime.Config):
        if re.fullmatch("wasm_(?!component|relaxed_simd_det|stack_switching).*", switch):
            setattr(config, switch, True)
    # wasmtime-py has no attributes for these
    _bindings.wasmtime_config_wasm_branch_hinting_set(config.ptr(), True)
    _bindings.wasmtime_config_wasm_compact_imports_set(config.ptr(), True)
    return wasmtime.Engine(config)


def is_valid(data: bytes) -> bool:
    """Whether the engine's validator takes a module."""
    try:
        wasmtime.Module.validate(engine(), data)
    except wasmtime.WasmtimeError:
        return False
    return True


def assemble(text: str) -> Module:
    """A decoded module from the text format."""
    return decode_module(bytes(wasmtime.wat2wasm(text)))


def typed(text: str, function: int = 0) -> TypedBody:
    """A typed function of a module in the text format."""
    module = assemble(text)
    return type_body(module, module.functions[function])


def letters(body: TypedBody) -> list[str]:
    """The operand stack before each instruction, one letter an operand, ``*`` for dead code."""
    return [
        "".join(LETTERS.get(t, f"<{t}>") for t in operand_types(stack)) if alive else "*"
        for stack, alive in zip(body.stacks, body.reachable, strict=True)
    ]


def with_body(module: Module, function: int, body: bytes) -> bytes:
    """The module's bytes with another body (locals and code, without the size) for one function."""
    out = [MAGIC]
    for s in module.sections:
        if s.id != SectionId.CODE:
            out.append(module.data[s.header_start : s.end])
            continue
        bodies = []
        for f in module.functions[module.imported_functions :]:
            assert f.body is not None
            code = body if f.index == function else module.data[f.body.start : f.body.end]
            bodies.append(uleb(len(code)) + code)
        out.append(section(s.id, uleb(len(bodies)) + b"".join(bodies)))
    return b"".join(out)
