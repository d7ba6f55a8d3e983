"""Every ability, and where it is tested together with recursion, re-entry or cancellation.

The table names both tests; those that are about nothing else are here.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime

from tests.debuggee._programs import module_of
from trio_wasmdbg import Called, Debuggee, Guest, GuestInstance, Returned, events, open_debuggee

ABILITIES = {
    # ability: (where it is tested alone, where it meets recursion, re-entry or cancellation)
    "breakpoints": ("breakpoints.by_name_index_expression_export_and_end", "abilities.breakpoints"),
    "conditions": (
        "breakpoints.a_condition_in_the_expression_language",
        "abilities.conditions_and_log_points",
    ),
    "log points": ("breakpoints.log_points_write_and_go_on", "abilities.conditions_and_log_points"),
    "callbacks": ("breakpoints.callbacks_may_go_on_or_pause", "abilities.a_callback_that_is_cancelled"),
    "callbacks that edit": (
        "callbacks.it_changes_breakpoints_and_values",
        "callbacks.in_a_recursion_each_activation_calls_back",
    ),
    "changed breakpoints": (
        "changed_breakpoints.its_condition",
        "changed_breakpoints.a_message_that_is_written_once",
    ),
    "callbacks of watchpoints": ("callbacks.one_of_a_watchpoint_that_fails", "callbacks.of_a_watchpoint"),
    "calls of imports": (
        "breakpoints.instructions_of_a_kind_and_calls_of_an_import",
        "breakpoints.calls_of_an_import_through_tables_and_references",
    ),
    "watched memory": ("watchpoints.writes_to_four_bytes", "abilities.watched_memory_and_globals"),
    "watched globals": ("watchpoints.a_global", "abilities.watched_memory_and_globals"),
    "watched locals": ("watchpoints.a_local_of_one_activation", "watchpoints.a_local_of_one_activation"),
    "steps": (
        "stepping.instruction_by_instruction_into_and_out_of_a_call",
        "stepping.over_a_host_call_that_calls_in_again",
    ),
    "steps over calls": ("steps_over_calls.where_it_ends", "steps_over_calls.where_it_ends"),
    "steps of many instructions": (
        "counted_steps.strides_end_where_single_steps_do",
        "counted_steps.cancelled_at_each_checkpoint",
    ),
    "interrupts": (
        "interrupt.from_another_thread_while_running",
        "interrupt.every_loop_is_interrupted_and_cancelled",
    ),
    "live traps": ("edits.run_lets_a_live_trap_unwind_and_retry_executes_again", "abilities.a_live_trap"),
    "precise traps": ("foreseen.pauses_before_the_trap", "foreseen.in_a_recursion_and_cancelled_there"),
    "stops at exceptions": ("exceptions.where_thrown", "abilities.stops_at_exceptions"),
    "exceptions by tag": (
        "exceptions.by_tag_and_no_more",
        "shown_values.exceptions_by_the_name_of_their_tag",
    ),
    "exceptions nobody catches": (
        "throwing.an_exception_that_nobody_catches",
        "throwing.it_passes_through_a_host_function_into_the_guest_outside",
    ),
    "throwing": ("throwing.what_is_thrown_is_caught", "throwing.a_frame_beyond_a_host_function"),
    "locals and operands": (
        "edits.locals_operands_memory_and_globals",
        "abilities.frames_of_an_outer_activation",
    ),
    "memories and tables": (
        "access.tables",
        "access.an_edit_of_a_cancelled_query_happens_whole_or_not_at_all",
    ),
    "next instruction": ("edits.set_next_instruction_skips_and_repeats", "abilities.the_next_instruction"),
    "early returns": ("edits.return_early_from_the_innermost_frame", "edits.return_early_out_of_recursion"),
    "traps made": ("edits.trap_here_and_now", "abilities.a_trap_made_in_an_inner_activation"),
    "injected calls": ("edits.inject_a_call_that_is_itself_debuggable", "abilities.an_injected_call"),
    "host calls": ("edits.host_calls_before_and_after", "abilities.stops_at_host_calls"),
    "calls of a linker's functions": (
        "linker_calls.arguments_and_results_of_all_host_functions_alike",
        "linker_calls.recursion_is_told_frame_by_frame",
    ),
    "memory growth": ("memory_growth.old_and_new_size", "memory_growth.in_a_recursion"),
    "host errors": (
        "host_functions.an_exception_is_an_event_before_the_guest_unwinds",
        "host_functions.cancelled_is_never_a_hostcall_error",
    ),
    "call traces": ("tracing.a_trace_of_nested_calls", "abilities.call_traces_and_recordings"),
    "recordings": ("recording.counts_are_exact", "abilities.call_traces_and_recordings"),
    "branches": ("recording.the_last_branches", "recording.branches_of_recursion_exceptions_and_tables"),
    "values shown": ("shown_values.one_value", "shown_values.what_a_paused_guest_has"),
    "queries": ("commands.with_store_works_before_the_first_run", "cancel_everywhere.with_store"),
}


@pytest.mark.parametrize("ability", ABILITIES)
async def test_the_tests_are_there(ability: str) -> None:
    for where in ABILITIES[ability]:
        module, _, name = where.partition(".")
        assert callable(getattr(importlib.import_module(f"tests.debuggee.test_{module}"), f"test_{name}"))


# ── a guest that is recursive, and whose host function calls it again ──────────────────────────────

GUEST = """
(module
  (import "env" "again" (func $again (param i32) (result i32)))
  (tag $odd (param i32))
  (memory (export "memory") 1)
  (global $depth (mut i32) (i32.const 0))
  ;; counts down; at 0 it asks the host, which counts down again, once
  (func $count (export "count") (param $n i32) (result i32) (local $kept i32)
    (local.set $kept (i32.mul (local.get $n) (i32.const 10)))
    (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
    (i32.store (i32.const 64) (local.get $n))
    (if (result i32) (local.get $n)
      (then (i32.add (local.get $kept) (call $count (i32.sub (local.get $n) (i32.const 1)))))
      (else (call $again (local.get $n)))))
  (func $divide (export "divide") (param $n i32) (result i32)
    (if (local.get $n) (then (return (call $divide (i32.sub (local.get $n) (i32.const 1))))))
    (i32.div_s (i32.const 100) (local.get $n)))
  (func $catch (export "catch") (param $n i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $odd $h) (call $raise (local.get $n)))))
  (func $raise (param $n i32) (result i32)
    (if (local.get $n) (then (return (call $raise (i32.sub (local.get $n) (i32.const 1))))))
    (throw $odd (i32.const 77))))
