"""In which ways can a program be run: plain, by Wasmtime's own means, and by each of our modes?

Each way is an asynchronous context manager that gives a function: it does n rounds, and says how many CPU
seconds they took and what came out.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeAlias

import trio
import wasmtime
from attrs import frozen

from trio_wasmdbg import Debuggee, Guest, GuestInstance, load_module, make_engine, open_debuggee
from trio_wasmdbg.instrument import FRAME_MODES

__all__ = ["OURS", "PLAIN", "Arm", "Mode", "Run", "Way", "attached", "nothing"]

Run: TypeAlias = Callable[[int], Awaitable[tuple[float, int]]]
Way: TypeAlias = Callable[[bytes], AbstractAsyncContextManager[Run]]
Arm: TypeAlias = Callable[[Debuggee, GuestInstance], None]

_FOR_EVER: Final = 1 << 62


def plain(prepare: Callable[[wasmtime.Config], None], start: Callable[[wasmtime.Store], None]) -> Way:
    """Without a debugger, in an engine of its own."""

    @asynccontextmanager
    async def way(wasm: bytes) -> AsyncIterator[Run]:
        config = wasmtime.Config()
        prepare(config)
        engine = wasmtime.Engine(config)
        store = wasmtime.Store(engine)
        start(store)
        function = wasmtime.Instance(store, wasmtime.Module(engine, wasm), []).exports(store)["run"]
        assert isinstance(function, wasmtime.Func)

        async def run(n: int) -> tuple[float, int]:
            began = time.process_time()
            result = function(store, n)
            return time.process_time() - began, result

        yield run

    return way


def nothing(*arguments: object) -> None:
    """Prepare, start or arm nothing."""


def _with_epochs(config: wasmtime.Config) -> None:
    config.epoch_interruption = True


def _with_fuel(config: wasmtime.Config) -> None:
    config.consume_fuel = True


PLAIN: Final[dict[str, Way]] = {
    "plain": plain(nothing, nothing),
    # the same once more: how far the figures can be trusted
    "null": plain(nothing, nothing),
    "epoch": plain(_with_epochs, lambda store: store.set_epoch_deadline(_FOR_EVER)),
    "fuel": plain(_with_fuel, lambda store: store.set_fuel(_FOR_EVER)),
}


@frozen
class Mode:
    """What the debugger keeps of a guest, and so what it costs.

    :ivar loading: arguments of ``load_module``.
    :ivar goals: geometric means over applications and over all programs; the most for a program, and for one
        that only calls itself.
    :ivar missing: why there is none, if so.
    """

    name: str
    row: int
    loading: dict[str, Any]
    goals: tuple[float, float, float | None, float | None]
    missing: str | None = None


def _mode(name: str, row: int, goals: tuple[float, float, float | None, float | None]) -> Mode:
    missing = None if name in FRAME_MODES else f"there are no {name} frames yet"
    return Mode(name, row, {"frames": name}, goals, missing)


OURS: Final = (
    _mode("live", 1, (1.10, 1.15, 1.30, 1.60)),
    _mode("exact", 2, (1.15, 1.20, 1.40, 1.70)),
    _mode("post-mortem", 2, (1.35, 1.35, None, None)),
)


def attached(arm: Arm = nothing, **loading: Any) -> Way:
    """Under our debugger.

    :param arm: called when the guest has been instantiated, before its first run.
    """

    @asynccontextmanager
    async def way(wasm: bytes) -> AsyncIterator[Run]:
        requests, received = trio.open_memory_channel[int](0)
        answers, answered = trio.open_memory_channel[tuple[float, int]](0)

        async def body(guest: Guest) -> None:
            instance = await guest.instantiate(None, module)
            function = instance.func("run")
            await ready.send(instance)
            async for n in received:
                began = time.process_time()
                result = await guest.call(function, n)
                await answers.send((time.process_time() - began, result))

        async def run(n: int) -> tuple[float, int]:
            await requests.send(n)
            return await answered.receive()

        engine = make_engine()
        module = await load_module(engine, wasm, cache=None, **loading)
        ready, is_ready = trio.open_memory_channel[GuestInstance](0)
        async with open_debuggee(wasmtime.Store(engine), body) as debuggee, trio.open_nursery() as nursery:

            async def events() -> None:
                event = await debuggee.run()
                raise AssertionError(f"nothing should have stopped the guest, but {event} has")

            nursery.start_soon(events)
            arm(debuggee, await is_ready.receive())
            yield run
            nursery.cancel_scope.cancel()

    return way
