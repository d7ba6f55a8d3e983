"""What a paused guest has, read and changed: memories by number and by page, globals, tables, identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._programs import module_of, program
from trio_wasmdbg import (
    GrowthRefusedError,
    GuestInstance,
    NotFoundError,
    OutOfBoundsError,
    UsageError,
    WrongStateError,
    capi,
    events,
)

GUEST = """
(module
  (type $unary (func (param i32) (result i32)))
  (memory (export "memory") 1 3)
  (memory $second 0 10)
  (table $ops (export "ops") 4 6 funcref)
  (table $hosts 2 externref)
  (global $g (mut i32) (i32.const 7))
  (global $fixed i64 (i64.const 1))
  (global $f (mut funcref) (ref.null func))
  (tag $bad (export "bad") (param i32 f64))
  (elem (table $ops) (i32.const 0) func $double $negate)
  (func $double (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $negate (param i32) (result i32) (i32.sub (i32.const 0) (local.get 0)))
  (func (export "apply") (param $op i32) (param $x i32) (result i32)
    (call_indirect $ops (type $unary) (local.get $x) (local.get $op)))
  (func (export "size") (result i32) (memory.size))
  (func (export "last") (result i32) (i32.load8_u (i32.const 131071)))
  (func (export "host") (param i32) (result externref) (table.get $hosts (local.get 0)))
  (func (export "depth") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (call 6 (i32.sub (local.get $n) (i32.const 1))))
      (else (call_indirect $ops (type $unary) (i32.const 21) (i32.const 3))))))
