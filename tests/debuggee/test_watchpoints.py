"""Watchpoints on a guest: memory, globals and locals, and what does not count."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import engine, module_of, program
from trio_wasmdbg import (
    Debuggee,
    ExpressionError,
    Guest,
    GuestInstance,
    UsageError,
    events,
    format_value,
    open_debuggee,
)

STORES = """
(module
  (memory (export "memory") 1)
  (data $text "hello")
  (global $g (export "g") (mut i64) (i64.const 5))
  (func (export "store8") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "store64") (param i32 i64) (i64.store offset=8 (local.get 0) (local.get 1)))
  (func (export "vector") (param i32) (v128.store (local.get 0) (v128.const i64x2 1 2)))
  (func (export "lane") (param i32) (v128.store16_lane 1 (local.get 0) (v128.const i16x8 1 2 3 4 5 6 7 8)))
  (func (export "add") (param i32 i32) (result i32) (i32.atomic.rmw.add (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init") (param i32) (memory.init $text (local.get 0) (i32.const 0) (i32.const 5)))
  (func (export "set_g") (param i64) (global.set $g (local.get 0)))
  (func (export "get_g") (result i64) (global.get $g))
  (func $count (export "count") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (local.get $i)))
      (i32.store (i32.const 64) (local.get $sum))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))
  (func (export "nested") (param i32) (result i32)
    (local $x i32)
    (local.set $x (call $count (local.get 0)))
    (i32.add (local.get $x) (call $count (local.get 0)))))