"""


class Program:
    """What a test gets: the debuggee, the instance, and what the body has got from its calls."""

    def __init__(self, inner: str) -> None:
        self.debuggee: Debuggee
        self.instance: GuestInstance
        self.results: list[Any] = []
        self.errors: list[BaseException] = []
        self._inner: str | None = inner

    async def again(self, guest: Guest) -> Any:
        """The host function: calls in once more, then no more."""
        inner, self._inner = self._inner, None
        if inner is None:
            return 1
        try:
            return await guest.call(self.instance.func(inner), 2)
        except wasmtime.Trap as error:
            self.errors.append(error)
            return 5


@asynccontextmanager
async def counting(inner: str = "count") -> AsyncIterator[Program]:
    """count(3), whose host function calls *inner* (2): paused at the instance's creation."""
    it = Program(inner)
    module = await module_of(GUEST)

    async def body(guest: Guest) -> None:
        async def again(n: int) -> Any:
            return await it.again(guest)

        await guest.instantiate({"env": {"again": again}}, module)
        it.results.append(await guest.call(it.instance.func("count"), 3))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        it.debuggee = debuggee
        debuggee.stop_on_instances = True
        event = await debuggee.run()
        assert isinstance(event, events.InstanceCreated)
        it.instance = event.instance
        yield it


async def stops(it: Program, kind: type[Any], look: Any) -> list[Any]:
    seen = []
    async for event in it.debuggee:
        if not isinstance(event, events.Finished):
            assert isinstance(event, kind), event
            seen.append(look(event))
    return seen


async def frames(it: Program) -> list[Any]:
    return await it.debuggee.with_store(lambda view: list(view.frames()))


WHOLE = 30 + 20 + 10 + 20 + 10 + 1
"""What count(3) returns if count(2) is called further in."""


async def test_breakpoints() -> None:
    async with counting() as it:
        breakpoint = it.debuggee.add_breakpoint("count", hits="% 2")
        assert await stops(it, events.Breakpoint, lambda event: event.frame.local("n")) == [2, 0, 1]
        assert breakpoint.hit_count == 7
    assert it.results == [WHOLE]


async def test_conditions_and_log_points() -> None:
    texts: list[str] = []
    async with counting() as it:
        it.debuggee.log_sink = lambda text, breakpoint: texts.append(text)
        it.debuggee.add_breakpoint("count", condition="n == 0 && depth == 6")
        it.debuggee.add_breakpoint("count", log="{n} in {depth}")
        seen = await stops(it, events.Breakpoint, lambda event: event.frame.depth)
        assert seen == [2]
    assert texts == ["3 in 0", "2 in 1", "1 in 2", "0 in 3", "2 in 4", "1 in 5", "0 in 6"]
    assert it.results == [WHOLE]


async def test_a_callback_that_is_cancelled() -> None:
    inside = trio.Event()

    async def wait(event: events.Breakpoint) -> None:
        inside.set()
        await trio.sleep_forever()

    async with counting() as it:
        it.debuggee.add_breakpoint("count", condition="depth == 6", callback=wait)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await it.debuggee.run()

            await inside.wait()
            it.debuggee.cancel()
    assert it.results == []


