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
from trio_wasmdbg.errors import GrowthRefusedError, OutOfBoundsError

__all__ = ["table_fill", "table_get", "table_grow", "table_set", "table_size"]


def table_size(store: Storelike, table: wasmtime.Table) -> int:
    """Number of elements."""
    handle = StoreHandle.of(store)
    handle.check(table)
    size: int = lib.table_size(handle.context, byref(table._table))
    return size


def table_get(store: Storelike, table: wasmtime.Table, index: int) -> Any:
    """An element: a :class:`wasmtime.Func`, an externref's object, or None for null.

    :raises OutOfBoundsError: outside of the table.
    """
    handle = StoreHandle.of(store)
    handle.check(table)
    raw = lib.wasmtime_val_t()
    if index < 0 or not lib.table_get(handle.context, byref(table._table), index, byref(raw)):
        raise OutOfBoundsError(f"element {index} is outside of the table")
    return from_raw(handle, ctypes.addressof(raw), owned=True)


def table_set(
    store: Storelike, table: wasmtime.Table, index: int, value: object, valtype: str = "funcref"
) -> None:
    """Set an element.

    :raises OutOfBoundsError: outside of the table.
    :raises TypeError: wrong Python type for ``valtype``.
    :raises ValueError: a function of another store.
    :raises wasmtime.WasmtimeError: the table's elements have another type.
    """
    table_fill(store, table, index, 1, value, valtype)


def table_fill(
    store: Storelike, table: wasmtime.Table, first: int, count: int, value: object, valtype: str = "funcref"
) -> None:
    """Set ``count`` elements from ``first`` on; all, or none.

    Raises what :func:`table_set` does.
    """
    handle = StoreHandle.of(store)
    size = table_size(handle, table)
    if first < 0 or first + count > size:
        what = f"element {first} is" if count == 1 else f"{count} elements from {first} on are"
        raise OutOfBoundsError(f"{what} outside of the table, which has {size}")
    raw = lib.wasmtime_val_t()
    to_raw(handle, valtype, value, ctypes.addressof(raw))
    try:
        for index in range(first, first + count):
            # If one is of the wrong type, so is the first.
            raise_error(lib.table_set(handle.context, byref(table._table), index, byref(raw)))
    finally:
        unroot(ctypes.addressof(raw))


def table_grow(
    store: Storelike, table: wasmtime.Table, count: int, value: object, valtype: str = "funcref"
) -> int:
    """Add elements to a table; what it had before.

    :raises GrowthRefusedError: its maximum, or a limit of the store, does not allow it.
    :raises TypeError: wrong Python type for ``valtype``.
    :raises ValueError: a function, or the table, is of another store.
    """
    handle = StoreHandle.of(store)
    handle.check(table)
    before = ctypes.c_uint64()
    raw = lib.wasmtime_val_t()
    to_raw(handle, valtype, value, ctypes.addressof(raw))
    try:
        if count >> 64:
            raise wasmtime.WasmtimeError("too many elements")
        raise_error(lib.table_grow(handle.context, byref(table._table), count, byref(raw), byref(before)))
    except wasmtime.WasmtimeError as error:
        raise GrowthRefusedError(f"the table can't grow by {count} elements: {error}") from error
    finally:
        unroot(ctypes.addressof(raw))
    return before.value
