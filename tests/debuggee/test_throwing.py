"""Exceptions thrown by the debugger, exceptions that nobody catches, frames left across host functions."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._programs import Program, engine, module_of, program
from trio_wasmdbg import (
    OPTIMISED_OUT,
    CallAbandonedError,
    Guest,
    GuestException,
    GuestInstance,
    NotFoundError,
    OptimisedOutError,
    UsageError,
    WasmException,
    debug_wasm,
    events,
    load_module,
    open_debuggee,
)

GUEST = """
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (tag $number (export "number") (param i32))
  (tag $pair (param i64 f64))
  (tag $things (param externref funcref))
  (tag $nothing)
  (table 1 funcref) (elem (i32.const 0) $leaf)
  (func $leaf (export "leaf") (param $x i32) (result i32)
    (i32.add (local.get $x) (i32.const 1)))
  (func $middle (export "middle") (param $x i32) (result i32)
    (i32.mul (call $leaf (local.get $x)) (i32.const 10)))
  ;; catches in its own body, what is thrown inside or by callees
  (func $own (export "own") (param $x i32) (result i32) (local $seen i32)
    (local.set $seen (i32.const 100))
    (block $h (result i32)
      (try_table (result i32) (catch $number $h)
        (drop (call $middle (local.get $x)))
        (nop)
        (i32.const -1))
      (return))
    (i32.add (local.get $seen)))
  (func $nested (export "nested") (param $x i32) (result i64) (local $at i32)
    (block $outer (result i64 f64)
      (block $inner (result i32)
        (try_table (catch $pair $outer)
          (try_table (catch $number $inner)
            (nop)
            (drop (call $leaf (local.get $x))))
          (nop))
        (return (i64.const -1)))
      (return (i64.extend_i32_s)))
    (drop))
  (func $loops (export "loops") (param $n i32) (result i32) (local $caught i32)
    (loop $again (param) (result i32)
      (local.set $caught (i32.add (local.get $caught) (i32.const 1)))
      (try_table (catch $nothing $again)
        (nop)
        (drop (call $leaf (local.get $n))))
      (local.get $caught)))
  (func $references (export "references") (result externref i32)
    (local $f funcref)
    (block $h (result externref funcref)
      (try_table (catch $things $h)
        (drop (call $leaf (i32.const 3))))
      (unreachable))
    (local.set $f)
    (table.set (i32.const 0) (local.get $f))
    (call_indirect (param i32) (result i32) (i32.const 20) (i32.const 0)))
  (func $all (export "all") (result i32)
    (block $h (try_table (catch_all $h) (drop (call $leaf (i32.const 3)))) (return (i32.const 0)))
    (i32.const 1))
  (func $down (export "down") (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then (call $leaf (local.get $n)))
      (else
        (block $h (result i32)
          (try_table (result i32) (catch $number $h)
            (call $down (i32.sub (local.get $n) (i32.const 1))))
          (return))
        (i32.add (i32.const 1000)))))
  (func $asks (export "asks") (param $x i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $number $h)
        (call $ask (local.get $x)))
      (return))
    (i32.add (i32.const 7)))
  (func $plain (export "plain") (param $x i32) (result i32)
    (i32.add (call $ask (local.get $x)) (i32.const 1)))
  (func $divide (export "divide") (param $x i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $number $h) (i32.div_s (i32.const 1) (local.get $x))))))
"""


def echo(x: int) -> int:
    return x


ENV = {"env": {"ask": echo}}


async def stop_in(it: Program, function: str, instruction: str | None = None) -> Any:
    """The innermost frame, at the function's entry or at the first instruction of that name in it."""
    if instruction is None:
        it.debuggee.add_breakpoint(function, once=True)
    else:
        module = await module_of(GUEST)
        (index,) = module.functions_named(function)
        plan = module.plan(index)
        k = next(k for k, each in enumerate(plan.typed().instructions) if each.op.name == instruction)
        it.debuggee.add_breakpoint(offset=module.module_offset(index, k), once=True)
    event = await it.debuggee.run()
    assert isinstance(event, events.Breakpoint), event
    return event.frame


async def finished(it: Program) -> events.Finished:
    event = await it.debuggee.run()
    assert isinstance(event, events.Finished), event
    return event


