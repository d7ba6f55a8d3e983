"""The body's side: instantiate modules, define host functions, call into the guest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, final

import wasmtime

from .. import capi
from ..errors import NotFoundError
from ._capacity import check_room, maps_of_instance
from ._host import define_host_function
from ._instances import GuestInstance
from ._modules import GuestModule
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["Guest", "Imports"]

Imports: TypeAlias = Mapping[str, Mapping[str, Any] | GuestInstance]
"""``{"env": {"log": function, "memory": wasmtime.Memory}}``; a :class:`GuestInstance` may stand
for a whole inner mapping."""


@final
class Guest(metaclass=NoPublicConstructor):
    """What the body gets: its way into the guest.  Only valid while the body runs."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def store(self) -> wasmtime.Store:
        """The user's own store."""
        return self._core.store

    @property
    def single_step(self) -> bool:
        """Whether every instruction pauses."""
        return self._core.arming.decider.single_step

    @single_step.setter
    def single_step(self, on: bool) -> None:
        self._core.set_single_step(on)

    async def call(self, func: wasmtime.Func, *args: object) -> Any:
        """Call an exported function under the debugger; a checkpoint.

        :returns: None, the one result, or a tuple of them.
        :raises TypeError, ValueError: arguments that don't fit the function's type.
        :raises trio.BusyResourceError: another call is under way, and this is not inside a host
            function that it is suspended in.
        :raises wasmtime.Trap: the guest trapped.
        :raises wasmtime.ExitTrap: the guest ended itself by WASI's ``proc_exit``.
        :raises TooManyGuests: no room for one more fiber.

        An exception of a host function comes out as it is.  Cancelled: the guest stops at its next
        check site, its fiber unwinds through the debug callback, then Cancelled is raised here.
        """
        core = self._core
        name, opaque = core.describe(func)
        values = await core.calls.run(
            name,
            lambda: capi.start_call(core.store, func, args),
            opaque=opaque,
            instance=(core.state.known(func) or ("", None))[1],
        )
        if len(values) < 2:
            return values[0] if values else None
        return values

    def define(
        self,
        linker: wasmtime.Linker,
        module: str,
        name: str,
        type: wasmtime.FuncType,
        fn: Callable[..., Any],
    ) -> None:
        """Define a host function, plain or ``async def``, in a linker of the user's.

        It runs on the trio thread, off the guest's fiber, in the task that called into the guest,
        and may ``await guest.call(…)``.

        :raises wasmtime.WasmtimeError: the name is taken in this linker.
        """
        types = capi.signature_of_type(type)
        raw = capi.RawLinker(linker, linker.engine)
        define_host_function(self._core, raw, module, name, types.params, types.results, fn)

    async def instantiate(
        self,
        linker_or_imports: wasmtime.Linker | Imports | None,
        module: GuestModule | wasmtime.Module,
    ) -> Any:
        """Instantiate a module in the store and run its start function; a checkpoint.

        :param linker_or_imports: a linker, or a mapping by module and name of Wasmtime objects,
            Python functions (plain or ``async def``; their types are the module's), or
            :class:`GuestInstance` objects.  The linker is not changed.
        :param module: from :func:`load_module`; or an ordinary ``wasmtime.Module``, which runs as
            one opaque frame.
        :returns: a :class:`GuestInstance`, or for an ordinary module a ``wasmtime.Instance``.
        :raises wasmtime.WasmtimeError, NotFoundError: an import is missing or of the wrong type.
        :raises wasmtime.Trap: a segment does not fit, or the start function trapped.
        :raises TooManyGuests: no room for its memories, or for one more fiber.

        A module from :func:`load_module` is compiled once more, off the trio thread, when it first comes
        into a store that has a debuggable instance already: only the first has the shadow stack pointer.

        Cancelled: as :meth:`call`; an instance that was made already stays in the store, unused.
        """
        core = self._core
        if isinstance(linker_or_imports, wasmtime.Linker):
            given = linker_or_imports
        else:
            given = self.linker_for(module, linker_or_imports)
        linker = capi.RawLinker.clone_of(given)
        own_imports = _own_imports(core, given, module)
        if isinstance(module, wasmtime.Module):
            compiled = module
        elif not core.state.instances:
            compiled = module._compiled
        else:
            # Cancelled here: nothing has been started.
            compiled = await module._importing()
            names = module._instrumented.names
            for name, item in core.state.stack(names).items():
                linker.define(core.store, names.prefix, name, item)
        memories = len(module.original.memories) if isinstance(module, GuestModule) else 1
        check_room(maps_of_instance(memories + 1), lasting=True)
        values = await core.calls.run(
            "instantiation",
            lambda: capi.start_instantiate(core.store, linker, compiled),
            opaque=isinstance(module, wasmtime.Module),
        )
        raw: capi.RawInstance = values[0]
        if isinstance(module, wasmtime.Module):
            return raw.as_instance()
        instance: GuestInstance = GuestInstance._create(core.store, core.state, module, raw)
        instance._attach(core.store)
        instance._own_imports = own_imports
        await core.instance_created(instance)
        if module.original.start is not None:
            await self.call(instance.func(module.original.start))
        return instance

    def linker_for(
        self, module: GuestModule | wasmtime.Module, imports: Imports | None, *, wasi: bool = False
    ) -> wasmtime.Linker:
        """A new linker that holds what *module* imports, taken from *imports*.

        :param wasi: imports that are not given come from Wasmtime's own WASI.
        :raises NotFoundError: an import is in neither.
        :raises TypeError: what is given can't stand for the import.
        """
        core = self._core
        linker = capi.RawLinker.new(core.store.engine)
        if wasi:
            linker.linker.define_wasi()
            linker.allow_shadowing(True)
        compiled = module if isinstance(module, wasmtime.Module) else module._compiled
        wanted = {(each.module, each.name or ""): each for each in compiled.imports}
        for place, each in wanted.items():
            if wasi and place[0] in _WASI and place[1] not in _given(imports or {}, place[0]):
                continue
            item = _find(imports or {}, *place)
            if isinstance(item, capi.Extern):
                linker.define(core.store, *place, item)
            elif callable(item):
                types = _types(each)
                define_host_function(core, linker, *place, types.params, types.results, item)
            else:
                raise TypeError(f"import {place[0]}.{place[1]} can't be a {type(item).__name__}")
        return linker.linker


