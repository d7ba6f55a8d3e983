"""Dropping a debuggee at every possible moment, in each of the four ways, leaves nothing behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import wasmtime

from tests.debuggee._support import ENGINE, load, no_leaks
from tests.waiting import until
from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    GuestModule,
    State,
    WrongStateError,
    events,
    open_debuggee,
    run_debuggee,
)
from trio_wasmdbg.debuggee import _modules
from trio_wasmdbg.debuggee._threads import default_limiter
from trio_wasmdbg.debuggee._twins import TwinCache

PROGRAM = """
(module
  (import "linker" "tick" (func $tick))
  (import "host" "wait" (func $wait))
  (import "host" "again" (func $again))
  (memory (export "memory") 1) (data (i32.const 16) "still here")
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "quick") (param i32) (result i32) (call $leaf (local.get 0)))
  (func $spin (export "spin") (call $tick) (loop (br 0)))
  (func $deep (export "deep") (param i32)
    (if (local.get 0)
      (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (else (call $spin))))
  (func (export "wait") (call $wait))
  (func (export "nest") (call $again)))
"""

EXPORTS = {"looping": "spin", "deep": "deep", "in a host function": "wait", "nested": "nest"}


class Scene:
    """One store with a program in it, and what has been seen of it."""

    def __init__(self, module: GuestModule, moment: str) -> None:
        self.module = module
        self.store = wasmtime.Store(ENGINE)
        self.export = EXPORTS.get(moment, "quick")
        self.instance: GuestInstance | None = None
        self.ending: str | None = None
        self.ended = trio.Event()
        self.guest_is_busy = trio.Event()
        self.token = trio.lowlevel.current_trio_token()

    def _tick(self) -> None:
        # On the thread that polls the guest.
        self.token.run_sync_soon(self.guest_is_busy.set)

    async def body(self, guest: Guest) -> Any:
        async def wait() -> None:
            self.guest_is_busy.set()
            await trio.sleep_forever()

        async def again() -> None:
            assert self.instance is not None
            await guest.call(self.instance.func("spin"))

        try:
            linker = wasmtime.Linker(ENGINE)
            linker.define_func("linker", "tick", wasmtime.FuncType([], []), self._tick)
            guest.define(linker, "host", "wait", wasmtime.FuncType([], []), wait)
            guest.define(linker, "host", "again", wasmtime.FuncType([], []), again)
            self.instance = await guest.instantiate(linker, self.module)
            arguments = {"deep": [500], "quick": [41]}.get(self.export, [])
            result = await guest.call(self.instance.func(self.export), *arguments)
        except trio.Cancelled:
            self.ending = "cancelled"
            raise
        except BaseException as exc:
            self.ending = repr(exc)
            raise
        else:
            self.ending = "returned"
            return result
        finally:
            self.ended.set()

    async def check(self, *, started: bool, completed: bool) -> None:
        """Nothing is left but the store, and that is as good as before."""
        assert self.ending == ("returned" if completed else "cancelled" if started else None)
        assert no_leaks() == []
        assert default_limiter().borrowed_tokens == 0
        await no_thread_of_ours()
        instance = self.instance
        if instance is not None:
            assert instance.read_memory(16, 10) == b"still here"
            instance.write_memory(16, b"STILL")

        async def body(guest: Guest) -> Any:
            known = instance
            if known is None:
                imports = {"linker": {"tick": print}, "host": {"wait": print, "again": print}}
                known = await guest.instantiate(imports, self.module)
            return await guest.call(known.func("quick"), 1)

        async with open_debuggee(self.store, body) as debuggee:
            assert (await debuggee.finish()).result == 2
        if instance is not None:
            assert instance.read_memory(16, 10) == b"STILL here"
        self.store.close()
        assert no_leaks() == []


async def no_thread_of_ours() -> None:
    names = [thread.name for thread in threading.enumerate()]
    assert "trio_wasmdbg guest" not in names
    # A computation that was abandoned ends when it next gives the interpreter away.
    await until(lambda: not any("trio_wasmdbg" in each.name for each in threading.enumerate()))


Way = Callable[[Scene, str, pytest.MonkeyPatch], Awaitable[None]]


async def reach(scene: Scene, debuggee: Debuggee, moment: str, patch: pytest.MonkeyPatch) -> None:
    """Bring a new debuggee to a moment; no task waits in it afterwards."""
    if moment == "before the start":
        return
    if moment == "at the start pause":
        assert await debuggee.with_store(lambda view: len(view.instances)) == 0
        assert debuggee.state is State.PAUSED
    elif moment in ("looping", "deep", "nested", "in a host function"):
        await run_until(debuggee, scene.guest_is_busy)
        assert debuggee.state is State.RUNNING
    elif moment == "at a breakpoint":
        debuggee.add_breakpoint("leaf")
        assert isinstance(await debuggee.run(), events.Breakpoint)
    elif moment == "at an event that nobody received":
        debuggee.add_breakpoint("leaf")
        await run_until(debuggee, None)
        while not debuggee.statistics().events:
            await trio.lowlevel.checkpoint()
        assert debuggee.state is State.RUNNING
    elif moment == "after a cancelled query":
        debuggee.add_breakpoint("leaf")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        # In a task of its own: trio keeps a task's last Cancelled, whose traceback holds the handle.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.with_store, lambda view: nursery.cancel_scope.cancel())
        assert debuggee.state is State.QUERIED
    elif moment == "while a slow twin is made":
        debuggee.add_breakpoint("leaf")
        assert isinstance(await debuggee.run(), events.Breakpoint)

        def endless(*_: object, tick: Callable[[], None], **__: object) -> Any:
            scene.token.run_sync_soon(scene.guest_is_busy.set)
            while True:
                tick()

        patch.setattr(_modules, "slow_twin", endless)
        patch.setattr(scene.module, "_slow", TwinCache())
        await run_until(debuggee, scene.guest_is_busy)
    elif moment == "complete":
        assert (await debuggee.run()) == events.Finished(result=42)
    else:
        raise AssertionError(moment)


async def run_until(debuggee: Debuggee, event: trio.Event | None) -> None:
    """run(), cancelled as soon as *event* is set; with None, as soon as the guest was told to go on."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(debuggee.run)
        if event is not None:
            await event.wait()
        while debuggee.state is not State.RUNNING:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def leave(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    async with open_debuggee(scene.store, scene.body) as debuggee:
        await reach(scene, debuggee, moment, patch)
    assert debuggee.state in (State.CLOSED, State.COMPLETE)


async def leave_by_exception(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(scene, debuggee, moment, patch)
            raise ZeroDivisionError


async def cancel_scope(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    with trio.CancelScope() as scope:
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(scene, debuggee, moment, patch)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def cancel_method(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    async with open_debuggee(scene.store, scene.body) as debuggee:
        await reach(scene, debuggee, moment, patch)
        debuggee.cancel()
        debuggee.cancel()
        if moment not in ("before the start", "at the start pause"):
            await scene.ended.wait()
        while debuggee.state not in (State.CLOSED, State.COMPLETE):
            await trio.lowlevel.checkpoint()
        debuggee.cancel()
        with pytest.raises(WrongStateError, match=debuggee.state.value):
            await debuggee.run()
        debuggee.interrupt()


async def cancel_method_while_running(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    async with trio.open_nursery() as nursery, open_debuggee(scene.store, scene.body) as debuggee:
        await reach(scene, debuggee, moment, patch)
        if debuggee.state is not State.RUNNING:
            debuggee.cancel()
            return

        async def run() -> None:
            try:
                assert moment == "at an event that nobody received", await debuggee.run()
            except trio.ClosedResourceError:
                pass

        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        debuggee.cancel()
        await scene.ended.wait()


async def cancel_users_nursery(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    async with trio.open_nursery() as nursery:
        debuggee = await nursery.start(run_debuggee, scene.store, scene.body)
        await reach(scene, debuggee, moment, patch)
        nursery.cancel_scope.cancel()


async def lose_the_handle(scene: Scene, moment: str, patch: pytest.MonkeyPatch) -> None:
    async with trio.open_nursery() as nursery:
        debuggee = await nursery.start(run_debuggee, scene.store, scene.body)
        await reach(scene, debuggee, moment, patch)
        if moment == "complete":
            del debuggee
            gc.collect()
        else:
            with pytest.warns(ResourceWarning, match="its guest is being cancelled"):
                del debuggee
                gc.collect()
    # The nursery has nothing else to wait for.


WAYS: dict[str, Way] = {
    "leave": leave,
    "leave by exception": leave_by_exception,
    "cancel scope": cancel_scope,
    "cancel()": cancel_method,
    "cancel() while run() waits": cancel_method_while_running,
    "cancel the user's nursery": cancel_users_nursery,
    "lose the handle": lose_the_handle,
}

MOMENTS = [
    "before the start",
    "at the start pause",
    "looping",
    "deep",
    "at a breakpoint",
    "at an event that nobody received",
    "after a cancelled query",
    "in a host function",
    "nested",
    "while a slow twin is made",
    "complete",
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left(moment: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(await load(PROGRAM), moment)
    with monkeypatch.context() as patch, trio.fail_after(20):
        await WAYS[way](scene, moment, patch)
    with trio.fail_after(20):
        await scene.check(
            started=moment not in ("before the start", "at the start pause"), completed=moment == "complete"
        )


@pytest.mark.parametrize("ending", ["returns", "raises", "is cancelled"])
async def test_a_query_does_not_keep_the_handle(ending: str) -> None:
    """Its function knows the handle, as any method of an object that has it does."""
    scene = Scene(await load(PROGRAM), "at the start pause")

    async def ask(debuggee: Debuggee) -> None:
        def look(view: object) -> None:
            assert debuggee.state is not State.COMPLETE
            if ending == "raises":
                raise KeyError(debuggee)

        with trio.CancelScope() as scope:
            if ending == "is cancelled":
                trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            await debuggee.with_store(look)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            debuggee = await nursery.start(run_debuggee, scene.store, scene.body)
            try:
                await ask(debuggee)
            except KeyError:
                assert ending == "raises"
            await trio.testing.wait_all_tasks_blocked()
            with pytest.warns(ResourceWarning, match="its guest is being cancelled"):
                del debuggee
                gc.collect()
