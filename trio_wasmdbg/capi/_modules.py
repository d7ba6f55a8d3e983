"""Validating and compiling modules.  The GIL is free while Wasmtime works."""

from __future__ import annotations

import ctypes
from ctypes import byref

import wasmtime
from wasmtime import _bindings

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._globals import raise_error

__all__ = ["compile", "validate"]


def validate(engine: wasmtime.Engine, wasm: bytes) -> None:
    """Check that bytes are a module that this engine accepts.  Text format is not accepted.

    :raises wasmtime.WasmtimeError: they are not; the text names the offset.
    """
    raise_error(lib.module_validate(engine.ptr(), wasm, len(wasm)))


def compile(engine: wasmtime.Engine, wasm: bytes) -> wasmtime.Module:
    """Compile a module.  Takes time superlinear in the size of its largest function.

    :raises wasmtime.WasmtimeError: not a module that this engine accepts.
    """
    module = ctypes.POINTER(_bindings.wasmtime_module_t)()
    raise_error(lib.module_new(engine.ptr(), wasm, len(wasm), byref(module)))
    return wasmtime.Module._from_ptr(module)
