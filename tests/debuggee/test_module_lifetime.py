"""A module that nobody holds any more is gone, with its compiled code, whatever was done with it."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, body_of, run_to
from trio_wasmdbg import Debuggee, Guest, GuestInstance, GuestModule, events, load_module, open_debuggee

PROGRAM = """
(module
  (memory 1)
  (func $leaf (export "leaf") (param $x i32) (result i32)
    (i32.store (i32.const 8) (local.get $x))
    (i32.add (local.get $x) (i32.const 1)))
  (func (export "main") (result i32) (local $i i32)
    (loop $again
      (drop (call $leaf (local.get $i)))
      (br_if $again (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (local.get $i)))
"""


def conditional(debuggee: Debuggee) -> None:
    debuggee.add_breakpoint("leaf", condition="x == 3")
    debuggee.add_breakpoint("leaf", condition="no_such > 1")


def conditional_in_python(debuggee: Debuggee) -> None:
    debuggee.add_breakpoint("leaf", condition=lambda frame: frame.local("x") == 3)


def logging(debuggee: Debuggee) -> None:
    debuggee.log_sink = lambda message, breakpoint: None
    debuggee.add_breakpoint("leaf", log="x is {x}")
    debuggee.add_breakpoint("leaf", condition="x == 3")


def stepping(debuggee: Debuggee) -> None:
    debuggee.add_breakpoint("leaf")


USES = [conditional, conditional_in_python, logging, stepping]


@pytest.mark.parametrize("use", USES)
async def test_a_module_is_let_go(use: Any) -> None:
    gone: weakref.ref[GuestModule]

    async def whole() -> weakref.ref[GuestModule]:
        module = await load_module(ENGINE, PROGRAM, cache=None)

        async def call(guest: Guest, instance: GuestInstance) -> None:
            await guest.call(instance.func("main"))

        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, call)) as debuggee:
            use(debuggee)
            event = await run_to(debuggee, events.Breakpoint)
            debuggee.watch_memory(event.frame.instance, 8)
            assert event.frame.evaluate("x * 2") == 2 * event.frame.local("x")
            await debuggee.step()
            await debuggee.step_over()
            await debuggee.finish()
        return weakref.ref(module)

    gone = await whole()
    # trio keeps a task's last exception until its next step.
    await trio.lowlevel.checkpoint()
    gc.collect()
    assert gone() is None


async def test_little_of_a_large_function_waits_for_the_garbage_collector() -> None:
    """A collection that finds a module's worth of objects stalls the trio loop for as long as it takes."""
    adds = "(local.set $x (i32.add (local.get $x) (i32.const 7)))" * 1_000
    source = f'(module (func (export "big") (result i32) (local $x i32) {adds} (local.get $x)))'
    module = await load_module(ENGINE, source, cache=None)
    await module.slow_twin(0)
    gc.collect()
    del module
    assert gc.collect() < 1_000, "4,000 instructions, and more, were in cycles"
