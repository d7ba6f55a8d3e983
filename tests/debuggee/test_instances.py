"""Several instances in one store, linked to one another; opaque modules; start functions; imports."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, debug, load, run_to
from trio_wasmdbg import (
    Guest,
    GuestInstance,
    NotFoundError,
    StaleHandleError,
    capi,
    events,
    load_module,
    open_debuggee,
)

LEFT = """
(module $left
  (import "right" "times" (func $times (param i32 i32) (result i32)))
  (memory (export "memory") 1) (global (export "calls") (mut i32) (i32.const 0))
  (table (export "t") 2 funcref)
  (func $inner (export "inner") (param $x i32) (result i32)
    (global.set 0 (i32.add (global.get 0) (i32.const 1)))
    (i32.add (local.get $x) (i32.const 1)))
  (func $outer (export "outer") (param $x i32) (result i32)
    (i32.sub (i32.const 1000) (call $times (local.get $x) (i32.const 3))))
  (func $by_table (export "by_table") (param $x i32) (result i32)
    (call_indirect (param i32 i32) (result i32) (local.get $x) (i32.const 5) (i32.const 0)))
  (elem (i32.const 0) $times))
"""

RIGHT = """
(module $right
  (memory 1)
  (table (export "t") 2 funcref)
  (type $one (func (param i32) (result i32)))
  (func $times (export "times") (param $x i32) (param $n i32) (result i32)
    (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call_indirect (type $one) (local.get $x) (i32.const 0))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
"""


async def linked(guest: Guest, found: dict[str, GuestInstance]) -> None:
    """left calls right's `times`, which calls left's `inner` back through a shared table."""
    right = found["right"] = await guest.instantiate(None, await load(RIGHT))
    left = found["left"] = await guest.instantiate({"right": right}, await load(LEFT))
    right.table(0).set(guest.store, 0, left.func("inner"))


@pytest.mark.parametrize("export", ["outer", "by_table"])
@pytest.mark.parametrize("step", [False, True])
async def test_frames_of_several_instances_in_true_order(export: str, step: bool) -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        await linked(guest, found)
        guest.single_step = step
        return await guest.call(found["left"].func(export), 10)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("inner")
        while not isinstance(event := await debuggee.run(), events.Breakpoint):
            assert isinstance(event, events.Step)
        left, right = found["left"], found["right"]
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        assert [(f.instance, f.function_name, f.locals) for f in frames] == [
            (left, "inner", (10,)),
            (right, "times", (10, 3 if export == "outer" else 5, 0)),
            (left, export, (10,)),
        ]
        assert [frame.module_offset for frame in frames] == [
            left.module.offsets(frames[0].function_index)[0],
            frames[1].module_offset,
            frames[2].module_offset,
        ]
        # Edits in the other instance's frame, and in the one that called that.
        frames[1].set_operand(0, 500)
        if export == "outer":
            frames[2].set_operand(0, 0)
        await debuggee.with_store(lambda view: setattr(view, "single_step", False))
        event = await debuggee.step_out()
        assert isinstance(event, events.Step)
        assert event.frame.instance is right
        assert event.frame.operand_stack == (500, 11)
        with pytest.raises(StaleHandleError):
            _ = frames[1].locals
        for breakpoint in debuggee.breakpoints:
            debuggee.remove_breakpoint(breakpoint)
        out = await debuggee.step_out()
        assert isinstance(out, events.Step)
        assert (out.frame.instance, out.frame.function_name) == (left, export)
        result = (await debuggee.finish()).result
        assert result == (-(500 + 33) if export == "outer" else 500 + 55)
        assert left.global_value(0) == (3 if export == "outer" else 5)


async def test_two_instances_of_one_module() -> None:
    module = await load(
        """(module $m (import "x" "next" (func $next (param i32) (result i32)))
             (global $g (mut i32) (i32.const 7))
             (func (export "next") (param i32) (result i32) (global.set $g (local.get 0))
               (i32.add (i32.const 1) (call $next (i32.sub (local.get 0) (i32.const 1))))))"""
    )

    async def body(guest: Guest) -> Any:
        first = await guest.instantiate({"x": {"next": lambda x: x * 100}}, module)
        second = await guest.instantiate({"x": first}, module)
        third = await guest.instantiate({"x": second}, module)
        return await guest.call(third.func("next"), 5)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("next")
        for depth in (1, 2, 3):
            event = await run_to(debuggee, events.Breakpoint)
            assert event.frame.instance.id == 4 - depth
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        assert [(frame.instance.id, frame.locals) for frame in frames] == [(1, (3,)), (2, (4,)), (3, (5,))]
        globals_ = await debuggee.with_store(lambda view: [each.global_value(0) for each in view.instances])
        assert globals_ == [7, 4, 5]
        assert await debuggee.with_store(lambda view: len(view.modules)) == 1
        assert (await debuggee.finish()).result == 203


OPAQUE = """(module (import "left" "inner" (func $inner (param i32) (result i32)))
  (func (export "times") (param $x i32) (param $n i32) (result i32)
    (i32.mul (local.get $n) (call $inner (local.get $x))))
  (func (export "linger") (param $x i32) (result i32) (local $i i32)
    (drop (call $inner (local.get $x)))
    (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000000))))
    (i32.const 4)))"""


async def test_an_ordinary_module_is_one_opaque_activation() -> None:
    async def body(guest: Guest) -> Any:
        left = await guest.instantiate({"right": {"times": lambda x, n: 0}}, await load(LEFT))
        opaque = await guest.instantiate({"left": left}, wasmtime.Module(ENGINE, OPAQUE))
        assert isinstance(opaque, wasmtime.Instance)
        times = opaque.exports(guest.store)["times"]
        assert isinstance(times, wasmtime.Func)
        return await guest.call(times, 4, 6)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("inner")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame.locals == (4,)
        activations = await debuggee.with_store(
            lambda view: [(a.opaque, [f.function_name for f in a.frames]) for a in view.activations]
        )
        assert activations == [(True, ["inner"])]
        assert await debuggee.run() == events.Finished(result=30)


async def test_stepping_back_into_an_opaque_module_does_not_block_the_loop() -> None:
    """What runs after a return is only short where it is instrumented."""

    async def body(guest: Guest) -> Any:
        left = await guest.instantiate({"right": {"times": lambda x, n: 0}}, await load(LEFT))
        opaque = await guest.instantiate({"left": left}, wasmtime.Module(ENGINE, OPAQUE))
        linger = opaque.exports(guest.store)["linger"]
        assert isinstance(linger, wasmtime.Func)
        return await guest.call(linger, 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("inner")
        await run_to(debuggee, events.Breakpoint)
        event: events.Event = await debuggee.step()
        while isinstance(event, events.Step) and event.frame.instruction.op.name != "end":
            event = await debuggee.step()
        before = debuggee.statistics()
        assert await debuggee.step() == events.Finished(result=4)
        after = debuggee.statistics()
        assert after.polls_inline == before.polls_inline
        assert after.polls_in_threads == before.polls_in_threads + 1


async def test_a_start_function_is_debugged() -> None:
    module = await load(
        """(module (import "host" "f" (func $f)) (global (export "g") (mut i32) (i32.const 0))
             (func $begin (call $f) (global.set 0 (i32.const 9))) (start $begin)
             (func (export "main") (result i32) (global.get 0)))"""
    )
    called: list[int] = []

    async def f() -> None:
        await trio.lowlevel.checkpoint()
        called.append(1)

    async with debug(module, "main", imports={"host": {"f": f}}) as debuggee:
        debuggee.add_breakpoint("begin")
        event = await run_to(debuggee, events.Breakpoint)
        assert called == []
        assert event.frame.function_name == "begin"
        step = await debuggee.step_over()
        assert isinstance(step, events.Step)
        assert called == [1]
        assert await debuggee.run() == events.Finished(result=9)


async def test_a_start_function_that_traps() -> None:
    module = await load("(module (func $begin (unreachable)) (start $begin))")

    async def body(guest: Guest) -> None:
        await guest.instantiate(None, module)

    with pytest.raises(wasmtime.Trap, match="unreachable"):
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            event = await run_to(debuggee, events.Trap)
            assert event.frame.function_name == "begin"
            await debuggee.finish()


async def test_an_imported_start_function() -> None:
    module = await load('(module (import "host" "f" (func $f)) (start $f) (func (export "main")))')
    called: list[int] = []
    async with debug(module, "main", imports={"host": {"f": lambda: called.append(1)}}) as debuggee:
        await debuggee.finish()
    assert called == [1]


async def test_segments_that_do_not_fit() -> None:
    module = await load('(module (memory 1) (data (i32.const 65530) "too long"))')

    async def body(guest: Guest) -> None:
        await guest.instantiate(None, module)

    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            event = await run_to(debuggee, events.Trap)
            assert event.frame is None
            await debuggee.finish()


@pytest.mark.parametrize(
    ("imports", "error", "message"),
    [
        ({}, NotFoundError, r"right\.times"),
        ({"right": {}}, NotFoundError, r"right\.times"),
        ({"right": {"times": 5}}, TypeError, r"right\.times can't be a int"),
    ],
)
async def test_imports_that_are_missing_or_wrong(imports: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        async with debug(LEFT, "outer", 1, imports=imports) as debuggee:
            await debuggee.finish()


async def test_an_import_of_the_wrong_type() -> None:
    async def body(guest: Guest) -> None:
        left = await guest.instantiate({"right": {"times": lambda x, n: 0}}, await load(LEFT))
        await guest.instantiate({"right": {"times": left.func("inner")}}, await load(LEFT))

    with pytest.raises(wasmtime.WasmtimeError, match="incompatible import type"):
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            await debuggee.finish()


async def test_the_users_linker_is_unchanged() -> None:
    linker = wasmtime.Linker(ENGINE)
    i32 = wasmtime.ValType.i32()
    linker.define_func("right", "times", wasmtime.FuncType([i32, i32], [i32]), lambda x, n: x * n)

    async def body(guest: Guest) -> Any:
        first = await guest.instantiate(linker, await load(LEFT))
        second = await guest.instantiate(linker, await load(LEFT))
        return [await guest.call(each.func("outer"), 5) for each in (first, second)]

    for _ in range(2):
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            assert (await debuggee.finish()).result == [985, 985]
    # Not the debugger's imports, nor a second definition.
    plain = wasmtime.Module(ENGINE, '(module (func (export "x")))')
    instance = linker.instantiate(wasmtime.Store(ENGINE), plain)
    assert instance is not None
    with pytest.raises(wasmtime.WasmtimeError, match="unknown import"):
        linker.instantiate(
            wasmtime.Store(ENGINE),
            wasmtime.Module(ENGINE, '(module (import "trio_wasmdbg:" "sp" (global (mut i32))))'),
        )


async def test_exports_are_the_originals() -> None:
    async def body(guest: Guest) -> Any:
        return await guest.instantiate({"right": {"times": lambda x, n: 0}}, await load(LEFT))

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        instance = (await debuggee.finish()).result
    assert {name: type(item).__name__ for name, item in instance.exports.items()} == {
        "memory": "Memory",
        "calls": "Global",
        "t": "Table",
        "inner": "Func",
        "outer": "Func",
        "by_table": "Func",
    }
    with pytest.raises(NotFoundError):
        instance.func("times and again")
    with pytest.raises(NotFoundError):
        instance.func(99)
    with pytest.raises(NotFoundError):
        instance.memory(1)


DIVIDES = """
(module (global $g (mut i32) (i32.const 5))
  (func $inner (param i32) (result i32) (i32.div_u (global.get $g) (local.get 0)))
  (func (export "divide") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  (func (export "load") (param i32) (result i32) (i32.add (call $read (local.get 0)) (i32.const 1)))
  (memory 1) (func $read (param i32) (result i32) (i32.load (local.get 0))))
"""


async def test_further_instances_show_the_same_places() -> None:
    """The engine's backtrace is that of another compiled module, in which the code lies where it did."""
    module = await load(DIVIDES)

    async def body(guest: Guest) -> None:
        for _ in range(3):
            instance = await guest.instantiate(None, module)
            for export, argument in (("divide", 0), ("load", -1)):
                with pytest.raises(wasmtime.Trap):
                    await guest.call(instance.func(export), argument)

    places: dict[str, list[tuple[int, int]]] = {"inner": [], "read": []}
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        while isinstance(await debuggee.run(), events.Trap):
            frame = (await debuggee.with_store(lambda view: list(view.frames())))[0]
            places[frame.function_name].append((frame.module_offset, frame.instance.id))
    for name, found in places.items():
        assert [instance for _, instance in found] == [1, 2, 3], name
        assert len({offset for offset, _ in found}) == 1


async def test_the_compilation_for_a_further_instance_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been started, and the next attempt compiles; the one after it need not."""
    module = await load_module(ENGINE, DIVIDES, cache=None)
    compiled: list[int] = []
    made = capi.compile

    def compile(engine: wasmtime.Engine, wasm: bytes) -> wasmtime.Module:
        compiled.append(len(wasm))
        if len(compiled) == 1:
            trio.from_thread.run_sync(scope.cancel)
        return made(engine, wasm)

    scope = trio.CancelScope()
    instances: list[GuestInstance] = []

    async def body(guest: Guest) -> Any:
        instances.append(await guest.instantiate(None, module))
        assert not compiled
        with scope:
            instances.append(await guest.instantiate(None, module))
        assert scope.cancelled_caught and len(instances) == 1
        for _ in range(2):
            instances.append(await guest.instantiate(None, module))
        assert len(compiled) == 2
        return [await guest.call(each.func("divide"), 2) for each in instances]

    monkeypatch.setattr(capi, "compile", compile)
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        assert (await debuggee.finish()).result == [3, 3, 3]
        assert [each.id for each in instances] == [1, 2, 3]
