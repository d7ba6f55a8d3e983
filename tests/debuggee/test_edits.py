"""Edits at a pause: where the guest goes on, what it returns, what else it calls."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import program
from trio_wasmdbg import GuestInstance, NotFoundError, UsageError, WrongStateError, events
from trio_wasmdbg.debuggee import GuestTrap


async def pause_at(it: Any, function: str) -> Any:
    it.debuggee.add_breakpoint(function, once=True)
    event = await it.debuggee.run()
    assert isinstance(event, events.Breakpoint)
    return event.frame


async def test_locals_operands_memory_and_globals() -> None:
    async with program(("add", 1, 2), ("add", 1, 2)) as it:
        frame = await pause_at(it, "add")
        frame.set_local("a", 40)
        it.instance.set_global(0, 9)
        assert it.instance.global_value(0) == 9
        it.instance.write_memory(16, b"seen")
        assert it.instance.read_memory(16, 4) == b"seen"
        await it.debuggee.finish()
        assert it.instance.global_value(0) == 11
    assert it.results == [42, 3]


async def test_a_local_of_a_fast_caller() -> None:
    async with program(("sum", 3)) as it:
        frame = await pause_at(it, "add")
        caller = frame.parent
        assert caller.function_name == "sum"
        assert caller.local("n") == 3
        caller.set_local("n", 4)
        await it.debuggee.finish()
    assert it.results == [10]


async def test_set_next_instruction_skips_and_repeats() -> None:
    async with program(("add", 1, 2), ("add", 1, 2)) as it:
        frame = await pause_at(it, "add")
        offsets = it.instance.module.offsets(1)
        ops = [instruction.op.name for instruction in it.instance.module.plan(1).typed().instructions]
        after_set = ops.index("global.set") + 1
        frame.set_next_instruction(offsets[after_set])
        assert frame.module_offset == offsets[after_set]
        event = await it.debuggee.step()
        assert event.frame.module_offset == offsets[after_set + 1]
        assert it.instance.global_value(0) == 0  # skipped
        await pause_at(it, "add")
        event = await it.debuggee.run_until(offsets[after_set])
        assert event.frame.module_offset == offsets[after_set]
        event.frame.set_next_instruction(offsets[0])  # once more from the beginning
        await it.debuggee.finish()
        assert it.instance.global_value(0) == 2
    assert it.results == [3, 3]


async def test_set_next_instruction_refuses_what_does_not_fit() -> None:
    async with program(("sum", 3)) as it:
        frame = await pause_at(it, "add")
        offsets = it.instance.module.offsets(1)
        with pytest.raises(UsageError, match="operand stack holds"):
            frame.set_next_instruction(offsets[1])
        with pytest.raises(UsageError, match="is not in add"):
            frame.set_next_instruction(offsets[0] - 1)
        with pytest.raises(UsageError, match="innermost"):
            frame.parent.set_next_instruction(frame.parent.module_offset)
        await it.debuggee.finish()
    assert it.results == [6]


async def test_return_early_from_the_innermost_frame() -> None:
    async with program(("outer", 5)) as it:
        frame = await pause_at(it, "inner")
        frame.return_early(-990)
        event = await it.debuggee.step_out()
        assert isinstance(event, events.Step)
        assert event.returned == (-990,)
        assert event.frame.function_name == "middle"
        await it.debuggee.finish()
    assert it.results == [100]


@pytest.mark.parametrize("armed", [False, True])
async def test_return_early_from_a_caller(armed: bool) -> None:
    async with program(("outer", 5), ("outer", 5)) as it:
        frame = await pause_at(it, "inner")
        if armed:
            # breakpoints on the way are not for frames that are being left
            it.debuggee.add_breakpoint("middle", at_end=True)
        frame.parent.return_early(7)
        event = await it.debuggee.run()
        if armed:
            assert isinstance(event, events.Breakpoint)  # the second call's
            assert it.results == [70]
            await it.debuggee.finish()
    assert it.results == [70, 10_040]


async def test_return_early_out_of_recursion() -> None:
    async with program(("fib", 6)) as it:
        breakpoint = it.debuggee.add_breakpoint("fib", condition=lambda frame: frame.local(0) == 1)
        frame: Any = (await it.debuggee.run()).frame
        it.debuggee.remove_breakpoint(breakpoint)
        outermost = frame
        while outermost.parent is not None:
            outermost = outermost.parent
        assert outermost.local("n") == 6
        outermost.return_early(123)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [123]


async def test_return_early_checks_its_values() -> None:
    async with program(("pair", 5)) as it:
        frame = await pause_at(it, "pair")
        with pytest.raises(TypeError, match=r"returns \(i32, i64\), not 1 value"):
            frame.return_early(1)
        with pytest.raises(TypeError):
            frame.return_early("1", 2)
        frame.return_early(1, 2)
        await it.debuggee.finish()
    assert it.results == [(1, 2)]


async def test_trap_here_and_now() -> None:
    async with program(("sum", 3)) as it:
        await pause_at(it, "add")
        it.debuggee.trap("enough")
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, GuestTrap)
        assert finished.error.message == "enough"
        assert it.instance.global_value(0) == 0


@pytest.mark.parametrize("kind", [events.HostCallEntered, events.HostCallReturned, events.HostcallError])
async def test_trap_at_a_host_call(kind: type[Any]) -> None:
    def host(x: int) -> int:
        if kind is events.HostcallError:
            raise LookupError("no")
        return x

    async with program(("ask", 4), imports={"env": {"twice": host}}) as it:
        if kind is not events.HostcallError:
            it.debuggee.stop_on_host_calls = "env"
        while not isinstance(await it.debuggee.run(), kind):
            pass
        it.debuggee.trap("enough")
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, GuestTrap)
        assert str(finished.error) == "enough"


async def test_what_has_been_unwound_traps_no_more() -> None:
    async with program(("crash", 70_000)) as it:
        trap = await it.debuggee.run()
        assert isinstance(trap, events.Trap) and not trap.live
        with pytest.raises(UsageError, match="unwound already"):
            it.debuggee.trap()
        with pytest.raises(wasmtime.Trap, match="out of bounds"):
            await it.debuggee.finish()


async def test_what_can_not_be_injected() -> None:
    async with program(("add", 1, 2)) as it:
        await pause_at(it, "add")
        call: Any = it.debuggee.inject_call
        with pytest.raises(TypeError, match=r"a wasmtime\.Func is called"):
            await call("add", 1, 2)
        await it.debuggee.finish()
    assert it.results == [3]


async def test_instructions_in_the_text_format() -> None:
    async with program(("divide", 7, 2)) as it:
        frame = await pause_at(it, "divide")
        assert frame.instruction_text == "local.get 0 (;a;)"
        module, function = it.instance.module, frame.function_index
        lines = module.disassembly(function)
        assert [text for _, text in lines] == ["local.get 0 (;a;)", "local.get 1 (;b;)", "i32.div_s", "end"]
        assert [offset for offset, _ in lines] == list(module.offsets(function))
        for wrong in (0, 99, -1):
            with pytest.raises(NotFoundError, match="with a body"):
                module.disassembly(wrong)
        await it.debuggee.finish()
    assert it.results == [3]


async def test_run_lets_a_live_trap_unwind_and_retry_executes_again() -> None:
    async with program(("divide", 8, 0)) as it:
        trap = await it.debuggee.run()
        assert isinstance(trap, events.Trap)
        assert trap.live
        assert trap.code == "INTEGER_DIVISION_BY_ZERO"
        assert "8 i32.div_s 0" in trap.message
        again = await it.debuggee.run(retry=True)
        assert isinstance(again, events.Trap)
        assert again.live
        again.frame.set_operand(-1, 2)
        assert isinstance(await it.debuggee.run(retry=True), events.Finished)
    assert it.results == [4]
    async with program(("divide", 8, 0)) as it:
        trap = await it.debuggee.run()
        trap.frame.set_operand(-1, 2)
        finished = await it.debuggee.run()
        assert isinstance(finished, events.Finished)
        assert isinstance(finished.error, wasmtime.Trap)
        assert finished.error.trap_code is wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO
        with pytest.raises(WrongStateError):
            it.debuggee.trap()


async def test_a_retry_outlasts_an_interrupt() -> None:
    async with program(("divide", 8, 0)) as it:
        trap = await it.debuggee.run()
        assert isinstance(trap, events.Trap)
        trap.frame.set_operand(-1, 2)
        it.debuggee.interrupt()
        interrupted = await it.debuggee.run(retry=True)
        assert isinstance(interrupted, events.Interrupted)
        assert interrupted.location == trap.location
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [4]


async def test_inject_a_call_that_is_itself_debuggable() -> None:
    async with program(("sum", 3)) as it:
        frame = await pause_at(it, "add")
        where = frame.module_offset
        instance: GuestInstance = it.instance
        back = await it.debuggee.inject_call(instance.func("fib"), 10)
        assert isinstance(back, events.CallReturned)
        assert back.result == 55
        assert back.frame.module_offset == where
        assert back.frame.locals == (0, 1)
        it.debuggee.add_breakpoint("inner", once=True)
        inside = await it.debuggee.inject_call(instance.func("outer"), 5)
        assert isinstance(inside, events.Breakpoint)

        def depths(view: Any) -> list[list[str]]:
            return [[f.function_name for f in a.frames] for a in view.activations]

        assert await it.debuggee.with_store(depths) == [["inner", "middle", "outer"], ["add", "sum"]]
        inside.frame.set_local("x", 6)
        back = await it.debuggee.run()
        assert isinstance(back, events.CallReturned)
        assert back.result == 10_050
        failed = await it.debuggee.inject_call(instance.func("divide"), 1, 0)
        assert isinstance(failed, events.Trap)
        failed = await it.debuggee.run()
        assert isinstance(failed, events.CallReturned)
        assert isinstance(failed.error, wasmtime.Trap)
        failed = await it.debuggee.inject_call(instance.func("divide"), 1)
        assert isinstance(failed, events.CallReturned)
        assert isinstance(failed.error, TypeError)
        await it.debuggee.finish()
    assert it.results == [6]


async def test_a_step_out_of_a_call_that_was_injected_at_the_end_of_a_function() -> None:
    async with program(("sum", 2)) as it:
        await pause_at(it, "add")
        assert isinstance(await it.debuggee.run_to_return(), events.Step)
        it.debuggee.add_breakpoint("fib", once=True)
        assert isinstance(await it.debuggee.inject_call(it.instance.func("fib"), 3), events.Breakpoint)
        # Everything is armed, and then only where the step may end: there is nothing behind the end.
        it.debuggee.interrupt()
        assert isinstance(await it.debuggee.run(), events.Interrupted)
        back = await it.debuggee.step_out()
        assert isinstance(back, events.CallReturned)
        assert back.result == 2
        assert isinstance(await it.debuggee.finish(), events.Finished)


async def test_after_an_injected_call_the_breakpoint_is_not_hit_again() -> None:
    async with program(("sum", 2)) as it:
        it.debuggee.add_breakpoint("add")
        assert isinstance(await it.debuggee.run(), events.Breakpoint)
        back = await it.debuggee.inject_call(it.instance.func("fib"), 3)
        assert isinstance(back, events.CallReturned)
        event = await it.debuggee.run()
        assert isinstance(event, events.Breakpoint)
        assert event.frame.locals == (1, 2)
        assert isinstance(await it.debuggee.run(), events.Finished)


ENDS_STEPS = """(module (memory 1)
  (func (export "bad") (drop (i32.load (i32.const -8))))
  (func $three (export "three") (result i32) (i32.add (i32.const 1) (i32.const 2))))"""


async def test_an_injected_call_is_no_part_of_a_step_that_something_else_has_ended() -> None:
    async with program(("bad",), text=ENDS_STEPS, imports={}) as it:
        assert isinstance(await it.debuggee.step(), events.Step)
        assert isinstance(await it.debuggee.step(4), events.Trap)
        back = await it.debuggee.inject_call(it.instance.func("three"))
        assert isinstance(back, events.CallReturned)
        assert back.result == 3
        with pytest.raises(wasmtime.Trap, match="out of bounds"):
            await it.debuggee.finish()


async def test_inject_at_the_start_pause_of_a_second_call() -> None:
    async with program(("add", 1, 2), ("add", 3, 4)) as it:
        await pause_at(it, "add")
        back = await it.debuggee.inject_call(it.instance.func("add"), 5, 6)
        assert isinstance(back, events.CallReturned)
        assert back.result == 11
        await it.debuggee.finish()
    assert it.results == [3, 7]


async def test_host_calls_before_and_after() -> None:
    async with program(("ask", 4), ("ask", 4)) as it:
        it.debuggee.stop_on_host_calls = "env"
        before = await it.debuggee.run()
        assert isinstance(before, events.HostCallEntered)
        assert (before.host_function, before.arguments) == ("env.twice", (4,))
        assert before.frame.function_name == "ask"
        it.debuggee.set_host_values(10)
        after = await it.debuggee.run()
        assert isinstance(after, events.HostCallReturned)
        assert after.results == (20,)
        it.debuggee.set_host_values(7)
        await it.debuggee.run()
        it.debuggee.stop_on_host_calls = None
        await it.debuggee.finish()
    assert it.results == [8, 9]


async def test_a_host_call_error_may_be_replaced_by_a_value() -> None:
    def broken(x: int) -> int:
        raise RuntimeError("no")

    async with program(("ask", 4), imports={"env": {"twice": broken}}) as it:
        event = await it.debuggee.run()
        assert isinstance(event, events.HostcallError)
        assert event.live
        it.debuggee.set_host_values(5)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [6]


async def test_instances_and_their_creation() -> None:
    async with program(("add", 1, 2)) as it:
        it.debuggee.stop_on_instances = True
        event = await it.debuggee.run()
        assert isinstance(event, events.InstanceCreated)
        assert event.instance.module.functions_named("add") == [1]
        await it.debuggee.finish()
    assert it.results == [3]
