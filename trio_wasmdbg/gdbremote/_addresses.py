"""LLDB's 64-bit addresses for WebAssembly: code and memories in one space.

Bits 63:62 say what is addressed, 61:32 which module or memory, 31:0 the offset in it; so also
where the guest's pointers have 32 bits.  For code the offset counts from the start of the module
*file*.  (LLDB, ``ProcessWasm.h``, ``wasm_addr_t``.)
"""

from __future__ import annotations

import enum

from attrs import frozen

__all__ = ["AddressKind", "WasmAddress"]

_OFFSET_BITS = 32
_ID_BITS = 30
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
_ID_MASK = (1 << _ID_BITS) - 1


class AddressKind(enum.IntEnum):
    """What an address is an address of: bits 63:62."""

    MEMORY = 0
    CODE = 1
    GLOBAL = 2
    INVALID = 3


@frozen
class WasmAddress:
    """One address, taken apart."""

    kind: AddressKind
    id: int
    """Of the module, or of the memory: 0 to 2³⁰ − 1 (LLDB 22 sees only 24 bits)."""
    offset: int
    """0 to 2³² − 1."""

    @classmethod
    def from_raw(cls, raw: int) -> WasmAddress:
        """Take a 64-bit number apart; every number below 2⁶⁴ is an address."""
        return cls(
            AddressKind(raw >> 62 & 3), raw >> _OFFSET_BITS & _ID_MASK, raw & _OFFSET_MASK
        )

    @classmethod
    def code(cls, module: int, offset: int) -> WasmAddress:
        """A place in a module's file."""
        return cls(AddressKind.CODE, module, offset)

    @classmethod
    def memory(cls, memory: int, offset: int = 0) -> WasmAddress:
        """A place in a memory."""
        return cls(AddressKind.MEMORY, memory, offset)

    @property
    def raw(self) -> int:
        """The 64-bit number."""
        return self.kind << 62 | (self.id & _ID_MASK) << _OFFSET_BITS | self.offset & _OFFSET_MASK

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.id} + {self.offset:#x}"
