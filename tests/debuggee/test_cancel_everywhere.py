"""The exhaustive small case: every operation, cancelled at each of its checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._cancel_everywhere import Attempt, cancel_everywhere
from tests.debuggee._support import ENGINE, body_of, load, no_leaks
from trio_wasmdbg import Debuggee, Guest, GuestInstance, State, events, load_module, open_debuggee
from trio_wasmdbg.debuggee._threads import default_limiter

PROGRAM = """
(module
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (global (export "g") (mut i32) (i32.const 0))
  (func $leaf (export "leaf") (param $x i32) (result i32)
    (global.set 0 (i32.add (global.get 0) (i32.const 1)))
    (i32.add (local.get $x) (i32.const 1)))
  (func $pair (export "pair") (param $x i32) (result i32)
    (i32.mul (call $leaf (local.get $x)) (call $leaf (i32.const 5))))
  (func (export "main") (param $x i32) (result i32)
    (i32.add (call $pair (local.get $x)) (call $ask (local.get $x))))
  (func (export "trap") (param $x i32) (result i32)
    (i32.div_s (call $leaf (local.get $x)) (i32.const 0))))
"""


class Scene:
    """A body that calls `main`, whose host function may call in again."""

    def __init__(self, *, nested: bool = False, export: str = "main") -> None:
        self.store = wasmtime.Store(ENGINE)
        self.nested = nested
        self.export = export
        self.guest: Guest | None = None
        self.instance: GuestInstance | None = None

    async def ask(self, x: int) -> int:
        await trio.lowlevel.checkpoint()
        if self.nested:
            assert self.guest is not None
            assert self.instance is not None
            return 100 * int(await self.guest.call(self.instance.func("leaf"), x))
        return 100 * x

    async def body(self, guest: Guest) -> Any:
        self.guest = guest
        self.instance = await guest.instantiate({"host": {"ask": self.ask}}, await load(PROGRAM))
        return await guest.call(self.instance.func(self.export), 7)


def shown(event: events.Event) -> tuple[Any, ...]:
    """What can be compared of an event, also after the guest has gone on."""
    if isinstance(event, events.Finished):
        return ("Finished", event.result, type(event.error))
    assert event.frame is not None
    return type(event).__name__, event.location, event.frame.locals, event.frame.operand_stack


async def rest(debuggee: Debuggee) -> list[tuple[Any, ...]]:
    return [shown(event) async for event in debuggee]


async def at_the_start(debuggee: Debuggee) -> None:
    pass


async def at_a_breakpoint(debuggee: Debuggee) -> None:
    debuggee.add_breakpoint("leaf")
    assert isinstance(await debuggee.run(), events.Breakpoint)


OPERATIONS: dict[str, Callable[[Debuggee], Awaitable[events.Event]]] = {
    "run": Debuggee.run,
    "step": Debuggee.step,
    "step_over": Debuggee.step_over,
    "step_out": Debuggee.step_out,
}


@pytest.mark.parametrize("reach", [at_the_start, at_a_breakpoint])
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("nested", [False, True])
async def test_resumes(name: str, reach: Callable[[Debuggee], Awaitable[None]], nested: bool) -> None:
    """Cancelled and repeated: the event that it would have returned, and then the same ones."""
    operation = OPERATIONS[name]
    scene = Scene(nested=nested)
    async with open_debuggee(scene.store, scene.body) as debuggee:
        await reach(debuggee)
        expected = [shown(await operation(debuggee)), *await rest(debuggee)]
    attempts = 0
    async for attempt in cancel_everywhere():
        attempts += 1
        scene = Scene(nested=nested)
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(debuggee)
            event = await attempt.make(partial(operation, debuggee))
            if attempt.cancelled:
                assert debuggee.state in (State.INITIAL, State.PAUSED, State.RUNNING)
                sent = debuggee.state is State.RUNNING
                # A step that was sent is under way: whatever resume comes next waits for its event.
                event = await (debuggee.run() if sent else operation(debuggee))
            assert event is not None
            assert [shown(event), *await rest(debuggee)] == expected, str(attempt)
        assert no_leaks() == []
    assert attempts >= 4


@pytest.mark.parametrize("reach", [at_the_start, at_a_breakpoint])
async def test_finish(reach: Callable[[Debuggee], Awaitable[None]]) -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(debuggee)
            finished = await attempt.make(debuggee.finish)
            if attempt.cancelled:
                finished = await debuggee.finish()
            assert finished is not None
            assert finished.result == 8 * 6 + 700, str(attempt)


async def test_finish_cancelled_gives_events_back() -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            debuggee.add_breakpoint("leaf")
            await attempt.make(debuggee.finish)
            if attempt.cancelled:
                kinds = [event[0] for event in await rest(debuggee)]
                # What has been executed has been executed; nothing comes twice.
                assert kinds[-1] == "Finished"
                assert len(kinds) <= 3
                assert set(kinds[:-1]) <= {"Breakpoint"}


@pytest.mark.parametrize("reach", [at_the_start, at_a_breakpoint])
async def test_with_store(reach: Callable[[Debuggee], Awaitable[None]]) -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()
        ran: list[int] = []

        def look(view: object, ran: list[int] = ran) -> str:
            ran.append(1)
            return "first"

        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(debuggee)
            result = await attempt.make(partial(debuggee.with_store, look))
            assert len(ran) <= 1
            if attempt.cancelled:
                assert debuggee.state in (State.INITIAL, State.PAUSED, State.QUERIED)
            else:
                assert (result, len(ran)) == ("first", 1)
            assert await debuggee.with_store(lambda view: "second") == "second"
            assert len(ran) <= 1
            kinds = [event[0] for event in await rest(debuggee)]
            assert kinds[-1] == "Finished"
            assert len(ran) <= 1


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("breakpoint", [False, True])
async def test_open(nested: bool, breakpoint: bool) -> None:
    """The whole block, with everything in it."""

    async def everything(scene: Scene) -> Any:
        async with open_debuggee(scene.store, scene.body) as debuggee:
            if breakpoint:
                await at_a_breakpoint(debuggee)
                await debuggee.step()
                await debuggee.with_store(lambda view: [frame.locals for frame in view.frames()])
            return (await debuggee.finish()).result

    async for attempt in cancel_everywhere():
        scene = Scene(nested=nested)
        result = await attempt.make(partial(everything, scene))
        assert no_leaks() == [], str(attempt)
        assert default_limiter().borrowed_tokens == 0
        expected = 48 + (800 if nested else 700)
        if not attempt.cancelled:
            assert result == expected
        assert await everything(scene) == expected, str(attempt)
        scene.store.close()


@pytest.mark.parametrize("export", ["main", "trap"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("watch", ["nothing", "breakpoint", "steps"])
async def test_call(export: str, nested: bool, watch: str) -> None:
    """guest.call(), with its host call and the call nested in that, cancelled by the body itself."""

    async for attempt in cancel_everywhere():
        scene = Scene(nested=nested)
        results: list[Any] = []

        async def use(
            guest: Guest,
            instance: GuestInstance,
            scene: Scene = scene,
            attempt: Attempt = attempt,
            results: list[Any] = results,
        ) -> None:
            scene.guest, scene.instance = guest, instance
            sp = guest._core.state.sp.get()

            async def call() -> Any:
                try:
                    return await guest.call(instance.func(export), 7)
                except wasmtime.Trap as trap:
                    return trap.trap_code

            guest.single_step = watch == "steps"
            result = await attempt.make(call)
            guest.single_step = False
            assert no_leaks() == [], str(attempt)
            assert guest._core.state.sp.get() == sp
            assert guest._core.state.current.get() == 0
            if not attempt.cancelled:
                results.append(result)
            results.append(await call())

        body = body_of(await load(PROGRAM), use, {"host": {"ask": scene.ask}})
        async with open_debuggee(scene.store, body) as debuggee:
            if watch == "breakpoint":
                debuggee.add_breakpoint("leaf")
            async for event in debuggee:
                if isinstance(event, events.Finished) and event.error is not None:
                    raise event.error
                assert not isinstance(event, events.HostcallError)
        if export == "trap":
            expected: object = wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO
        else:
            expected = 48 + (800 if nested else 700)
        assert results == [expected] * len(results), str(attempt)
        assert len(results) == 2 - attempt.cancelled


async def test_instantiate() -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()

        async def body(guest: Guest, scene: Scene = scene, attempt: Attempt = attempt) -> Any:
            scene.guest = guest
            module = await load(PROGRAM)
            imports = {"host": {"ask": scene.ask}}
            await attempt.make(lambda: guest.instantiate(imports, module))
            assert no_leaks() == []
            instance = await guest.instantiate(imports, module)
            return await guest.call(instance.func("leaf"), 1)

        async with open_debuggee(scene.store, body) as debuggee:
            debuggee.add_breakpoint("leaf")
            assert isinstance(await debuggee.run(), events.Breakpoint)
            assert (await debuggee.finish()).result == 2


async def test_load_module() -> None:
    async for attempt in cancel_everywhere():
        module = await attempt.make(lambda: load_module(ENGINE, PROGRAM))
        assert (module is None) == attempt.cancelled


@pytest.mark.parametrize("what", ["breakpoint", "interrupt"])
async def test_run_then_something_else(what: str) -> None:
    """What is asked for while it runs, after a cancelled run(), takes effect once."""
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await attempt.make(debuggee.run)
            if not attempt.cancelled:
                continue
            if what == "breakpoint":
                debuggee.add_breakpoint("pair")
            else:
                debuggee.interrupt()
            kinds = [type(event).__name__ async for event in debuggee]
            # It may be too late for it: the guest may have come to its end meanwhile.
            assert kinds in (["Finished"], [what.capitalize().replace("rupt", "rupted"), "Finished"])
