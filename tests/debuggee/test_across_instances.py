"""From instance to instance: by tail calls, shared tables, through the host and back; start functions."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, load, run_to
from trio_wasmdbg import Debuggee, Guest, GuestInstance, events, open_debuggee

EVEN = """
(module $even
  (type $f (func (param i32 i32) (result i32)))
  (table (export "t") 4 funcref)
  (func $done (export "done") (param $n i32) (param $steps i32) (result i32)
    (i32.mul (local.get $steps) (i32.const 2)))
  (func $even (export "even") (param $n i32) (param $steps i32) (result i32)
    (if (i32.eqz (local.get $n))
      (then (return_call $done (local.get $n) (local.get $steps))))
    (return_call_indirect (type $f)
      (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $steps) (i32.const 1)) (i32.const 1)))
  (func $main (export "main") (param $n i32) (result i32)
    (i32.add (i32.const 7)
      (call_indirect (type $f) (local.get $n) (i32.const 0) (i32.const 0))))
  (elem (i32.const 0) $even))
"""

ODD = """
(module $odd
  (import "even" "t" (table 4 funcref))
  (import "even" "even" (func $even (param i32 i32) (result i32)))
  (func $odd (param $n i32) (param $steps i32) (result i32)
    (return_call $even
      (i32.sub (local.get $n) (i32.const 1)) (i32.add (local.get $steps) (i32.const 1))))
  (elem (i32.const 1) $odd))
"""


async def ping_pong(guest: Guest, found: dict[str, GuestInstance], n: int) -> Any:
    even = found["even"] = await guest.instantiate(None, await load(EVEN))
    found["odd"] = await guest.instantiate({"even": even}, await load(ODD))
    return await guest.call(even.func("main"), n)


async def shown(debuggee: Debuggee) -> list[tuple[int, str, tuple[Any, ...]]]:
    """Instance, function and locals of every frame, innermost first."""
    return await debuggee.with_store(
        lambda view: [(f.instance.id, f.function_name, f.locals) for f in view.frames()]
    )


async def test_tail_calls_leave_no_frames_in_either_instance() -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        return await ping_pong(guest, found, 200_000)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("done")
        event = await run_to(debuggee, events.Breakpoint)
        even = found["even"]
        assert event.frame.instance is even
        assert await shown(debuggee) == [(even.id, "done", (0, 200_000)), (even.id, "main", (200_000,))]
        step = await debuggee.step_out()
        assert isinstance(step, events.Step)
        assert (step.frame.function_name, step.frame.operand_stack) == ("main", (7, 400_000))
        assert await debuggee.run() == events.Finished(result=400_007)


async def test_tail_calls_are_stepped_from_instance_to_instance() -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        return await ping_pong(guest, found, 4)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("main")
        await run_to(debuggee, events.Breakpoint)
        path: list[tuple[int, str, int]] = []
        while True:
            event = await debuggee.step()
            if isinstance(event, events.Finished):
                break
            frames = await shown(debuggee)
            place = (*frames[0][:2], len(frames))
            if not path or path[-1] != place:
                path.append(place)
    even, odd = found["even"].id, found["odd"].id
    assert event.result == 15
    tails = [(even, "even", 2), (odd, "odd", 2)] * 2 + [(even, "even", 2), (even, "done", 2)]
    assert path == [(even, "main", 1), *tails, (even, "main", 1)]


async def test_a_step_over_a_call_that_ends_in_another_instance() -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        return await ping_pong(guest, found, 101)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("main")
        event: Any = await run_to(debuggee, events.Breakpoint)
        while event.frame.instruction.op.name != "call_indirect":
            event = await debuggee.step_over()
        assert event.frame.operand_stack == (7, 101, 0, 0)
        # From an odd number, it is `odd` that comes to zero.
        debuggee.add_breakpoint("odd", condition="$n == 0")
        stop = await debuggee.step_over()
        assert isinstance(stop, events.Breakpoint)
        assert stop.frame.instance is found["odd"]
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        assert [(f.instance, f.function_name) for f in frames] == [
            (found["odd"], "odd"),
            (found["even"], "main"),
        ]
        # Edits in both: what `odd` hands on, and what `main` adds it to.
        frames[0].set_local("n", 1)
        frames[0].set_local("steps", 10)
        frames[1].set_operand(0, 1000)
        for breakpoint in debuggee.breakpoints:
            debuggee.remove_breakpoint(breakpoint)
        assert await debuggee.run() == events.Finished(result=1022)


# ── through the host ───────────────────────────────────────────────────────────────────────────

OUTER = """
(module $outer
  (import "host" "across" (func $across (param i32) (result i32)))
  (func $leaf (export "leaf") (param $x i32) (result i32) (i32.mul (local.get $x) (i32.const 3)))
  (func $begin (export "begin") (param $x i32) (result i32) (local $kept i32)
    (local.set $kept (i32.const 5))
    (i32.add (i32.const 100) (i32.add (call $across (local.get $x)) (local.get $kept)))))
