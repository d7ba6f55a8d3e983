"""Functions whose breakpoints can be tested by a flavour run in one, and stop just where slow twins do."""

from __future__ import annotations

import wasmtime

from tests.debuggee._support import ENGINE, body_of, debug, load, run_to
from trio_wasmdbg import Guest, GuestInstance, events, open_debuggee

LOOP = """
(module
  (memory (export "memory") 1)
  (global $g (mut i64) (i64.const 7))
  (func $leaf (param $address i32) (result i32) (i32.load (local.get $address)))
  (func $sum (export "sum") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.mul (local.get $i) (i32.const 3))))
      (global.set $g (i64.add (global.get $g) (i64.extend_i32_u (local.get $i))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))
  (func (export "twice") (param $n i32) (result i32)
    (i32.add (call $sum (local.get $n)) (call $sum (i32.add (local.get $n) (i32.const 1)))))
  (func (export "fall") (param $n i32) (result i32)
    (i32.add (call $leaf (local.get $n)) (call $sum (i32.const 3)))))
"""


async def test_a_condition_stops_where_it_holds_and_costs_no_slow_twin_before() -> None:
    async with debug(LOOP, "sum", 1000) as debuggee:
        back = (await offsets())[-7]
        debuggee.add_breakpoint(offset=back, condition="i == 500")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.local("i") == 500
        assert event.frame.local("sum") == 3 * sum(range(501))
        statistics = debuggee.statistics()
        assert (statistics.flavours, statistics.slow_twins) == (1, 0)
        assert (await run_to(debuggee, events.Finished)).result == 3 * sum(range(1000))


async def offsets(function: str = "sum") -> list[int]:
    """Module offsets of the instructions of a function."""
    module = await load(LOOP)
    (index,) = module.functions_named(function)
    return [instruction.offset for instruction in module._body(index)]


async def test_at_every_instruction_a_condition_sees_what_the_slow_twin_sees() -> None:
    places = await offsets()
    for offset in places:
        seen = []
        for flavours in (True, False):
            async with debug(LOOP, "twice", 9) as debuggee:
                debuggee.flavours = flavours
                debuggee.add_breakpoint(offset=offset, condition="i == 5 || sum > 80")
                stops = []
                async for event in debuggee:
                    if isinstance(event, events.Breakpoint):
                        frame = event.frame
                        assert frame is not None and frame.module_offset == offset
                        caller = frame.parent
                        assert caller is not None
                        stops.append((frame.locals, frame.operand_stack, caller.locals))
                finished = await debuggee.finish()
                assert finished.result == 3 * (sum(range(9)) + sum(range(10)))
                assert (debuggee.statistics().flavours > 0) is flavours
            seen.append(stops)
        assert seen[0] == seen[1], offset
    assert seen[0]


async def test_breakpoints_without_condition_are_tested_by_their_stop_byte() -> None:
    last = (await offsets())[-1]
    async with debug(LOOP, "twice", 3) as debuggee:
        it = debuggee.add_breakpoint(offset=last)
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.operand_stack == (9,)
        it.enabled = False
        assert (await run_to(debuggee, events.Finished)).result == 27
        assert debuggee.statistics().flavours == 1


async def test_hits_at_a_functions_entry_are_counted_once() -> None:
    counts = []
    for flavours in (True, False):
        async with debug(LOOP, "twice", 3) as debuggee:
            debuggee.flavours = flavours
            it = debuggee.add_breakpoint("sum", condition="n < 4", hits=">= 2")
            async for _ in debuggee:
                pass
            counts.append(it.hit_count)
    assert counts == [1, 1]


async def test_a_caller_in_an_older_flavour_leaves_it() -> None:
    places = await offsets("twice")
    async with debug(LOOP, "twice", 3) as debuggee:
        debuggee.add_breakpoint(offset=places[1], condition="n == 77")
        (here,) = [debuggee.add_breakpoint(offset=(await offsets())[-1])]
        await run_to(debuggee, events.Breakpoint)
        debuggee.remove_breakpoint(here)
        debuggee.add_breakpoint(offset=places[-1], condition="n == 3")
        event = await run_to(debuggee, events.Breakpoint)
        assert event.frame is not None and event.frame.operand_stack == (27,)