def _own_imports(
    core: Core, linker: wasmtime.Linker, module: GuestModule | wasmtime.Module
) -> frozenset[str]:
    """The functions that a module imports of us, or of debugged instances, ``module.name``.

    Told here, by what is in the linker: another instance's function has another identity once it is imported.
    """
    if isinstance(module, wasmtime.Module):
        return frozenset()
    own = set(core.state.defined(linker))
    for function in module.original.functions if core.state.instances else ():
        if function.import_ is None:
            continue
        item: object = None
        with suppress(wasmtime.WasmtimeError):  # it is missing: instantiation is going to say so
            item = linker.get(core.store, function.import_.module, function.import_.name)
        if isinstance(item, wasmtime.Func) and any(each._knows(item) for each in core.state.instances):
            own.add(f"{function.import_.module}.{function.import_.name}")
    return frozenset(own)


_WASI = ("wasi_snapshot_preview1", "wasi_unstable")


def _given(imports: Imports, module: str) -> Mapping[str, Any]:
    names = imports.get(module, {})
    return names.exports if isinstance(names, GuestInstance) else names


def _find(imports: Imports, module: str, name: str) -> Any:
    names = _given(imports, module)
    if name not in names:
        raise NotFoundError(f"the module imports {module}.{name}, which is not among the imports given")
    return names[name]


def _types(wanted: Any) -> capi.Signature:
    kind = wanted.type
    if not isinstance(kind, wasmtime.FuncType):
        raise TypeError(f"import {wanted.module}.{wanted.name} is no function: a callable can't stand for it")
    return capi.signature_of_type(kind)
