"""Steps over, out of, until after and to the return of every kind of call: where each of them ends.

The program is always the same: ``$top`` has a handler for the tag ``$e`` and calls ``$go``, which calls
``$callee``; what that does is each case's own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import trio
import wasmtime
from attrs import frozen

from tests.debuggee._left_armed import nothing_of_a_step_is_left
from tests.debuggee._programs import module_of, program
from tests.waiting import until
from trio_wasmdbg import (
    UNAVAILABLE,
    Debuggee,
    Frame,
    Guest,
    GuestInstance,
    UsageError,
    events,
    open_debuggee,
)

GUEST = """
(module
  (type $unary (func (param i32) (result i32)))
  (import "env" "host" (func $host (param i32) (result i32)))
  (tag $e (param i32)) (tag $lost)
  (memory 1)
  (table funcref (elem $leaf $go $callee))
  (func $leaf (export "leaf") (param $n i32) (result i32)
    (i32.add (local.get $n) (i32.const 1)))
  (func $callee (param $n i32) (result i32)
    CALLEE)
  (func $go (export "go") (param $n i32) (result i32)
    (i32.add (i32.const 100) (call $callee (local.get $n))))
  (func $top (export "top") (param $n i32) (result i32)
    (block $caught (result i32)
      (try_table (result i32) (catch $e $caught)
        (call $go (local.get $n))))
    (i32.add (i32.const 1000)))
  (func $raise (param $n i32) (result i32)
    (if (local.get $n) (then (return (call $raise (i32.sub (local.get $n) (i32.const 1))))))
    (throw $e (i32.const 7)))
  (func (export "spin") (loop (br 0))))
