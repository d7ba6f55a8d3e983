"""Stops before and after host functions in a linker of the user's, which the guest calls directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import engine, module_of
from trio_wasmdbg import Debuggee, Guest, events, open_debuggee

GUEST = """
(module
  (import "env" "add" (func $add (param i32 i64) (result i64)))
  (import "env" "say" (func $say (param i64)))
  (import "own" "ask" (func $ask (result i32)))
  (type $adder (func (param i32 i64) (result i64)))
  (table (export "t") 2 funcref) (elem (i32.const 0) func $add $inner)
  (func $inner (param i32 i64) (result i64) (i64.const 5))
  (func (export "both") (param $x i32) (result i64)
    (call $add (local.get $x) (i64.const 100))
    (call $say (i64.const 7))
    (drop (call $ask)))
  (func (export "table") (param $which i32) (result i64)
    (call_indirect (type $adder) (i32.const 3) (i64.const 4) (local.get $which)))
  (func (export "tail") (param $x i32) (result i64)
    (return_call $add (local.get $x) (i64.const 1)))
  (func $down (export "down") (param $n i32) (result i64)
    (if (result i64) (local.get $n)
      (then (call $add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))
      (else (i64.const 0))))
  (func (export "loop") (param $n i32) (result i64) (local $sum i64)
    (loop $again
      (local.set $sum (call $add (local.get $n) (local.get $sum)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"""


class Session:
    def __init__(self, debuggee: Debuggee) -> None:
        self.debuggee = debuggee
        self.said: list[object] = []


@asynccontextmanager
async def linked(export: str, *arguments: int) -> AsyncIterator[Session]:
    """A paused debuggee; ``add`` and ``say`` are the linker's own, ``ask`` is ours in the same linker."""
    i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
    linker = wasmtime.Linker(engine())

    def add(x: int, y: int) -> int:
        session.said.append((x, y))
        if x == 13:
            raise ValueError("unlucky")
        return x + y

    linker.define_func("env", "add", wasmtime.FuncType([i32, i64], [i64]), add)
    linker.define_func("env", "say", wasmtime.FuncType([i64], []), lambda x: session.said.append(x))
    module = await module_of(GUEST)

    async def body(guest: Guest) -> Any:
        guest.define(linker, "own", "ask", wasmtime.FuncType([], [i32]), lambda: 1)
        instance = await guest.instantiate(linker, module)
        return await guest.call(instance.func(export), *arguments)

    async with open_debuggee(wasmtime.Store(engine()), body) as debuggee:
        session = Session(debuggee)
        yield session


def shown(event: events.Event) -> tuple[Any, ...]:
    match event:
        case events.HostCallEntered(host_function=name, arguments=arguments):
            return ("to", name, arguments)
        case events.HostCallReturned(host_function=name, results=results):
            return ("from", name, results)
        case events.Finished(result=result):
            return ("end", result)
        case _:
            return (type(event).__name__,)


async def all_of(debuggee: Debuggee) -> list[tuple[Any, ...]]:
    return [shown(event) async for event in debuggee]


async def test_arguments_and_results_of_all_host_functions_alike() -> None:
    async with linked("both", 1) as it:
        it.debuggee.stop_on_host_calls = "."
        assert await all_of(it.debuggee) == [
            ("to", "env.add", (1, 100)), ("from", "env.add", (101,)),
            ("to", "env.say", (7,)), ("from", "env.say", ()),
            ("to", "own.ask", ()), ("from", "own.ask", (1,)), ("end", 101),
        ]  # fmt: skip
        assert it.said == [(1, 100), 7]
        assert it.debuggee.breakpoints == ()


async def test_only_those_whose_name_is_found() -> None:
    async with linked("both", 1) as it:
        it.debuggee.stop_on_host_calls = "say$"
        assert [each[0] for each in await all_of(it.debuggee)] == ["to", "from", "end"]


@pytest.mark.parametrize(("which", "told"), [(0, 2), (1, 0)])
async def test_through_a_table_to_where_it_leads(which: int, told: int) -> None:
    async with linked("table", which) as it:
        it.debuggee.stop_on_host_calls = "env"
        found = await all_of(it.debuggee)
        assert found == [("to", "env.add", (3, 4)), ("from", "env.add", (7,)), ("end", 7)][:told] + found[-1:]
        assert found[-1] == ("end", 7 if which == 0 else 5)


async def test_a_tail_call_does_not_come_back() -> None:
    async with linked("tail", 8) as it:
        it.debuggee.stop_on_host_calls = "env"
        assert await all_of(it.debuggee) == [("to", "env.add", (8, 1)), ("end", 9)]


async def test_values_are_changed_on_the_way_there_and_back() -> None:
    async with linked("both", 1) as it:
        debuggee = it.debuggee
        debuggee.stop_on_host_calls = "add"
        assert shown(await debuggee.run())[0] == "to"
        with pytest.raises(TypeError, match="2 values are wanted here, not 1"):
            debuggee.set_host_values(5)
        with pytest.raises(TypeError):
            debuggee.set_host_values(5, "six")
        debuggee.set_host_values(5, -6)
        assert shown(await debuggee.run()) == ("from", "env.add", (-1,))
        debuggee.set_host_values(1 << 40)
        assert shown(await debuggee.run()) == ("end", 1 << 40)
        assert it.said[0] == (5, -6)


async def test_references_are_changed_on_the_way() -> None:
    linker, taken = wasmtime.Linker(engine()), list[object]()
    kind = wasmtime.FuncType([wasmtime.ValType.externref()], [])
    linker.define_func("env", "take", kind, taken.append)
    module = await module_of(
        """(module (import "env" "take" (func $take (param externref)))
             (func (export "f") (param externref) (call $take (local.get 0))))"""
    )

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(linker, module)
        return await guest.call(instance.func("f"), "mine")

    async with open_debuggee(wasmtime.Store(engine()), body) as debuggee:
        debuggee.stop_on_host_calls = "take"
        assert shown(await debuggee.run()) == ("to", "env.take", ("mine",))
        debuggee.set_host_values(None)
        await debuggee.finish()
    assert taken == [None]


async def test_it_is_not_called_where_the_guest_is_sent_elsewhere() -> None:
    async with linked("both", 1) as it:
        it.debuggee.stop_on_host_calls = "env"
        event = await it.debuggee.run()
        event.frame.return_early(77)
        assert await all_of(it.debuggee) == [("end", 77)]
        assert it.said == []


async def test_recursion_is_told_frame_by_frame() -> None:
    async with linked("down", 3) as it:
        it.debuggee.stop_on_host_calls = "env"
        assert [each[2:] for each in (await all_of(it.debuggee))[:-1]] == [
            ((1, 0),), ((1,),), ((2, 1),), ((3,),), ((3, 3),), ((6,),),
        ]  # fmt: skip


async def test_breakpoints_and_steps_meet_them() -> None:
    async with linked("both", 1) as it:
        debuggee = it.debuggee
        debuggee.add_breakpoint(import_="env.say")
        debuggee.stop_on_host_calls = "env"
        kinds = []
        while not isinstance(event := await debuggee.step_over(), events.Finished):
            kinds.append(type(event).__name__)
        # What the last instruction has done, then the breakpoint, then what the next one is going to do.
        at = kinds.index("Breakpoint")
        assert kinds[at : at + 3] == ["Breakpoint", "HostCallEntered", "HostCallReturned"]
        assert kinds.count("HostCallEntered") == kinds.count("HostCallReturned") == 2


async def test_one_after_the_other_at_one_place() -> None:
    async with linked("loop", 3) as it:
        debuggee = it.debuggee
        debuggee.stop_on_host_calls = "env"
        found = await all_of(debuggee)
        assert [each[0] for each in found] == ["to", "from"] * 3 + ["end"]
        assert found[-1] == ("end", 6)


async def test_switched_off_between_the_two() -> None:
    async with linked("loop", 3) as it:
        it.debuggee.stop_on_host_calls = "env"
        assert shown(await it.debuggee.run())[0] == "to"
        it.debuggee.stop_on_host_calls = None
        assert await all_of(it.debuggee) == [("end", 6)]


async def test_after_an_error_nothing_is_expected() -> None:
    async with linked("both", 13) as it:
        it.debuggee.stop_on_host_calls = "env"
        assert [each[0] for each in await all_of(it.debuggee)] == ["to", "HostcallError", "end"]
        assert list(it.debuggee._core.arming.decider.expected) == []


async def test_an_injected_call_keeps_what_can_be_changed() -> None:
    async with linked("both", 1) as it:
        debuggee = it.debuggee
        debuggee.stop_on_host_calls = "add"
        event = await debuggee.run()
        inner = event.frame.instance.func("table")
        debuggee.stop_on_host_calls = "add"
        assert isinstance(await debuggee.inject_call(inner, 1), events.CallReturned)
        debuggee.set_host_values(2, 3)
        assert shown(await debuggee.run()) == ("from", "env.add", (5,))


async def test_dropped_at_such_a_stop() -> None:
    async with linked("both", 1) as it:
        it.debuggee.stop_on_host_calls = "env"
        await it.debuggee.run()
    assert it.said == []


WASI = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "f") (result i32) (call $random (i32.const 8) (i32.const 16))))
"""


async def test_functions_of_wasi() -> None:
    store = wasmtime.Store(engine())
    store.set_wasi(wasmtime.WasiConfig())
    linker = wasmtime.Linker(engine())
    linker.define_wasi()
    module = await module_of(WASI)

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(linker, module)
        return await guest.call(instance.func("f"))

    async with open_debuggee(store, body) as debuggee:
        debuggee.stop_on_host_calls = "wasi.*random"
        name = "wasi_snapshot_preview1.random_get"
        assert shown(await debuggee.run()) == ("to", name, (8, 16))
        debuggee.set_host_values(8, 0)
        event = await debuggee.run()
        assert shown(event) == ("from", name, (0,))
        assert event.frame.instance.read_memory(8, 16) == bytes(16)
        assert shown(await debuggee.run()) == ("end", 0)


PASSING = """
(module
  (import "env" "log" (func $log (param i32)))
  (table (export "t") 1 funcref) (elem (i32.const 0) func $log)
  (export "log" (func $log))
  (func (export "own") (param i32)))
"""
USING = """
(module
  (import "a" "t" (table 1 funcref))
  (import "a" "log" (func $log (param i32)))
  (import "a" "own" (func $own (param i32)))
  (type $f (func (param i32)))
  (export "again" (func $log))
  (func (export "f")
    (call $own (i32.const 1))
    (call $log (i32.const 2))
    (call_indirect (type $f) (i32.const 3) (i32.const 0))))
"""


@pytest.mark.parametrize("ours", [True, False])
async def test_another_instances_function_and_import_are_told_once_or_not_at_all(ours: bool) -> None:
    logged: list[int] = []
    linker = wasmtime.Linker(engine())
    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [])
    if not ours:
        linker.define_func("env", "log", kind, logged.append)
    passing, using = await module_of(PASSING), await module_of(USING)

    async def body(guest: Guest) -> None:
        if ours:
            guest.define(linker, "env", "log", kind, logged.append)
        first = await guest.instantiate(linker, passing)
        second = await guest.instantiate({"a": first}, using)
        await guest.call(second.func("f"))

    async with open_debuggee(wasmtime.Store(engine()), body) as debuggee:
        debuggee.stop_on_host_calls = "log|own"
        found = await all_of(debuggee)
        assert [each[::2] for each in found[:-1]] == [
            ("to", (2,)), ("from", ()), ("to", (3,)), ("from", ()),
        ]  # fmt: skip
        assert logged == [2, 3]
