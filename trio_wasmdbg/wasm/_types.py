"""WebAssembly types as values: number, vector and reference types, function, struct and array types, limits.

Spec: "Structure, Types" and "Binary Format, Types".
"""

from __future__ import annotations

from functools import lru_cache

from attrs import field, frozen

__all__ = [
    "EXNREF",
    "EXTERNREF",
    "F32",
    "F64",
    "FUNCREF",
    "HEAP_NAMES",
    "I8",
    "I16",
    "I32",
    "I64",
    "V128",
    "ArrayType",
    "CompositeType",
    "FieldType",
    "FuncType",
    "GlobalType",
    "Limits",
    "MemoryType",
    "StructType",
    "TableType",
    "TagType",
    "ValType",
    "ref_type",
]

HEAP_FUNC, HEAP_EXTERN, HEAP_ANY, HEAP_EQ, HEAP_I31 = -16, -17, -18, -19, -20
HEAP_STRUCT, HEAP_ARRAY, HEAP_EXN = -21, -22, -23
HEAP_NOEXN, HEAP_NOFUNC, HEAP_NOEXTERN, HEAP_NONE = -12, -13, -14, -15

HEAP_NAMES: dict[int, str] = {
    HEAP_FUNC: "func",
    HEAP_EXTERN: "extern",
    HEAP_ANY: "any",
    HEAP_EQ: "eq",
    HEAP_I31: "i31",
    HEAP_STRUCT: "struct",
    HEAP_ARRAY: "array",
    HEAP_EXN: "exn",
    HEAP_NOEXN: "noexn",
    HEAP_NOFUNC: "nofunc",
    HEAP_NOEXTERN: "noextern",
    HEAP_NONE: "none",
}
"""Abstract heap types by their number: the one-byte code read as a signed LEB (0x70 is -16)."""

_SHORT_REF_NAMES = {
    HEAP_NOEXN: "nullexnref",
    HEAP_NOFUNC: "nullfuncref",
    HEAP_NOEXTERN: "nullexternref",
    HEAP_NONE: "nullref",
}

_NUMBER_NAMES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x78: "i8", 0x77: "i16"}


@frozen(cache_hash=True, repr=False)
class ValType:
    """A value type (or one of the packed storage types ``i8`` and ``i16``).

    Use the constants and :func:`ref_type` rather than the constructor: equal types are then mostly
    the same object, which makes comparing them cheap.

    :ivar code: first byte of the shortest encoding, e.g. ``0x7f`` for ``i32``, ``0x64`` for ``(ref 3)``.
    :ivar heap: for reference types: a type index (>= 0), or an abstract heap type (< 0,
        see :data:`HEAP_NAMES`); None otherwise.
    :ivar nullable: whether null is a value of this reference type; False for numbers.
    """

    code: int
    heap: int | None = None
    nullable: bool = False

    @property
    def is_ref(self) -> bool:
        """A reference type: its values can't be stored in linear memory."""
        return self.heap is not None

    @property
    def is_num(self) -> bool:
        """One of ``i32 i64 f32 f64``."""
        return 0x7C <= self.code <= 0x7F

    @property
    def is_vec(self) -> bool:
        """``v128``."""
        return self.code == 0x7B

    def encode(self) -> bytes:
        """The shortest encoding of this type."""
        if self.heap is None or self.code not in (0x63, 0x64):
            return bytes((self.code,))
        return bytes((self.code,)) + _heap_bytes(self.heap)

    def __str__(self) -> str:
        if self.heap is None:
            return _NUMBER_NAMES.get(self.code, f"type({self.code:#x})")
        if self.nullable and self.heap < 0:
            return _SHORT_REF_NAMES.get(self.heap) or HEAP_NAMES[self.heap] + "ref"
        heap = HEAP_NAMES[self.heap] if self.heap < 0 else str(self.heap)
        return f"(ref null {heap})" if self.nullable else f"(ref {heap})"

    __repr__ = __str__


def _heap_bytes(heap: int) -> bytes:
    """A heap type as s33, the shortest way."""
    out = bytearray()
    while not -64 <= heap < 64:
        out.append(heap & 0x7F | 0x80)
        heap >>= 7
    out.append(heap & 0x7F)
    return bytes(out)


@lru_cache(maxsize=65536)
def ref_type(nullable: bool, heap: int) -> ValType:
    """The reference type to *heap*: a type index, or an abstract heap type's negative number."""
    if heap < 0:
        if heap not in HEAP_NAMES:
            raise ValueError(f"no abstract heap type {heap}")
        if nullable:
            return ValType(heap & 0x7F, heap, True)
    return ValType(0x63 if nullable else 0x64, heap, nullable)


I32 = ValType(0x7F)
I64 = ValType(0x7E)
F32 = ValType(0x7D)
F64 = ValType(0x7C)
V128 = ValType(0x7B)
I8 = ValType(0x78)
I16 = ValType(0x77)
FUNCREF = ref_type(True, HEAP_FUNC)
EXTERNREF = ref_type(True, HEAP_EXTERN)
EXNREF = ref_type(True, HEAP_EXN)


@frozen(cache_hash=True)
class FuncType:
    """A function type (also the type of a block that names a type index)."""

    params: tuple[ValType, ...]
    results: tuple[ValType, ...]

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.params))}) -> ({', '.join(map(str, self.results))})"


@frozen
class FieldType:
    """A field of a struct, or the element of an array.

    :ivar storage: a value type, or :data:`I8`, :data:`I16`.
    """

    storage: ValType
    mutable: bool

    @property
    def unpacked(self) -> ValType:
        """The type this field has on the operand stack."""
        return I32 if self.storage.code in (0x77, 0x78) else self.storage


_STORAGE_SIZES = {0x78: 1, 0x77: 2, 0x7F: 4, 0x7D: 4, 0x7E: 8, 0x7C: 8, 0x7B: 16}


def storage_size(field: FieldType) -> int:
    """Bytes that a field takes in a data segment.

    :raises KeyError: it holds references, which can't be there.
    """
    return _STORAGE_SIZES[field.storage.code]


@frozen
class StructType:
    """A GC struct type."""

    fields: tuple[FieldType, ...]


@frozen
class ArrayType:
    """A GC array type."""

    element: FieldType


CompositeType = FuncType | StructType | ArrayType


@frozen
class Limits:
    """Size limits of a table (elements) or memory (pages).

    :ivar is64: indices and addresses are ``i64`` (memory64 proposal).
    :ivar page_size_log2: 16 unless the custom-page-sizes proposal says otherwise; meaningless for tables.
    """

    minimum: int
    maximum: int | None = None
    is64: bool = False
    shared: bool = False
    page_size_log2: int = 16


@frozen
class GlobalType:
    """Type and mutability of a global."""

    valtype: ValType
    mutable: bool


@frozen
class TableType:
    """Element type and limits of a table."""

    ref: ValType
    limits: Limits

    @property
    def address_type(self) -> ValType:
        """``i32``, or ``i64`` for a 64-bit table."""
        return I64 if self.limits.is64 else I32


@frozen
class MemoryType:
    """Limits of a linear memory."""

    limits: Limits

    @property
    def address_type(self) -> ValType:
        """``i32``, or ``i64`` for a 64-bit memory."""
        return I64 if self.limits.is64 else I32


@frozen
class TagType:
    """Type of an exception tag.

    :ivar type: its parameters are the exception's values; it has no results.
    """

    type_index: int
    type: FuncType = field(repr=False)
