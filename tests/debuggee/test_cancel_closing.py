"""Opening in a nursery, and closing, cancelled at every step of every task that takes part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._cancel_everywhere import Attempt, cancel_everywhere
from tests.debuggee._support import ENGINE, load, no_leaks, run_to
from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    WrongStateError,
    events,
    open_debuggee,
    run_debuggee,
)
from trio_wasmdbg.debuggee import process_census

PROGRAM = """
(module
  (import "host" "wait" (func $wait))
  (memory (export "memory") 1) (data (i32.const 0) "here")
  (func $leaf (export "leaf") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "wait") (call $wait))
  (func (export "spin") (loop (br 0))))
"""


class Scene:
    """A store, and a body whose clean-up takes two checkpoints."""

    def __init__(self, export: str) -> None:
        self.store = wasmtime.Store(ENGINE)
        self.export = export
        self.instance: GuestInstance | None = None
        self.body_state = "not started"
        self.debuggee: Debuggee

    async def body(self, guest: Guest) -> Any:
        self.body_state = "running"
        try:
            self.instance = await guest.instantiate(
                {"host": {"wait": trio.sleep_forever}}, await load(PROGRAM)
            )
            arguments = (1,) if self.export == "leaf" else ()
            return await guest.call(self.instance.func(self.export), *arguments)
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            self.body_state = "ended"

    async def check(self) -> None:
        """Nothing is left, and the store and the instance are as good as new."""
        assert no_leaks() == []
        assert process_census()["guest threads"] == 0
        assert self.body_state != "running"

        async def again(guest: Guest) -> Any:
            if self.instance is None:
                return None
            assert self.instance.read_memory(0, 4) == b"here"
            return await guest.call(self.instance.func("leaf"), 41)

        async with open_debuggee(self.store, again) as debuggee:
            assert (await debuggee.finish()).result in (None, 42)
        self.store.close()


async def paused_at_the_start(debuggee: Debuggee) -> None:
    await debuggee.with_store(lambda view: None)


async def paused(debuggee: Debuggee) -> None:
    debuggee.add_breakpoint("leaf")
    await run_to(debuggee, events.Breakpoint)


async def running(debuggee: Debuggee) -> None:
    with trio.move_on_after(0.01):
        await debuggee.run()


async def complete(debuggee: Debuggee) -> None:
    await debuggee.finish()


async def nothing(debuggee: Debuggee) -> None:
    pass


MOMENTS: dict[str, tuple[str, Callable[[Debuggee], Awaitable[None]]]] = {
    "before the start": ("leaf", nothing),
    "at the start": ("leaf", paused_at_the_start),
    "at a breakpoint": ("leaf", paused),
    "in a loop": ("spin", running),
    "in a host function": ("wait", running),
    "complete": ("leaf", complete),
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", ["leave", "raise", "cancel()"])
async def test_close(moment: str, way: str) -> None:
    """Whatever is cancelled while the block is being left, it is left only when everything has ended."""
    export, reach = MOMENTS[moment]

    async def whole(scene: Scene, attempt: Attempt) -> None:
        try:
            async with open_debuggee(scene.store, scene.body) as debuggee:
                await reach(debuggee)
                attempt.begin()
                if way == "raise":
                    raise KeyError
                if way == "cancel()":
                    debuggee.cancel()
        except KeyError:
            assert way == "raise"
        assert scene.body_state in ("ended", "not started")
        assert no_leaks() == []

    async for attempt in cancel_everywhere():
        scene = Scene(export)
        with trio.fail_after(20):
            await attempt.make(partial(whole, scene, attempt), family=True, later=True)
            await scene.check()


HOLDERS: dict[str, Callable[[Debuggee], Awaitable[object]]] = {
    "run": Debuggee.run,
    "step": Debuggee.step,
    "finish": Debuggee.finish,
    "with_store": lambda debuggee: debuggee.with_store(lambda view: list(view.frames())),
}


@pytest.mark.parametrize("moment", ["before the start", "at the start", "at a breakpoint"])
@pytest.mark.parametrize("operation", HOLDERS)
async def test_dropped_while_the_holder_waits(operation: str, moment: str) -> None:
    """From elsewhere, by `cancel()`: the holder hears of it in one of two ways, or not at all."""
    export, reach = MOMENTS[moment]

    async def whole(scene: Scene, attempt: Attempt) -> None:
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(debuggee)
            scene.debuggee = debuggee
            attempt.begin()
            try:
                await HOLDERS[operation](debuggee)
            except (trio.ClosedResourceError, WrongStateError):
                assert attempt.reached

    async for attempt in cancel_everywhere():
        scene = Scene(export)

        def drop(scene: Scene = scene) -> None:
            scene.debuggee.cancel()

        with trio.fail_after(20):
            await attempt.make(partial(whole, scene, attempt), family=True, later=True, instead=drop)
            await scene.check()


@pytest.mark.parametrize("operation", HOLDERS)
async def test_dropped_before_the_holder_has_received_the_start(operation: str) -> None:
    outcomes = set()
    for first in range(5):
        for between in range(10):
            scene = Scene("leaf")
            async with open_debuggee(scene.store, scene.body) as debuggee:
                for _ in range(first):
                    await trio.lowlevel.checkpoint()
                debuggee.cancel()
                for _ in range(between):
                    await trio.lowlevel.checkpoint()
                try:
                    await HOLDERS[operation](debuggee)
                except (trio.ClosedResourceError, WrongStateError) as exc:
                    outcomes.add(type(exc))
    assert outcomes >= {trio.ClosedResourceError, WrongStateError}


@pytest.mark.parametrize("moment", ["before the start", "at a breakpoint", "complete"])
async def test_open_in_a_nursery(moment: str) -> None:
    """`nursery.start(run_debuggee, …)`, what is done with it, and its end."""
    export, reach = MOMENTS[moment]

    async def whole(scene: Scene) -> str:
        async with trio.open_nursery() as nursery:
            debuggee: Debuggee = await nursery.start(run_debuggee, scene.store, scene.body)
            await reach(debuggee)
            debuggee.cancel()
        return "through"

    async for attempt in cancel_everywhere():
        scene = Scene(export)
        with trio.fail_after(20):
            result = await attempt.make(partial(whole, scene), family=True)
            assert result == ("through" if not attempt.cancelled else None)
            await scene.check()