# ── throwing ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("call", "stop", "up", "tag", "values", "result"),
    [
        # in the function whose clause it is: inside its try_table, in the fast and in the slow twin
        (("own", 1), ("own", "nop"), 0, 0, (42,), 142),
        (("nested", 1), ("nested", "nop"), 0, 0, (42,), 42),
        (("nested", 1), ("nested", "nop"), 0, 1, (2**40, 0.5), 2**40),
        # thrown by a callee, in a function without clauses
        (("own", 1), ("leaf", None), 0, "number", (-1,), 99),
        (("own", 1), ("leaf", "i32.add"), 0, "number", (-1,), 99),
        (("nested", 1), ("leaf", None), 0, 1, (5, 1.5), 5),
        # thrown by a frame further out, whose callees are left
        (("own", 1), ("leaf", None), 1, 0, (1,), 101),
        (("own", 1), ("leaf", None), 2, 0, (2,), 102),
        (("nested", 1), ("leaf", None), 1, 1, (7, 0.0), 7),
        # a tag that the function does not catch goes on to its caller
        (("all",), ("leaf", None), 0, 3, (), 1),
        (("all",), ("leaf", None), 1, 1, (1, 1.0), 1),
        # in the depth of a recursion: only the nearest handler
        (("down", 5), ("leaf", None), 0, 0, (1,), 1001),
        (("down", 5), ("leaf", None), 3, 0, (1,), 1001),
        (("down", 5), ("leaf", "i32.add"), 6, 0, (1,), 1001),
    ],
    ids=str,
)
@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
async def test_what_is_thrown_is_caught(
    call: Any, stop: tuple[str, str | None], up: int, tag: Any, values: Any, result: int, slow: bool
) -> None:
    async with program(call, text=GUEST, imports=ENV) as it:
        it.debuggee.precise_traps = slow
        frame = await stop_in(it, *stop)
        for _ in range(up):
            frame = frame.parent
        frame.throw_exception(tag, *values)
        await finished(it)
    assert it.results == [result]


async def test_where_the_clause_leads_to_a_loop() -> None:
    async with program(("loops", 1), text=GUEST, imports=ENV) as it:
        for number in range(4):
            frame = await stop_in(it, "loops", "nop" if number % 2 else "call")
            assert frame.local("caught") == number + 1
            frame.throw_exception(3)
        await finished(it)
    assert it.results == [5]


async def test_a_step_after_it_ends_where_it_is_caught() -> None:
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        frame.throw_exception(0, 5)
        event = await it.debuggee.step_over()
        assert isinstance(event, events.Step)
        assert event.frame.function_name == "own"
        assert event.frame.operand_stack == (5,)
        assert event.frame.local("seen") == 100
        await finished(it)
    assert it.results == [105]


