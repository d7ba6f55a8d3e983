"""The records that a decoded module is made of.

Everything that lies in the file is kept as a byte range, so that a rewriter can copy what it does
not change; all offsets are file offsets.  Spec: "Structure, Modules" and "Binary Format, Modules".
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property

from attrs import field, frozen

from ..errors import MalformedModuleError
from ._names import Names, decode_names
from ._types import (
    CompositeType,
    FuncType,
    GlobalType,
    MemoryType,
    TableType,
    TagType,
    ValType,
)

__all__ = [
    "Body",
    "CustomSection",
    "DataSegment",
    "ElementSegment",
    "Export",
    "ExternKind",
    "Function",
    "Global",
    "Import",
    "Memory",
    "Module",
    "Range",
    "Section",
    "SectionId",
    "SegmentMode",
    "Table",
    "Tag",
    "TypeEntries",
    "TypeInfo",
]


class SectionId(IntEnum):
    """Section numbers."""

    CUSTOM = 0
    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    ELEMENT = 9
    CODE = 10
    DATA = 11
    DATA_COUNT = 12
    TAG = 13


class ExternKind(IntEnum):
    """What an import or export is."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3
    TAG = 4


class SegmentMode(IntEnum):
    """How an element or data segment is used."""

    ACTIVE = 0
    PASSIVE = 1
    DECLARED = 2


@frozen
class Range:
    """Bytes ``[start, end)`` of the file."""

    start: int
    end: int


@frozen
class Section:
    """One section; ``[start, end)`` is its payload, ``header_start`` the place of its id byte."""

    id: int
    header_start: int
    start: int
    end: int


@frozen
class CustomSection:
    """A custom section; ``[start, end)`` is its contents after the name."""

    name: str
    start: int
    end: int


@frozen
class TypeEntries:
    """The type section's entries, to be copied and appended to.

    :ivar count: entries of the vector: recursion groups, not types.
    :ivar start: file offset of the first entry (after the count); == ``end`` if there is none.
    """

    count: int
    start: int
    end: int


@frozen
class TypeInfo:
    """What the GC proposal adds to a type definition.

    :ivar supertypes: type indices (at most one in valid modules).
    :ivar group: index of the first type of its recursion group.
    :ivar group_size: number of types in the group.
    """

    final: bool
    supertypes: tuple[int, ...]
    group: int
    group_size: int


@frozen
class Import:
    """An import.

    :ivar desc: type index for a function, else its type record.
    :ivar index: its place in the index space of its kind.
    :ivar start: file offset of the import's entry, ``end`` the offset after it; of one in a group (compact
        import section proposal), of what it has for itself.
    """

    module: str
    name: str
    kind: ExternKind
    desc: int | TableType | MemoryType | GlobalType | TagType
    index: int
    start: int
    end: int


@frozen
class Body:
    """A function body's place in the file.

    :ivar start: first byte after the body's size (the count of local groups).
    :ivar code_start: first byte of the first instruction.
    :ivar end: first byte after the final ``end``.
    :ivar local_groups: declared locals, without the parameters, as (count, type).
    """

    start: int
    code_start: int
    end: int
    local_groups: tuple[tuple[int, ValType], ...]

    @property
    def local_count(self) -> int:
        """Number of declared locals, parameters not counted (at most 50,000)."""
        return sum(count for count, _ in self.local_groups)


@frozen
class Function:
    """A function of the index space; exactly one of ``import_`` and ``body`` is set."""

    index: int
    type_index: int
    type: FuncType
    import_: Import | None = None
    body: Body | None = None


@frozen
class Table:
    """A table; ``init`` is the range of its initialiser expression if it has one."""

    index: int
    type: TableType
    import_: Import | None = None
    init: Range | None = None


@frozen
class Memory:
    """A linear memory."""

    index: int
    type: MemoryType
    import_: Import | None = None


@frozen
class Global:
    """A global; ``init`` is the range of its initialiser expression (None if imported)."""

    index: int
    type: GlobalType
    import_: Import | None = None
    init: Range | None = None