"""


class Watched:
    """A debuggee paused at its first instruction, with its instance."""

    def __init__(self, debuggee: Debuggee, instance: GuestInstance) -> None:
        self.debuggee = debuggee
        self.instance = instance

    async def hits(self) -> list[Any]:
        """Run to the end; what each Watch event says."""
        seen: list[Any] = []
        async for event in self.debuggee:
            if isinstance(event, events.Finished):
                assert event.error is None
                return seen
            assert isinstance(event, events.Watch)
            seen += [(hit.kind, hit.address, hit.size, hit.old, hit.new) for hit in event.hits]
        raise AssertionError("not finished")


async def begin(it: Any) -> Watched:
    it.debuggee.stop_on_instances = True
    event = await it.debuggee.run()
    assert isinstance(event, events.InstanceCreated)
    return Watched(it.debuggee, event.instance)


@pytest.mark.parametrize(
    ("call", "hits"),
    [
        (("store8", 103, 7), [("write", 103, 1, 0, 7 << 24)]),
        (("store8", 104, 7), []),
        (("store8", 99, 7), []),
        (("store64", 90, -1), [("write", 98, 8, 0, 0xFFFF_FFFF)]),
        (("store64", 96, -1), []),  # 104 to 111
        (("store64", 84, -1), []),  # 92 to 99
        (("vector", 92), [("write", 92, 16, 0, 2)]),
        (("lane", 102), [("write", 102, 2, 0, 2 << 16)]),
        (("add", 100, 3), [("write", 100, 4, 0, 3)]),
        (("load", 100), []),
        (("fill", 0, 1, 200), [("write", 0, 200, 0, 0x01010101)]),
        (("fill", 0, 1, 100), []),
        (("fill", 102, 1, 0), []),
        (("copy", 101, 0, 2), [("write", 101, 2, 0, 0)]),
        (("copy", 0, 100, 4), []),  # a read
        (("init", 98), [("write", 98, 5, 0, int.from_bytes(b"llo\0", "little"))]),
    ],
    ids=str,
)
async def test_writes_to_four_bytes(call: tuple[Any, ...], hits: list[Any]) -> None:
    async with program(call, text=STORES, imports={}) as it:
        watched = await begin(it)
        it.debuggee.watch_memory(watched.instance, 100, 4)
        assert await watched.hits() == hits


@pytest.mark.parametrize(
    ("access", "call", "kinds"),
    [
        ("read", ("load", 100), ["read"]),
        ("read", ("store8", 100, 1), []),
        ("read", ("copy", 0, 102, 4), ["read"]),
        ("access", ("load", 100), ["read"]),
        ("access", ("store8", 100, 1), ["write"]),
        ("access", ("copy", 100, 101, 2), ["read", "write"]),
        ("change", ("store8", 100, 0), []),
        ("change", ("store8", 100, 1), ["write"]),
        ("write", ("store8", 100, 0), ["write"]),
    ],
    ids=str,
)
async def test_kinds_of_access(access: str, call: tuple[Any, ...], kinds: list[str]) -> None:
    async with program(call, text=STORES, imports={}) as it:
        watched = await begin(it)
        it.debuggee.watch_memory(watched.instance, 100, 4, access=access)
        assert [hit[0] for hit in await watched.hits()] == kinds


async def test_the_event_names_the_instruction_and_stands_after_it() -> None:
    async with program(("count", 3), text=STORES, imports={}) as it:
        watched = await begin(it)
        watchpoint = it.debuggee.watch_memory(watched.instance, 64, 4, access="change")
        event = await it.debuggee.run()
        assert isinstance(event, events.Watch)
        assert event.hits[0].watchpoint is watchpoint
        (function,) = watched.instance.module.functions_named("count")
        names = {
            offset: each.op.name
            for offset, each in zip(watched.instance.module.offsets(function), event.frame.body, strict=True)
        }
        assert names[event.instruction_offset] == "i32.store"
        assert event.frame.module_offset > event.instruction_offset
        assert (event.hits[0].old, event.hits[0].new) == (0, 1)
        assert [hit[3:] for hit in await watched.hits()] == [(1, 3)]
    assert it.results == [3]


async def test_many_ranges_of_any_size() -> None:
    async with program(("fill", 0, 9, 1000), text=STORES, imports={}) as it:
        watched = await begin(it)
        made = [it.debuggee.watch_memory(watched.instance, 8 * n, 3, access="change") for n in range(300)]
        event = await it.debuggee.run()
        assert isinstance(event, events.Watch)
        assert [hit.watchpoint for hit in event.hits] == made[:125]
        assert event.hits[0].new == bytes([9, 9, 9])
        assert isinstance(await it.debuggee.run(), events.Finished)


async def test_conditions_hit_counts_once_and_disabling() -> None:
    async with program(("count", 6), ("count", 6), text=STORES, imports={}) as it:
        watched = await begin(it)
        watch = it.debuggee.watch_memory
        picky = watch(watched.instance, 64, 4, condition="i == 2 || sum > 9")
        third = watch(watched.instance, 64, 4, hits=3)
        once = watch(watched.instance, 64, 4, once=True)
        off = watch(watched.instance, 64, 4)
        off.enabled = False
        seen = []
        for _ in range(4):
            event = await it.debuggee.run()
            assert isinstance(event, events.Watch)
            seen.append({hit.watchpoint for hit in event.hits})
        assert seen == [{once}, {picky, third}, {picky}, {picky}]
        assert set(it.debuggee.watchpoints) == {picky, third, off}
        it.debuggee.remove_watchpoint(picky)
        it.debuggee.remove_watchpoint(third)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [15, 15]


async def test_a_global() -> None:
    calls = [("set_g", 5), ("set_g", 6), ("get_g",)]
    async with program(*calls, text=STORES, imports={}) as it:
        watched = await begin(it)
        await it.debuggee.watch_global(watched.instance, 0, access="change")
        reads = await it.debuggee.watch_global(watched.instance, 0, access="read")
        assert await watched.hits() == [("write", None, None, 5, 6), ("read", None, None, 6, 6)]
        assert reads.hit_count == 1


async def test_a_local_of_one_activation() -> None:
    async with program(("nested", 3), text=STORES, imports={}) as it:
        it.debuggee.add_breakpoint("count", once=True)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        it.debuggee.watch_local(event.frame, "sum", access="change")
        it.debuggee.watch_local(event.frame.parent, "x")
        seen = []
        while isinstance(event := await it.debuggee.run(), events.Watch):
            seen += [(event.frame.function_name, hit.old, hit.new) for hit in event.hits]
        # the second activation's sum is another variable
        assert seen == [("count", 0, 1), ("count", 1, 3), ("nested", 0, 3)]
        assert it.debuggee.watchpoints == ()
    assert it.results == [6]


async def test_a_step_over_a_store_that_is_watched_reports_the_watchpoint() -> None:
    async with program(("store8", 100, 1), text=STORES, imports={}) as it:
        watched = await begin(it)
        it.debuggee.add_breakpoint("store8")
        it.debuggee.watch_memory(watched.instance, 100, 1)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        while event.frame.instruction.op.name != "i32.store8":
            event = await it.debuggee.step()
        event = await it.debuggee.step()
        assert isinstance(event, events.Watch)
        assert event.frame.instruction.op.name == "end"
        assert isinstance(await it.debuggee.step_out(), events.Finished)


async def test_set_while_the_guest_is_paused_in_a_fast_caller() -> None:
    text = """
    (module (memory (export "memory") 1)
      (func $leaf (export "leaf"))
      (func (export "main") (param i32)
        (call $leaf)
        (i32.store (i32.const 8) (local.get 0))))
    """
    async with program(("main", 7), text=text, imports={}) as it:
        it.debuggee.add_breakpoint("leaf")
        await it.debuggee.run()
        it.debuggee.watch_memory(it.instance, 8, 4)
        event = await it.debuggee.run()
        assert isinstance(event, events.Watch)
        assert event.hits[0].new == 7


async def test_nothing_is_left_armed() -> None:
    async with program(("count", 4), text=STORES, imports={}) as it:
        watched = await begin(it)
        watchpoint = it.debuggee.watch_memory(watched.instance, 64, 4)
        await it.debuggee.run()
        it.debuggee.remove_watchpoint(watchpoint)
        layout, memory = watched.instance._layout, watched.instance._debug_memory
        assert not any(memory.read(layout.sites_base, layout.sites))
        assert not any(memory.read(layout.stops_base, layout.stops))
        assert isinstance(await it.debuggee.run(), events.Finished)


async def test_what_can_not_be_watched() -> None:
    async with program(("count", 4), text=STORES, imports={}) as it:
        watched = await begin(it)
        watch = it.debuggee.watch_memory
        with pytest.raises(UsageError, match="read, write, access, change"):
            watch(watched.instance, 0, access="execute")
        with pytest.raises(UsageError, match="can't watch 0 bytes"):
            watch(watched.instance, 0, 0)
        with pytest.raises(ExpressionError):
            watch(watched.instance, 0, condition="(")
        with pytest.raises(LookupError):
            watch(watched.instance, 0, memory=1)
        with pytest.raises(LookupError):
            await it.debuggee.watch_global(watched.instance, 9)
        assert it.debuggee.watchpoints == ()


@pytest.mark.parametrize("how", ["return", "throw", "next"])
async def test_a_store_that_is_not_executed_after_all_is_no_hit(how: str) -> None:
    """The guest asks before it stores; then it traps, and is sent elsewhere."""
    text = """
    (module (memory 1) (tag $e)
      (func $put (param $at i32) (result i32)
        (i64.store (local.get $at) (i64.const 5)) (i32.const 7))
      (func (export "main") (result i32)
        (block $caught
          (try_table (catch $e $caught) (drop (call $put (i32.const 65532)))))
        (call $put (i32.const 0))))
    """
    async with program(("main",), text=text, imports={}) as it:
        watched = await begin(it)
        it.debuggee.precise_traps = True
        watchpoint = it.debuggee.watch_memory(watched.instance, 65532, 4)
        trap = await it.debuggee.run()
        assert isinstance(trap, events.Trap)
        if how == "return":
            trap.frame.return_early(3)
        elif how == "throw":
            trap.frame.throw_exception(0)
        else:
            trap.frame.set_operand(0, 8)
            trap.frame.set_next_instruction(trap.frame.module_offset)
        assert await watched.hits() == []
        assert watchpoint.hit_count == 0
    assert it.results == [7]


async def test_a_tee_that_is_skipped_is_no_hit() -> None:
    text = """
    (module (func $f (export "f") (param $x i32) (result i32) (local $y i32)
      (local.tee $y (local.get $x))))
    """
    async with program(("f", 4), text=text, imports={}) as it:
        it.debuggee.add_breakpoint(instructions={"local.tee"})
        it.debuggee.add_breakpoint("f", once=True)
        event = await it.debuggee.run()
        it.debuggee.watch_local(event.frame, "y")
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        offsets = it.instance.module.offsets(event.frame.function_index)
        event.frame.set_next_instruction(offsets[event.frame.resume_point + 1])
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [4]


class Unequal:
    """Objects that refuse to be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    __hash__ = None  # type: ignore[assignment]