async def test_references_are_carried() -> None:
    fruit = object()
    async with program(("references",), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        exception = frame.instance.make_exception(2, fruit, frame.instance.func("middle"))
        assert exception.values[0] is fruit
        assert frame.instance.tag_of(exception) == 2
        frame.throw_exception(exception)
        await finished(it)
    assert it.results == [(fruit, 210)]


async def test_a_tag_of_the_hosts_own() -> None:
    async with program(("all",), ("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        tag = wasmtime.Tag(it.store, wasmtime.TagType(wasmtime.FuncType([wasmtime.ValType.i32()], [])))
        frame.throw_exception(tag, 8)
        frame = await stop_in(it, "leaf")
        assert it.results == [1]
        frame.throw_exception(tag, 9)
        event = await it.debuggee.run()
        assert isinstance(event, events.UncaughtException)
        assert (event.tag, event.payload) == (None, (9,))
        assert "tag of another module with (9)" in event.message
        assert isinstance((await finished(it)).error, GuestException)


async def test_instead_of_a_trap() -> None:
    async with program(("divide", 0), text=GUEST, imports=ENV) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        event.frame.throw_exception("number", 3)
        await finished(it)
    assert it.results == [3]


@pytest.mark.parametrize("kind", [events.HostCallEntered, events.HostCallReturned])
async def test_out_of_a_host_call(kind: type[Any]) -> None:
    async with program(("asks", 1), text=GUEST, imports=ENV) as it:
        it.debuggee.stop_on_host_calls = "ask"
        event = await it.debuggee.run()
        while not isinstance(event, kind):
            event = await it.debuggee.run()
        event.frame.throw_exception(0, 30)
        event = await it.debuggee.run()
        assert isinstance(event, events.Finished)
    assert it.results == [37]


async def test_of_a_host_function() -> None:
    made: list[WasmException] = []

    def ask(x: int) -> int:
        made.append(it.instance.make_exception("number", x + 1))
        raise GuestException(made[0])

    async with program(("asks", 1), text=GUEST, imports={"env": {"ask": ask}}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.HostcallError)
        assert isinstance(event.error, GuestException)
        assert event.error.values == (2,)
        await finished(it)
    assert it.results == [9]


async def test_a_large_function_of_many_chunks() -> None:
    part = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))" * 100
    text = f"""
    (module (tag (param i32)) (func $mark)
      (func (export "f") (param i32) (result i32)
        {part}
        (block $h (result i32)
          (try_table (catch 0 $h) {part} (call $mark) {part})
          (return (local.get 0)))
        {part}
        (i32.add (local.get 0))))"""
    for up in (0, 1):
        async with program(("f", 0), text=text, imports={}) as it:
            it.debuggee.add_breakpoint("mark")
            event = await it.debuggee.run()
            frame = event.frame.parent if up else event.frame
            frame.throw_exception(0, 5000)
            await finished(it)
        assert it.results == [5300]


async def test_what_can_not_be_thrown() -> None:
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        with pytest.raises(NotFoundError):
            frame.throw_exception(4)
        with pytest.raises(NotFoundError):
            frame.throw_exception("pair")
        with pytest.raises(TypeError, match=re.escape("carry (i64, f64), not 1 values")):
            frame.throw_exception(1, 5)
        with pytest.raises(ValueError, match="does not fit"):
            frame.throw_exception(0, 2**32)
        with pytest.raises(TypeError, match="takes no values"):
            frame.throw_exception(frame.instance.make_exception(0, 1), 1)
        other = wasmtime.Store(it.instance.module.engine)
        foreign = wasmtime.Tag(other, wasmtime.TagType(wasmtime.FuncType([], [])))
        with pytest.raises(ValueError, match="another"):
            frame.throw_exception(foreign)
        # nothing of that has been asked for
        await finished(it)
    assert it.results == [-1]


async def test_cancelled_before_it_is_thrown() -> None:
    """An exception that was asked for goes with the run() that begins it, cancelled or not."""
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        frame.throw_exception(0, 1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.debuggee.run()
        assert it.debuggee.state.value == "paused"
        await finished(it)
    assert it.results == [101]
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        frame.throw_exception(0, 1)
    assert it.results == []


# ── uncaught ───────────────────────────────────────────────────────────────────────────────────────

THROWS = """
(module
  (tag $quiet) (tag $loud (param i32 f64))
  (func $inner (param $x i32) (local $y i32)
    (local.set $y (i32.const 5))
    (throw $loud (local.get $x) (f64.const 0.5)))
  (func $outer (export "outer") (param $x i32)
    (call $inner (i32.add (local.get $x) (i32.const 1))))
  (func $again (export "again")
    (block $h (result exnref) (try_table (catch_all_ref $h) (call $outer (i32.const 1))) (return))
    (throw_ref)))
"""


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
async def test_an_exception_that_nobody_catches(slow: bool) -> None:
    async with program(("outer", 1), text=THROWS, imports={}) as it:
        it.debuggee.precise_traps = slow
        event = await it.debuggee.run()
        assert isinstance(event, events.UncaughtException)
        assert (event.tag, event.payload) == (1, (2, 0.5))
        assert event.message == "uncaught exception: tag 1 (loud) with (2, 0.5)"
        assert event.frame.function_name == "inner"
        assert event.frame.instruction.op.name == "throw"
        assert event.frame.exact == slow
        if slow:
            assert event.frame.locals == (2, 5)
        assert event.frame.parent.locals == (1,)
        assert [each.func_name for each in event.backtrace] == ["inner", "outer"]
        assert event.backtrace[0].module_offset == event.frame.module_offset
        with pytest.raises(UsageError, match="unwound"):
            event.frame.throw_exception(0)
        error = (await finished(it)).error
        assert isinstance(error, GuestException)
        assert isinstance(error, wasmtime.WasmtimeError)
        assert str(error) == event.message
        assert (error.tag_index, error.values, len(error.frames)) == (1, (2, 0.5), 2)
        assert error.tag.eq(it.store, it.instance.tag(1))


async def test_thrown_again_by_reference() -> None:
    async with program(("again",), text=THROWS, imports={}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.UncaughtException)
        assert (event.tag, event.payload) == (1, (2, 0.5))
        assert event.frame.instruction.op.name == "throw_ref"
        assert event.frame.parent is None


async def test_one_that_was_told_of_is_not_told_again() -> None:
    async with program(("outer", 1), text=THROWS, imports={}) as it:
        it.debuggee.stop_on_exceptions("uncaught")
        assert isinstance(await it.debuggee.run(), events.ExceptionThrown)
        assert isinstance((await finished(it)).error, GuestException)


async def test_finish_raises_it() -> None:
    with pytest.raises(GuestException, match="tag 1") as caught:
        async with program(("outer", 1), text=THROWS, imports={}) as it:
            await it.debuggee.finish()
    assert caught.value.values == (2, 0.5)


async def test_it_passes_through_a_host_function_into_the_guest_outside() -> None:
    async def ask(x: int) -> Any:
        return await guests[0].call(it.instance.func("own"), x)

    guests: list[Guest] = []
    module = await module_of(GUEST)
    store = wasmtime.Store(module.engine)
    results: list[Any] = []

    async def body(guest: Guest) -> None:
        guests.append(guest)
        it.instance = await guest.instantiate({"env": {"ask": ask}}, module)
        results.append(await guest.call(it.instance.func("asks"), 1))

    async with open_debuggee(store, body) as debuggee:
        it = Program(debuggee, store)
        debuggee.add_breakpoint("leaf")
        event = await debuggee.run()
        # two levels up is "own", which would catch it inside; at its end it is outside of its try_table
        debuggee.add_breakpoint("own", at_end=True)
        event = await debuggee.run()
        event.frame.throw_exception("number", 60)
        event = await debuggee.run()
        assert isinstance(event, events.UncaughtException)
        event = await debuggee.run()
        assert isinstance(event, events.HostcallError)
        assert isinstance(event.error, GuestException)
        assert isinstance(await debuggee.run(), events.Finished)
    assert results == [67]


# ── frames of an activation further out ────────────────────────────────────────────────────────────


class Nested:
    """``plain`` or ``asks`` calls the host, which calls ``middle``; the guest is paused in ``leaf``."""

    def __init__(self) -> None:
        self.instance: GuestInstance
        self.seen: list[BaseException] = []
        self.results: list[Any] = []

    async def run(self, outer: str, swallow: bool, use: Any) -> None:
        module = await module_of(GUEST)
        store = wasmtime.Store(module.engine)

        async def body(guest: Guest) -> None:
            async def ask(x: int) -> Any:
                try:
                    return await guest.call(self.instance.func("middle"), x)
                except CallAbandonedError as error:
                    self.seen.append(error)
                    if not swallow:
                        raise
                    return 12345

            self.instance = await guest.instantiate({"env": {"ask": ask}}, module)
            self.results.append(await guest.call(self.instance.func(outer), 1))

        async with open_debuggee(store, body) as debuggee:
            debuggee.add_breakpoint("leaf")
            event = await debuggee.run()
            assert isinstance(event, events.Breakpoint)
            await use(debuggee, event)


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("how", ["return", "throw"])
async def test_a_frame_beyond_a_host_function(swallow: bool, how: str) -> None:
    async def use(debuggee: Any, event: events.Breakpoint) -> None:
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        assert [frame.function_name for frame in frames] == ["leaf", "middle", "asks"]
        if how == "return":
            frames[2].return_early(77)
        else:
            frames[2].throw_exception("number", 70)
        assert isinstance(await debuggee.run(), events.Finished)

    nested = Nested()
    await nested.run("asks", swallow, use)
    assert nested.results == [77]
    assert len(nested.seen) == 1


async def test_a_frame_beyond_a_host_function_while_the_debuggee_is_cancelled() -> None:
    async def use(debuggee: Any, event: events.Breakpoint) -> None:
        (*_, outer) = await debuggee.with_store(lambda view: list(view.frames()))
        outer.return_early(77)
        debuggee.cancel()
        with pytest.raises((trio.ClosedResourceError, UsageError)):
            await debuggee.run()

    nested = Nested()
    await nested.run("plain", False, use)
    assert nested.results == []
    assert nested.seen == []


async def test_a_host_function_that_calls_in_again_after_its_call_was_ended() -> None:
    module = await module_of(GUEST)
    seen: list[str] = []
    results: list[Any] = []

    async def body(guest: Guest) -> None:
        async def ask(x: int) -> Any:
            for function in ("middle", "leaf"):
                try:
                    await guest.call(instance.func(function), x)
                except CallAbandonedError:
                    seen.append(function)
            return 1

        instance = await guest.instantiate({"env": {"ask": ask}}, module)
        results.append(await guest.call(instance.func("plain"), 1))
        results.append(await guest.call(instance.func("leaf"), 1))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.add_breakpoint("leaf", once=True)
        await debuggee.run()
        (*_, outer) = await debuggee.with_store(lambda view: list(view.frames()))
        outer.return_early(77)
        assert isinstance(await debuggee.run(), events.Finished)
    assert seen == ["middle", "leaf"]
    assert results == [77, 2]


async def test_an_exception_is_put_in_place_of_another() -> None:
    async with program(("again",), text=THROWS, imports={}) as it:
        it.debuggee.stop_on_exceptions("uncaught")
        event = await it.debuggee.run()
        assert isinstance(event, events.ExceptionThrown)
        assert event.frame.instruction.op.name == "throw_ref"
        event.frame.set_operand(-1, event.frame.instance.make_exception(1, 9, 1.5))
        with pytest.raises(TypeError):
            event.frame.set_operand(-1, 5)
        error = (await finished(it)).error
        assert isinstance(error, GuestException)
        assert error.values == (9, 1.5)


@pytest.mark.parametrize("kind", [events.HostCallEntered, events.HostCallReturned])
async def test_an_early_return_from_a_host_call(kind: type[Any]) -> None:
    async with program(("plain", 1), text=GUEST, imports=ENV) as it:
        it.debuggee.stop_on_host_calls = "ask"
        event = await it.debuggee.run()
        while not isinstance(event, kind):
            event = await it.debuggee.run()
        event.frame.return_early(55)
        await finished(it)
    assert it.results == [55]


async def test_an_early_return_from_a_host_calls_error() -> None:
    def ask(x: int) -> int:
        raise LookupError(x)

    async with program(("plain", 1), text=GUEST, imports={"env": {"ask": ask}}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.HostcallError)
        event.frame.return_early(56)
        await finished(it)
    assert it.results == [56]


async def test_not_through_an_injected_call() -> None:
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "own")
        it.debuggee.add_breakpoint("leaf")
        event = await it.debuggee.inject_call(frame.instance.func("middle"), 5)
        assert isinstance(event, events.Breakpoint)
        frames = await it.debuggee.with_store(lambda view: list(view.frames()))
        assert [each.function_name for each in frames] == ["leaf", "middle", "own"]
        with pytest.raises(UsageError, match="injected call"):
            frames[2].return_early(0)
        frames[1].return_early(9)
        event = await it.debuggee.run()
        assert isinstance(event, events.CallReturned)
        assert event.result == 9
        await it.debuggee.finish()
    assert it.results == [-1]


async def test_an_exception_is_looked_at_after_its_store_has_been_closed() -> None:
    async with program(("own", 1), text=GUEST, imports=ENV) as it:
        frame = await stop_in(it, "leaf")
        exception = frame.instance.make_exception(0, 1)
        assert repr(exception) == "<WasmException (1,)>"
        await it.debuggee.finish()
    it.store.close()
    assert repr(exception) == "<WasmException>"
    with pytest.raises(UsageError):
        _ = exception.values


@pytest.mark.parametrize("up", [0, 1, 2])
async def test_with_frames_that_keep_what_is_needed(up: int) -> None:
    """With ``frames="live"``, what a handler needs is there in a call; elsewhere it may be gone."""
    module = await load_module(engine(), GUEST, frames="live", cache=None)
    async with debug_wasm(module, "own", [1], imports=ENV) as debuggee:
        debuggee.add_breakpoint("leaf")
        frame = (await debuggee.run()).frame
        for _ in range(up):
            frame = frame.parent
        frame.throw_exception(0, 5)
        assert (await debuggee.finish()).result == 105


async def test_where_the_handler_needs_what_was_not_kept() -> None:
    module = await load_module(engine(), GUEST, frames="live", cache=None)
    own = module.functions_named("own")[0]
    k = next(k for k, each in enumerate(module.plan(own).typed().instructions) if each.op.name == "nop")
    async with debug_wasm(module, "own", [1], imports=ENV) as debuggee:
        # After the call nothing throws any more: the fast twin leaves there without the local.
        debuggee.add_breakpoint("leaf", once=True)
        await debuggee.run()
        debuggee.add_breakpoint(offset=module.module_offset(own, k))
        frame = (await debuggee.run()).frame
        assert frame.local("seen") is OPTIMISED_OUT
        with pytest.raises(OptimisedOutError, match="local 1"):
            frame.throw_exception(0, 5)
        assert (await debuggee.finish()).result == -1
