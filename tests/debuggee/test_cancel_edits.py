"""Edits, injected calls and interrupts, with the resume that carries them out cancelled everywhere.

An edit has happened whole or not at all, and the resume that is repeated gives what the first one
would have given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import wasmtime

from tests.debuggee._cancel_everywhere import cancel_everywhere
from tests.debuggee._support import ENGINE, load, no_leaks, run_to
from trio_wasmdbg import Debuggee, Guest, GuestInstance, State, StoreView, events, open_debuggee

PROGRAM = """
(module
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (memory 1) (global $g (mut i32) (i32.const 1))
  (func $leaf (export "leaf") (param $x i32) (result i32)
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (i32.add (local.get $x) (i32.const 1)))
  (func $divide (export "divide") (param $x i32) (param $y i32) (result i32)
    (i32.div_s (local.get $x) (local.get $y)))
  (func (export "main") (param $x i32) (result i32) (local $sum i32)
    (local.set $sum (call $leaf (local.get $x)))
    (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $x))))
    (local.set $sum (i32.add (local.get $sum) (call $divide (i32.const 100) (local.get $x))))
    (i32.add (i32.mul (local.get $sum) (i32.const 1000)) (global.get $g))))
"""


class Scene:
    """A store whose body calls ``main``, and where it is to be edited."""

    def __init__(self, argument: int = 10) -> None:
        self.store = wasmtime.Store(ENGINE)
        self.argument = argument
        self.instance: GuestInstance

    async def body(self, guest: Guest) -> Any:
        self.instance = await guest.instantiate({"host": {"ask": lambda x: 2 * x}}, await load(PROGRAM))
        try:
            return await guest.call(self.instance.func("main"), self.argument)
        except wasmtime.Trap as trap:
            return trap.message

    def func(self, name: str) -> wasmtime.Func:
        return self.instance.func(name)


async def at_leaf(debuggee: Debuggee) -> events.Breakpoint:
    debuggee.add_breakpoint("leaf", once=True)
    return await run_to(debuggee, events.Breakpoint)


async def at_the_hosts_answer(debuggee: Debuggee) -> events.HostCallReturned:
    debuggee.stop_on_host_calls = "ask"
    await run_to(debuggee, events.HostCallEntered)
    return await run_to(debuggee, events.HostCallReturned)


async def at_the_division(debuggee: Debuggee) -> events.Breakpoint:
    debuggee.add_breakpoint("divide", once=True)
    event = await run_to(debuggee, events.Breakpoint)
    while event.frame.instruction.op.name != "i32.div_s":
        event = await debuggee.step()  # type: ignore[assignment]
    return event


EDITS: dict[str, tuple[Callable[[Debuggee], Any], Callable[[Debuggee, Any], object], object]] = {
    # where, what, and the result that it leads to; 10: 11 + 20 + 10, and the global
    "nothing": (at_leaf, lambda debuggee, event: None, 41_002),
    "local": (at_leaf, lambda debuggee, event: event.frame.set_local(0, 0), 31_002),
    "local of the caller": (at_leaf, lambda debuggee, event: event.frame.parent.set_local("x", 50), 113_002),
    "next instruction": (
        at_leaf,
        lambda debuggee, event: event.frame.set_next_instruction(event.frame.instance.module.offsets(1)[4]),
        41_001,
    ),
    "early return": (at_leaf, lambda debuggee, event: event.frame.return_early(0), 30_001),
    "early return of the caller": (at_leaf, lambda debuggee, event: event.frame.parent.return_early(7), 7),
    "trap": (at_leaf, lambda debuggee, event: debuggee.trap("enough"), "enough"),
    "host's results": (at_the_hosts_answer, lambda debuggee, event: debuggee.set_host_values(0), 21_002),
    "operand": (at_the_division, lambda debuggee, event: event.frame.set_operand(-1, 1), 131_002),
}


@pytest.mark.parametrize("how", ["run", "step", "finish"])
@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_and_the_resume_after_it(edit: str, how: str) -> None:
    reach, change, expected = EDITS[edit]
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            change(debuggee, await reach(debuggee))
            resume = getattr(debuggee, how)
            event = await attempt.make(resume)
            if attempt.cancelled:
                assert debuggee.state in (State.PAUSED, State.RUNNING)
                event = await resume()
            assert event is not None
            finished = event if isinstance(event, events.Finished) else await debuggee.finish()
            assert finished.result == expected, str(attempt)
        assert no_leaks() == []


@pytest.mark.parametrize("reach", [at_leaf, at_the_hosts_answer])
async def test_an_edit_in_a_query(reach: Callable[[Debuggee], Any]) -> None:
    """Four places at once: all of them are changed, or none."""
    outcomes = set()
    async for attempt in cancel_everywhere():
        scene = Scene()

        def edit(view: StoreView) -> None:
            (instance,) = view.instances
            *_, outermost = view.frames()
            instance.set_global(0, 500)
            instance.write_memory(0, b"edited")
            outermost.set_local("x", 20)
            instance.write_memory(60_000, b"edited")

        async with open_debuggee(scene.store, scene.body) as debuggee:
            await reach(debuggee)
            debuggee.stop_on_host_calls = None
            await attempt.make(partial(debuggee.with_store, edit))
            # Not before the answer to this one has that other function run, if it was sent.
            seen = await debuggee.with_store(
                lambda view: (
                    view.instances[0].global_value(0) == 500,
                    view.instances[0].read_memory(0, 6) == b"edited",
                    [*view.frames()][-1].local("x") == 20,
                    view.instances[0].read_memory(60_000, 6) == b"edited",
                )
            )
            assert len(set(seen)) == 1, (str(attempt), seen)
            assert seen[0] or attempt.cancelled
            outcomes.add(seen[0])
            result = (await debuggee.finish()).result
        if reach is at_leaf:
            # leaf's argument is computed already, ask's and divide's are not
            assert result == (56_501 if seen[0] else 41_002)
        else:
            assert result == (36_500 if seen[0] else 41_002)
    assert outcomes == {False, True}


async def test_retry_after_a_live_trap() -> None:
    async for attempt in cancel_everywhere():
        scene = Scene(argument=0)
        async with open_debuggee(scene.store, scene.body) as debuggee:
            trap = await run_to(debuggee, events.Trap)
            assert trap.live
            assert trap.frame is not None
            trap.frame.set_operand(-1, 4)
            retry = partial(debuggee.run, retry=True)
            event = await attempt.make(retry)
            if attempt.cancelled:
                event = await retry()
            assert isinstance(event, events.Finished), str(attempt)
            # leaf(0) + ask(0) + 100 / 4
            assert event.result == 26_002


@pytest.mark.parametrize(("name", "arguments"), [("leaf", (41,)), ("divide", (1, 0)), ("divide", (8, 2))])
async def test_inject_call(name: str, arguments: tuple[int, ...]) -> None:
    async def rest(debuggee: Debuggee, event: events.Event | None) -> list[Any]:
        """The events from here on, of a call that was injected once."""
        found: list[Any] = []
        while event is not None and not isinstance(event, events.Finished):
            shown = (event.result, type(event.error)) if isinstance(event, events.CallReturned) else ()
            assert event.frame is not None
            found.append((type(event), event.location, event.frame.locals, shown))
            event = await debuggee.run()
        assert event is not None
        return [*found, event.result]

    async def reach(scene: Scene, debuggee: Debuggee) -> Callable[[], Awaitable[events.Event]]:
        debuggee.add_breakpoint("divide")
        await at_leaf(debuggee)
        return partial(debuggee.inject_call, scene.func(name), *arguments)

    scene = Scene()
    async with open_debuggee(scene.store, scene.body) as debuggee:
        expected = await rest(debuggee, await (await reach(scene, debuggee))())
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            inject = await reach(scene, debuggee)
            event = await attempt.make(inject)
            if attempt.cancelled:
                sent = debuggee.state is State.RUNNING
                event = await (debuggee.run() if sent else inject())
            assert await rest(debuggee, event) == expected, str(attempt)
        assert no_leaks() == []


@pytest.mark.parametrize("how", ["run", "step", "step_out", "run_to_return"])
async def test_an_interrupt_comes_once(how: str) -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await at_leaf(debuggee)
            debuggee.interrupt()
            resume = getattr(debuggee, how)
            event = await attempt.make(resume)
            if attempt.cancelled:
                event = await resume()
            assert isinstance(event, events.Interrupted), str(attempt)
            assert event.frame is not None
            assert event.frame.function_name == "leaf"
            assert isinstance(await debuggee.run(), events.Finished)


async def test_an_interrupt_while_a_query_is_cancelled() -> None:
    async for attempt in cancel_everywhere():
        scene = Scene()
        async with open_debuggee(scene.store, scene.body) as debuggee:
            await at_leaf(debuggee)
            debuggee.interrupt()
            await attempt.make(partial(debuggee.with_store, lambda view: None))
            kinds = [type(event).__name__ async for event in debuggee]
            assert kinds == ["Interrupted", "Finished"], str(attempt)
