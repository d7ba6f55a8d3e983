"""Bytes of sections, vectors, types and instructions.  Spec: "Binary Format"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ._instructions import BlockType, MemArg
from ._leb import sleb32, sleb33, sleb64, uleb
from ._opcodes import Imm, Op
from ._types import FuncType, GlobalType, Limits, MemoryType, TableType, ValType

__all__ = [
    "MAGIC",
    "block_type",
    "func_type",
    "global_type",
    "instruction",
    "limits",
    "local_groups",
    "memarg",
    "memory_type",
    "name",
    "section",
    "table_type",
    "vector",
]

MAGIC = b"\0asm\x01\0\0\0"
"""What a core module of version 1 begins with."""


def name(text: str) -> bytes:
    """A name: its UTF-8 length, and UTF-8."""
    data = text.encode()
    return uleb(len(data)) + data


def vector(items: Iterable[bytes]) -> bytes:
    """A vector of encoded items."""
    parts = list(items)
    return uleb(len(parts)) + b"".join(parts)


def section(id: int, payload: bytes) -> bytes:
    """A section with its header."""
    return bytes((id,)) + uleb(len(payload)) + payload


def func_type(type: FuncType) -> bytes:
    """A function type as an entry of the type section."""
    return b"\x60" + vector(t.encode() for t in type.params) + vector(t.encode() for t in type.results)


def limits(value: Limits, *, memory: bool) -> bytes:
    """Limits, as of a table or of a memory."""
    custom = memory and value.page_size_log2 != 16
    flags = (value.maximum is not None) | value.shared << 1 | value.is64 << 2 | custom << 3
    out = bytes((flags,)) + uleb(value.minimum)
    if value.maximum is not None:
        out += uleb(value.maximum)
    return out + uleb(value.page_size_log2) if custom else out


def table_type(type: TableType) -> bytes:
    """A table type."""
    return type.ref.encode() + limits(type.limits, memory=False)


def memory_type(type: MemoryType) -> bytes:
    """A memory type."""
    return limits(type.limits, memory=True)


def global_type(type: GlobalType) -> bytes:
    """A global type."""
    return type.valtype.encode() + (b"\x01" if type.mutable else b"\x00")


def local_groups(types: Sequence[ValType]) -> bytes:
    """The locals declaration of a body; neighbours of one type are grouped."""
    groups: list[tuple[int, ValType]] = []
    for type in types:
        if groups and groups[-1][1] == type:
            groups[-1] = (groups[-1][0] + 1, type)
        else:
            groups.append((1, type))
    return vector(uleb(count) + type.encode() for count, type in groups)


def memarg(value: MemArg) -> bytes:
    """A memarg; the memory index is only written if it is not 0."""
    align, offset, memory = value
    if memory:
        return uleb(align | 0x40) + uleb(memory) + uleb(offset)
    return uleb(align) + uleb(offset)


def block_type(value: BlockType) -> bytes:
    """A block type."""
    if value.type_index is not None:
        return sleb33(value.type_index)
    return value.results[0].encode() if value.results else b"\x40"


def instruction(op: Op, imm: Any = None) -> bytes:
    """An instruction, numbers the shortest way; *imm* is what :class:`Imm` says for ``op.imm``."""
    return op.encoding + _immediate(op.imm, imm)


def _immediate(kind: Imm, imm: Any) -> bytes:
    if kind is Imm.NONE or kind is Imm.END:
        return b""
    if Imm.LOCAL <= kind <= Imm.ELEM:
        return uleb(imm)
    if Imm.F32 <= kind <= Imm.SHUFFLE:
        return bytes(imm)
    if Imm.DATA_MEMORY <= kind <= Imm.TYPE_TYPE:
        return uleb(imm[0]) + uleb(imm[1])
    if kind is Imm.I32:
        return sleb32(imm)
    if kind is Imm.I64:
        return sleb64(imm)
    if kind is Imm.MEMARG:
        return memarg(imm)
    if kind is Imm.MEMARG_LANE:
        return memarg(imm[0]) + bytes((imm[1],))
    if kind is Imm.LANE or kind is Imm.FENCE:
        return bytes((imm,))
    if kind is Imm.BLOCK:
        return block_type(imm)
    if kind is Imm.BR_TABLE:
        return vector(map(uleb, imm.targets)) + uleb(imm.default)
    if kind is Imm.CALL_INDIRECT:
        return uleb(imm.type_index) + uleb(imm.table)
    if kind is Imm.SELECT:
        return vector(t.encode() for t in imm)
    if kind is Imm.HEAP_TYPE:
        return sleb33(imm)
    if kind is Imm.TRY_TABLE:
        return block_type(imm.block) + vector(
            bytes((c.kind,)) + (b"" if c.tag is None else uleb(c.tag)) + uleb(c.label) for c in imm.catches
        )
    if kind is Imm.BR_ON_CAST:
        flags = imm.source.nullable | imm.target.nullable << 1
        return bytes((flags,)) + uleb(imm.label) + sleb33(imm.source.heap) + sleb33(imm.target.heap)
    raise ValueError(f"can't encode an immediate of kind {kind.name}")