CHANGES = """
(module
  (elem declare func $a $b)
  (global $f (mut f32) (f32.const nan:0x200001))
  (global $z (mut f64) (f64.const 0))
  (global $r (mut funcref) (ref.null func))
  (global $x (mut externref) (ref.null extern))
  (func $a) (func $b)
  (func $set (export "set") (param $one externref) (param $two externref)
    (global.set $f (f32.const nan:0x200001)) (global.set $f (f32.const nan:0x600001))
    (global.set $z (f64.const 0)) (global.set $z (f64.const -0))
    (global.set $r (ref.func $a)) (global.set $r (ref.func $a)) (global.set $r (ref.func $b))
    (global.set $x (local.get $one)) (global.set $x (local.get $one)) (global.set $x (local.get $two))))
"""


async def test_a_change_is_one_of_bits_or_of_what_is_referred_to() -> None:
    one, two = Unequal(), Unequal()
    async with program(("set", one, two), text=CHANGES, imports={}) as it:
        watched = await begin(it)
        names = ["f", "z", "r", "x"]
        for index in range(len(names)):
            await it.debuggee.watch_global(watched.instance, index, access="change")
        seen = []
        while isinstance(event := await it.debuggee.run(), events.Watch):
            (hit,) = event.hits
            name = names[hit.watchpoint.what.index]  # type: ignore[union-attr]
            seen.append(
                (name, format_value("f32" if name == "f" else "f64", hit.new) if name in "fz" else "")
            )
        assert isinstance(event, events.Finished)
        assert event.error is None
    assert seen == [("f", "nan (0x7fe00001)"), ("z", "-0.0"), ("r", ""), ("r", ""), ("x", ""), ("x", "")]