@frozen
class Tag:
    """An exception tag."""

    index: int
    type: TagType
    import_: Import | None = None


@frozen
class Export:
    """An export; ``[start, end)`` is its whole entry."""

    name: str
    kind: ExternKind
    index: int
    start: int
    end: int


@frozen
class ElementSegment:
    """An element segment.

    :ivar table: table index of an active segment, else None.
    :ivar offset: range of the offset expression of an active segment.
    :ivar functions: function indices, if the segment is of that form.
    :ivar expressions: ranges of the initialiser expressions, if the segment is of that form.
    :ivar start: range of the whole entry, with ``end``.
    """

    index: int
    mode: SegmentMode
    table: int | None
    offset: Range | None
    ref: ValType
    functions: tuple[int, ...] | None = field(repr=False)
    expressions: tuple[Range, ...] | None = field(repr=False)
    start: int
    end: int


@frozen
class DataSegment:
    """A data segment; ``data`` is the range of its bytes, ``[start, end)`` that of its whole entry."""

    index: int
    mode: SegmentMode
    memory: int | None
    offset: Range | None
    data: Range
    start: int
    end: int


@frozen(eq=False)
class Module:
    """A decoded module.  Get one from :func:`decode_module`; compared and hashed by identity.

    All index spaces are whole: imports come first, with ``import_`` set.
    """

    data: bytes = field(repr=False)
    sections: tuple[Section, ...] = field(repr=False)
    types: tuple[CompositeType, ...] = field(repr=False)
    type_infos: tuple[TypeInfo, ...] = field(repr=False)
    type_entries: TypeEntries
    imports: tuple[Import, ...] = field(repr=False)
    functions: tuple[Function, ...] = field(repr=False)
    tables: tuple[Table, ...] = field(repr=False)
    memories: tuple[Memory, ...] = field(repr=False)
    globals: tuple[Global, ...] = field(repr=False)
    tags: tuple[Tag, ...] = field(repr=False)
    exports: tuple[Export, ...] = field(repr=False)
    start: int | None
    elements: tuple[ElementSegment, ...] = field(repr=False)
    data_segments: tuple[DataSegment, ...] = field(repr=False)
    data_count: int | None
    custom: tuple[CustomSection, ...] = field(repr=False)

    @cached_property
    def names(self) -> Names:
        """The name section, decoded on first use; whatever is damaged in it is left out."""
        ranges = [(c.start, c.end) for c in self.custom if c.name == "name"]
        return decode_names(self.data, ranges)

    @cached_property
    def imported_functions(self) -> int:
        """Number of imported functions, which is the index of the first defined one."""
        return sum(1 for i in self.imports if i.kind is ExternKind.FUNCTION)

    @cached_property
    def code_section(self) -> Section | None:
        """The code section; its ``start`` is where DWARF begins to count."""
        return next((s for s in self.sections if s.id == SectionId.CODE), None)

    def func_type(self, type_index: int) -> FuncType:
        """The function type at *type_index*.

        :raises MalformedModuleError: there is no such type, or it is no function type.
        """
        types = self.types
        if 0 <= type_index < len(types):
            found = types[type_index]
            if isinstance(found, FuncType):
                return found
            raise MalformedModuleError(f"type {type_index} is not a function type")
        raise MalformedModuleError(f"unknown type {type_index} (the module has {len(types)})")

    @cached_property
    def _export_names(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for export in self.exports:
            if export.kind is ExternKind.FUNCTION:
                names.setdefault(export.index, export.name)
        return names

    def function_name(self, index: int) -> str | None:
        """A name for a function: from the name section, else its (first) export, else its import; or None."""
        name = self.names.functions.get(index)
        if name is None:
            name = self._export_names.get(index)
        if name is None and 0 <= index < len(self.functions):
            import_ = self.functions[index].import_
            if import_ is not None:
                return f"{import_.module}.{import_.name}"
        return name
