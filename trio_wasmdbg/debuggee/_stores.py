"""What a store keeps for the debugger, longer than any one debuggee.

One shadow stack pointer for all instrumented instances of the store, so that frames of different
instances order by address, and the id of the instance that is current: both are globals of the first
instance, and the others import them.  And the list of instances.
It hangs on the user's ``wasmtime.Store`` object, so it lives exactly as long.
"""

from __future__ import annotations

import weakref
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Final

import wasmtime

from .. import capi
from ..errors import InternalError
from ..instrument import STACK_SIZE, Reserved

if TYPE_CHECKING:
    from ._core import Core
    from ._host import HostFunction
    from ._instances import GuestInstance

__all__ = ["StoreState", "store_state"]

_ATTRIBUTE = "_trio_wasmdbg_state"
_FUNCTION = "_trio_wasmdbg_function"
_numbers = count(1)
_HEADER: Final = Struct("<III")


class _Constant:
    """Stands for a global while there is no instance that could have changed it."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value

    def get(self) -> int:
        return self._value

    def set(self, value: int) -> None:
        assert value == self._value


_NO_STACK: Final = _Constant(STACK_SIZE)
_NO_INSTANCE: Final = _Constant(0)


class StoreState:
    """The debugger's side of one ``wasmtime.Store``; satisfies ``engine.StackReader``."""

    def __init__(self, store: wasmtime.Store) -> None:
        # No reference to the store itself: it owns this object.
        self.sp: capi.I32Global | _Constant = _NO_STACK
        self.current: capi.I32Global | _Constant = _NO_INSTANCE
        self.countdown = capi.new_global(store, "i64", True, 0)
        """Instructions that slow twins still have to count, in a step of several."""
        self.instances: list[GuestInstance] = []
        self.host_functions: dict[int, HostFunction] = {}
        """Kept here and not in the C library's closures, which nothing collects."""
        self._defined: weakref.WeakKeyDictionary[wasmtime.Linker, set[str]] | None = None
        """By linker: the host functions that were given to us.  Most stores have none, and it takes half a
        kilobyte when it is empty."""
        self._number = next(_numbers)
        self.function_indices: dict[int, dict[bytes, int]] = {}
        """By instance: which of its functions have which identity, where somebody has asked."""
        self.core: Core | None = None
        """The debuggee that has this store now."""

    def instance(self, instance_id: int) -> GuestInstance:
        if not 1 <= instance_id <= len(self.instances):
            raise InternalError(f"no instrumented instance {instance_id} in this store")
        return self.instances[instance_id - 1]

    def own_stack(self, store: wasmtime.Store, sp: wasmtime.Global, current: wasmtime.Global) -> None:
        """Use the globals of the first instance."""
        self.sp, self.current = capi.I32Global(store, sp), capi.I32Global(store, current)

    def stack(self, names: Reserved) -> dict[str, wasmtime.Global]:
        """These globals, by the names under which others import them; none before there is an instance."""
        own = {names.sp: self.sp, names.instance: self.current}
        return {name: each.item for name, each in own.items() if isinstance(each, capi.I32Global)}

    @property
    def companions(self) -> int:
        """How many instances of the store hold slow twins and flavours."""
        return sum(instance.companions for instance in self.instances)

    # ── functions ──────────────────────────────────────────────────────────────────────────────

    def handed_out(self, func: wasmtime.Func, name: str, instance: int | None) -> None:
        """Remember a function of an instrumented instance that the user gets.

        On the function itself: a dictionary with weak keys would be the largest object of many stores.

        :param instance: the id of its instance, if it does not make it current: only its own instance calls
            it, as a rule.
        """
        setattr(func, _FUNCTION, (self._number, name, instance))

    def known(self, func: wasmtime.Func) -> tuple[str, int | None] | None:
        """What :meth:`handed_out` was told of a function, in this store."""
        number, name, instance = getattr(func, _FUNCTION, (0, "", None))
        return (name, instance) if number == self._number else None

    def define(self, linker: wasmtime.Linker, name: str) -> None:
        """Remember a host function, ``module.name``, that was given to us for this linker."""
        if self._defined is None:
            self._defined = weakref.WeakKeyDictionary()
        self._defined.setdefault(linker, set()).add(name)

    def defined(self, linker: wasmtime.Linker) -> frozenset[str]:
        """The host functions that were given to us for this linker, ``module.name``."""
        return frozenset(self._defined.get(linker, ()) if self._defined is not None else ())

    # ── engine.StackReader ─────────────────────────────────────────────────────────────────────

    def header(self, instance: int, address: int) -> tuple[int, int, int]:
        head, position, before = self.instance(instance)._debug_memory.unpack(_HEADER, address)
        return head, position, before

    def frame_size(self, instance: int, function: int) -> int:
        return self.instance(instance).module.plan(function).frame.size

    def is_escapable(self, instance: int, function: int) -> bool:
        return self.instance(instance).module.plan(function).escapable


def store_state(store: wasmtime.Store) -> StoreState:
    """The state of a store, made at first use."""
    state: StoreState | None = getattr(store, _ATTRIBUTE, None)
    if state is None:
        state = StoreState(store)
        setattr(store, _ATTRIBUTE, state)
    return state
