"""The more companions a store holds, the more slow twins each new one has: a store never gets full."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._support import ENGINE, load
from trio_wasmdbg import Guest, GuestInstance, events, open_debuggee
from trio_wasmdbg.debuggee import _batches
from trio_wasmdbg.debuggee._batches import batch_of, batch_size


async def test_any_number_of_functions_fits() -> None:
    companions = covered = 0
    while covered < 1_000_000:
        covered += batch_size(companions)
        companions += 1
    assert companions < 6_000
    assert batch_size(0) == batch_size(499) == 1


async def test_a_batch_is_what_follows() -> None:
    lengths = {0: 10, 1: None, 2: 10, 3: 50_000, 4: 15_000, 5: 8_000, 6: 10}
    assert batch_of(1, 7, 3, lengths.__getitem__) == [2, 4]
    assert batch_of(4, 7, 100, lengths.__getitem__) == [5, 6, 0, 2]
    assert batch_of(4, 7, 1, lengths.__getitem__) == []


def many(count: int) -> str:
    """Functions that are called through a table, one after the other."""
    functions = "".join(
        f"(func $f{n} (type $unary) (i32.add (local.get 0) (i32.const {n})))" for n in range(count)
    )
    return f"""
    (module (type $unary (func (param i32) (result i32)))
      (table {count} funcref) (elem (i32.const 0) func {" ".join(f"$f{n}" for n in range(count))})
      {functions}
      (func $run (export "run") (param $first i32) (param $by i32) (result i32) (local $sum i32)
        (loop $again
          (local.set $sum
            (call_indirect (type $unary) (local.get $sum) (local.get $first)))
          (local.set $first (i32.add (local.get $first) (local.get $by)))
          (br_if $again (i32.lt_u (local.get $first) (i32.const {count}))))
        (local.get $sum)))
    """


async def test_functions_share_companions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_batches, "_DOUBLED_EACH", 5)
    count = 300
    module = await load(many(count))
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        instance = found["it"] = await guest.instantiate(None, module)
        guest.single_step = True
        every_third = await guest.call(instance.func("run"), 0, 3)
        return every_third, await guest.call(instance.func("run"), 0, 1)

    visited: list[int] = []
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        while isinstance(event := await debuggee.run(), events.Step):
            function = event.frame.function_index
            if function < count and (not visited or visited[-1] != function):
                visited.append(function)
                # Its own instructions and its own values, in whatever companion it is.
                assert event.frame.instruction.op.name == "local.get"
                assert event.frame.module_offset == module.offsets(function)[0]
                event.frame.set_local(0, event.frame.local(0) + 1)
        assert event == events.Finished(
            result=(sum(range(0, count, 3)) + count // 3, sum(range(count)) + count)
        )
        statistics = debuggee.statistics()
    assert visited == [*range(0, count, 3), *range(count)]
    assert statistics.slow_twins == count + 1
    assert found["it"].companions == statistics.companions < 40


async def test_conditions_in_a_function_whose_twin_came_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_batches, "_DOUBLED_EACH", 1)
    module = await load(many(8))

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("run"), 0, 1)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("run")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        for _ in range(12):  # into the first of the functions
            event = await debuggee.step()
        assert isinstance(event, events.Step)
        debuggee.add_breakpoint(function=5, condition="$0 == 10")
        debuggee.add_breakpoint(function=6, condition="$0 == 0")
        hit = await debuggee.run()
        assert isinstance(hit, events.Breakpoint)
        assert (hit.frame.function_index, hit.frame.locals) == (5, (10,))
        assert await debuggee.run() == events.Finished(result=28)


async def test_flavours_leave_room_for_slow_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_wasmdbg.debuggee._instances.ENOUGH_FLAVOURS", 4)
    count = 10
    module = await load(many(count))

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("run"), 0, 1)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        for function in range(count):
            debuggee.add_breakpoint(function=function, condition=f"$0 == {1000 if function != 7 else 21}")
        hit = await debuggee.run()
        assert isinstance(hit, events.Breakpoint) and hit.frame.function_index == 7
        statistics = debuggee.statistics()
        assert statistics.flavours == 4
        assert statistics.flavours_refused == {"the store holds very many already": 4}
        assert statistics.companions == statistics.flavours + statistics.slow_twins
        assert await debuggee.run() == events.Finished(result=45)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_more_functions_than_a_store_takes_instances() -> None:
    count = 12_000
    module = await load(many(count))

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("run"), 0, 1)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.flavours = False
        debuggee.recording = True
        assert await debuggee.run() == events.Finished(result=sum(range(count)))
        statistics = debuggee.statistics()
    assert statistics.slow_twins == count + 1
    assert statistics.companions < 3_000
