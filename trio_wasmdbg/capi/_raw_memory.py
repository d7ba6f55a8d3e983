"""Reading and writing at raw addresses, cheaply.

Inside a callback the guest's arguments are addresses.  Making a ctypes object for each costs more
than the access itself; ``struct`` on one buffer that spans the whole address space takes 50 ns
whatever it reads.  Nothing here checks anything: an address is only ever one that Wasmtime has just
given us, or one inside an array that we hold.
"""

from __future__ import annotations

import ctypes
import sys
from struct import Struct
from typing import Any, Final

__all__ = ["MEMORY", "pack", "read_bytes", "unpack", "write_bytes"]

#: Every address, as a writable buffer of bytes.  No memory is allocated for it.
MEMORY: Final[Any] = (ctypes.c_ubyte * sys.maxsize).from_address(0)


def pack(layout: Struct, address: int, *values: Any) -> None:
    """Write values at an address."""
    layout.pack_into(MEMORY, address, *values)


def unpack(layout: Struct, address: int) -> tuple[Any, ...]:
    """Read values at an address."""
    return layout.unpack_from(MEMORY, address)


def read_bytes(address: int, size: int) -> bytes:
    """A copy of the bytes at an address."""
    return ctypes.string_at(address, size)


def write_bytes(address: int, data: bytes) -> None:
    """Copy bytes to an address."""
    ctypes.memmove(address, data, len(data))
