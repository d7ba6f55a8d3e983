"""What an instance lets its user see and change: memories, globals, tables, functions, tags.

Everything is numbered as in the original module, and whatever changes something changes it whole or
not at all: these are plain functions, which nothing cancels half-way.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from .. import capi
from ..errors import InternalError, NotFoundError, UsageError, WrongStateError
from ..instrument import Reserved
from ..wasm import NaN
from ._floats import carried, with_bits
from ._modules import GuestModule

if TYPE_CHECKING:
    from ._stores import StoreState

__all__ = ["NUMBERS", "InstanceAccess", "Item", "MemoryItem"]

NUMBERS: Final = {
    "u8": "<B", "s8": "<b", "u16": "<H", "s16": "<h", "u32": "<I", "s32": "<i", "u64": "<Q", "s64": "<q",
    "f32": "<f", "f64": "<d",
}  # fmt: skip
"""The numbers that memories are read and written by, little-endian, as :mod:`struct` has them."""

_OPAQUE_WORDS: Final = {
    "structref": "struct",
    "anyref": "a reference of the host",
    "externref": "a reference of the guest, made external",
}

MemoryItem = wasmtime.Memory | wasmtime.SharedMemory
Item = wasmtime.Func | MemoryItem | wasmtime.Global | wasmtime.Table | wasmtime.Tag


class InstanceAccess:
    """The part of :class:`GuestInstance` that reads and changes what the guest has."""

    _store: wasmtime.Store
    _state: StoreState
    _module: GuestModule
    _raw: capi.RawInstance
    _names: Reserved
    _exports: dict[str, Any] | None
    _import_names: dict[bytes, str] | None = None
    _own_imports: frozenset[str] = frozenset()
    """The functions imported of us, or of debugged instances: ``module.name``."""
    _id: int

    @property
    def exports(self) -> Mapping[str, Any]:
        """The original module's exports by name: ``wasmtime.Func``, ``Memory``, ``Global``, ``Table``."""
        if self._exports is None:
            self._exports = {
                export.name: self._raw.export(export.name) for export in self._module.original.exports
            }
            for name, item in self._exports.items():
                if isinstance(item, wasmtime.Func):
                    self._state.handed_out(item, name, None)
        return MappingProxyType(self._exports)

    # ── functions and tags ─────────────────────────────────────────────────────────────────────

    def func(self, function: int | str) -> wasmtime.Func:
        """A function by index, or by name (export, else name section), exported or not."""
        if isinstance(function, str):
            exported = self.exports.get(function)
            if isinstance(exported, wasmtime.Func):
                return exported
            found = self._module.functions_named(function)
            if not found:
                raise NotFoundError(f"no function named {function!r} in {self._module!r}")
            function = found[0]
        self._check("function", function, len(self._module.original.functions))
        func: wasmtime.Func = self._item(self._names.function(function), wasmtime.Func)
        inner = self._module.is_instrumented(function) and not self._module.plan(function).escapable
        self._state.handed_out(func, self._module.function_name(function), self._id if inner else None)
        return func

    def function_of(self, func: wasmtime.Func) -> int | None:
        """The index of a function of this instance, such as a table's element; None if it is not one.

        Looks through all functions of the module the first time it is asked.
        """
        self._require_quiet()
        return self._index_of(func)

    def _defines(self, func: wasmtime.Func) -> bool:
        """Whether a function is one of this instance's that has a body."""
        index = self._index_of(func)
        return index is not None and self._module.is_defined(index)

    def _knows(self, func: wasmtime.Func) -> bool:
        """Whether it has a body in this instance, or is its reference to a host function given to us."""
        return self._defines(func) or self._import_of(func) in self._own_imports

    def _index_of(self, func: wasmtime.Func) -> int | None:
        known = self._state.function_indices.get(self._id)
        if known is None:
            known = self._state.function_indices[self._id] = {
                capi.identity_of(self._item(self._names.function(index), wasmtime.Func)): index
                for index in range(len(self._module.original.functions))
            }
        return known.get(capi.identity_of(func))

    def describe_reference(self, value: object) -> str:
        """What a reference stands for, in words: ``→ function 12 'f'``, ``i31 -7``, ``struct``, ``null``, …

        Functions are numbered as in this instance's module; those that it does not have, as in the module of
        the instance that has them: ``→ function 3 'g' of instance 2``.  Anything else is the host's object,
        by its ``repr()``.  For functions, as slow as :meth:`function_of`.

        :param value: from a frame, a table or a global of the same store.
        """
        match value:
            case None:
                return "null"
            case wasmtime.Func():
                return f"→ {self._function_in_words(value)}"
            case capi.OpaqueReference("i31ref", number):
                return f"i31 {number}"
            case capi.OpaqueReference("arrayref", _, length):
                return f"array of {length}"
            case capi.OpaqueReference(kind):
                return _OPAQUE_WORDS.get(kind, kind)
            case capi.WasmException():
                tag = self.tag_of(value)
                return f"exception of {'a foreign tag' if tag is None else f'tag {tag}'}, {carried(value)!r}"
        return repr(value)

    def _function_in_words(self, func: wasmtime.Func) -> str:
        index = self.function_of(func)
        if index is not None:
            return f"function {index} {self._module.function_name(index)!r}"
        for other in self._state.instances:
            index = other.function_of(func)
            if index is not None:
                return f"function {index} {other.module.function_name(index)!r} of instance {other.id}"
        return "a function of the host or an opaque module"

    def tag(self, tag: int | str) -> wasmtime.Tag:
        """An exception tag by index, exported or not, or by its export's name."""
        if isinstance(tag, str):
            exported = self.exports.get(tag)
            if not isinstance(exported, wasmtime.Tag):
                raise NotFoundError(f"no tag is exported as {tag!r} by {self._module!r}")
            return exported
        self._check("tag", tag, len(self._module.original.tags))
        found: wasmtime.Tag = self._item(self._names.tag(tag), wasmtime.Tag)
        return found

    def make_exception(self, tag: int | str | wasmtime.Tag, *values: object) -> capi.WasmException:
        """A new exception, to be thrown by :meth:`Frame.throw_exception` or given to the guest.

        :param tag: by index, by its export's name, or any tag of the store (also a new one:
            ``wasmtime.Tag(store, type)``).
        :raises NotFoundError: there is no such tag.
        :raises TypeError, ValueError: the values are not what the tag's exceptions carry.
        """
        self._require_quiet()
        found = tag if isinstance(tag, wasmtime.Tag) else self.tag(tag)
        return capi.make_exception(self._store, found, values)

    def tag_of(self, exception: capi.WasmException) -> int | None:
        """The index of an exception's tag in this instance's module; None if it has none there."""
        self._require_quiet()
        wanted = capi.identity_of(exception.tag)
        for index in range(len(self._module.original.tags)):
            if capi.identity_of(self.tag(index)) == wanted:
                return index
        return None

    def identity(self, item: Item) -> Hashable:
        """What tells a function, memory, global, table or tag of this store from all others.

        Equal for two of Wasmtime's objects that stand for the same thing, whichever instances they come
        from; to be compared and hashed only.  Instances and modules are told apart as they are.
        """
        return type(item).__name__, capi.identity_of(item)

    def _import_of(self, func: wasmtime.Func) -> str | None:
        """``module.name``, if a function is this instance's reference to one that it imports."""
        if self._import_names is None:
            self._import_names = {
                capi.identity_of(self._item(self._names.function(function.index), wasmtime.Func)):
                f"{function.import_.module}.{function.import_.name}"
                for function in self._module.original.functions if function.import_ is not None
            }  # fmt: skip
        return self._import_names.get(capi.identity_of(func))

    # ── memories ───────────────────────────────────────────────────────────────────────────────

    def memory(self, index: int = 0) -> MemoryItem:
        """A memory by index, exported or not; a ``wasmtime.SharedMemory`` if it is shared."""
        self._check("memory", index, len(self._module.original.memories))
        name = self._names.memory(index)
        shared = self._module.original.memories[index].type.limits.shared
        found: MemoryItem = self._item(name, wasmtime.SharedMemory if shared else wasmtime.Memory)
        return found

    def _view(self, memory: int) -> capi.MemoryView:
        self._require_quiet()
        return capi.MemoryView(self._store, self.memory(memory))

    def memory_size(self, memory: int = 0) -> int:
        """Bytes of a memory, now."""
        return self._view(memory).size

    def page_size(self, memory: int = 0) -> int:
        """Bytes of a page of a memory: 65,536, unless the module says otherwise."""
        self._check("memory", memory, len(self._module.original.memories))
        return 1 << self._module.original.memories[memory].type.limits.page_size_log2

    def read_memory(self, address: int, size: int, *, memory: int = 0) -> bytes:
        """*size* bytes from *address*.

        :raises OutOfBoundsError: they are not all inside the memory.
        """
        return self._view(memory).read(address, size)

    def write_memory(self, address: int, data: bytes, *, memory: int = 0) -> None:
        """Write *data* at *address*.

        :raises OutOfBoundsError: it does not fit; nothing has been written.
        """
        self._view(memory).write(address, data)

    def read_number(self, address: int, kind: str = "s32", *, memory: int = 0) -> int | float:
        """The little-endian number at *address*.

        :param kind: ``u8 s8 u16 s16 u32 s32 u64 s64 f32 f64``.
        :raises OutOfBoundsError: it is not all inside the memory.
        :raises UsageError: another *kind*.
        """
        form = _number(kind)
        number: int | float = struct.unpack(form, self._view(memory).read(address, struct.calcsize(form)))[0]
        return number

    def write_number(self, address: int, kind: str, value: int | float, *, memory: int = 0) -> None:
        """Write a little-endian number at *address*.

        :param kind: as for :meth:`read_number`.
        :raises OutOfBoundsError: it does not fit there; nothing has been written.
        :raises UsageError: another *kind*.
        :raises ValueError, TypeError: *value* is no such number.
        """
        form = _number(kind)
        try:
            data = struct.pack(form, value)
        except OverflowError as error:
            raise ValueError(f"{value!r} does not fit into {kind}") from error
        except struct.error as error:
            if isinstance(value, int):
                raise ValueError(f"{value!r} does not fit into {kind}") from error
            raise TypeError(f"{value!r} is no {kind}") from error
        self._view(memory).write(address, data)

    def grow_memory(self, pages: int, *, memory: int = 0) -> int:
        """Add pages to a memory, as ``memory.grow`` does.

        :param pages: how many of :meth:`page_size` bytes.
        :returns: how many it had before.
        :raises GrowthRefusedError: its maximum, or the store's limits, do not allow it.
        """
        self._require_quiet()
        return capi.memory_grow(self._store, self.memory(memory), _count(pages))

    # ── globals ────────────────────────────────────────────────────────────────────────────────

    def global_(self, index: int) -> wasmtime.Global:
        """A global by index, exported or not."""
        self._check("global", index, len(self._module.original.globals))
        found: wasmtime.Global = self._item(self._names.global_(index), wasmtime.Global)
        return found

    def global_value(self, index: int) -> object:
        """A global's value: a signed int, a float, or what the reference stands for."""
        self._require_quiet()
        return self._global_value(index)

    def _global_value(self, index: int) -> object:
        return with_bits(capi.get_global(self._store, self.global_(index), bits=True))

    def set_global(self, index: int, value: object) -> None:
        """Set a mutable global.

        :raises UsageError: it is not mutable.
        :raises TypeError, ValueError: *value* is not of its type.
        """
        self._require_quiet()
        item = self.global_(index)
        kind = self._module.original.globals[index].type
        if not kind.mutable:
            raise UsageError(f"global {index} is not mutable")
        type_ = self._type_text(kind.valtype)
        if isinstance(value, NaN) and type_ == f"f{value.width}":
            value = capi.FloatBits(type_, value.bits)
        capi.set_global(self._store, item, type_, value)

    # ── tables ─────────────────────────────────────────────────────────────────────────────────

    def table(self, index: int = 0) -> wasmtime.Table:
        """A table by index, exported or not."""
        self._check("table", index, len(self._module.original.tables))
        found: wasmtime.Table = self._item(self._names.table(index), wasmtime.Table)
        return found

    def table_size(self, table: int = 0) -> int:
        """Elements of a table, now."""
        self._require_quiet()
        return capi.table_size(self._store, self.table(table))

    def table_element(self, index: int, *, table: int = 0) -> Any:
        """What an element's reference stands for: a ``wasmtime.Func``, the host's object, None for null, …

        Of a function, :meth:`function_of` tells the index.

        :raises OutOfBoundsError: the table has no such element.
        """
        self._require_quiet()
        return capi.table_get(self._store, self.table(table), index)

    def table_elements(self, *, table: int = 0) -> tuple[Any, ...]:
        """All elements, as :meth:`table_element` gives them."""
        self._require_quiet()
        item = self.table(table)
        return tuple(capi.table_get(self._store, item, i) for i in range(self.table_size(table)))

    def set_table_element(self, index: int, value: object, *, table: int = 0) -> None:
        """Set an element.

        :raises OutOfBoundsError: the table has no such element.
        :raises TypeError, ValueError, wasmtime.WasmtimeError: *value* is not of the elements' type.
        """
        self.fill_table(index, 1, value, table=table)

    def fill_table(self, first: int, count: int, value: object, *, table: int = 0) -> None:
        """Set *count* elements from *first* on.

        :raises OutOfBoundsError: the table does not have them all; none is changed then.
        :raises TypeError, ValueError, wasmtime.WasmtimeError: *value* is not of the elements' type;
            likewise.
        """
        self._require_quiet()
        valtype = self._element_type(table)
        capi.table_fill(self._store, self.table(table), first, _count(count), value, valtype)

    def grow_table(self, count: int, value: object = None, *, table: int = 0) -> int:
        """Add elements to a table, as ``table.grow`` does.

        :param value: of the new elements.
        :returns: how many it had before.
        :raises GrowthRefusedError: its maximum, or the store's limits, do not allow it.
        :raises TypeError, ValueError, wasmtime.WasmtimeError: *value* is not of the elements' type.
        """
        self._require_quiet()
        return capi.table_grow(
            self._store, self.table(table), _count(count), value, self._element_type(table)
        )

    # ── inside ─────────────────────────────────────────────────────────────────────────────────

    def _element_type(self, table: int) -> str:
        self._check("table", table, len(self._module.original.tables))
        return self._type_text(self._module.original.tables[table].type.ref)

    def _type_text(self, valtype: Any) -> str:
        """The type as `capi` wants it: of a reference to one of the module's own types, its hierarchy."""
        if not valtype.is_ref or str(valtype) in ("funcref", "externref"):
            return str(valtype)
        kind = self._module._instrumented.additions.reference_kind(valtype)
        return f"(ref {'null ' if valtype.nullable else ''}{kind})"

    def _check(self, what: str, index: int, count: int) -> None:
        if not 0 <= index < count:
            raise NotFoundError(f"no {what} {index}: the module has {count}")

    def _require_quiet(self) -> None:
        core = self._state.core
        if core is not None and core.calls.polls.under_way:
            raise WrongStateError("the guest is computing", state="running")

    def _item(self, name: str, kind: type[Any]) -> Any:
        item = self._raw.export(name)
        if not isinstance(item, kind):
            raise InternalError(f"the rewritten module has no {name!r} of kind {kind.__name__}")
        return item


def _number(kind: str) -> str:
    form = NUMBERS.get(kind)
    if form is None:
        raise UsageError(f"no kind of number is called {kind!r}: there are {', '.join(NUMBERS)}")
    return form


def _count(number: int) -> int:
    if number < 0:
        raise UsageError(f"can't add or set {number} of them")
    return number
