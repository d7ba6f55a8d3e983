"""Reading value, reference and heap types.  Spec: "Binary Format, Types"."""

from __future__ import annotations

from ._leb import read_s33
from ._problems import BytesError, UnsupportedBytesError
from ._types import (
    F32,
    F64,
    HEAP_NAMES,
    I8,
    I16,
    I32,
    I64,
    V128,
    ValType,
    ref_type,
)

__all__ = ["SHORT_TYPES", "read_heap_type", "read_ref_type", "read_storage_type", "read_valtype"]

SHORT_TYPES: dict[int, ValType] = {t.code: t for t in (I32, I64, F32, F64, V128)}
"""Value types of one byte."""
SHORT_TYPES.update({heap & 0x7F: ref_type(True, heap) for heap in HEAP_NAMES})

_UNSUPPORTED_HEAP_TYPES = {
    0x68: "cont (proposal stack-switching)",
    0x75: "nocont (proposal stack-switching)",
    0x65: "shared (proposal shared-everything-threads)",
    0x62: "exact (proposal custom-descriptors)",
}


def read_heap_type(data: bytes, pos: int, end: int) -> tuple[int, int]:
    """A heap type: a type index, or the negative number of an abstract one."""
    heap, after = read_s33(data, pos, end)
    if heap < 0 and heap not in HEAP_NAMES:
        name = _UNSUPPORTED_HEAP_TYPES.get(heap & 0x7F) if heap >= -64 else None
        if name is not None:
            raise UnsupportedBytesError(f"heap type {name} is not supported", pos)
        raise BytesError(f"unknown heap type {heap}", pos)
    return heap, after


def read_valtype(data: bytes, pos: int, end: int) -> tuple[ValType, int]:
    """A value type."""
    if pos >= end:
        raise BytesError("unexpected end", pos)
    code = data[pos]
    short = SHORT_TYPES.get(code)
    if short is not None:
        return short, pos + 1
    if code == 0x63 or code == 0x64:
        heap, after = read_heap_type(data, pos + 1, end)
        return ref_type(code == 0x63, heap), after
    if code in _UNSUPPORTED_HEAP_TYPES:
        raise UnsupportedBytesError(f"references to {_UNSUPPORTED_HEAP_TYPES[code]} are not supported", pos)
    raise BytesError(f"unknown value type {code:#x}", pos)


def read_storage_type(data: bytes, pos: int, end: int) -> tuple[ValType, int]:
    """A value type or ``i8`` or ``i16``."""
    if pos < end and data[pos] in (0x77, 0x78):
        return (I8 if data[pos] == 0x78 else I16), pos + 1
    return read_valtype(data, pos, end)


def read_ref_type(data: bytes, pos: int, end: int) -> tuple[ValType, int]:
    """A reference type."""
    found, after = read_valtype(data, pos, end)
    if found.heap is None:
        raise BytesError(f"{found} is not a reference type", pos)
    return found, after