async def test_a_trap_in_a_flavour_is_told_like_any_other() -> None:
    texts = []
    for flavours in (True, False):
        async with debug(LOOP, "fall", -4) as debuggee:
            debuggee.flavours = flavours
            debuggee.add_breakpoint("leaf", condition="address == 5")
            debuggee.add_breakpoint("fall", condition="n == 5")
            event = await run_to(debuggee, events.Trap)
            assert event.code == "MEMORY_OUT_OF_BOUNDS"
            assert event.location is not None
            places = [(each.func_index, each.module_offset) for each in event.backtrace]
            texts.append((event.location, places))
            finished = await run_to(debuggee, events.Finished)
            assert isinstance(finished.error, wasmtime.Trap)
            assert (debuggee.statistics().slow_twins == 0) is flavours
    assert texts[0] == texts[1]


async def test_an_interrupt_leaves_a_loop_in_a_flavour() -> None:
    spin = '(module (func $spin (export "spin") (local $i i32) (loop $l (br $l))))'
    async with debug(spin, "spin") as debuggee:
        debuggee.add_breakpoint("spin", condition="i == 1")
        for _ in range(3):
            debuggee.interrupt()
            await run_to(debuggee, events.Interrupted)


OPERATIONS = [
    "(i32.store8 offset=3 (local.get $a) (i32.const 1))",
    "(i32.store16 (local.get $a) (i32.const 2))",
    "(i64.store offset=1 align=1 (local.get $a) (i64.const 3))",
    "(v128.store align=1 (local.get $a) (v128.const i32x4 1 2 3 4))",
    "(v128.store16_lane 1 (local.get $a) (v128.const i32x4 1 2 3 4))",
    "(drop (i64.load32_s align=1 (local.get $a)))",
    "(memory.fill (local.get $a) (i32.const 5) (i32.const 9))",
    "(memory.copy (local.get $a) (i32.const 200) (i32.const 7))",
    "(memory.copy (i32.const 300) (local.get $a) (i32.const 3))",
    "(memory.init $d (local.get $a) (i32.const 1) (i32.const 4))",
    "(memory.fill (local.get $a) (i32.const 5) (i32.const 0))",
    "(drop (i32.atomic.rmw8.add_u (local.get $a) (i32.const 1)))",
]
ACCESSES = f"""
(module
  (memory (export "memory") 1)
  (data $d "abcdefgh")
  (func $one (param $a i32) (param $which i32)
    {"".join(f"(if (i32.eq (local.get $which) (i32.const {n})) (then {each}))"
             for n, each in enumerate(OPERATIONS))})
  (func (export "around") (param $which i32) (local $a i32)
    (local.set $a (i32.const 45))
    (loop $next
      (call $one (local.get $a) (local.get $which))
      (br_if $next (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 1))) (i32.const 72)))))
  (func (export "quiet") (param $n i32)
    (loop $next
      (i32.store (i32.const 128) (local.get $n))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
"""


async def touched(which: int, access: str, flavours: bool) -> list[object]:
    """What a watchpoint on four bytes tells, while one operation goes past them byte by byte."""
    module = await load(ACCESSES)
    found: list[object] = []

    async def use(guest: Guest, instance: GuestInstance) -> None:
        debuggee.watch_memory(instance, 64, 4, access=access)
        await guest.call(instance.func("around"), which)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
        debuggee.flavours = flavours
        async for event in debuggee:
            if isinstance(event, events.Watch):
                assert event.frame is not None
                hits = [(hit.kind, hit.address, hit.size, hit.old, hit.new) for hit in event.hits]
                found.append((event.instruction_offset, event.frame.locals, hits))
        assert (debuggee.statistics().flavours > 0) is flavours
    return found


async def test_watchpoints_hit_the_same_accesses_in_flavours() -> None:
    hits = 0
    for which in range(len(OPERATIONS)):
        for access in ("read", "write", "access", "change"):
            found = await touched(which, access, True)
            assert found == await touched(which, access, False), (OPERATIONS[which], access)
            hits += len(found)
    assert hits > 100


async def test_what_is_not_touched_costs_no_slow_twin() -> None:
    module = await load(ACCESSES)

    async def use(guest: Guest, instance: GuestInstance) -> None:
        debuggee.watch_memory(instance, 64, 4, access="access")
        debuggee.watch_memory(instance, 124, 4)
        await guest.call(instance.func("quiet"), 1000)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(module, use)) as debuggee:
        await run_to(debuggee, events.Finished)
        statistics = debuggee.statistics()
        assert (statistics.flavours, statistics.slow_twins) == (1, 0)
