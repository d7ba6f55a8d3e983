"""``step(n)`` is n single steps, through calls, re-entry, tail calls, exceptions, traps and instances."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
import wasmtime
from attrs import frozen

from tests.debuggee._cancel_everywhere import cancel_everywhere
from tests.debuggee._support import ENGINE, load, no_leaks
from tests.debuggee.test_instances import linked
from tests.fuzz._generate import generate
from tests.waiting import until
from trio_wasmdbg import Debuggee, Guest, GuestInstance, GuestModule, events, open_debuggee
from trio_wasmdbg.engine import _stepping
from trio_wasmdbg.wasm import ValType

PROGRAM = """
(module
  (type $unary (func (param i32) (result i32)))
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (tag $oops (export "oops") (param i32))
  (table funcref (elem $leaf $tail))
  (func $leaf (export "leaf") (param $x i32) (result i32) (i32.add (local.get $x) (i32.const 1)))
  (func $tail (param $x i32) (result i32)
    (if (result i32) (local.get $x)
      (then (return_call $tail (i32.sub (local.get $x) (i32.const 1))))
      (else (return_call_indirect (type $unary) (i32.const 41) (i32.const 0)))))
  (func $throws (param $x i32) (result i32) (throw $oops (call $leaf (local.get $x))))
  (func $catches (param $x i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $oops $caught) (drop (call $throws (local.get $x))))
      (i32.const -1)))
  (func $fib (param $n i32) (result i32)
    (if (result i32) (i32.lt_s (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fib (i32.sub (local.get $n) (i32.const 1)))
        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func (export "main") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $fib (local.get $i))))
      (local.set $sum (i32.add (local.get $sum) (call_indirect (type $unary) (local.get $i) (i32.const 1))))
      (local.set $sum (i32.add (local.get $sum) (call $catches (local.get $i))))
      (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $i))))
      (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.div_s (i32.const 1000000) (i32.sub (local.get $sum) (local.get $sum)))))
