"""Stops where a memory has grown."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import engine, module_of, program
from trio_wasmdbg import Guest, events, load_module, open_debuggee, prepare_config

PAGE = 65_536
GROWING = """
(module
  (memory (export "m") 1 4) (memory i64 2 8)
  (func $first (export "first") (param $n i32) (result i32) (memory.grow 0 (local.get $n)))
  (func (export "second") (param $n i64) (result i64) (memory.grow 1 (local.get $n)))
  (func $down (export "down") (param $n i32)
    (if (local.get $n) (then
      (drop (memory.grow 0 (i32.const 1)))
      (call $down (i32.sub (local.get $n) (i32.const 1)))))))
"""


async def growths(*calls: tuple[Any, ...]) -> list[tuple[int, int, int]]:
    async with program(*calls, text=GROWING) as it:
        it.debuggee.stop_on_memory_growth = True
        assert it.debuggee.stop_on_memory_growth and it.debuggee.breakpoints == ()
        found = []
        async for event in it.debuggee:
            if isinstance(event, events.MemoryGrown):
                assert event.sharing == ()
                found.append((event.memory, event.old_size // PAGE, event.new_size // PAGE))
        return found


async def test_old_and_new_size() -> None:
    assert await growths(("first", 2), ("second", 3), ("first", 1)) == [(0, 1, 3), (1, 2, 5), (0, 3, 4)]


@pytest.mark.parametrize("call", [("first", 9), ("first", 0), ("second", 1 << 40)])
async def test_growth_that_fails_or_adds_nothing_is_none(call: tuple[Any, ...]) -> None:
    assert await growths(call) == []


async def test_in_a_recursion() -> None:
    assert await growths(("down", 3)) == [(0, 1, 2), (0, 2, 3), (0, 3, 4)]


async def test_the_guest_stands_after_the_instruction_and_can_be_changed() -> None:
    async with program(("first", 1), ("first", 1), text=GROWING) as it:
        it.debuggee.stop_on_memory_growth = True
        event = await it.debuggee.run()
        assert isinstance(event, events.MemoryGrown)
        assert event.frame.operand_stack == (1,)
        event.frame.set_operand(0, -1)
        it.debuggee.stop_on_memory_growth = False
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [-1, 2]


async def test_instances_that_share_the_memory_are_named() -> None:
    module = await module_of(GROWING)
    user = await module_of(
        '(module (import "a" "m" (memory 1)) (func (export "f") (drop (memory.grow (i32.const 1)))))'
    )
    instances: list[Any] = []

    async def body(guest: Guest) -> None:
        instances.append(await guest.instantiate({}, module))
        instances.append(await guest.instantiate({"a": instances[0]}, user))
        await guest.call(instances[1].func("f"))

    async with open_debuggee(wasmtime.Store(engine()), body) as debuggee:
        debuggee.stop_on_memory_growth = True
        event = await debuggee.run()
        assert isinstance(event, events.MemoryGrown)
        assert event.frame.instance is instances[1] and event.sharing == (instances[0],)
        assert isinstance(await debuggee.run(), events.Finished)


async def test_dropped_at_a_growth() -> None:
    async with program(("first", 1), text=GROWING) as it:
        it.debuggee.stop_on_memory_growth = True
        assert isinstance(await it.debuggee.run(), events.MemoryGrown)
    assert it.results == []


async def test_a_shared_memory() -> None:
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    prepare_config(config)
    text = '(module (memory 1 4 shared) (func (export "f") (result i32) (memory.grow (i32.const 2))))'
    module = await load_module(wasmtime.Engine(config), text)

    async def body(guest: Guest) -> Any:
        return await guest.call((await guest.instantiate({}, module)).func("f"))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.stop_on_memory_growth = True
        event = await debuggee.run()
        assert isinstance(event, events.MemoryGrown)
        assert (event.old_size, event.new_size) == (PAGE, 3 * PAGE)
        finished = await debuggee.run()
        assert isinstance(finished, events.Finished) and finished.result == 1