"""

N = 3


Ends: TypeAlias = tuple[Any, ...]
"""The event, as :func:`shown` says, and ``returned`` of a step out or to the return."""


@frozen
class Case:
    """What ``$callee`` does, and where steps end.

    :ivar ends: after a step over ``$go``'s call of it, or running until the instruction that follows; after a
        step out of it; after running to its return.  The last member is what it has returned.
    """

    callee: str
    ends: tuple[Ends, Ends, Ends]
    host: Callable[[Program, int], Awaitable[Any]] | None = None


class Program:
    """A guest, and what its body has seen."""

    def __init__(self) -> None:
        self.debuggee: Debuggee
        self.guest: Guest
        self.instance: GuestInstance
        self.results: list[Any] = []
        self.scope = trio.CancelScope()
        self.depth = 0

    async def call(self, name: str, *arguments: object) -> Any:
        return await self.guest.call(self.instance.func(name), *arguments)


@asynccontextmanager
async def paused(case: Case) -> AsyncIterator[tuple[Program, Frame]]:
    """Before ``$go`` calls ``$callee`` the first time; the program, and that frame."""
    it = Program()
    module = await module_of(GUEST.replace("CALLEE", case.callee))

    async def host(n: int) -> Any:
        assert case.host is not None
        return await case.host(it, n)

    async def body(guest: Guest) -> None:
        it.guest = guest
        it.instance = await guest.instantiate({"env": {"host": host}}, module)
        with it.scope:
            it.results.append(await it.call("top", N))
        it.results.append(await it.call("go", 0) if it.scope.cancelled_caught else None)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        it.debuggee = debuggee
        debuggee.add_breakpoint("go", once=True)
        assert isinstance(await debuggee.run(), events.Breakpoint)
        event = await debuggee.step(2)
        assert event.frame.instruction.op.name == "call"
        yield it, event.frame


def shown(event: events.Event) -> tuple[Any, ...]:
    """The kind of event, the function, its operand stack, and how many frames are below."""
    if isinstance(event, events.Finished):
        return ("Finished",)
    assert event.frame is not None
    frame = event.frame
    return type(event).__name__, frame.function_name, frame.operand_stack, frame.depth


# ── host functions ─────────────────────────────────────────────────────────────────────────────────


async def times_out(it: Program, n: int) -> Any:
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()
    return 5


async def times_out_in_the_guest(it: Program, n: int) -> Any:
    """Cancels a call into the guest that would never end."""

    async def spin() -> None:
        await it.call("spin")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(spin)
        await until(lambda: it.debuggee.statistics().calls >= 2)
        nursery.cancel_scope.cancel()
    return 5


async def cancels(it: Program, n: int) -> Any:
    """Cancels the call that it is in, once."""
    if not it.scope.cancel_called:
        it.scope.cancel()
        await trio.lowlevel.checkpoint()
    return 6


async def comes_back(it: Program, n: int) -> Any:
    """Calls the same functions once more, further in."""
    it.depth += 1
    try:
        return await it.call("top", n) if it.depth < 3 else 1
    finally:
        it.depth -= 1


async def fails(it: Program, n: int) -> Any:
    raise LookupError("no")


# ── the cases ──────────────────────────────────────────────────────────────────────────────────────

HOST = "(call $host (local.get $n))"
CAUGHT: Ends = ("Step", "top", (7,), 0, None)
LOST: Ends = ("Finished",)


def back(value: int) -> Ends:
    """In ``$go``, after the call."""
    return "Step", "go", (100, value), 1, (value,)


def ends(value: int) -> Ends:
    """At the end of ``$callee``."""
    return "Step", "callee", (value,), 2, (value,)


def all_alike(*event: Any) -> tuple[Ends, Ends, Ends]:
    """However it is stepped."""
    return (*event, None), (*event, None), (*event, None)


def passed_by(value: int) -> tuple[Ends, Ends, Ends]:
    """By a tail call: there is no return of ``$callee``."""
    return back(value), back(value), back(value)


def returned(value: int) -> tuple[Ends, Ends, Ends]:
    return back(value), back(value), ends(value)


CASES = {
    "returns": Case("(call $leaf (local.get $n))", returned(4)),
    "recurses": Case(
        """(if (result i32) (local.get $n)
          (then (i32.add (i32.const 1) (call $callee (i32.sub (local.get $n) (i32.const 1)))))
          (else (i32.const 1)))""",
        returned(4),
    ),
    "recurses through the caller": Case(
        """(if (result i32) (local.get $n)
          (then (call $go (i32.sub (local.get $n) (i32.const 1)))) (else (i32.const 1)))""",
        returned(301),
    ),
    "tail call": Case("(return_call $leaf (local.get $n))", passed_by(4)),
    "tail call of itself": Case(
        """(if (local.get $n) (then (return_call $callee (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 1)""",
        returned(1),
    ),
    "tail call of the caller": Case(
        "(if (local.get $n) (then (return_call $go (i32.sub (local.get $n) (i32.const 1))))) (i32.const 1)",
        passed_by(301),
    ),
    "tail call through a table": Case(
        "(return_call_indirect (type $unary) (local.get $n) (i32.const 0))", passed_by(4)
    ),
    "tail call of the host": Case("(return_call $host (local.get $n))", passed_by(5), times_out),
    "tail call that throws": Case("(return_call $raise (local.get $n))", (CAUGHT, CAUGHT, CAUGHT)),
    "throws and catches": Case(
        "(block $h (result i32) (try_table (result i32) (catch $e $h) (call $raise (local.get $n))))",
        returned(7),
    ),
    "throws out of a recursion": Case("(call $raise (local.get $n))", (CAUGHT, CAUGHT, CAUGHT)),
    "throws": Case("(throw $e (i32.const 7))", (CAUGHT, CAUGHT, CAUGHT)),
    "throws what nobody catches": Case("(throw $lost)", all_alike("UncaughtException", "callee", (), 2)),
    "live trap": Case("(i32.div_s (local.get $n) (i32.const 0))", all_alike("Trap", "callee", (N, 0), 2)),
    "trap": Case(
        "(i32.load (i32.const -8))",
        (
            ("Trap", "callee", (UNAVAILABLE,), 2, None),
            ("Trap", "callee", (-8,), 2, None),  # it was in its slow twin
            ("Trap", "callee", (-8,), 2, None),
        ),
    ),
    "host function": Case(HOST, returned(5), times_out),
    "host function fails": Case(HOST, all_alike("HostcallError", "callee", (), 2), fails),
    "host function calls in": Case(HOST, returned(2201), comes_back),
    "host function's own call is cancelled": Case(HOST, returned(5), times_out_in_the_guest),
    "cancelled": Case(HOST, (LOST, LOST, LOST), cancels),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("how", ["over", "until", "out", "to_return"])
async def test_where_it_ends(name: str, how: str) -> None:
    case = CASES[name]
    async with paused(case) as (it, frame):
        if how == "over":
            event = await it.debuggee.step_over()
        elif how == "until":
            offsets = frame.instance.module.offsets(frame.function_index)
            event = await it.debuggee.run_until(offsets[frame.resume_point + 1])
        else:
            event = await it.debuggee.step()
            assert event.frame.function_name == "callee"
            event = await (it.debuggee.step_out() if how == "out" else it.debuggee.run_to_return())
        nothing_of_a_step_is_left(it.debuggee)
        if isinstance(event, events.Finished):
            assert case.ends[0] is LOST
        elif how in ("over", "until"):
            assert shown(event) == case.ends[0][:4]
        else:
            step = event.returned if isinstance(event, events.Step) else None
            assert (*shown(event), step) == case.ends[1 if how == "out" else 2]
        if not it.debuggee.is_complete:
            await it.debuggee.run()


@pytest.mark.parametrize("how", ["step_over", "step_out", "run_to_return"])
async def test_a_later_call_of_the_same_function_is_none_of_the_steps_business(how: str) -> None:
    """Out of the outermost function a step goes on to the next event, also if it is called again."""
    async with program(("add", 1, 2), ("add", 3, 4), ("fib", 3)) as it:
        it.debuggee.add_breakpoint("add", at_end=True, once=True)
        await it.debuggee.run()
        it.debuggee.add_breakpoint("fib", once=True)
        event = await getattr(it.debuggee, how)()
        assert isinstance(event, events.Breakpoint)
        assert event.frame.function_name == "fib"
        assert it.results == [3, 7]


async def test_what_is_found_left_behind() -> None:
    """The check of this folder's steps can fail."""
    async with program(("sum", 3)) as it:
        it.debuggee.add_breakpoint("sum", once=True)
        frame: Any = (await it.debuggee.run()).frame
        nothing_of_a_step_is_left(it.debuggee)
        instance, plan = it.instance, it.instance.module.plan(frame.function_index)
        for address in (plan.site_addresses[0], plan.stop_base + 2):
            instance._debug_memory.set_u8(address, 1)
            with pytest.raises(AssertionError, match="a step has left a"):
                nothing_of_a_step_is_left(it.debuggee)
            instance._debug_memory.set_u8(address, 0)
        await it.debuggee.finish()


# ── a frame further out is left, and then it is stepped ────────────────────────────────────────────


async def in_the_leaf(it: Program) -> Frame:
    it.debuggee.add_breakpoint("leaf", once=True)
    event = await it.debuggee.run()
    assert isinstance(event, events.Breakpoint)
    frame: Frame = event.frame
    return frame


@pytest.mark.parametrize("how", ["step_over", "step_out", "run_to_return", "step"])
async def test_after_an_early_return_a_step_begins_in_the_frame_that_is_left(how: str) -> None:
    async with paused(CASES["returns"]) as (it, _):
        frame = await in_the_leaf(it)
        assert frame.parent is not None
        assert frame.parent.function_name == "callee"
        frame.parent.return_early(55)
        event = await getattr(it.debuggee, how)()
        assert shown(event) == ("Step", "go", (100, 55), 1)
        assert event.returned == ((55,) if how in ("step_out", "run_to_return") else None)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert it.results == [1155, None]


@pytest.mark.parametrize("how", ["step_over", "step_out", "run_to_return", "step"])
async def test_after_a_throw_a_step_ends_where_it_is_caught(how: str) -> None:
    async with paused(CASES["returns"]) as (it, _):
        frame = await in_the_leaf(it)
        assert frame.parent is not None
        frame.parent.throw_exception(0, 8)
        assert shown(await getattr(it.debuggee, how)()) == ("Step", "top", (8,), 0)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert it.results == [1008, None]


@pytest.mark.parametrize("how", ["step_over", "step_out", "run_to_return"])
async def test_a_frame_beyond_a_host_function_is_left_and_stepped_from(how: str) -> None:
    async with paused(CASES["host function calls in"]) as (it, frame):
        go = frame.address
        it.debuggee.add_breakpoint("top", once=True)
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        frames = await it.debuggee.with_store(
            lambda view: [each for activation in view.activations for each in activation.frames]
        )
        assert [each.function_name for each in frames] == ["top", "callee", "go", "top"]
        assert frames[2].address == go
        frames[1].return_early(9)
        event = await getattr(it.debuggee, how)()
        assert shown(event) == ("Step", "go", (100, 9), 1)
        await it.debuggee.finish()
        assert it.results == [1109, None]


async def test_to_a_place_in_the_frame_that_is_left() -> None:
    async with paused(CASES["returns"]) as (it, _):
        frame = await in_the_leaf(it)
        callee = frame.parent
        assert callee is not None
        callee.return_early(55)
        with pytest.raises(UsageError, match="is not in callee"):
            await it.debuggee.run_until(frame.module_offset)
        assert shown(await it.debuggee.run_until(callee.module_offset)) == ("Step", "go", (100, 55), 1)
        await it.debuggee.finish()
