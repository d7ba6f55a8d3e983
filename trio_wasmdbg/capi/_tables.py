"""Tables."""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import wasmtime

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._globals import raise_error
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.capi._values import from_raw, to_raw, unroot

__all__ = ["table_get", "table_set", "table_size"]


def table_size(store: Storelike, table: wasmtime.Table) -> int:
    """Number of elements."""
    handle = StoreHandle.of(store)
    handle.check(table)
    size: int = lib.table_size(handle.context, byref(table._table))
    return size


def table_get(store: Storelike, table: wasmtime.Table, index: int) -> Any:
    """An element: a :class:`wasmtime.Func`, an externref's object, or None for null.

    :raises IndexError: outside of the table.
    """
    handle = StoreHandle.of(store)
    handle.check(table)
    raw = lib.wasmtime_val_t()
    if index < 0 or not lib.table_get(handle.context, byref(table._table), index, byref(raw)):
        raise IndexError(f"element {index} is outside of the table")
    return from_raw(handle, ctypes.addressof(raw), owned=True)


def table_set(
    store: Storelike, table: wasmtime.Table, index: int, value: object, valtype: str = "funcref"
) -> None:
    """Set an element.

    :raises IndexError: outside of the table.
    :raises TypeError: wrong Python type for ``valtype``.
    :raises ValueError: a function of another store.
    :raises wasmtime.WasmtimeError: the table's elements have another type.
    """
    handle = StoreHandle.of(store)
    size = table_size(handle, table)
    if not 0 <= index < size:
        raise IndexError(f"element {index} is outside of the table, which has {size}")
    raw = lib.wasmtime_val_t()
    to_raw(handle, valtype, value, ctypes.addressof(raw))
    try:
        raise_error(lib.table_set(handle.context, byref(table._table), index, byref(raw)))
    finally:
        unroot(ctypes.addressof(raw))
