"""Global variables, with a short way to an i32 (the shadow stack pointer is read at every pause)."""

from __future__ import annotations

import ctypes
from ctypes import byref
from struct import Struct
from typing import Any, Final

import wasmtime
from wasmtime import _bindings

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.capi._values import from_raw, to_raw, unroot

__all__ = ["I32Global", "get_global", "new_global", "raise_error", "set_global"]

_get_u32 = Struct("<8xI").unpack_from
_set_u32 = Struct("<QI").pack_into


def raise_error(pointer: int | None) -> None:
    """Raise the :class:`wasmtime.WasmtimeError` of a ``wasmtime_error_t *``, if it is one."""
    if pointer:
        raise wasmtime.WasmtimeError._from_ptr(
            ctypes.cast(pointer, ctypes.POINTER(_bindings.wasmtime_error_t))
        )


class I32Global:
    """One i32 global; values are unsigned.

    :ivar item: the :class:`wasmtime.Global`.
    """

    __slots__ = ("_address", "_cell", "_handle", "_item_address", "item")

    def __init__(self, store: Storelike, item: wasmtime.Global) -> None:
        """:raises ValueError: the global is of another store."""
        self._handle = StoreHandle.of(store)
        self._handle.check(item)
        self.item = item
        self._item_address = ctypes.addressof(item._global)
        self._cell = ctypes.create_string_buffer(lib.VAL_SIZE)
        self._address = ctypes.addressof(self._cell)

    def get(self) -> int:
        """The value, unsigned.

        :raises StoreClosedError: the store has been closed.
        """
        lib.global_get(self._handle.context, self._item_address, self._address)
        value: int = _get_u32(self._cell)[0]
        return value

    def set(self, value: int) -> None:
        """Change it.

        :param value: unsigned.
        :raises wasmtime.WasmtimeError: the global is immutable, or no i32.
        :raises StoreClosedError: the store has been closed.
        """
        _set_u32(self._cell, 0, lib.KIND_I32, value)
        raise_error(lib.global_set(self._handle.context, self._item_address, self._address))


_ANY_VAL: Final = lib.wasmtime_val_t


def get_global(store: Storelike, item: wasmtime.Global, *, bits: bool = False) -> Any:
    """A global's value (see :mod:`._values`).

    :raises ValueError: the global is of another store.
    """
    handle = StoreHandle.of(store)
    handle.check(item)
    raw = _ANY_VAL()
    lib.global_get(handle.context, byref(item._global), byref(raw))
    return from_raw(handle, ctypes.addressof(raw), owned=True, bits=bits)


def set_global(store: Storelike, item: wasmtime.Global, valtype: str, value: object) -> None:
    """Change a global.

    :raises TypeError: wrong Python type for ``valtype``.
    :raises ValueError: out of range; the global is of another store.
    :raises wasmtime.WasmtimeError: the global is immutable, or of another type.
    """
    handle = StoreHandle.of(store)
    handle.check(item)
    raw = _ANY_VAL()
    to_raw(handle, valtype, value, ctypes.addressof(raw))
    try:
        raise_error(lib.global_set(handle.context, byref(item._global), byref(raw)))
    finally:
        unroot(ctypes.addressof(raw))


def new_global(store: Storelike, valtype: str, mutable: bool, value: object) -> wasmtime.Global:
    """Make a global in a store.

    :raises TypeError: a type that can't be made here; wrong Python type for it.
    """
    handle = StoreHandle.of(store)
    kinds = {
        "i32": wasmtime.ValType.i32,
        "i64": wasmtime.ValType.i64,
        "f32": wasmtime.ValType.f32,
        "f64": wasmtime.ValType.f64,
        "funcref": wasmtime.ValType.funcref,
        "externref": wasmtime.ValType.externref,
    }
    if valtype not in kinds:
        raise TypeError(f"no global of type {valtype} can be made in Python")
    type_ = wasmtime.GlobalType(kinds[valtype](), mutable)
    raw, item = _ANY_VAL(), _bindings.wasmtime_global_t()
    to_raw(handle, valtype, value, ctypes.addressof(raw))
    try:
        error = _bindings.wasmtime_global_new(handle.pointer, type_.ptr(), byref(raw), byref(item))
        raise_error(lib.address_of(error))
    finally:
        unroot(ctypes.addressof(raw))
    return wasmtime.Global._from_raw(item)
