"""Endings that `docs/explanation/endings.md` promises and that no other module here comes to."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee import _support
from trio_wasmdbg import Guest, GuestInstance, events, open_debuggee

LOCALS = 9_000
WIDE = f"""
(module
  (func $wide (export "wide") (param $n i32) (local {"i64 " * LOCALS})
    (local.set {LOCALS} (i64.extend_i32_u (local.get $n)))
    (call $wide (i32.add (local.get $n) (i32.const 1)))))
"""


async def test_the_shadow_stack_overflows_first() -> None:
    """Frames of 70 KB, whose locals the machine's stack has no need of: 8 MiB are used up after about 110."""
    with pytest.raises(wasmtime.Trap):
        async with _support.debug(WIDE, "wide", 0) as debuggee:
            event = await _support.run_to(debuggee, events.Trap)
            assert event.code == "STACK_OVERFLOW"
            depth = await debuggee.with_store(lambda view: sum(1 for _ in view.frames()))
            assert 50 < depth < 200
            await debuggee.finish()
    assert _support.no_leaks() == []


def endless(x: int) -> int:
    return endless(x) + 1


async def endless_async(x: int) -> int:
    return await endless_async(x) + 1


@pytest.mark.parametrize("ask", [endless, endless_async])
async def test_a_host_function_that_recurses_too_deeply(ask: Any) -> None:
    """It runs on the trio thread's stack and not on the guest's, so Python's own limit is in force."""
    with pytest.raises(RecursionError):
        async with _support.debug(_support.ASKS, "main", 1, imports={"host": {"ask": ask}}) as debuggee:
            event = await _support.run_to(debuggee, events.HostcallError)
            assert isinstance(event.error, RecursionError)
            await debuggee.finish()
    assert _support.no_leaks() == []


async def test_the_bodys_own_nursery() -> None:
    """Its tasks call one after the other; one that fails cancels the others, and the group comes out."""
    returned = []

    async def use(guest: Guest, instance: GuestInstance) -> None:
        lock = trio.Lock()

        async def call(n: int) -> None:
            async with lock:
                returned.append(await guest.call(instance.func("count"), n))

        async with trio.open_nursery() as nursery:
            for n in (3, 4, 5):
                nursery.start_soon(call, n)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await guest.call(instance.func("count"), 6)
            raise ValueError("the body's own")

    module = await _support.load(_support.COUNT)
    with pytest.raises(ExceptionGroup) as left:
        async with open_debuggee(wasmtime.Store(module.engine), _support.body_of(module, use)) as debuggee:
            await _support.run_to(debuggee, events.Finished)
            await debuggee.finish()
    assert left.group_contains(ValueError, match="own")
    assert sorted(returned) == [3, 6, 10]
    assert _support.no_leaks() == []


async def test_garbage_is_collected_at_every_step() -> None:
    """The collector runs wherever Python can: after each event, in the body, in a host function."""

    def ask(x: int) -> int:
        gc.collect()
        return 2 * x

    seen = []
    imports = {"host": {"ask": ask}}
    async with _support.debug(_support.ASKS, "main", 20, imports=imports, step=True) as debuggee:
        while True:
            event = await debuggee.run()
            gc.collect()
            seen.append(type(event))
            if isinstance(event, events.Finished):
                break
    assert seen == [events.Step] * 5 + [events.Finished]
    assert event.result == 41
    gc.collect()
    assert _support.no_leaks() == []
