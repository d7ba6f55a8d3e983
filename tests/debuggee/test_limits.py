"""Fuel, epoch deadlines and store limits: what the debugger's own code and objects do to them."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from trio_wasmdbg import (
    Guest,
    StoreLimitError,
    events,
    load_module,
    open_debuggee,
    prepare_config,
)

GUEST = """
(module
  (memory (export "memory") 1)
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "loop") (param $n i32) (result i32) (local $x i32)
    (loop $l
      (local.set $x (call $leaf (local.get $x)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func (export "spin") (loop $l (br $l))))
"""


def engine_with(**switches: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    prepare_config(config)
    for name, on in switches.items():
        setattr(config, name, on)
    return wasmtime.Engine(config)


def body_of(module: Any, export: str, *arguments: int) -> Any:
    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func(export), *arguments)

    return body


async def fuel_used(step_over_all: bool = False) -> tuple[int, int]:
    """Fuel that a run takes plain, and under the debugger."""
    engine = engine_with(consume_fuel=True)
    plain = wasmtime.Store(engine)
    plain.set_fuel(1_000_000)
    func: Any = wasmtime.Instance(plain, wasmtime.Module(engine, GUEST), []).exports(plain)["loop"]
    assert func(plain, 100) == 100
    store = wasmtime.Store(engine)
    store.set_fuel(1_000_000)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "loop", 100)) as debuggee:
        if step_over_all:
            debuggee.add_breakpoint("loop", condition=lambda frame: False)
        assert (await debuggee.run()) == events.Finished(result=100)
    return 1_000_000 - plain.get_fuel(), 1_000_000 - store.get_fuel()


async def test_our_code_takes_fuel_too() -> None:
    plain, fast = await fuel_used()
    assert plain < fast < 10 * plain
    _, slow = await fuel_used(step_over_all=True)
    assert fast < slow


async def test_running_out_of_fuel_is_a_trap() -> None:
    engine = engine_with(consume_fuel=True)
    store = wasmtime.Store(engine)
    store.set_fuel(10_000)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "loop", 1_000_000)) as debuggee:
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.code == "OUT_OF_FUEL"
        assert event.frame.function_name in ("loop", "leaf")
        finished = await debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, wasmtime.Trap)
        assert finished.error.trap_code is wasmtime.TrapCode.OUT_OF_FUEL
    store.set_fuel(1_000_000)  # the store can be used again
    async with open_debuggee(store, body_of(module, "loop", 10)) as debuggee:
        assert (await debuggee.finish()).result == 10


@pytest.mark.parametrize("fuel", [1, 5, 40, 60, 90])
async def test_out_of_fuel_has_a_place_also_at_a_functions_entry(fuel: int) -> None:
    engine = engine_with(consume_fuel=True)
    store = wasmtime.Store(engine)
    store.set_fuel(fuel)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "loop", 1_000_000)) as debuggee:
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.code == "OUT_OF_FUEL"
        assert event.location is not None
        names = [frame.function_name for frame in await debuggee.with_store(lambda view: list(view.frames()))]
        assert names in (["loop"], ["leaf", "loop"])
        assert names[0] == event.location.function_name
        assert isinstance(await debuggee.run(), events.Finished)


async def test_a_stop_needs_no_fuel_but_fuel_can_be_given_at_one() -> None:
    engine = engine_with(consume_fuel=True)
    store = wasmtime.Store(engine)
    store.set_fuel(2_000)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "loop", 10_000)) as debuggee:
        debuggee.add_breakpoint("loop", once=True)
        assert isinstance(await debuggee.run(), events.Breakpoint)
        left = store.get_fuel()
        await debuggee.with_store(lambda view: [frame.locals for frame in view.frames()])
        assert store.get_fuel() == left
        await debuggee.with_store(lambda view: view.store.set_fuel(100_000_000))
        assert (await debuggee.run()) == events.Finished(result=10_000)


async def test_an_epoch_deadline_is_a_trap() -> None:
    engine = engine_with(epoch_interruption=True)
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "spin")) as debuggee:
        engine.increment_epoch()
        event = await debuggee.run()
        assert isinstance(event, events.Trap)
        assert event.code == "INTERRUPT"


async def test_pauses_do_not_count_against_an_epoch_deadline_until_the_guest_goes_on() -> None:
    engine = engine_with(epoch_interruption=True)
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    module = await load_module(engine, GUEST)
    async with open_debuggee(store, body_of(module, "loop", 1000)) as debuggee:
        debuggee.add_breakpoint("loop", once=True)
        assert isinstance(await debuggee.run(), events.Breakpoint)
        engine.increment_epoch()
        await debuggee.with_store(lambda view: view.store.set_epoch_deadline(1))
        assert (await debuggee.run()) == events.Finished(result=1000)


async def test_instances_that_the_debugger_needs() -> None:
    engine = engine_with()
    module = await load_module(engine, GUEST)
    # one for the debugger, one for the guest: enough as long as nothing stops
    store = wasmtime.Store(engine)
    store.set_limits(instances=2)
    async with open_debuggee(store, body_of(module, "loop", 5)) as debuggee:
        assert (await debuggee.run()) == events.Finished(result=5)
    # and one for each slow twin
    store = wasmtime.Store(engine)
    store.set_limits(instances=2)
    async with open_debuggee(store, body_of(module, "loop", 5)) as debuggee:
        debuggee.add_breakpoint("loop")
        assert isinstance(await debuggee.run(), events.Breakpoint)  # a pause needs none
        finished = await debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, StoreLimitError)
        assert "slow twin of loop" in str(finished.error)
    store = wasmtime.Store(engine)
    store.set_limits(instances=3)
    async with open_debuggee(store, body_of(module, "loop", 5)) as debuggee:
        debuggee.add_breakpoint("loop")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        assert (await debuggee.run()) == events.Finished(result=5)


async def test_the_debug_memory_counts() -> None:
    engine = engine_with()
    module = await load_module(engine, GUEST)
    for mebibytes, fits in ((1, False), (16, True)):
        store = wasmtime.Store(engine)
        store.set_limits(memory_size=mebibytes << 20)
        async with open_debuggee(store, body_of(module, "loop", 5)) as debuggee:
            finished = await debuggee.run()
            assert isinstance(finished, events.Finished)
            assert (finished.error is None) == fits
            if not fits:
                assert isinstance(finished.error, wasmtime.WasmtimeError)
                with pytest.raises(wasmtime.WasmtimeError, match="memory"):
                    await debuggee.finish()
