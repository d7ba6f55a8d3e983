"""Flavours call each other directly, and still every change of what is armed reaches each activation."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, body_of, load, run_to
from tests.waiting import until
from trio_wasmdbg import Guest, GuestInstance, GuestModule, events, load_module, open_debuggee
from trio_wasmdbg.debuggee import _flavour_batches

TEXT = """
(module
  (memory (export "memory") 1)
  (table 4 funcref) (elem (i32.const 0) $leaf $fib)
  (type $unary (func (param i32) (result i32)))
  (func $leaf (param $n i32) (result i32)
    (i32.store (i32.const 256) (local.get $n))
    (i32.add (local.get $n) (i32.const 1)))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (call $leaf (i32.sub (local.get $n) (i32.const 1))))
      (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                     (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func $tail (export "tail") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.load (i32.const 256)))))
    (drop (call $leaf (local.get $n)))
    (return_call $tail (i32.sub (local.get $n) (i32.const 1))))
  (func $indirect (export "indirect") (param $n i32) (result i32)
    (i32.add (call_indirect (type $unary) (local.get $n) (i32.const 0))
             (call_indirect (type $unary) (local.get $n) (i32.const 1))))
  (func (export "spin") (loop $again (drop (call $leaf (i32.const 7))) (br $again))))
"""
FIB, EXPECTED = 9, 34


class Watched:
    """A debuggee, in a block: it makes calls while memory is watched that nobody touches."""

    def __init__(self, *calls: tuple[Any, ...], module: GuestModule | None = None) -> None:
        self.calls = calls
        self.module = module
        self.results: list[Any] = []

    async def use(self, guest: Guest, instance: GuestInstance) -> None:
        self.instance = instance
        self.debuggee.watch_memory(instance, 1024, 4, access="access")
        for function, *arguments in self.calls:
            self.results.append(await guest.call(instance.func(function), *arguments))

    async def __aenter__(self) -> Watched:
        module = self.module or await load(TEXT)
        self.manager = open_debuggee(wasmtime.Store(ENGINE), body_of(module, self.use))
        self.debuggee = await self.manager.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> bool | None:
        return await self.manager.__aexit__(*exc_info)


async def fresh() -> GuestModule:
    """The module as if nobody had made flavours of it."""
    return await load_module(ENGINE, TEXT, cache=None)


@pytest.mark.parametrize(
    ("call", "expected", "flavours", "companions"),
    [(("fib", FIB), EXPECTED, 2, 1), (("tail", 9), 1, 2, 1), (("indirect", FIB), FIB + 1 + EXPECTED, 3, 3)],
)
async def test_what_calls_directly_is_made_together(
    call: tuple[str, int], expected: int, flavours: int, companions: int
) -> None:
    async with Watched(call, module=await fresh()) as it:
        await run_to(it.debuggee, events.Finished)
        statistics = it.debuggee.statistics()
        assert (statistics.flavours, statistics.slow_twins) == (flavours, 0)
        assert it.instance.companions == companions
    assert it.results == [expected]


async def test_flavours_of_other_companions_are_called_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each in its own, the callee first: only what is made already can be imported.
    monkeypatch.setattr(_flavour_batches, "MOST", 1)
    module = await fresh()
    async with Watched(("indirect", 3), ("fib", FIB), ("tail", 5), module=module) as it:
        await run_to(it.debuggee, events.Finished)
        assert it.debuggee.statistics().slow_twins == 0
        assert it.instance.companions == 4
        needs = {batch.members[0].function: batch.needs for batch in module._batches._made.values()}
        (tail,) = module.functions_named("tail")
        assert len(needs) == 4 and needs[tail]
    assert it.results == [6, EXPECTED, 1]


async def test_a_second_instance_gets_what_the_companions_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flavour_batches, "MOST", 1)
    module = await fresh()
    for calls in ([("fib", 4), ("tail", 3)], [("tail", 3)]):
        async with Watched(*calls, module=module) as it:
            await run_to(it.debuggee, events.Finished)
            assert it.debuggee.statistics().slow_twins == 0
        assert it.results[-1] == 1


async def test_a_watchpoint_is_hit_deep_in_calls_and_removed_there() -> None:
    async with Watched(("fib", FIB)) as it:
        it.debuggee.stop_on_instances = True
        instance = (await run_to(it.debuggee, events.InstanceCreated)).instance
        mine = it.debuggee.watch_memory(instance, 256, 4, hits=">= 20")
        event = await run_to(it.debuggee, events.Watch)
        frame = event.frame
        assert frame is not None and frame.function_name == "leaf"
        arguments = []
        while (frame := frame.parent) is not None:
            assert frame.function_name == "fib"
            arguments.append(frame.local(0))
        assert arguments[-1] == FIB and arguments == sorted(arguments)
        it.debuggee.remove_watchpoint(mine)
        await run_to(it.debuggee, events.Finished)
    assert it.results == [EXPECTED]


async def test_a_breakpoint_in_what_is_called_directly_stops_at_once() -> None:
    async with Watched(("fib", FIB), ("fib", FIB)) as it:
        leaf = it.debuggee.add_breakpoint("leaf", hits="== 4")
        await run_to(it.debuggee, events.Breakpoint)
        # With a condition, it has a flavour of its own, which its callers' calls lead to.
        it.debuggee.remove_breakpoint(leaf)
        (index,) = it.instance.module.functions_named("leaf")
        offset = it.instance.module.module_offset(index, 4)
        it.debuggee.add_breakpoint(offset=offset, condition="n == 0", hits="== 30")
        event = await run_to(it.debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local(0) == 0
        await run_to(it.debuggee, events.Finished)
    assert it.results == [EXPECTED] * 2


async def test_an_interrupt_stops_flavours_that_call() -> None:
    async with Watched(("spin",), module=await fresh()) as it, trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await until(lambda: it.debuggee.statistics().flavours)
            it.debuggee.interrupt()

        nursery.start_soon(interrupt)
        event = await run_to(it.debuggee, events.Interrupted)
        assert event.frame is not None
        names = {event.frame.function_name}
        for _ in range(30):
            it.debuggee.interrupt()
            event = await run_to(it.debuggee, events.Interrupted)
            assert event.frame is not None
            names.add(event.frame.function_name)
        assert names <= {"spin", "leaf"}


async def test_steps_go_through_direct_calls() -> None:
    async with Watched(("fib", 3)) as it:
        it.debuggee.add_breakpoint("leaf", once=True)
        event: events.Event = await run_to(it.debuggee, events.Breakpoint)
        names = []
        while not isinstance(event, events.Finished):
            assert event.frame is not None
            names.append(event.frame.function_name)
            event = await it.debuggee.step_out()
        assert names[:3] == ["leaf", "fib", "fib"]
    assert it.results == [2]