"""


async def paused(it: Any, function: str) -> tuple[events.Breakpoint, GuestInstance]:
    it.debuggee.add_breakpoint(function, once=True)
    event = await it.debuggee.run()
    assert isinstance(event, events.Breakpoint), event
    return event, event.frame.instance


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        ("u8", 255, "ff"), ("s8", -1, "ff"), ("u16", 0xFFFE, "feff"), ("s16", -2, "feff"),
        ("u32", 0xDEADBEEF, "efbeadde"), ("s32", -2, "feffffff"), ("u64", 2**64 - 2, "feffffffffffffff"),
        ("s64", -(2**63), "0000000000000080"), ("f32", 1.5, "0000c03f"),
        ("f64", -math.inf, "000000000000f0ff"),
    ],
)  # fmt: skip
async def test_numbers_in_memory(kind: str, value: float, data: str) -> None:
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        end = 65_536 - len(data) // 2
        for address in (3, end):
            instance.write_number(address, kind, value)
            assert instance.read_memory(address, len(data) // 2) == bytes.fromhex(data)
            assert instance.read_number(address, kind) == value
        with pytest.raises(OutOfBoundsError, match="outside of the memory, which has 0x10000 bytes"):
            instance.read_number(end + 1, kind)
        before = instance.read_memory(65_520, 16)
        with pytest.raises(OutOfBoundsError):
            instance.write_number(end + 1, kind, value)
        with pytest.raises(OutOfBoundsError):
            instance.read_number(-1, kind)
        assert instance.read_memory(65_520, 16) == before


async def test_numbers_that_are_none() -> None:
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        with pytest.raises(UsageError, match="'i32': there are u8, s8"):
            instance.read_number(0, "i32")
        for kind, value in (("u8", 256), ("u8", -1), ("s64", 2**63), ("f32", 1e300)):
            with pytest.raises(ValueError, match="does not fit"):
                instance.write_number(0, kind, value)
        with pytest.raises(TypeError, match="is no u8"):
            instance.write_number(0, "u8", 1.5)
        assert instance.read_memory(0, 8) == bytes(8)


async def test_a_memory_grows_under_a_paused_guest() -> None:
    async with program(("size",), ("last",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        assert (instance.memory_size(), instance.page_size()) == (65_536, 65_536)
        instance.write_memory(0, b"kept")
        assert instance.grow_memory(1) == 1
        assert instance.memory_size() == 131_072
        instance.write_number(131_071, "u8", 77)
        assert instance.read_memory(0, 4) == b"kept"
        assert instance.grow_memory(0) == 2
        for pages in (2, 2**16, 2**64 + 1):
            with pytest.raises(GrowthRefusedError, match=f"can't grow by {pages} pages"):
                instance.grow_memory(pages)
        with pytest.raises(UsageError):
            instance.grow_memory(-1)
        assert instance.grow_memory(10, memory=1) == 0
        assert instance.memory_size(1) == 655_360
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [2, 77]


async def test_a_store_that_allows_no_growth() -> None:
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        it.store.set_limits(memory_size=65_536)
        with pytest.raises(GrowthRefusedError):
            instance.grow_memory(1)
        assert instance.memory_size() == 65_536


async def test_globals() -> None:
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        assert [instance.global_value(index) for index in range(3)] == [7, 1, None]
        instance.set_global(2, instance.func("double"))
        element = instance.global_value(2)
        assert isinstance(element, wasmtime.Func)
        assert instance.function_of(element) == 0
        instance.set_global(2, None)
        with pytest.raises(UsageError, match="global 1 is not mutable"):
            instance.set_global(1, 2)
        with pytest.raises(ValueError, match="does not fit"):
            instance.set_global(0, 2**32)
        with pytest.raises(TypeError):
            instance.set_global(2, "double")
        assert [instance.global_value(index) for index in range(3)] == [7, 1, None]


async def test_tables() -> None:
    calls = [("apply", 0, 21), ("apply", 1, 5), ("apply", 5, 4), ("host", 0)]
    async with program(*calls, text=GUEST, imports={}) as it:
        _, instance = await paused(it, "apply")
        elements = instance.table_elements()
        assert [e if e is None else instance.function_of(e) for e in elements] == [0, 1, None, None]
        # what the guest is about to call
        instance.set_table_element(0, instance.func("negate"))
        assert instance.grow_table(2, instance.func("double")) == 4
        assert instance.table_size() == 6
        with pytest.raises(GrowthRefusedError, match="can't grow by 1 elements"):
            instance.grow_table(1)
        with pytest.raises(OutOfBoundsError, match="element 6 is outside of the table, which has 6"):
            instance.set_table_element(6, None)
        with pytest.raises(OutOfBoundsError, match="2 elements from 5 on are outside"):
            instance.fill_table(5, 2, None)
        with pytest.raises(OutOfBoundsError):
            instance.table_element(6)
        with pytest.raises(TypeError):
            instance.fill_table(0, 2, "no function")
        fruit = object()
        instance.fill_table(0, 2, fruit, table=1)
        assert instance.table_element(1, table=1) is fruit
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [-21, -5, 8, fruit]


async def test_a_table_is_changed_in_the_depth_of_a_recursion() -> None:
    async with program(("depth", 50), text=GUEST, imports={}) as it:
        it.debuggee.add_breakpoint("depth", condition="n == 10")
        event = await it.debuggee.run()
        event.frame.instance.set_table_element(3, event.frame.instance.func("double"))
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [42]


async def test_identities() -> None:
    other_text = """
    (module (import "a" "memory" (memory 1)) (import "a" "ops" (table 1 funcref))
      (import "a" "apply" (func (param i32 i32) (result i32))) (import "a" "bad" (tag (param i32 f64)))
      (memory 1))"""
    other_module = await module_of(other_text)
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        future = it.debuggee.with_store(lambda view: view.instances)
        assert await future == (instance,)
    store = wasmtime.Store(other_module.engine)
    from trio_wasmdbg import Guest, open_debuggee

    pair: list[GuestInstance] = []

    async def body(guest: Guest) -> None:
        pair.append(await guest.instantiate({}, await module_of(GUEST)))
        pair.append(await guest.instantiate({"a": pair[0]}, other_module))

    async with open_debuggee(store, body) as debuggee:
        await debuggee.finish()
        first, second = pair
        assert first.identity(first.memory()) == first.identity(first.memory())
        assert first.identity(first.memory()) == second.identity(second.memory(0))
        assert first.identity(first.memory()) != second.identity(second.memory(1))
        assert first.identity(first.table()) == second.identity(second.table(0))
        assert first.identity(first.tag("bad")) == second.identity(second.tag(0))
        assert first.identity(first.global_(0)) != first.identity(first.global_(2))
        same = {first.identity(item) for item in (first.func("size"), first.func("size"), first.func("last"))}
        assert len(same) == 2
        view = await debuggee.with_store(lambda view: (view.instances, view.modules))
        assert view == ((first, second), (first.module, second.module))
        assert len({first, second, first}) == 2
        assert second.module.bytecode.startswith(b"\0asm")


async def test_types_and_names_that_are_not_there() -> None:
    async with program(("size",), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "size")
        module = instance.module
        assert [str(each) for each in module.tag_type(0).params] == ["i32", "f64"]
        assert [str(each) for each in module.function_type(2).params] == ["i32", "i32"]
        wrong: list[Callable[[], object]] = [
            lambda: module.tag_type(1),
            lambda: module.function_type(-1),
            lambda: instance.tag("good"),
            lambda: instance.memory_size(2),
            lambda: instance.table_size(2),
            lambda: instance.global_value(3),
            lambda: instance.page_size(9),
        ]
        for each in wrong:
            with pytest.raises(NotFoundError):
                each()


async def test_not_while_the_guest_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    spin = '(module (memory 1) (table 1 funcref) (func (export "spin") (loop (br 0))))'
    async with program(("spin",), text=spin, imports={}) as it:
        it.debuggee.stop_on_instances = True
        event = await it.debuggee.run()
        assert isinstance(event, events.InstanceCreated)
        instance = event.instance
        running = trio.Event()
        poll = capi.CallFuture.poll
        token = trio.lowlevel.current_trio_token()

        def tell(future: capi.CallFuture) -> bool:
            token.run_sync_soon(running.set)
            return poll(future)

        monkeypatch.setattr(capi.CallFuture, "poll", tell)
        changes: list[Callable[[], object]] = [
            lambda: instance.grow_memory(1),
            lambda: instance.set_table_element(0, None),
            lambda: instance.read_number(0),
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(it.debuggee.run)
            await running.wait()
            for change in changes:
                with pytest.raises(WrongStateError):
                    change()
            nursery.cancel_scope.cancel()


async def test_an_edit_of_a_cancelled_query_happens_whole_or_not_at_all() -> None:
    async with program(("apply", 0, 21), text=GUEST, imports={}) as it:
        _, instance = await paused(it, "apply")
        done = []

        def edit(view: Any) -> None:
            instance.grow_memory(1)
            instance.fill_table(0, 4, instance.func("negate"))
            done.append(True)

        for point in range(6):
            with trio.CancelScope() as scope:
                if point < 3:
                    scope.cancel()
                else:
                    trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
                await it.debuggee.with_store(edit)
            size = await it.debuggee.with_store(lambda view: instance.memory_size())
            assert size == 65_536 * (1 + len(done))
            changed = instance.function_of(instance.table_element(0)) == 1
            assert changed == bool(done)
            if done:
                break
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [-21 if done else 42]


async def test_a_shared_memory() -> None:
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    from trio_wasmdbg import Guest, load_module, open_debuggee, prepare_config

    prepare_config(config)
    engine = wasmtime.Engine(config)
    module = await load_module(
        engine, '(module (memory 1 2 shared) (func (export "f") (result i32) (i32.load (i32.const 65536))))'
    )
    seen: list[GuestInstance] = []

    async def body(guest: Guest) -> Any:
        seen.append(await guest.instantiate({}, module))
        return await guest.call(seen[0].func("f"))

    async with open_debuggee(wasmtime.Store(engine), body) as debuggee:
        debuggee.add_breakpoint("f")
        await debuggee.run()
        (instance,) = seen
        assert isinstance(instance.memory(), wasmtime.SharedMemory)
        assert instance.memory_size() == 65_536
        assert instance.grow_memory(1) == 1
        with pytest.raises(GrowthRefusedError):
            instance.grow_memory(1)
        instance.write_number(65_536, "u32", 99)
        assert instance.identity(instance.memory()) == instance.identity(instance.memory())
        watch = debuggee.watch_memory(instance, 65_536, access="read")
        event = await debuggee.run()
        assert isinstance(event, events.Watch)
        assert event.hits[0].watchpoint is watch
        assert (await debuggee.finish()).result == 99
