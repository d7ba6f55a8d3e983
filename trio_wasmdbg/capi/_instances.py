"""Instances and linkers, kept apart from the user's own objects.

The user hands us a :class:`wasmtime.Linker`; :meth:`RawLinker.clone_of` copies it, so that what we
define never shows up there.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any, TypeAlias

import wasmtime
from wasmtime import _bindings, _ffi
from wasmtime._extern import wrap_extern

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._store import StoreHandle, Storelike
from trio_wasmdbg.errors import NotFoundError

__all__ = ["Extern", "RawInstance", "RawLinker"]

Extern: TypeAlias = (
    wasmtime.Func | wasmtime.Table | wasmtime.Memory | wasmtime.SharedMemory | wasmtime.Global | wasmtime.Tag
)

# Where wasmtime-py's classes keep their structure (SharedMemory has a pointer).
_STRUCTURES = {
    wasmtime.Func: "_func",
    wasmtime.Table: "_table",
    wasmtime.Memory: "_memory",
    wasmtime.Global: "_global",
    wasmtime.Tag: "_tag",
}


class RawInstance:
    """An instance in a store.

    It is freed with its store, never before; a store holds 10,000 by default.

    :ivar handle: the store's handle.
    """

    __slots__ = ("_instance", "handle")

    def __init__(self, handle: StoreHandle, instance: Any) -> None:
        self.handle = handle
        self._instance = instance

    @classmethod
    def of(cls, store: Storelike, instance: wasmtime.Instance) -> RawInstance:
        """The same instance as one of wasmtime-py."""
        return cls(StoreHandle.of(store), instance._instance)

    def as_instance(self) -> wasmtime.Instance:
        """The same instance as wasmtime-py's class."""
        return wasmtime.Instance._from_raw(self._instance)

    def get(self, name: str) -> Extern | None:
        """The export of that name, or None.

        :raises StoreClosedError: the store has been closed.
        """
        text = name.encode()
        item = _bindings.wasmtime_extern_t()
        if not lib.instance_export_get(
            self.handle.context, byref(self._instance), text, len(text), byref(item)
        ):
            return None
        found: Extern = wrap_extern(item)
        _leave_union(found)
        return found

    def export(self, name: str) -> Any:
        """The export of that name: a Func, Memory, Global, Table, SharedMemory or Tag.

        :raises NotFoundError: there is none.
        :raises StoreClosedError: the store has been closed.
        """
        found = self.get(name)
        if found is None:
            raise NotFoundError(f"the instance has no export {name!r}")
        return found

    def exports(self) -> dict[str, Extern]:
        """All exports, in the module's order."""
        exports: dict[str, Extern] = {}
        context, index = self.handle.pointer, 0
        name, size = ctypes.POINTER(ctypes.c_char)(), ctypes.c_size_t()
        while True:
            item = _bindings.wasmtime_extern_t()
            if not _bindings.wasmtime_instance_export_nth(
                context, byref(self._instance), index, byref(name), byref(size), byref(item)
            ):
                return exports
            exports[ctypes.string_at(name, size.value).decode()] = wrap_extern(item)
            index += 1


def _leave_union(item: Extern) -> None:
    """Give *item* a structure of its own: a third of the memory of one that keeps the whole union."""
    name = _STRUCTURES.get(type(item))
    if name is not None:
        structure = getattr(item, name)
        setattr(item, name, type(structure).from_buffer_copy(structure))


class RawLinker:
    """A linker of our own.

    :ivar engine: the :class:`wasmtime.Engine` it belongs to.
    """

    __slots__ = ("_linker", "engine")

    def __init__(self, linker: wasmtime.Linker, engine: wasmtime.Engine) -> None:
        """Not for users: see :meth:`new` and :meth:`clone_of`."""
        self._linker = linker
        self.engine = engine

    @classmethod
    def new(cls, engine: wasmtime.Engine) -> RawLinker:
        """An empty linker."""
        return cls(wasmtime.Linker(engine), engine)

    @classmethod
    def clone_of(cls, linker: wasmtime.Linker) -> RawLinker:
        """A copy of a user's linker, with all its definitions; the original is never changed."""
        copy: wasmtime.Linker = wasmtime.Linker.__new__(wasmtime.Linker)
        copy._set_ptr(_bindings.wasmtime_linker_clone(linker.ptr()))
        copy.engine = linker.engine
        return cls(copy, linker.engine)

    @property
    def pointer(self) -> Any:
        """The ``wasmtime_linker_t *``."""
        return self._linker.ptr()

    @property
    def linker(self) -> wasmtime.Linker:
        """The same linker as wasmtime-py's class, for its other methods."""
        return self._linker

    def allow_shadowing(self, allow: bool) -> None:
        """Whether a name may be defined again."""
        self._linker.allow_shadowing = allow

    def define(self, store: Storelike, module: str, name: str, item: Extern) -> None:
        """Define an item.

        :raises ValueError: it belongs to another store.
        :raises wasmtime.WasmtimeError: the name is taken.
        """
        handle = StoreHandle.of(store)
        handle.check(item)
        if not isinstance(item, wasmtime.SharedMemory):
            self._linker.define(handle.store, module, name, item)
            return
        # wasmtime-py's own way raises TypeError for these: it takes a pointer to the pointer.
        raw = _bindings.wasmtime_extern_t()
        raw.kind = _ffi.WASMTIME_EXTERN_SHAREDMEMORY
        raw.of.sharedmemory = item.ptr()
        module_text, name_text = module.encode(), name.encode()
        error = _bindings.wasmtime_linker_define(
            self.pointer,
            handle.pointer,
            ctypes.create_string_buffer(module_text),
            len(module_text),
            ctypes.create_string_buffer(name_text),
            len(name_text),
            byref(raw),
        )
        if bool(error):
            raise wasmtime.WasmtimeError._from_ptr(error)

    def define_instance(self, store: Storelike, name: str, instance: RawInstance) -> None:
        """Define all exports of an instance, under a module name.

        :raises ValueError: it belongs to another store.
        :raises wasmtime.WasmtimeError: a name is taken.
        """
        handle = StoreHandle.of(store)
        if instance.handle is not handle:
            raise ValueError("the instance belongs to another wasmtime.Store")
        self._linker.define_instance(handle.store, name, instance.as_instance())

    def get(self, store: Storelike, module: str, name: str) -> Extern:
        """What is defined under a name.

        :raises NotFoundError: nothing is.
        """
        handle = StoreHandle.of(store)
        module_text, name_text = module.encode(), name.encode()
        item = _bindings.wasmtime_extern_t()
        if not lib.linker_get(
            self.pointer,
            handle.context,
            module_text,
            len(module_text),
            name_text,
            len(name_text),
            byref(item),
        ):
            raise NotFoundError(f"the linker has no {module!r} {name!r}")
        found: Extern = wrap_extern(item)
        _leave_union(found)
        return found
