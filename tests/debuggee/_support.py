"""What the tests of this folder share: an engine, modules loaded once, a debuggee in a line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import wasmtime

from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    GuestModule,
    load_module,
    make_engine,
    open_debuggee,
)

E = TypeVar("E")

ENGINE = make_engine()
_loaded: dict[bytes | str, GuestModule] = {}

SPIN = """(module (func (export "spin") (loop (br 0))))"""

COUNT = """
(module (memory (export "memory") 1) (global (export "g") (mut i32) (i32.const 0))
  (func $add (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "count") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (if (i32.lt_s (local.get $i) (local.get $n))
        (then
          (local.set $sum (call $add (local.get $sum) (local.get $i)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $again))))
    (global.set 0 (i32.add (global.get 0) (i32.const 1)))
    (local.get $sum))
  (func (export "deep") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call 2 (i32.sub (local.get $n) (i32.const 1)))))
      (else (loop (br 0)) (i32.const 0)))))
"""

ASKS = """
(module (import "host" "ask" (func $ask (param i32) (result i32))) (memory (export "memory") 1)
  (func $twice (export "twice") (param $x i32) (result i32)
    (i32.mul (local.get $x) (i32.const 2)))
  (func (export "main") (param $x i32) (result i32)
    (i32.add (i32.const 1) (call $ask (local.get $x))))
  (func (export "spin") (loop (br 0))))
"""


async def load(source: bytes | str, engine: wasmtime.Engine = ENGINE) -> GuestModule:
    """The module, loaded once for all tests if it is for the shared engine."""
    if engine is not ENGINE:
        return await load_module(engine, source)
    module = _loaded.get(source)
    if module is None:
        module = _loaded[source] = await load_module(engine, source)
    return module


def body_of(
    module: GuestModule,
    use: Callable[[Guest, GuestInstance], Awaitable[Any]],
    imports: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Guest], Awaitable[Any]]:
    """A body that instantiates *module* and hands it on."""

    async def body(guest: Guest) -> Any:
        return await use(guest, await guest.instantiate(dict(imports or {}), module))

    return body


@asynccontextmanager
async def debug(
    source: bytes | str | GuestModule,
    export: str,
    *args: object,
    imports: Mapping[str, Mapping[str, Any]] | None = None,
    store: wasmtime.Store | None = None,
    step: bool = False,
) -> AsyncIterator[Debuggee]:
    """A debuggee whose body calls one export."""
    module = source if isinstance(source, GuestModule) else await load(source)

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        guest.single_step = step
        return await guest.call(instance.func(export), *args)

    body = body_of(module, use, imports)
    async with open_debuggee(store or wasmtime.Store(module.engine), body) as debuggee:
        yield debuggee


async def run_to(debuggee: Debuggee, kind: type[E]) -> E:
    """The next event, which must be of this kind."""
    event = await debuggee.run()
    assert isinstance(event, kind), event
    return event


def no_leaks() -> list[str]:
    """What should not be there after a debuggee has ended."""
    from trio_wasmdbg import capi

    found = []
    if capi.live_futures():
        found.append(f"{capi.live_futures()} live call futures")
    if capi.live_pendings():
        found.append(f"{capi.live_pendings()} pending host calls")
    return found