"""


@frozen
class Case:
    """A program, and what stands in its way."""

    source: str | bytes
    arm: Callable[[Debuggee], object] = lambda debuggee: None


@asynccontextmanager
async def paused(case: Case) -> AsyncIterator[Debuggee]:
    module = await load(case.source)
    found: list[tuple[Guest, GuestInstance]] = []

    async def ask(x: int) -> int:
        await trio.lowlevel.checkpoint()
        guest, instance = found[0]
        return 10 * int(await guest.call(instance.func("leaf"), x))

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate({"host": {"ask": ask}}, module)
        found.append((guest, instance))
        return [await guest.call(instance.func("main"), 3), await guest.call(instance.func("leaf"), 1)]

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        case.arm(debuggee)
        yield debuggee


def shown(event: events.Event) -> tuple[Any, ...]:
    if isinstance(event, events.Finished):
        return "Finished", event.result, type(event.error)
    assert event.frame is not None
    return type(event).__name__, event.location, event.frame.address, event.frame.locals


def _zero(type: ValType) -> object:
    return None if type.is_ref else bytes(16) if type.is_vec else 0


async def single_steps(case: Case, most: int = 1_000_000) -> list[tuple[Any, ...]]:
    async with paused(case) as debuggee:
        return [shown(event) async for event in each_step(debuggee, most)]


async def each_step(debuggee: Debuggee, most: int) -> AsyncIterator[events.Event]:
    for _ in range(most):
        event = await debuggee.step()
        yield event
        if isinstance(event, events.Finished):
            return


def after(steps: list[tuple[Any, ...]], at: int, count: int) -> int:
    """Where a step of *count* from *at* (-1: the beginning) ends."""
    for place in range(at + 1, min(at + count, len(steps) - 1) + 1):
        if steps[place][0] != "Step":
            return place
    return at + count


MOST = 1_500
"""Steps of a random program."""

CASES = {
    "nothing": Case(PROGRAM),
    "a breakpoint at an entry": Case(PROGRAM, lambda debuggee: debuggee.add_breakpoint("fib")),
    "a breakpoint inside": Case(
        PROGRAM, lambda debuggee: debuggee.add_breakpoint(instructions=["i32.sub", "throw", "br_if"])
    ),
    "conditions of the guest": Case(
        PROGRAM, lambda debuggee: debuggee.add_breakpoint("leaf", condition="x == 1")
    ),
    "conditions in Python": Case(
        PROGRAM, lambda debuggee: debuggee.add_breakpoint("fib", condition=lambda frame: frame.local(0) == 0)
    ),
    "false conditions": Case(
        PROGRAM, lambda debuggee: debuggee.add_breakpoint(instructions=["local.get"], condition="1 == 2")
    ),
}


@pytest.fixture(params=[1, _stepping.COUNTED_FROM])
def counted_from(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stepping, "COUNTED_FROM", request.param)


@pytest.mark.usefixtures("counted_from")
@pytest.mark.parametrize("name", CASES)
async def test_strides_end_where_single_steps_do(name: str) -> None:
    case = CASES[name]
    steps = await single_steps(case)
    kinds = {each[0] for each in steps}
    assert {"Step", "Trap", "Finished"} <= kinds
    assert ("Breakpoint" in kinds) == (name not in ("nothing", "false conditions"))
    for seed in range(3):
        random = Random(seed)
        async with paused(case) as debuggee:
            at = -1
            while at < len(steps) - 1:
                count = random.choice([1, 2, 3, 7, 20, 50, 333, 10**12])
                event = await debuggee.step(count)
                at = after(steps, at, count)
                assert shown(event) == steps[at], (seed, at, count)


@pytest.mark.usefixtures("counted_from")
@pytest.mark.parametrize("edit", ["next instruction", "early return", "injected call"])
async def test_after_an_edit(edit: str) -> None:
    """Strides from a place to which the guest was sent."""

    async def begin(debuggee: Debuggee) -> events.Paused:
        debuggee.add_breakpoint("leaf", once=True)
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        if edit == "next instruction":
            event.frame.set_next_instruction(event.frame._plan.offsets[4])
        elif edit == "early return":
            event.frame.return_early(7)
        else:
            func = event.frame.instance.func("leaf")
            returned = await debuggee.inject_call(func, 1)
            assert isinstance(returned, events.CallReturned)
        return event

    source = PROGRAM.replace(
        "(i32.add (local.get $x) (i32.const 1)))",
        "(drop (i32.add (local.get $x) (i32.const 1))) (i32.const 5))",
        1,
    )
    case = Case(source)
    async with paused(case) as debuggee:
        await begin(debuggee)
        steps = [shown(event) async for event in each_step(debuggee, 120)]
    for count in range(1, 60, 7):
        async with paused(case) as debuggee:
            await begin(debuggee)
            assert shown(await debuggee.step(count)) == steps[count - 1], count


async def test_several_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one count for the store, and instances that come later share it."""
    monkeypatch.setattr(_stepping, "COUNTED_FROM", 1)

    async def body(guest: Guest) -> Any:
        found: dict[str, GuestInstance] = {}
        await linked(guest, found)
        await guest.call(found["left"].func("outer"), 10)
        await linked(guest, found)
        return await guest.call(found["left"].func("by_table"), 10)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        steps = [shown(event) async for event in each_step(debuggee, 1_000_000)]
    for count in (2, 3, 5, 17, 40, 90):
        async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
            at = -1
            while at < len(steps) - 1:
                event = await debuggee.step(count)
                at = after(steps, at, count)
                assert shown(event) == steps[at], (count, at)


RUN = """
(module
  (memory (export "memory") 1)
  (func (export "main") (param $n i32) (result i32) (local $i i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 3)) (local.get $i)))
      (i32.store (i32.const 16) (local.get $i))
      (i32.store (i32.const 32) (i32.and (local.get $x) (i32.const 4)))
      (i32.store (i32.const 48) (i32.load (i32.const 32)))
      (local.set $x (i32.add (local.get $x) (i32.const 1)))
      (drop (i32.div_u (i32.const 100) (i32.sub (local.get $i) (i32.const 17))))
      (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $x)))
"""


@asynccontextmanager
async def at_main(module: GuestModule, n: int) -> AsyncIterator[tuple[Debuggee, GuestInstance]]:
    """At the beginning of ``main(n)``."""

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("main"), n)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("main", once=True)
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        yield debuggee, event.frame.instance