async def test_watched_memory_and_globals() -> None:
    async with counting() as it:
        it.debuggee.watch_memory(it.instance, 64)
        await it.debuggee.watch_global(it.instance, 0)
        seen = await stops(it, events.Watch, lambda event: [(hit.old, hit.new) for hit in event.hits])
        assert [new for ((_, new),) in seen] == [1, 3, 2, 2, 3, 1, 4, 0, 5, 2, 6, 1, 7, 0]
    assert it.results == [WHOLE]


async def test_a_live_trap() -> None:
    async with counting("divide") as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        names = [frame.function_name for frame in await frames(it)]
        assert names == ["divide"] * 3 + ["count"] * 4
        event.frame.set_operand(-1, 4)
        assert isinstance(await it.debuggee.run(retry=True), events.Finished)
    assert it.results == [60 + 25]


async def test_stops_at_exceptions() -> None:
    async with counting("catch") as it:
        it.debuggee.stop_on_exceptions()
        event = await it.debuggee.run()
        assert isinstance(event, events.ExceptionThrown)
        assert (event.payload, event.caught, event.frame.depth) == ((77,), True, 3)
        with trio.CancelScope() as scope:
            scope.cancel()
            await it.debuggee.run()
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [60 + 77]


async def test_frames_of_an_outer_activation() -> None:
    async with counting() as it:
        it.debuggee.add_breakpoint("count", condition="depth == 6")
        await it.debuggee.run()
        outer = (await frames(it))[-1]
        assert outer.locals == (3, 30)
        outer.set_local("kept", 300)  # its operand was taken from it before the call
        outer.set_operand(0, 400)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [WHOLE - 30 + 400]


async def test_the_next_instruction() -> None:
    async with counting() as it:
        for _ in range(2):
            it.debuggee.add_breakpoint("count", condition="n == 1", once=True)
            event = await it.debuggee.run()
            end = it.instance.module.offsets(event.frame.function_index)
            k = next(k for k, each in enumerate(event.frame.body) if each.op.name == "i32.store")
            event.frame.set_next_instruction(end[k + 1])  # local "kept" stays 0
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert it.instance.global_value(0) == 5
    assert it.results == [WHOLE - 10 - 10]


async def test_a_trap_made_in_an_inner_activation() -> None:
    async with counting() as it:
        it.debuggee.add_breakpoint("count", condition="depth == 6")
        await it.debuggee.run()
        it.debuggee.trap("enough")
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert [str(error) for error in it.errors] == ["enough"]
    assert it.results == [60 + 5]


async def test_an_injected_call() -> None:
    async with counting() as it:
        breakpoint = it.debuggee.add_breakpoint("count", condition="depth == 6")
        event = await it.debuggee.run()
        before = [(frame.function_name, frame.locals) for frame in await frames(it)]
        it.debuggee.remove_breakpoint(breakpoint)
        it.debuggee.add_breakpoint("raise", once=True)
        inside = await it.debuggee.inject_call(it.instance.func("catch"), 1)
        assert isinstance(inside, events.Breakpoint)
        assert len(await frames(it)) == len(before) + 2
        back = await it.debuggee.run()
        assert isinstance(back, events.CallReturned)
        assert back.result == 77
        assert [(frame.function_name, frame.locals) for frame in await frames(it)] == before
        assert back.location == event.location
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [WHOLE]


async def test_stops_at_host_calls() -> None:
    async with counting() as it:
        it.debuggee.stop_on_host_calls = "again"
        order: list[object] = []
        async for event in it.debuggee:
            if isinstance(event, events.HostCallEntered):
                order.append("entered")
            elif isinstance(event, events.HostCallReturned):
                order.append(event.results)
                if event.results == (1,):
                    it.debuggee.set_host_values(2)
        assert order == ["entered", "entered", (1,), (20 + 10 + 2,)]
    assert it.results == [WHOLE + 1]


async def test_call_traces_and_recordings() -> None:
    told: list[Called | Returned] = []
    async with counting() as it:
        it.debuggee.recording = True
        with it.debuggee.trace_calls("^count$", told.append):
            assert isinstance(await it.debuggee.run(), events.Finished)
            await trio.testing.wait_all_tasks_blocked()
        (covered,) = it.instance.coverage()
        assert covered.calls == 7
    called = [each.arguments for each in told if isinstance(each, Called)]
    returned = [each.results for each in told if isinstance(each, Returned)]
    assert called == [(3,), (2,), (1,), (0,), (2,), (1,), (0,)]
    assert returned == [(1,), (11,), (31,), (31,), (41,), (61,), (91,)]
