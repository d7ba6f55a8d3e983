"""The shadow stack pointer: defined by the first instance of a store, imported by all others.

There is one in a store, so that frames of different instances order by address.  The machine code comes to a
global of the instance's own by one load, and to an imported one by two, of which one waits for the other.
So a rewritten module defines it, and the id of the current instance beside it, and exports both.  For a
store that has an instance already, the module is made to import them (:func:`importing`): their indices
come behind those of the imported globals either way, so that nothing in the code changes.

Nor does any of its offsets, so that one map of the code is right for both: what the sections before the code
grow by is taken from a custom section that is there for this.
"""

from __future__ import annotations

from typing import Final

from ..wasm import I32, MAGIC, ExternKind, GlobalType, SectionId, global_type, name, read_u32, section, uleb
from . import _emit as emit
from ._layout import STACK_SIZE, Reserved

__all__ = ["DEFINITIONS", "OWN_GLOBALS", "importing", "imports", "reserve"]

_TYPE: Final = global_type(GlobalType(I32, True))

DEFINITIONS: Final = tuple(_TYPE + emit.i32_const(value) + emit.END for value in (STACK_SIZE, 0))
"""The entries of the global section: the stack pointer, and the id of the current instance; none is."""

OWN_GLOBALS: Final = len(DEFINITIONS)
"""How many they are, in a rewritten module as in its companions."""

_HEADERS: Final = 24
"""Bytes by which the headers of two sections may grow, at most."""


def imports(names: Reserved) -> list[bytes]:
    """The entries of the import section that take their place."""
    prefix, kind = name(names.prefix), bytes((ExternKind.GLOBAL,))
    return [prefix + name(item) + kind + _TYPE for item in (names.sp, names.instance)]


def _filler(size: int) -> bytes:
    """A custom section without a name that is so many bytes longer than an empty one."""
    # Spec, "Binary format, integers": of an unsigned 32-bit integer, five bytes may be used.
    length = bytes(1 + size >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)) + b"\x00"
    return b"".join([bytes((SectionId.CUSTOM,)), length, name(""), bytes(size)])


def reserve(names: Reserved) -> bytes:
    """What a rewritten module begins with: the room for :func:`importing`."""
    return _filler(sum(map(len, imports(names))) + _HEADERS)


def importing(wasm: bytes, names: Reserved) -> bytes:
    """A rewritten module that imports what it defined, with its code at the same offset."""
    position = len(MAGIC) + len(reserve(names))
    missing, out = b"".join(imports(names)), list[bytes]()
    while position < len(wasm) and wasm[position] != SectionId.CODE:
        id, (size, start) = wasm[position], read_u32(wasm, position + 1, len(wasm))
        end = start + size
        if missing and id not in (SectionId.CUSTOM, SectionId.TYPE):
            count, entries = 0, b""
            if id == SectionId.IMPORT:
                count, start = read_u32(wasm, start, end)
                entries = wasm[start:end]
            out.append(section(SectionId.IMPORT, uleb(count + OWN_GLOBALS) + entries + missing))
            missing = b""
        if id == SectionId.GLOBAL:
            count, start = read_u32(wasm, start, end)
            start += sum(map(len, DEFINITIONS))
            out.append(section(id, uleb(count - OWN_GLOBALS) + wasm[start:end]))
        elif id != SectionId.IMPORT:
            out.append(wasm[position:end])
        position = end
    left = position - len(MAGIC) - len(_filler(0)) - sum(map(len, out))
    return b"".join([MAGIC, _filler(left), *out, wasm[position:]])
