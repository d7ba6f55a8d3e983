"""Linear memories: bounds-checked bytes and little-endian integers at addresses."""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Any, Final

import wasmtime

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._globals import raise_error
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.errors import GrowthRefusedError, OutOfBoundsError, StoreClosedError

__all__ = ["MemoryView", "memory_grow"]

_U32: Final = Struct("<I")
_U64: Final = Struct("<Q")


class MemoryView:
    """Access to one memory, while its guest is paused.

    Every access is bounds-checked and raises :class:`~trio_wasmdbg.errors.OutOfBoundsError` (nothing is
    read or written then), and :class:`~trio_wasmdbg.errors.StoreClosedError` once the store has been
    closed.  Keeps the store alive.

    ``memory.grow`` may move a memory, so its place is asked for at every access; with ``fixed=True`` it
    is asked for once, which is right only for a memory whose minimum equals its maximum.
    """

    __slots__ = ("_address", "_bytes", "_handle", "_item", "_require_open", "_size", "_store", "fixed")

    def __init__(
        self, store: Storelike, memory: wasmtime.Memory | wasmtime.SharedMemory, *, fixed: bool = False
    ) -> None:
        """:raises ValueError: the memory is of another store."""
        self._handle = StoreHandle.of(store)
        self._handle.check(memory)
        self._store = self._handle.store
        self._require_open = self._store._context  # raises ValueError once it is closed
        self._item = memory
        self.fixed = fixed
        self._size = -1
        self._address = 0
        self._bytes = memoryview(b"")
        self._locate()

    def _locate(self) -> memoryview:
        # The current bytes.  A view of the old place is never kept when the memory may move.
        if self._size >= 0 and self.fixed:
            try:
                self._require_open()
            except ValueError:
                raise StoreClosedError("the wasmtime.Store has been closed") from None
            return self._bytes
        context = self._handle.context
        if isinstance(self._item, wasmtime.SharedMemory):
            size, address = self._item.data_len(), lib.address_of(self._item.data_ptr())
        else:
            item = ctypes.addressof(self._item._memory)
            size, address = lib.memory_data_size(context, item), lib.memory_data(context, item) or 0
        if size != self._size or address != self._address:
            self._size, self._address = size, address
            self._bytes = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
        return self._bytes

    def _at(self, address: int, size: int) -> memoryview:
        data = self._locate()
        if address < 0 or size < 0 or address + size > self._size:
            raise OutOfBoundsError(
                f"{size} bytes at {address:#x} are outside of the memory, which has {self._size:#x} bytes"
            )
        return data

    @property
    def size(self) -> int:
        """Bytes."""
        self._locate()
        return self._size

    def read(self, address: int, size: int) -> bytes:
        """A copy of ``size`` bytes."""
        return bytes(self._at(address, size)[address : address + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrite bytes."""
        self._at(address, len(data))[address : address + len(data)] = data

    def fill(self, address: int, size: int, byte: int) -> None:
        """Set ``size`` bytes to one value (0 to 255)."""
        self._at(address, size)
        ctypes.memset(self._address + address, byte, size)

    def u8(self, address: int) -> int:
        """The byte at an address."""
        return self._at(address, 1)[address]

    def set_u8(self, address: int, value: int) -> None:
        """Set one byte (0 to 255)."""
        self._at(address, 1)[address] = value

    def u32(self, address: int) -> int:
        """The unsigned 32-bit integer at an address."""
        value: int = self.unpack(_U32, address)[0]
        return value

    def set_u32(self, address: int, value: int) -> None:
        """Set an unsigned 32-bit integer."""
        _U32.pack_into(self._at(address, 4), address, value)

    def unpack(self, layout: Struct, address: int) -> tuple[Any, ...]:
        """The values of a structure at an address."""
        # This is done several times at each stop, so a fixed memory goes straight there.
        if self.fixed and 0 <= address <= self._size - layout.size:
            try:
                self._require_open()
            except ValueError:
                raise StoreClosedError("the wasmtime.Store has been closed") from None
            return layout.unpack_from(self._bytes, address)
        return layout.unpack_from(self._at(address, layout.size), address)

    def u64(self, address: int) -> int:
        """The unsigned 64-bit integer at an address."""
        value: int = _U64.unpack_from(self._at(address, 8), address)[0]
        return value

    def set_u64(self, address: int, value: int) -> None:
        """Set an unsigned 64-bit integer."""
        _U64.pack_into(self._at(address, 8), address, value)

    def view(self) -> memoryview:
        """The memory's bytes, writable and not copied.

        Valid until the guest runs (or, of a fixed memory, until the store is closed): an access after
        that ends the process.
        """
        return self._locate()


def memory_grow(store: Storelike, memory: wasmtime.Memory | wasmtime.SharedMemory, pages: int) -> int:
    """Add pages to a memory; what it had before.

    :raises GrowthRefusedError: its maximum, or a limit of the store, does not allow it.
    :raises ValueError: the memory is of another store.
    """
    handle = StoreHandle.of(store)
    handle.check(memory)
    before = ctypes.c_uint64()
    try:
        if pages >> 64:
            raise wasmtime.WasmtimeError("too many pages")
        if isinstance(memory, wasmtime.SharedMemory):
            return int(memory.grow(pages))
        item = ctypes.addressof(memory._memory)
        raise_error(lib.memory_grow(handle.context, item, pages, ctypes.byref(before)))
    except wasmtime.WasmtimeError as error:
        raise GrowthRefusedError(f"the memory can't grow by {pages} pages: {error}") from error
    return before.value
