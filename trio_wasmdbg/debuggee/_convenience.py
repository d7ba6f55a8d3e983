"""The short way in: one call from bytes or a path to a paused debuggee."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import wasmtime

from .. import capi
from ..instrument import FrameMode
from ._debuggee import Debuggee
from ._guest import Guest, Imports
from ._loading import Source, load_module
from ._modules import GuestModule
from ._open import open_debuggee

__all__ = ["debug_wasm", "make_engine"]


def make_engine(*, many_guests: bool = False) -> wasmtime.Engine:
    """An engine with everything that the debugger wants.

    :param many_guests: for thousands of guests in one process; see :func:`prepare_config`.
    """
    config = wasmtime.Config()
    capi.fold_guards(config)
    capi.prepare_config(config, many_guests=many_guests)
    return wasmtime.Engine(config)


@asynccontextmanager
async def debug_wasm(
    source: Source | GuestModule,
    export: str = "_start",
    args: Sequence[object] = (),
    *,
    imports: Imports | None = None,
    wasi: wasmtime.WasiConfig | None = None,
    engine: wasmtime.Engine | None = None,
    frames: FrameMode = "exact",
    limiter: trio.CapacityLimiter | None = None,
) -> AsyncIterator[Debuggee]:
    """Debug one export of one module: ``async with debug_wasm("app.wasm") as debuggee:``

    :param source: wasm bytes, wat text, a path, or a module loaded already.
    :param export: the function to call; a WASI reactor's ``_initialize`` is called before it.
    :param args: its arguments.
    :param imports: as for :meth:`Guest.instantiate`; they win over WASI's functions.
    :param wasi: the guest's WASI; by default it has neither arguments, folders nor streams.
    :param engine: default: a new one; that of a loaded module, if *source* is one.
    :param frames: as for :func:`load_module`; a loaded module has its own.
    :raises: as :func:`load_module` and :func:`open_debuggee`.

    The export's result is ``Finished.result``; a WASI program's exit code is ``Finished.exit_code``.
    Cancelled: as leaving the block.
    """
    if isinstance(source, GuestModule):
        module = source
    else:
        module = await load_module(engine or make_engine(), source, frames=frames)
    store = wasmtime.Store(module.engine)
    store.set_wasi(wasi or wasmtime.WasiConfig())

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(guest.linker_for(module, imports, wasi=True), module)
        if export != "_initialize" and "_initialize" in instance.exports:
            await guest.call(instance.func("_initialize"))
        return await guest.call(instance.func(export), *args)

    async with open_debuggee(store, body, limiter=limiter) as debuggee:
        yield debuggee
