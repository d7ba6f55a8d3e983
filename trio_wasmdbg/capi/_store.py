"""One :class:`StoreHandle` per :class:`wasmtime.Store`: who is running in it, and is it still open.

The handle does not keep the store alive; what depends on the store (a call future, a memory view)
holds the store itself.  So a store is freed as early as without us, and never before a future of it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

import wasmtime

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.errors import InternalError, StoreClosedError

if TYPE_CHECKING:
    from trio_wasmdbg.capi._calls import CallFuture

__all__ = ["StoreHandle", "Storelike", "identity_of"]

_HANDLES: weakref.WeakKeyDictionary[wasmtime.Store, StoreHandle] = weakref.WeakKeyDictionary()


class StoreHandle:
    """What we know about one store.  Get it with :meth:`of`.

    :ivar engine: the store's :class:`wasmtime.Engine`.
    """

    __slots__ = ("__weakref__", "_context", "_is_async", "_live", "_reference", "_store_id", "engine")

    def __init__(self, store: wasmtime.Store) -> None:
        self._reference = weakref.ref(store)
        self.engine: wasmtime.Engine = store.engine
        #: Live call futures, outermost first.  Only the last one may be polled or deleted.
        self._live: list[CallFuture] = []
        self._store_id = 0
        #: Wasmtime knows that this store's guests may be suspended.
        self._is_async = False
        self._context: int = lib.address_of(self.pointer)

    @classmethod
    def of(cls, store: Storelike) -> StoreHandle:
        """The handle of a store; the same object every time."""
        if isinstance(store, StoreHandle):
            return store
        handle = _HANDLES.get(store)
        if handle is None:
            if not isinstance(store, wasmtime.Store):
                raise TypeError(f"expected a wasmtime.Store, not {type(store).__name__}")
            handle = _HANDLES.setdefault(store, cls(store))
        return handle

    @property
    def store(self) -> wasmtime.Store:
        """The store itself.

        :raises StoreClosedError: it has been garbage collected.
        """
        store = self._reference()
        if store is None:
            raise StoreClosedError("the wasmtime.Store has been garbage collected")
        return store

    @property
    def closed(self) -> bool:
        """Whether the store has been closed or freed."""
        store = self._reference()
        if store is None:
            return True
        try:
            store._context()
        except ValueError:
            return True
        return False

    @property
    def pointer(self) -> Any:
        """The ``wasmtime_context_t *``, as ctypes pointer object.

        :raises StoreClosedError: the store has been closed or garbage collected.
        """
        try:
            return self.store._context()
        except ValueError:
            raise StoreClosedError("the wasmtime.Store has been closed") from None

    @property
    def context(self) -> int:
        """The address of the ``wasmtime_context_t``.

        :raises StoreClosedError: the store has been closed or garbage collected.
        """
        try:
            self.store._context()
        except ValueError:
            raise StoreClosedError("the wasmtime.Store has been closed") from None
        return self._context

    @property
    def store_id(self) -> int:
        """The number that every function, memory, table and global of this store carries.

        Wasmtime ends the process when an object of another store is used; hence :meth:`check`.
        """
        if not self._store_id:
            pointer = self.pointer  # raises while we still know why
            del pointer
            kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=False)
            self._store_id = wasmtime.Global(self.store, kind, 0)._global.store_id
        return self._store_id

    def check(self, item: object) -> None:
        """Make sure that a function, memory, global, table or tag belongs to this store.

        :raises ValueError: it belongs to another one.
        """
        if isinstance(item, wasmtime.Func):
            owner = item._func.store_id
        elif isinstance(item, wasmtime.Global):
            owner = item._global.store_id
        elif isinstance(item, wasmtime.Memory):
            owner = item._memory._anon_1.store_id
        elif isinstance(item, wasmtime.Table):
            owner = item._table._anon_1.store_id
        elif isinstance(item, wasmtime.Tag):
            owner = item._tag._anon_1.store_id
        elif isinstance(item, wasmtime.SharedMemory):
            return  # belongs to an engine
        else:
            raise TypeError(f"expected a wasmtime Func, Global, Memory or Table, not {type(item).__name__}")
        if owner != self.store_id:
            raise ValueError(f"the {type(item).__name__} belongs to another wasmtime.Store")

    @property
    def futures(self) -> tuple[CallFuture, ...]:
        """The live (neither complete nor deleted) call futures, outermost first."""
        return tuple(self._live)

    @property
    def innermost(self) -> CallFuture | None:
        """The future that may be polled now, or None."""
        return self._live[-1] if self._live else None

    def _require_innermost(self, future: CallFuture, action: str) -> None:
        if not self._live or self._live[-1] is not future:
            raise InternalError(f"{action} a call future that is not the innermost live one of its store")

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._live)} live futures"
        return f"<StoreHandle {state}>"


def identity_of(item: object) -> bytes:
    """What tells a function, memory, global, table or tag from others, however many instances have it.

    :raises TypeError: it is none of these.
    """
    if isinstance(item, wasmtime.Global):
        return bytes(item._global)[:20]
    if isinstance(item, wasmtime.Memory | wasmtime.Table | wasmtime.Tag):
        parts = {wasmtime.Memory: "_memory", wasmtime.Table: "_table", wasmtime.Tag: "_tag"}
        raw = bytes(getattr(item, parts[type(item)]))
        # A u64, a u32, and after a gap another: what is in the gap, and behind, is left over from before.
        return raw[:12] + raw[16:20]
    if isinstance(item, wasmtime.SharedMemory):
        # Each of wasmtime-py's objects has a box of its own round it; but its bytes never move.
        return lib.address_of(item.data_ptr()).to_bytes(8, "little")
    if isinstance(item, wasmtime.Func):
        return bytes(item._func)
    raise TypeError(f"a {type(item).__name__} has no identity in a store")


#: What every function of this layer takes for a store.
Storelike: TypeAlias = wasmtime.Store | StoreHandle
