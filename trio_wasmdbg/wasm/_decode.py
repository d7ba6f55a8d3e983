"""Reading a module: its sections, one function each.  Spec: "Binary Format, Modules"."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from ..errors import MalformedModuleError
from ._leb import read_u32, read_u64
from ._module import (
    Body,
    CustomSection,
    DataSegment,
    ElementSegment,
    Export,
    ExternKind,
    Function,
    Global,
    Import,
    Memory,
    Module,
    Range,
    Section,
    SectionId,
    SegmentMode,
    Table,
    Tag,
    TypeEntries,
    TypeInfo,
)
from ._pace import Tick, in_pieces, no_tick
from ._problems import BytesError, UnsupportedBytesError
from ._read import skip_expression
from ._read_types import read_ref_type, read_storage_type, read_valtype
from ._types import (
    FUNCREF,
    ArrayType,
    CompositeType,
    FieldType,
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    StructType,
    TableType,
    TagType,
    ValType,
)

__all__ = ["MAX_LOCALS", "decode_module"]

MAX_LOCALS = 50_000
"""Declared locals of a function beyond which Wasmtime (and every browser) refuses a module."""

# Spec, "Binary Format, Modules": the order of sections (tag comes after memory, data count before code).
_ORDER = {section: n for n, section in enumerate((1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11))}


@define
class _Cursor:
    """A place in the file that may not move beyond *end*."""

    data: bytes
    pos: int
    end: int

    def byte(self) -> int:
        if self.pos >= self.end:
            raise BytesError("unexpected end", self.pos)
        self.pos += 1
        return self.data[self.pos - 1]

    def u32(self) -> int:
        value, self.pos = read_u32(self.data, self.pos, self.end)
        return value

    def u64(self) -> int:
        value, self.pos = read_u64(self.data, self.pos, self.end)
        return value

    def count(self, what: str) -> int:
        """The length of a vector; every element takes at least one byte."""
        start = self.pos
        value = self.u32()
        if value > self.end - self.pos:
            raise BytesError(f"{value} {what} can't be in the bytes that are left: unexpected end", start)
        return value

    def skip(self, size: int) -> Range:
        start = self.pos
        if size > self.end - start:
            raise BytesError(f"{size} bytes are announced, {self.end - start} left: unexpected end", start)
        self.pos += size
        return Range(start, self.pos)

    def name(self) -> str:
        start = self.pos
        where = self.skip(self.u32())
        try:
            return self.data[where.start : where.end].decode("utf-8")
        except UnicodeDecodeError:
            raise BytesError("malformed UTF-8 encoding", start) from None

    def valtype(self) -> ValType:
        type, self.pos = read_valtype(self.data, self.pos, self.end)
        return type

    def valtypes(self, what: str) -> tuple[ValType, ...]:
        return tuple([self.valtype() for _ in range(self.count(what))])

    def ref_type(self) -> ValType:
        type, self.pos = read_ref_type(self.data, self.pos, self.end)
        return type

    def field_type(self) -> FieldType:
        storage, self.pos = read_storage_type(self.data, self.pos, self.end)
        return FieldType(storage, self.flag("mutability"))

    def flag(self, what: str) -> bool:
        value = self.byte()
        if value > 1:
            raise BytesError(f"malformed {what}", self.pos - 1)
        return bool(value)

    def limits(self, memory: bool) -> Limits:
        start = self.pos
        flags = self.byte()
        if flags >= (16 if memory else 8):
            raise BytesError("malformed limits flags", start)
        is64 = bool(flags & 4)
        read = self.u64 if is64 else self.u32
        minimum = read()
        maximum = read() if flags & 1 else None
        page = self.u32() if flags & 8 else 16
        if page not in (0, 16):
            raise BytesError("invalid custom page size", start)
        return Limits(minimum, maximum, is64, bool(flags & 2), page)

    def global_type(self) -> GlobalType:
        return GlobalType(self.valtype(), self.flag("mutability"))

    def table_type(self) -> TableType:
        return TableType(self.ref_type(), self.limits(memory=False))

    def expression(self) -> Range:
        start = self.pos
        self.pos = skip_expression(self.data, start, self.end)
        return Range(start, self.pos)


@define
class _Builder:
    """A module under construction."""

    data: bytes
    tick: Tick
    sections: list[Section] = field(factory=list)
    types: list[CompositeType] = field(factory=list)
    type_infos: list[TypeInfo] = field(factory=list)
    type_entries: TypeEntries = field(factory=lambda: TypeEntries(0, 0, 0))
    imports: list[Import] = field(factory=list)
    declared: list[int] = field(factory=list)
    functions: list[Function] = field(factory=list)
    bodies: list[Body] = field(factory=list)
    tables: list[Table] = field(factory=list)
    memories: list[Memory] = field(factory=list)
    globals: list[Global] = field(factory=list)
    tags: list[Tag] = field(factory=list)
    exports: list[Export] = field(factory=list)
    start: int | None = None
    elements: list[ElementSegment] = field(factory=list)
    data_segments: list[DataSegment] = field(factory=list)
    data_count: int | None = None
    custom: list[CustomSection] = field(factory=list)

    def func_type(self, index: int, offset: int) -> FuncType:
        if index >= len(self.types):
            raise BytesError(f"unknown type {index}", offset)
        found = self.types[index]
        if not isinstance(found, FuncType):
            raise BytesError(f"type {index} is not a function type", offset)
        return found


def decode_module(data: bytes | bytearray | memoryview, tick: Tick = no_tick) -> Module:
    """Decode a module (not its function bodies' instructions: :func:`read_body` does that).

    :param tick: called now and then.
    :raises MalformedModuleError: *data* is not a core module; says what is wrong and where.
    :raises UnsupportedFeatureError: a component, or a feature that can't be read.
    """
    data = bytes(data)
    if data[:4] != b"\0asm":
        raise MalformedModuleError("magic header not detected: not a WebAssembly module", offset=0)
    if len(data) < 8 or data[4:8] != b"\1\0\0\0":
        if data[6:8] == b"\1\0":
            raise UnsupportedBytesError("a WebAssembly component, not a core module", 4)
        raise MalformedModuleError("unknown binary version", offset=4)
    builder = _Builder(data, tick)
    pos, last = 8, -1
    while pos < len(data):
        header = pos
        id = data[pos]
        size, start = read_u32(data, pos + 1, len(data))
        pos = start + size
        if pos > len(data):
            raise BytesError(f"section {id} runs over the end of the file: unexpected end", header)
        if id == SectionId.CUSTOM:
            cursor = _Cursor(data, start, pos)
            builder.custom.append(CustomSection(cursor.name(), cursor.pos, pos))
        else:
            if id not in _ORDER:
                raise BytesError(f"malformed section id {id}", header)
            if _ORDER[id] <= last:
                raise BytesError(f"section {id} stands in the wrong place, or twice", header)
            last = _ORDER[id]
            cursor = _Cursor(data, start, pos)
            _SECTIONS[id](builder, cursor)
            if cursor.pos != pos:
                raise BytesError(f"section size mismatch in section {id}", cursor.pos)
        builder.sections.append(Section(id, header, start, pos))
    return _finish(builder)


def _finish(b: _Builder) -> Module:
    if len(b.bodies) != len(b.declared):
        raise MalformedModuleError(
            f"function and code section have inconsistent lengths ({len(b.declared)} and {len(b.bodies)})"
        )
    if b.data_count is not None and b.data_count != len(b.data_segments):
        raise MalformedModuleError(
            "data count and data section have inconsistent lengths "
            f"({b.data_count} and {len(b.data_segments)})"
        )
    for type_index, body in in_pieces(list(zip(b.declared, b.bodies, strict=True)), b.tick):
        type = b.func_type(type_index, body.start)
        b.functions.append(Function(len(b.functions), type_index, type, None, body))
    spaces = {
        ExternKind.FUNCTION: len(b.functions),
        ExternKind.TABLE: len(b.tables),
        ExternKind.MEMORY: len(b.memories),
        ExternKind.GLOBAL: len(b.globals),
        ExternKind.TAG: len(b.tags),
    }
    for export in b.exports:
        if export.index >= spaces[export.kind]:
            raise BytesError(f"unknown {export.kind.name.lower()} {export.index}", export.start)
    if b.start is not None and b.start >= len(b.functions):
        raise MalformedModuleError(f"unknown start function {b.start}")
    for element in b.elements:
        if element.table is not None and element.table >= len(b.tables):
            raise BytesError(f"unknown table {element.table}", element.start)
        if element.functions and max(element.functions) >= len(b.functions):
            raise BytesError(f"unknown function {max(element.functions)}", element.start)
    for segment in b.data_segments:
        if segment.memory is not None and segment.memory >= len(b.memories):
            raise BytesError(f"unknown memory {segment.memory}", segment.start)
    return Module(
        data=b.data,
        sections=tuple(b.sections),
        types=tuple(b.types),
        type_infos=tuple(b.type_infos),
        type_entries=b.type_entries,
        imports=tuple(b.imports),
        functions=tuple(b.functions),
        tables=tuple(b.tables),
        memories=tuple(b.memories),
        globals=tuple(b.globals),
        tags=tuple(b.tags),
        exports=tuple(b.exports),
        start=b.start,
        elements=tuple(b.elements),
        data_segments=tuple(b.data_segments),
        data_count=b.data_count,
        custom=tuple(b.custom),
    )


def _types(b: _Builder, c: _Cursor) -> None:
    count = c.u32()  # an entry may be an empty recursion group, still two bytes
    start = c.pos
    if count > (c.end - start):
        raise BytesError(f"{count} types can't be in the bytes that are left: unexpected end", start)
    for _ in range(count):
        first = len(b.types)
        if c.pos < c.end and c.data[c.pos] == 0x4E:
            c.pos += 1
            size = c.count("types")
            for _ in range(size):
                _sub_type(b, c, first, size)
        else:
            _sub_type(b, c, first, 1)
    b.type_entries = TypeEntries(count, start, c.pos)


_UNSUPPORTED_TYPES = {
    0x65: "shared types (proposal shared-everything-threads)",
    0x5D: "continuation types (proposal stack-switching)",
    0x4C: "descriptors (proposal custom-descriptors)",
    0x4D: "descriptors (proposal custom-descriptors)",
}


def _sub_type(b: _Builder, c: _Cursor, group: int, group_size: int) -> None:
    start = c.pos
    form = c.byte()
    final = True
    supertypes: tuple[int, ...] = ()
    if form in (0x50, 0x4F):
        final = form == 0x4F
        supertypes = tuple([c.u32() for _ in range(c.count("supertypes"))])
        form = c.byte()
    type: CompositeType
    if form == 0x60:
        type = FuncType(c.valtypes("parameters"), c.valtypes("results"))
    elif form == 0x5F:
        type = StructType(tuple([c.field_type() for _ in range(c.count("fields"))]))
    elif form == 0x5E:
        type = ArrayType(c.field_type())
    elif form in _UNSUPPORTED_TYPES:
        raise UnsupportedBytesError(f"{_UNSUPPORTED_TYPES[form]} are not supported", start)
    else:
        raise BytesError(f"unknown type form {form:#x}", start)
    b.types.append(type)
    b.type_infos.append(TypeInfo(final, supertypes, group, group_size))


def _tag_type(b: _Builder, c: _Cursor) -> TagType:
    if c.byte() != 0:
        raise BytesError("malformed tag attribute", c.pos - 1)
    start = c.pos
    index = c.u32()
    return TagType(index, b.func_type(index, start))


# The compact import section proposal: what stands in place of an import's kind, after an empty name.
_ONE_MODULE, _ONE_MODULE_AND_TYPE = 0x7F, 0x7E

_ImportType = int | TableType | MemoryType | GlobalType | TagType


def _imports(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("imports")), b.tick):
        start = c.pos
        module, name = c.name(), c.name()
        form = c.data[c.pos] if not name and c.pos < c.end else None
        if form == _ONE_MODULE:
            c.pos += 1
            for _ in in_pieces(range(c.count("imports")), b.tick):
                start, name = c.pos, c.name()
                _import(b, module, name, _import_type(b, c), start, c.pos)
        elif form == _ONE_MODULE_AND_TYPE:
            c.pos += 1
            type = _import_type(b, c)
            for _ in in_pieces(range(c.count("imports")), b.tick):
                start, name = c.pos, c.name()
                _import(b, module, name, type, start, c.pos)
        else:
            _import(b, module, name, _import_type(b, c), start, c.pos)


def _import_type(b: _Builder, c: _Cursor) -> _ImportType:
    kind_at = c.pos
    number = c.byte()
    if number == 0x20:
        raise UnsupportedBytesError("exact imports (proposal custom-descriptors) are not supported", kind_at)
    if number > 4:
        raise BytesError("malformed import kind", kind_at)
    kind = ExternKind(number)
    if kind is ExternKind.FUNCTION:
        at = c.pos
        type_index = c.u32()
        b.func_type(type_index, at)
        return type_index
    if kind is ExternKind.TABLE:
        return c.table_type()
    if kind is ExternKind.MEMORY:
        return MemoryType(c.limits(memory=True))
    return c.global_type() if kind is ExternKind.GLOBAL else _tag_type(b, c)


def _import(b: _Builder, module: str, name: str, type: _ImportType, start: int, end: int) -> None:
    def made(kind: ExternKind, index: int) -> Import:
        b.imports.append(Import(module, name, kind, type, index, start, end))
        return b.imports[-1]

    if isinstance(type, int):
        import_ = made(ExternKind.FUNCTION, len(b.functions))
        b.functions.append(Function(len(b.functions), type, b.func_type(type, start), import_))
    elif isinstance(type, TableType):
        b.tables.append(Table(len(b.tables), type, made(ExternKind.TABLE, len(b.tables))))
    elif isinstance(type, MemoryType):
        b.memories.append(Memory(len(b.memories), type, made(ExternKind.MEMORY, len(b.memories))))
    elif isinstance(type, GlobalType):
        b.globals.append(Global(len(b.globals), type, made(ExternKind.GLOBAL, len(b.globals))))
    else:
        b.tags.append(Tag(len(b.tags), type, made(ExternKind.TAG, len(b.tags))))


def _functions(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("functions")), b.tick):
        start = c.pos
        index = c.u32()
        b.func_type(index, start)
        b.declared.append(index)


def _tables(b: _Builder, c: _Cursor) -> None:
    for _ in range(c.count("tables")):
        init = None
        if c.pos < c.end and c.data[c.pos] == 0x40:
            c.pos += 1
            if c.byte() != 0:
                raise BytesError("malformed table", c.pos - 1)
            type = c.table_type()
            init = c.expression()
        else:
            type = c.table_type()
        b.tables.append(Table(len(b.tables), type, None, init))


def _memories(b: _Builder, c: _Cursor) -> None:
    for _ in range(c.count("memories")):
        b.memories.append(Memory(len(b.memories), MemoryType(c.limits(memory=True))))


def _tags(b: _Builder, c: _Cursor) -> None:
    for _ in range(c.count("tags")):
        b.tags.append(Tag(len(b.tags), _tag_type(b, c)))


def _globals(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("globals")), b.tick):
        type = c.global_type()
        b.globals.append(Global(len(b.globals), type, None, c.expression()))


def _exports(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("exports")), b.tick):
        start = c.pos
        name = c.name()
        kind = c.byte()
        if kind > 4:
            raise BytesError("malformed export kind", c.pos - 1)
        index = c.u32()
        b.exports.append(Export(name, ExternKind(kind), index, start, c.pos))


def _start(b: _Builder, c: _Cursor) -> None:
    b.start = c.u32()


def _elements(b: _Builder, c: _Cursor) -> None:
    """Spec, "Element Section": bit 0 not active, bit 1 explicit index or declared, bit 2 expressions."""
    for _ in in_pieces(range(c.count("element segments")), b.tick):
        start = c.pos
        flags = c.u32()
        if flags > 7:
            raise BytesError("malformed elements segment kind", start)
        table: int | None = None
        offset: Range | None = None
        mode = SegmentMode.ACTIVE
        if flags & 1:
            mode = SegmentMode.DECLARED if flags & 2 else SegmentMode.PASSIVE
        else:
            table = c.u32() if flags & 2 else 0
            offset = c.expression()
        ref = FUNCREF
        if flags & 3:
            if flags & 4:
                ref = c.ref_type()
            elif c.byte() != 0:
                raise BytesError("malformed element kind", c.pos - 1)
        functions: tuple[int, ...] | None = None
        expressions: tuple[Range, ...] | None = None
        if flags & 4:
            expressions = tuple([c.expression() for _ in in_pieces(range(c.count("elements")), b.tick)])
        else:
            functions = tuple([c.u32() for _ in in_pieces(range(c.count("elements")), b.tick)])
        index = len(b.elements)
        b.elements.append(
            ElementSegment(index, mode, table, offset, ref, functions, expressions, start, c.pos)
        )


def _data_count(b: _Builder, c: _Cursor) -> None:
    b.data_count = c.u32()


def _code(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("function bodies")), b.tick):
        size = c.u32()
        where = c.skip(size)
        body = _Cursor(c.data, where.start, where.end)
        groups: list[tuple[int, ValType]] = []
        total = 0
        for _ in range(body.count("groups of locals")):
            at = body.pos
            count = body.u32()
            groups.append((count, body.valtype()))
            total += count
            if total > 0xFFFFFFFF:
                raise BytesError("too many locals", at)
        if total > MAX_LOCALS:
            raise UnsupportedBytesError(
                f"{total} locals in a function: too many (the limit is {MAX_LOCALS})", where.start
            )
        b.bodies.append(Body(where.start, body.pos, where.end, tuple(groups)))


def _data(b: _Builder, c: _Cursor) -> None:
    for _ in in_pieces(range(c.count("data segments")), b.tick):
        start = c.pos
        flags = c.u32()
        if flags > 2:
            raise BytesError("malformed data segment kind", start)
        memory: int | None = None
        offset: Range | None = None
        mode = SegmentMode.PASSIVE
        if flags != 1:
            mode = SegmentMode.ACTIVE
            memory = c.u32() if flags == 2 else 0
            offset = c.expression()
        contents = c.skip(c.u32())
        index = len(b.data_segments)
        b.data_segments.append(DataSegment(index, mode, memory, offset, contents, start, c.pos))


_SECTIONS: dict[int, Callable[[_Builder, _Cursor], None]] = {
    SectionId.TYPE: _types,
    SectionId.IMPORT: _imports,
    SectionId.FUNCTION: _functions,
    SectionId.TABLE: _tables,
    SectionId.MEMORY: _memories,
    SectionId.TAG: _tags,
    SectionId.GLOBAL: _globals,
    SectionId.EXPORT: _exports,
    SectionId.START: _start,
    SectionId.ELEMENT: _elements,
    SectionId.DATA_COUNT: _data_count,
    SectionId.CODE: _code,
    SectionId.DATA: _data,
}