EDITED = """
(module
  (import "env" "edit" (func $edit))
  (memory (export "memory") 1)
  (func $store (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "go")
    (call $store (i32.const 64) (i32.const 1))
    (call $edit)
    (call $store (i32.const 64) (i32.const 2))
    (call $store (i32.const 128) (i32.const 3))))
"""


async def test_another_one_while_the_guest_runs() -> None:
    """What is watched already goes on being watched: the guest's table does not change under it."""
    linker = wasmtime.Linker(engine())
    in_the_table: list[int] = []

    def edit() -> None:
        # As another thread would, for the debuggee does not see that the guest calls this.
        instance = it.instance
        it.debuggee.watch_memory(instance, 128, 4)
        in_the_table.append(len(instance._watched))

    linker.define_func("env", "edit", wasmtime.FuncType([], []), edit)
    module = await module_of(EDITED)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(linker, module)
        await guest.call(instance.func("go"))

    store = wasmtime.Store(engine())
    try:
        async with open_debuggee(store, body) as debuggee:
            debuggee.stop_on_instances = True
            event = await debuggee.run()
            assert isinstance(event, events.InstanceCreated)
            it = Watched(debuggee, event.instance)
            debuggee.watch_memory(it.instance, 64, 4)
            assert [hit[:2] for hit in await it.hits()] == [("write", 64), ("write", 64), ("write", 128)]
    finally:
        store.close()
    assert in_the_table == [1]