"""

INNER = """
(module $inner
  (import "host" "back" (func $back (param i32) (result i32)))
  (import "outer" "leaf" (func $leaf (param i32) (result i32)))
  (func $helper (param $y i32) (result i32)
    (i32.sub (call $back (i32.add (local.get $y) (i32.const 1))) (i32.const 1)))
  (func $work (export "work") (param $y i32) (result i32)
    (i32.add (i32.const 10) (call $helper (local.get $y))))
  (func $direct (export "direct") (param $y i32) (result i32) (call $leaf (local.get $y))))
"""


@pytest.mark.parametrize("step", [False, True])
async def test_host_guest_host_guest_in_two_instances(step: bool) -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        async def across(x: int) -> Any:
            await trio.lowlevel.checkpoint()
            return await guest.call(found["inner"].func("work"), x + 1)

        async def back(y: int) -> Any:
            return await guest.call(found["inner"].func("direct"), y + 1)

        outer = found["outer"] = await guest.instantiate({"host": {"across": across}}, await load(OUTER))
        imports = {"host": {"back": back}, "outer": outer}
        found["inner"] = await guest.instantiate(imports, await load(INNER))
        guest.single_step = step
        return await guest.call(outer.func("begin"), 1)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("leaf")
        while not isinstance(event := await debuggee.run(), events.Breakpoint):
            assert isinstance(event, events.Step)
        outer, inner = found["outer"].id, found["inner"].id
        assert await shown(debuggee) == [
            (outer, "leaf", (4,)),
            (inner, "direct", (4,)),
            (inner, "helper", (2,)),
            (inner, "work", (2,)),
            (outer, "begin", (1, 5)),
        ]
        activations = await debuggee.with_store(
            lambda view: [(a.function, [(f.instance.id, f.function_name) for f in a.frames])
                          for a in view.activations]
        )  # fmt: skip
        assert activations == [
            ("direct", [(outer, "leaf"), (inner, "direct")]),
            ("work", [(inner, "helper"), (inner, "work")]),
            ("begin", [(outer, "begin")]),
        ]
        frames = await debuggee.with_store(lambda view: list(view.frames()))
        frames[0].set_local("x", 20)
        frames[3].set_operand(0, 30)
        frames[4].set_local("kept", 500)
        await debuggee.with_store(lambda view: setattr(view, "single_step", False))
        for name, instance in (("direct", inner), ("helper", inner), ("work", inner), ("begin", outer)):
            out = await debuggee.step_out()
            assert isinstance(out, events.Step)
            assert (out.frame.instance.id, out.frame.function_name) == (instance, name)
        assert await debuggee.run() == events.Finished(result=100 + (30 + 60 - 1) + 500)


# ── start functions ────────────────────────────────────────────────────────────────────────────

STARTS = """
(module $starts
  (import "host" "back" (func $back (param i32) (result i32)))
  (import "outer" "leaf" (func $leaf (param i32) (result i32)))
  (global $g (export "g") (mut i32) (i32.const 0))
  (func $begin (local $x i32)
    (local.set $x (call $leaf (i32.const 2)))
    (global.set $g (i32.add (local.get $x) (call $back (i32.const 7)))))
  (start $begin))
"""


async def test_a_start_function_calls_other_instances() -> None:
    found: dict[str, GuestInstance] = {}

    async def body(guest: Guest) -> Any:
        async def back(y: int) -> Any:
            return await guest.call(outer.func("leaf"), y)

        outer = found["outer"] = await guest.instantiate({"host": {"across": abs}}, await load(OUTER))
        starts = await guest.instantiate({"host": {"back": back}, "outer": outer}, await load(STARTS))
        return starts.global_value(0)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("leaf")
        await run_to(debuggee, events.Breakpoint)
        outer = found["outer"].id
        assert await shown(debuggee) == [(outer, "leaf", (2,)), (outer + 1, "begin", (0,))]
        out = await debuggee.step_out()
        assert isinstance(out, events.Step)
        assert (out.frame.function_name, out.frame.operand_stack) == ("begin", (6,))
        # Again by way of the host; then instruction by instruction to the end.
        await run_to(debuggee, events.Breakpoint)
        assert await shown(debuggee) == [(outer, "leaf", (7,)), (outer + 1, "begin", (6,))]
        names = []
        while isinstance(event := await debuggee.step(), events.Step):
            names.append(event.frame.function_name)
        assert names[0] == "leaf" and names[-1] == "begin"
        assert event == events.Finished(result=27)
