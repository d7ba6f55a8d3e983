"""Exceptions of the guest, made and taken out by the host."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref

import wasmtime
from wasmtime import _bindings

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._globals import raise_error
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.capi._values import WasmException, signature_at, to_raw, unroot

__all__ = ["make_exception", "tag_params", "take_exception", "trap_that_throws"]


def tag_params(store: Storelike, tag: wasmtime.Tag) -> tuple[str, ...]:
    """The types of what exceptions of a tag carry, as text.

    :raises ValueError: the tag belongs to another store.
    """
    handle = StoreHandle.of(store)
    handle.check(tag)
    pointer = lib.tag_type(handle.context, byref(tag._tag))
    try:
        return signature_at(lib.tagtype_functype(pointer)).params
    finally:
        lib.tagtype_delete(pointer)


def make_exception(store: Storelike, tag: wasmtime.Tag, values: Sequence[object]) -> WasmException:
    """A new exception.

    :raises TypeError, ValueError: the values are not what the tag's exceptions carry; the tag belongs to
        another store.
    :raises wasmtime.WasmtimeError: Wasmtime has no room for it, or the engine has no exceptions.
    """
    handle = StoreHandle.of(store)
    types = tag_params(handle, tag)
    if len(values) != len(types):
        raise TypeError(f"exceptions of this tag carry ({', '.join(types)}), not {len(values)} values")
    cells = (lib.wasmtime_val_t * len(types))()
    base = ctypes.addressof(cells)
    try:
        for number, (valtype, value) in enumerate(zip(types, values, strict=True)):
            to_raw(handle, valtype, value, base + lib.VAL_SIZE * number)
        root = _bindings.wasmtime_exnref_t()
        raise_error(lib.exnref_new(handle.context, byref(tag._tag), base, len(types), byref(root)))
    finally:
        for number in range(len(types)):
            unroot(base + lib.VAL_SIZE * number)
    return WasmException(handle, root)


def take_exception(handle: StoreHandle) -> WasmException | None:
    """The exception that has ended a call, if one has; it is then forgotten by the store."""
    root = _bindings.wasmtime_exnref_t()
    if not lib.context_take_exception(handle.context, byref(root)):
        return None
    return WasmException(handle, root)


def trap_that_throws(handle: StoreHandle, exception: WasmException) -> int:
    """The ``wasm_trap_t *`` with which a host function throws; the store remembers the exception.

    :raises ValueError: it belongs to another store.
    """
    if exception._handle is not handle:
        raise ValueError("the exception belongs to another wasmtime.Store")
    pointer: int = lib.context_set_exception(handle.context, byref(exception._raw))
    return pointer
