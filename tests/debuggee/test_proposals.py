"""References and exceptions, seen through the public API."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._support import debug, run_to
from trio_wasmdbg import StoreView, events

REFERENCES = """
(module
  (type $node (struct (field i32) (field (ref null $node))))
  (type $bytes (array i8))
  (type $unary (func (param i32) (result i32)))
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (elem declare func $double)
  (func $look (param $n (ref null $node)))
  (func (export "main") (param $host externref) (result i32)
    (local $n (ref null $node)) (local $late (ref $unary)) (local $f funcref) (local $x anyref)
    (local $a (ref null $bytes)) (local $i (ref null i31)) (local $unused (ref null $node))
    (local.set $n (struct.new $node (i32.const 5) (ref.null $node)))
    (local.set $a (array.new_default $bytes (i32.const 3)))
    (local.set $i (ref.i31 (i32.const -7)))
    (local.set $f (ref.func $double))
    (local.set $x (any.convert_extern (local.get $host)))
    (local.get $n)
    (call $look (local.get $n))
    (local.set $late (ref.func $double))
    (call_ref $unary (struct.get $node 0) (local.get $late))))
"""


async def test_references_are_shown_as_what_they_are() -> None:
    host = object()
    seen: list[dict[str, Any]] = []

    def look(view: StoreView) -> None:
        (inner,) = view.exit_frames()
        frame = inner.parent
        assert frame is not None
        values = {variable.name: variable.value for variable in frame.variables}
        values["operands"] = [getattr(value, "kind", value) for value in frame.operand_stack]
        seen.append(values)
        # the host can clear what the guest does not need any more, and the guest goes on
        frame.set_local("n", None)
        frame.set_local("f", None)
        assert frame.local("n") is None and frame.local("unused") is None

    async with debug(REFERENCES, "main", host) as debuggee:
        debuggee.add_breakpoint(function=1)
        await run_to(debuggee, events.Breakpoint)
        await debuggee.with_store(look)
        finished = await run_to(debuggee, events.Finished)
        assert finished.result == 10
    (values,) = seen
    assert values["host"] is host
    assert values["n"].kind == "structref" and values["a"].kind == "arrayref"
    assert (values["i"].kind, values["i"].number) == ("i31ref", -7)
    assert isinstance(values["f"], wasmtime.Func)
    assert values["x"].kind == "anyref"
    assert values["late"] is None and values["unused"] is None
    assert values["operands"] == ["structref"]


EXCEPTIONS = """
(module
  (tag $t (param i32))
  (func $thrower (param $x i32) (throw $t (i32.add (local.get $x) (i32.const 1))))
  (func $middle (param $x i32) (call $thrower (local.get $x)))
  (func (export "main") (param $x i32) (result i32)
    (local $kept i32) (local $later i32)
    (local.set $kept (i32.const 40))
    (i32.const 1000)
    (block $h (result i32)
      (try_table (catch $t $h) (call $middle (local.get $x)))
      (unreachable))
    (local.set $later)
    (i32.add (i32.add (local.get $kept) (local.get $later)))))
"""


async def test_a_caller_is_changed_before_the_callee_throws() -> None:
    def change(view: StoreView) -> None:
        (frame,) = view.exit_frames()
        assert frame.function_index == 0
        assert frame.parent is not None and frame.parent.parent is not None
        main = frame.parent.parent
        assert (main.local("kept"), main.local("later"), main.operand_stack) == (40, 0, (1000,))
        main.set_local("kept", 500)
        frame.set_local("x", 6)

    async with debug(EXCEPTIONS, "main", 1) as debuggee:
        debuggee.add_breakpoint(function=0)
        await run_to(debuggee, events.Breakpoint)
        await debuggee.with_store(change)
        finished = await run_to(debuggee, events.Finished)
        assert finished.result == 1507


async def test_stepping_over_a_throw_comes_out_where_it_is_caught() -> None:
    places: list[tuple[int, str, tuple[Any, ...]]] = []

    def look(view: StoreView) -> None:
        (frame,) = view.exit_frames()
        places.append((frame.function_index, frame.instruction.op.name, frame.operand_stack))

    async with debug(EXCEPTIONS, "main", 1, step=True) as debuggee:
        while True:
            event = await debuggee.run()
            if isinstance(event, events.Finished):
                break
            await debuggee.with_store(look)
        assert event.result == 1042
    at = places.index((0, "throw", (2,)))
    assert places[at + 1] == (2, "local.set", (1000, 2))


async def test_a_step_over_a_call_that_throws_ends_where_it_is_caught() -> None:
    async with debug(EXCEPTIONS, "main", 1) as debuggee:
        debuggee.add_breakpoint(function=2)
        await run_to(debuggee, events.Breakpoint)
        names: list[str] = []

        def look(view: StoreView) -> None:
            (frame,) = view.exit_frames()
            names.append(frame.instruction.op.name)

        for _ in range(8):
            await debuggee.with_store(look)
            assert not isinstance(await debuggee.step_over(), events.Finished)
        assert names[-2:] == ["call", "local.set"]


@pytest.mark.parametrize("function", [0, 1])
async def test_a_step_out_of_a_function_that_throws_ends_where_it_is_caught(function: int) -> None:
    async with debug(EXCEPTIONS, "main", 1) as debuggee:
        debuggee.add_breakpoint(function=function)
        await run_to(debuggee, events.Breakpoint)
        event = await debuggee.step_out()
        assert not isinstance(event, events.Finished)

        def look(view: StoreView) -> None:
            (frame,) = view.exit_frames()
            assert (frame.function_index, frame.instruction.op.name) == (2, "local.set")
            assert frame.operand_stack == (1000, 2)

        await debuggee.with_store(look)