@pytest.mark.parametrize("armed", ["writes", "accesses", "a condition", "a callback that edits", "recording"])
async def test_stops_in_the_middle_of_a_run(armed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host is asked between instructions that are paid for at once, it finds the count right."""
    module = await load(RUN)
    adds = [k for k, each in enumerate(module.plan(0).typed().instructions) if each.op.name == "i32.add"]

    def edits(frame: Any) -> bool:
        if frame.local(1) % 5 == 3:
            frame.set_local(2, 1000)
        return False

    @asynccontextmanager
    async def begun() -> AsyncIterator[Debuggee]:
        async with at_main(module, 25) as (debuggee, instance):
            if armed == "writes":
                debuggee.watch_memory(instance, 32, 4)
            elif armed == "accesses":
                debuggee.watch_memory(instance, 32, 4, access="access")
            elif armed == "a condition":
                debuggee.add_breakpoint(offset=module.offsets(0)[adds[1]], condition="i == 3 || i == 11")
            elif armed == "recording":
                debuggee.recording = True
            else:
                debuggee.add_breakpoint(offset=module.offsets(0)[adds[1]], condition=edits)
            yield debuggee

    async with begun() as debuggee:
        steps = [shown(event) async for event in each_step(debuggee, 1_000_000)]
    monkeypatch.setattr(_stepping, "COUNTED_FROM", 1)
    kinds = {each[0] for each in steps}
    assert "Trap" in kinds and len(steps) > 400, kinds
    assert bool(kinds & {"Watch", "Breakpoint"}) == (armed in ("writes", "accesses", "a condition")), kinds
    for seed in range(4):
        random = Random(seed)
        async with begun() as debuggee:
            at = -1
            while at < len(steps) - 1:
                count = random.choice([1, 2, 3, 5, 9, 20, 31, 100, 10**12])
                event = await debuggee.step(count)
                at = after(steps, at, count)
                assert shown(event) == steps[at], (seed, at, count)


async def test_in_the_middle_of_a_run_after_a_call_that_trapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call that was injected there has paid for is not taken for the rest of the run that it is in."""
    leaf = '(func (export "leaf") (param i32) (result i32)'
    leaf += " (block) (i32.load (i32.mul (local.get 0) (i32.const 65536))))"
    module = await load(RUN.replace("(memory", leaf + " (memory", 1))

    @asynccontextmanager
    async def after_the_call() -> AsyncIterator[Debuggee]:
        async with at_main(module, 5) as (debuggee, instance):
            assert isinstance(await debuggee.step(5), events.Step)
            debuggee.add_breakpoint("leaf", once=True)
            inner = await debuggee.inject_call(instance.func("leaf"), 1)
            assert isinstance(inner, events.Breakpoint)
            assert isinstance(await debuggee.step(1_000), events.Trap)
            assert isinstance(await debuggee.run(), events.CallReturned)
            yield debuggee

    async with after_the_call() as debuggee:
        steps = [shown(event) async for event in each_step(debuggee, 30)]
    monkeypatch.setattr(_stepping, "COUNTED_FROM", 1)
    for count in range(1, 31):
        async with after_the_call() as debuggee:
            assert shown(await debuggee.step(count)) == steps[count - 1], count


async def test_cancelled_at_each_checkpoint() -> None:
    case = Case(PROGRAM)
    steps = await single_steps(case)
    async for attempt in cancel_everywhere():
        async with paused(case) as debuggee:
            event = await attempt.make(partial(debuggee.step, 100))
            if attempt.cancelled and debuggee.state.value == "running":
                event = await debuggee.run()
            elif attempt.cancelled:
                event = await debuggee.step(100)
            assert event is not None
            assert shown(event) == steps[99], str(attempt)
            assert shown(await debuggee.step(20)) == steps[119]
        assert no_leaks() == [], str(attempt)


async def test_an_interrupt_ends_it() -> None:
    module = await load('(module (func (export "spin") (loop (br 0))))')

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("spin"))

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee, trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await until(lambda: debuggee.statistics().polls_in_threads >= 3)
            debuggee.interrupt()

        nursery.start_soon(interrupt)
        assert isinstance(await debuggee.step(10**18), events.Interrupted)
        assert isinstance(await debuggee.step(1000), events.Step)


@pytest.mark.parametrize("seed", range(8))
async def test_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds of instructions, until each function has returned or trapped."""
    monkeypatch.setattr(_stepping, "COUNTED_FROM", 1)
    module = await load(generate(Random(seed)))
    functions = [export for export in module.original.exports if export.kind.name == "FUNCTION"]

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate({"spectest": {"print_i32": lambda x: None}}, module)
        for export in functions:
            params = module.original.functions[export.index].type.params
            with contextlib.suppress(wasmtime.Trap, wasmtime.WasmtimeError, TypeError):
                await guest.call(instance.func(export.name), *[_zero(type) for type in params])

    def place(event: events.Event) -> tuple[Any, ...]:
        frame = None if isinstance(event, events.Finished) else event.frame
        location = None if isinstance(event, events.Finished) else event.location
        return type(event).__name__, location, frame and frame.address

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        steps = [place(event) async for event in each_step(debuggee, MOST)]
    assert len(steps) > 20
    random = Random(seed)
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        at = -1
        while at < len(steps) - 61 or (len(steps) < MOST and at < len(steps) - 1):
            count = random.randrange(1, 60)
            event = await debuggee.step(count)
            at = after(steps, at, count)
            assert place(event) == steps[at], (at, count)
