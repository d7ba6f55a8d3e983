"""An activation that was stopped in goes back to full speed in its loops, and can be stopped as ever."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, body_of, debug, load, run_to
from trio_wasmdbg import (
    OPTIMISED_OUT,
    Debuggee,
    Frame,
    Guest,
    GuestInstance,
    events,
    load_module,
    open_debuggee,
)
from trio_wasmdbg.debuggee._loops import Loops

HOT = 20


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops are hot after few rounds."""
    monkeypatch.setattr("trio_wasmdbg.debuggee._loops.HOT", HOT)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Set when a copy has been made."""
    event, add = trio.Event(), Loops.add

    def add_and_tell(self: Loops, *args: Any) -> None:
        add(self, *args)
        event.set()

    monkeypatch.setattr(Loops, "add", add_and_tell)
    return event


SUM = """
(module
  (memory (export "memory") 1)
  (func $leaf (param $x i32) (result i32) (i32.mul (local.get $x) (i32.const 3)))
  (func $sum (export "sum") (param $n i32) (result i32) (local $i i32) (local $sum i32) (local $add i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.add (call $leaf (local.get $i)) (local.get $add))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))
  (func (export "quiet") (param $n i32) (result i32) (local $i i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $i))
  (func (export "spin") (local $i i32)
    (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))
  (func $deep (export "deep") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (if (local.get $n) (then (local.set $sum (call $deep (i32.sub (local.get $n) (i32.const 1))))))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
    (local.get $sum))
  (func (export "trap") (param $n i32) (local $i i32)
    (loop $again
      (i32.store (local.get $i) (local.get $n))
      (local.set $i (i32.add (local.get $i) (i32.const 64)))
      (br $again)))
  (func (export "divide") (param $n i32) (result i32)
    (loop $again (result i32)
      (i32.const 77)
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (i32.div_u (i32.const 1000000) (local.get $n)))))
  (tag $t (param i32))
  (func $throws (param i32)
    (if (i32.eqz (i32.rem_u (local.get 0) (i32.const 10))) (then (throw $t (local.get 0)))))
  (func (export "catches") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (block $end
      (loop $outer
        (block $caught (result i32)
          (try_table (catch $t $caught)
            (loop $again
              (br_if $end (i32.gt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))
              (call $throws (local.get $i))
              (br $again)))
          (unreachable))
        (local.set $sum (i32.add (local.get $sum)))
        (br $outer)))
    (local.get $sum))
)
"""


def total(n: int) -> int:
    return 3 * sum(range(n))


async def place(function: str, op: str, number: int = 0) -> int:
    """Module offset of an instruction."""
    module = await load(SUM)
    (index,) = module.functions_named(function)
    return [each.offset for each in module._body(index) if each.op.name == op][number]


def copies(debuggee: Debuggee) -> int:
    return debuggee.statistics().loop_copies


async def test_a_loop_that_was_stopped_in_goes_on_in_a_copy() -> None:
    async with debug(SUM, "sum", 1000) as debuggee:
        it = debuggee.add_breakpoint(offset=await place("sum", "call"))
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local("i") == 0
        debuggee.remove_breakpoint(it)
        assert (await run_to(debuggee, events.Finished)).result == total(1000)
        assert copies(debuggee) == 1
        assert debuggee.statistics().loops_refused == {}


async def test_a_loop_that_ends_soon_gets_no_copy() -> None:
    async with debug(SUM, "sum", HOT - 1) as debuggee:
        it = debuggee.add_breakpoint("sum")
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        assert (await run_to(debuggee, events.Finished)).result == total(HOT - 1)
        assert copies(debuggee) == 0


async def test_the_copy_is_made_once_for_all_instances_and_calls() -> None:
    module = await load(SUM)

    async def use(guest: Guest, instance: GuestInstance) -> int:
        return int(await guest.call(instance.func("sum"), 100) + await guest.call(instance.func("sum"), 200))

    for _ in range(2):
        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
            for _ in range(2):
                it = debuggee.add_breakpoint("sum")
                await run_to(debuggee, events.Breakpoint)
                debuggee.remove_breakpoint(it)
            assert (await run_to(debuggee, events.Finished)).result == total(100) + total(200)
            assert copies(debuggee) == 1
    assert len(module._copies) >= 1


async def test_changed_locals_are_what_the_copy_computes_with() -> None:
    """One of them has never been assigned: a fast twin takes it for zero, without reading it."""
    async with debug(SUM, "sum", 1000) as debuggee:
        it = debuggee.add_breakpoint("sum")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None
        event.frame.set_local("add", 5)
        event.frame.set_local("n", 500)
        debuggee.remove_breakpoint(it)
        at_leaf = debuggee.add_breakpoint("leaf", condition="x == 300")
        event = await run_to(debuggee, events.Breakpoint)
        assert copies(debuggee) == 1
        assert event.frame is not None
        caller = event.frame.parent
        assert caller is not None and not caller._slow
        assert caller.locals == (500, 300, total(300) + 300 * 5, 5)
        assert caller.operand_stack == (total(300) + 300 * 5,)
        # Changed in a caller that is in the copy: it leaves after the call.
        caller.set_local("sum", 0)
        caller.set_local("add", 7)
        caller.set_operand(0, 0)
        debuggee.remove_breakpoint(at_leaf)
        again = debuggee.add_breakpoint("leaf", condition="x == 400")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.parent is not None
        assert not event.frame.parent._slow, "it has not gone on in the copy"
        debuggee.remove_breakpoint(again)
        expected = 3 * sum(range(300, 500)) + 200 * 7
        assert (await run_to(debuggee, events.Finished)).result == expected
        assert copies(debuggee) == 1


async def stop_in(debuggee: Debuggee, function: str) -> None:
    """Stop at the entry, and leave nothing armed."""
    it = debuggee.add_breakpoint(function)
    await run_to(debuggee, events.Breakpoint)
    debuggee.remove_breakpoint(it)


async def interrupted(debuggee: Debuggee, made: trio.Event) -> Frame:
    """Run until a copy has been made, then interrupt."""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def interrupt() -> None:
            await made.wait()
            debuggee.interrupt()

        event = await run_to(debuggee, events.Interrupted)
    frame: Frame | None = event.frame
    assert frame is not None
    return frame


async def test_a_breakpoint_set_while_the_copy_runs_stops_it(made: trio.Event) -> None:
    back = await place("spin", "br")
    async with debug(SUM, "spin") as debuggee, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def set_it() -> None:
            await made.wait()
            debuggee.add_breakpoint(offset=back)

        await stop_in(debuggee, "spin")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local("i") >= HOT
        before = event.frame.local("i")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local("i") == before + 1
        assert copies(debuggee) == 1


async def test_a_condition_is_tested_in_a_copy() -> None:
    """The breakpoint stays; the loop goes on in a copy that tests it, and stops just where it holds."""
    for flavours in (True, False):
        async with debug(SUM, "sum", 3000) as debuggee:
            debuggee.flavours = flavours
            here = debuggee.add_breakpoint(offset=await place("sum", "call"))
            await run_to(debuggee, events.Breakpoint)
            debuggee.remove_breakpoint(here)
            debuggee.add_breakpoint(offset=await place("sum", "local.tee"), condition="i == 2000")
            event = await run_to(debuggee, events.Breakpoint)
            assert event.frame is not None
            assert event.frame.locals == (3000, 2000, total(2001), 0)
            assert event.frame.operand_stack == (2001,)
            assert copies(debuggee) == flavours
            assert (await run_to(debuggee, events.Finished)).result == total(3000)


async def test_interrupts_reach_a_copy_that_neither_stores_nor_calls(made: trio.Event) -> None:
    async with debug(SUM, "spin") as debuggee:
        await stop_in(debuggee, "spin")
        before = -1
        for _ in range(5):
            frame = await interrupted(debuggee, made)
            assert frame.function_name == "spin" and frame.local("i") >= before
            before = frame.local("i")
        assert copies(debuggee) == 1


async def test_cancelling_reaches_a_copy(made: trio.Event) -> None:
    async with debug(SUM, "spin") as debuggee, trio.open_nursery() as nursery:
        await stop_in(debuggee, "spin")
        nursery.start_soon(debuggee.run)
        await made.wait()
        assert copies(debuggee) == 1
        nursery.cancel_scope.cancel()


async def test_steps_after_an_interrupt_in_a_copy(made: trio.Event) -> None:
    async with debug(SUM, "spin") as debuggee:
        await stop_in(debuggee, "spin")
        for _ in range(3):
            await interrupted(debuggee, made)
            seen = []
            for _ in range(HOT * 8):
                event = await run_step(debuggee)
                seen.append(event)
            # One after the other, none left out: a loop of five instructions.
            places = [place for place, _ in seen]
            assert all(b == a + 1 or (a, b) == (5, 1) for a, b in pairwise(places))
            rounds = [i for place, i in seen if place == 1]
            assert rounds == list(range(rounds[0], rounds[0] + len(rounds)))
            place, i = seen[-1]
            counted = await debuggee.step(HOT * 50)
            assert isinstance(counted, events.Step) and counted.frame is not None
            assert (counted.frame.resume_point, counted.frame.local("i")) == (place, i + HOT * 10)
        assert copies(debuggee) == 1


async def run_step(debuggee: Debuggee) -> tuple[int, int]:
    event = await debuggee.step()
    assert isinstance(event, events.Step) and event.frame is not None
    return event.frame.resume_point, event.frame.local("i")


async def test_recursion_and_re_entry() -> None:
    async with debug(SUM, "deep", 30) as debuggee:
        it = debuggee.add_breakpoint("deep", condition="n == 0")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.depth == 30
        debuggee.remove_breakpoint(it)
        assert (await run_to(debuggee, events.Finished)).result == 31 * 100
        assert copies(debuggee) == 1


async def test_a_trap_in_a_copy_is_told_with_its_place() -> None:
    for frames in ("exact", "post-mortem"):
        module = await load_module(ENGINE, SUM, frames=frames, cache=None)
        async with debug(module, "trap", 5) as debuggee:
            it = debuggee.add_breakpoint("trap")
            await run_to(debuggee, events.Breakpoint)
            debuggee.remove_breakpoint(it)
            event = await run_to(debuggee, events.Trap)
            assert event.code == "MEMORY_OUT_OF_BOUNDS" and event.frame is not None
            assert event.frame.function_name == "trap"
            assert event.frame.instruction.op.name == "i32.store"
            assert event.frame.exact is (frames == "post-mortem")
            if event.frame.exact:
                assert event.frame.locals == (5, 65536) and event.frame.operand_stack == (65536, 5)
            assert copies(debuggee) == 1
            assert isinstance((await run_to(debuggee, events.Finished)).error, wasmtime.Trap)


async def test_a_division_that_will_trap_leaves_the_copy() -> None:
    async with debug(SUM, "divide", 50) as debuggee:
        it = debuggee.add_breakpoint("divide")
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        event = await run_to(debuggee, events.Trap)
        assert copies(debuggee) == 1
        assert event.live and event.frame is not None
        assert event.frame.locals == (0,) and event.frame.operand_stack == (77, 1000000, 0)
        event.frame.set_operand(2, 2000000)
        finished = await debuggee.run(retry=True)
        assert isinstance(finished, events.Finished) and finished.result == 77


async def test_exceptions_are_caught_by_a_copy() -> None:
    async with debug(SUM, "catches", 1000) as debuggee:
        it = debuggee.add_breakpoint("catches")
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        on_throw = debuggee.stop_on_exceptions()
        for number in range(1, 20):
            event = await run_to(debuggee, events.ExceptionThrown)
            assert event.payload == (10 * number,) and event.caught
            assert event.frame is not None and event.frame.parent is not None
            assert event.frame.parent.locals == (1000, 10 * number, sum(range(0, 10 * number, 10)))
        debuggee.remove_breakpoint(on_throw)
        assert (await run_to(debuggee, events.Finished)).result == sum(range(0, 1001, 10))
        assert copies(debuggee) > 0


async def test_live_frames() -> None:
    module = await load_module(ENGINE, SUM, frames="live", cache=None)
    async with debug(module, "sum", 1000) as debuggee:
        await stop_in(debuggee, "sum")
        debuggee.add_breakpoint("leaf", condition="x == 900")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.parent is not None
        assert not event.frame.parent._slow
        # The sum waits on the operand stack, and is assigned before it is read again.
        assert event.frame.parent.locals == (1000, 900, OPTIMISED_OUT, 0)
        assert event.frame.parent.operand_stack == (total(900),)
        assert (await run_to(debuggee, events.Finished)).result == total(1000)
        assert copies(debuggee) == 1


async def test_finish_leads_to_copies_too() -> None:
    async with debug(SUM, "sum", 100_000) as debuggee:
        debuggee.add_breakpoint(offset=await place("sum", "call"))
        await run_to(debuggee, events.Breakpoint)
        assert (await debuggee.finish()).result == total(100_000) % (1 << 32) - (
            (total(100_000) % (1 << 32) >> 31) << 32
        )
        assert copies(debuggee) == 1


async def test_a_watched_local_keeps_the_activation_slow() -> None:
    async with debug(SUM, "quiet", 400) as debuggee:
        it = debuggee.add_breakpoint("quiet")
        event = await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        assert event.frame is not None
        watch = debuggee.watch_local(event.frame, "i", condition="i == 300")
        hit = await run_to(debuggee, events.Watch)
        assert hit.frame is not None and hit.frame.local("i") == 300
        assert copies(debuggee) == 0
        debuggee.remove_watchpoint(watch)
        assert (await run_to(debuggee, events.Finished)).result == 400
        assert copies(debuggee) == 1


async def test_watched_memory_is_compared_in_a_copy() -> None:
    for flavours in (True, False):
        module = await load(SUM)

        async def use(guest: Guest, instance: GuestInstance, module: object = module) -> None:
            debuggee.watch_memory(instance, 6400, 4)
            debuggee.add_breakpoint("trap", once=True)
            await guest.call(instance.func("trap"), 7)

        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
            debuggee.flavours = flavours
            await run_to(debuggee, events.Breakpoint)
            hit = await run_to(debuggee, events.Watch)
            assert hit.frame is not None and hit.frame.local("i") == 6400
            assert copies(debuggee) == flavours


async def test_recording_notes_what_a_copy_would_not() -> None:
    async with debug(SUM, "quiet", 100) as debuggee:
        it = debuggee.add_breakpoint("quiet")
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        debuggee.recording = True
        finished = await run_to(debuggee, events.Finished)
        assert finished.result == 100 and copies(debuggee) == 0


@pytest.mark.parametrize("watched", [False, True])
async def test_a_recording_that_begins_under_a_copy_has_no_gap(watched: bool) -> None:
    found = []
    for flavours in (True, False):
        module = await load(SUM)
        instances: list[GuestInstance] = []

        async def use(guest: Guest, instance: GuestInstance, into: list[GuestInstance] = instances) -> None:
            into.append(instance)
            if watched:
                debuggee.watch_memory(instance, 6400, 4)
            debuggee.add_breakpoint(offset=await place("sum", "call"), once=True)
            assert await guest.call(instance.func("sum"), 1000) == total(1000)

        async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
            debuggee.flavours = flavours
            await run_to(debuggee, events.Breakpoint)
            it = debuggee.add_breakpoint("leaf", condition="x >= 899")
            await run_to(debuggee, events.Breakpoint)
            # Now it has its slow twin, which notes the first instruction, or does not, in either case.
            await run_to(debuggee, events.Breakpoint)
            debuggee.remove_breakpoint(it)
            assert copies(debuggee) == flavours
            debuggee.recording = True
            await run_to(debuggee, events.Finished)
            (instance,) = instances
            counts = [(each.function_name, each.counts) for each in instance.coverage()]
            found.append((instance.executed_instructions, counts, instance.last_instructions(10_000)))
    assert found[0] == found[1] and found[0][0] > 900


async def test_an_interrupt_does_not_wait_for_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with debug(SUM, "spin") as debuggee:
        waiting = trio.Event()

        async def never(*_: object) -> None:
            waiting.set()
            await trio.sleep_forever()

        monkeypatch.setattr("trio_wasmdbg.debuggee._loop_copies.LoopCopies.get", never)
        await stop_in(debuggee, "spin")
        frame = await interrupted(debuggee, waiting)
        assert frame.local("i") == HOT - 1
        waiting = trio.Event()
        frame = await interrupted(debuggee, waiting)
        assert frame.local("i") == 2 * HOT - 1
        assert copies(debuggee) == 0
        # Cancelled while it is made.
        waiting = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(debuggee.run)
            await waiting.wait()
            nursery.cancel_scope.cancel()


async def test_what_has_no_copy_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_wasmdbg.debuggee._instances.MANY_COPIES", 0)
    async with debug(SUM, "sum", 1000) as debuggee:
        it = debuggee.add_breakpoint("sum")
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(it)
        assert (await run_to(debuggee, events.Finished)).result == total(1000)
        (why,) = debuggee.statistics().loops_refused
        assert "as many as there may be" in why and copies(debuggee) == 0
