"""Recordings: the last instructions, coverage, and exact counts, made without the host."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import wasmtime

from tests.debuggee._programs import program
from tests.debuggee._support import ENGINE, body_of, load, run_to
from trio_wasmdbg import Guest, GuestInstance, UsageError, events, open_debuggee


async def begin(it: Any) -> Any:
    it.debuggee.stop_on_instances = True
    event = await it.debuggee.run()
    assert isinstance(event, events.InstanceCreated)
    it.debuggee.recording = True
    return event.instance


async def test_counts_are_exact() -> None:
    async with program(("sum", 50), ("fib", 6)) as it:
        instance = await begin(it)
        assert isinstance(await it.debuggee.run(), events.Finished)
        functions = {each.function_name: each for each in instance.coverage()}
        assert set(functions) == {"sum", "add", "fib"}
        assert (functions["sum"].calls, functions["add"].calls, functions["fib"].calls) == (1, 50, 25)
        total = sum(sum(each.counts) for each in functions.values())
        assert instance.executed_instructions == total
    async with program(("sum", 50), ("fib", 6)) as it:
        # the same number, counted by single steps
        it.debuggee.stop_on_instances = True
        await it.debuggee.run()
        steps = 0
        await it.debuggee.with_store(lambda view: setattr(view, "single_step", True))
        while isinstance(await it.debuggee.run(), events.Step):
            steps += 1
        assert steps == total
    assert it.results == [1275, 8]


async def test_how_did_i_get_here() -> None:
    async with program(("crash", 70_000)) as it:
        instance = await begin(it)
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        assert [each.text.split()[0] for each in instance.last_instructions(5)] == [
            "local.get",
            "local.get",
            "i32.add",
            "end",
            "i32.load",
        ]
        assert instance.last_instructions(1)[0].text == "i32.load offset=4"
        assert [each.function_name for each in instance.last_instructions(2)] == ["add", "crash"]
        assert instance.last_instructions(1)[0].module_offset == event.frame.module_offset
        assert len(instance.last_instructions(1000)) == instance.executed_instructions


async def test_the_ring_keeps_the_last_ones() -> None:
    async with program(("sum", 6_000)) as it:
        instance = await begin(it)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert instance.executed_instructions > 65_536
        kept = instance.last_instructions(100_000)
        assert len(kept) == 65_535
        assert kept[-1].function_name == "sum"
        assert kept[-1].text == "end"


async def test_recording_goes_with_breakpoints_and_can_be_switched() -> None:
    async with program(("sum", 20), ("sum", 20), ("sum", 20)) as it:
        instance = await begin(it)
        breakpoint = it.debuggee.add_breakpoint("add", condition="b == 10")
        other = it.debuggee.add_breakpoint("add", hits=">= 19")
        seen: list[int] = []
        while len(seen) < 3:
            event = await it.debuggee.run()
            assert isinstance(event, events.Breakpoint)
            seen.append(event.frame.local("b"))
        assert seen == [10, 19, 20]
        it.debuggee.remove_breakpoint(other)
        (add,) = (each for each in instance.coverage() if each.function_name == "add")
        assert add.calls == 20
        event = await it.debuggee.run()
        assert event.frame.local("b") == 10
        it.debuggee.recording = False
        instance.clear_recording()
        assert instance.executed_instructions == 0
        it.debuggee.remove_breakpoint(breakpoint)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert instance.coverage() == ()
    assert it.results == [210] * 3


@pytest.mark.parametrize("how", ["steps", "interrupt"])
async def test_recording_goes_with_everything_armed(how: str) -> None:
    async with program(("sum", 3)) as it:
        instance = await begin(it)
        if how == "steps":
            for n in range(1, 30):
                assert isinstance(await it.debuggee.step(), events.Step)
                # the one that comes next is counted when its slow twin looks at it: at a first entry, later
                assert instance.executed_instructions in (n - 1, n)
        else:
            it.debuggee.interrupt()
            assert isinstance(await it.debuggee.run(), events.Interrupted)
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [6]


def places(branches: Any) -> list[tuple[str, str, str]]:
    """Each branch's instruction, and from which function into which."""
    return [
        (each.source.text.split()[0], each.source.function_name, each.target.function_name)
        for each in branches
    ]


@pytest.mark.parametrize("what", [True, "branches"])
async def test_the_last_branches(what: bool | str) -> None:
    async with program(("sum", 3), ("crash", 70_000)) as it:
        instance = await begin(it)
        it.debuggee.recording = what
        assert it.debuggee.recording == what
        event = await it.debuggee.run()
        assert isinstance(event, events.Trap)
        rounds = [("call", "sum", "add"), ("end", "add", "sum"), ("br_if", "sum", "sum")]
        expected = [
            *rounds,
            *rounds,
            *rounds[:2],
            ("end", "sum", "crash"),  # through the host
            ("call", "crash", "add"),
            ("end", "add", "crash"),
        ]
        assert places(instance.last_branches(100)) == expected
        assert places(instance.last_branches(2)) == expected[-2:]
        calls = {each.function_name: each.calls for each in instance.coverage()}
        assert calls == {"add": 4, "sum": 1, "crash": 1}


async def test_branches_reach_farther_back_than_instructions() -> None:
    async with program(("sum", 6_000)) as it:
        instance = await begin(it)
        it.debuggee.recording = "branches"
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert instance.executed_instructions < 30_000
        assert len(instance.last_branches(100_000)) == 3 * 6_000 - 1


async def test_branches_of_recursion_exceptions_and_tables() -> None:
    text = """
    (module (tag $t)
      (func $down (export "down") (param $n i32) (result i32)
        (block $zero (block $one (block $more
          (br_table $zero $one $more (local.get $n)))
          (return (call $down (i32.sub (local.get $n) (i32.const 1)))))
          (return (call $guard)))
        (i32.const 100))
      (func $guard (result i32)
        (block $h (try_table (catch $t $h) (throw $t)) (return (i32.const 0)))
        (if (result i32) (i32.const 0) (then (i32.const 1)) (else (i32.const 2)))))"""
    async with program(("down", 2), text=text, imports={}) as it:
        instance = await begin(it)
        it.debuggee.recording = "branches"
        assert isinstance(await it.debuggee.run(), events.Finished)
    assert it.results == [2]
    assert places(instance.last_branches()) == [
        ("br_table", "down", "down"),
        ("call", "down", "down"),
        ("br_table", "down", "down"),
        ("call", "down", "guard"),
        ("throw", "guard", "guard"),
        ("if", "guard", "guard"),
        ("end", "guard", "down"),
        ("return", "down", "down"),
        ("end", "down", "down"),
        ("return", "down", "down"),
    ]


async def test_branches_while_it_is_stepped_and_stopped() -> None:
    seen = []
    for step in (False, True):
        async with program(("sum", 4)) as it:
            instance = await begin(it)
            it.debuggee.recording = "branches"
            add = it.debuggee.add_breakpoint("add", condition="b == 2")
            event = await it.debuggee.run()
            assert isinstance(event, events.Breakpoint)
            while not isinstance(event, events.Finished):
                event = await (it.debuggee.step() if step else it.debuggee.run())
            assert add.hit_count == 1
            seen.append(instance.last_branches(100))
            assert len(seen[-1]) == 4 * 3 - 1
    assert seen[0] == seen[1]


async def test_branches_are_switched_off_and_forgotten() -> None:
    async with program(("sum", 4), ("sum", 4)) as it:
        instance = await begin(it)
        it.debuggee.recording = "branches"
        it.debuggee.add_breakpoint("sum", at_end=True)
        await it.debuggee.run()
        assert instance.last_branches()
        instance.clear_recording()
        it.debuggee.recording = False
        await it.debuggee.run()
        assert instance.last_branches() == ()
        with pytest.raises(UsageError, match="'branches'"):
            it.debuggee.recording = "blocks"


async def test_what_can_not_be_debugged_has_no_coverage() -> None:
    # One local of 16 bytes makes all slots as wide; with the operands, a frame takes more than a megabyte.
    text = f"""
    (module
      (func $large (param i32) (local {"i32 " * 49_000} v128)
        {"(i32.const 1)" * 17_000} {"drop " * 17_000} (local.set 40000 (local.get 0)))
      (func $main (export "main") (call $large (i32.const 1))))"""
    async with program(("main",), text=text, imports={}) as it:
        instance = await begin(it)
        assert isinstance(await it.debuggee.run(), events.Finished)
        assert [each.function_name for each in instance.coverage()] == ["main"]


MIXED = """
(module (memory (export "memory") 1) (tag $odd (param i32)) (table 2 funcref) (elem (i32.const 0) $leaf)
  (type $unary (func (param i32) (result i32)))
  (func $leaf (param $n i32) (result i32)
    (if (i32.eq (local.get $n) (i32.const 5)) (then (throw $odd (local.get $n))))
    (i32.store (i32.shl (local.get $n) (i32.const 2)) (local.get $n))
    (i32.div_u (i32.const 100) (i32.add (local.get $n) (i32.const 1))))
  (func $sum (export "sum") (param $n i32) (result i32) (local $i i32) (local $total i32)
    (loop $again
      (block $odd (result i32)
        (try_table (result i32) (catch $odd $odd)
          (call_indirect (type $unary) (local.get $i) (i32.const 0))))
      (i32.add (local.get $total))
      (local.set $total)
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $total))
  (func $rec (export "rec") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.load (i32.const 65533)))))
    (i32.add (call $rec (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
  (func (export "divide") (param $n i32) (result i32)
    (i32.add (i32.const 1) (i32.div_s (call $sum (i32.const 3)) (local.get $n)))))
"""
CALLS = (("sum", 9), ("rec", 4), ("sum", 3), ("divide", 0), ("rec", 1), ("divide", 2))


async def recorded(what: bool | str, how: str) -> tuple[Any, ...]:
    """What is recorded of a program in which much goes wrong."""

    async def use(guest: Guest, instance: GuestInstance) -> None:
        for function, argument in CALLS:
            with contextlib.suppress(wasmtime.Trap):
                await guest.call(instance.func(function), argument)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(await load(MIXED), use)) as debuggee:
        debuggee.stop_on_instances = True
        instance = (await run_to(debuggee, events.InstanceCreated)).instance
        debuggee.flavours = how != "slow twins"
        debuggee.recording = what
        if how == "watched":
            debuggee.watch_memory(instance, 8, 4, hits=">= 100")
        if how == "conditions":
            debuggee.add_breakpoint("leaf", condition="n == 77")
            (leaf,) = instance.module.functions_named("leaf")
            for k in range(1, instance.module.plan(leaf).instructions):
                offset = instance.module.module_offset(leaf, k)
                debuggee.add_breakpoint(offset=offset, condition="n == 4", hits="== 1000")
        if how == "in turns":
            debuggee.add_breakpoint("leaf")
            debuggee.add_breakpoint("rec")
        stops = 0
        while not isinstance(await debuggee.run(), events.Finished):
            stops += 1
            if how == "in turns":
                debuggee.flavours = stops % 2 == 0
        flavours = debuggee.statistics().flavours
        assert (flavours > 0) is (how != "slow twins")
        coverage = {each.function_name: each.counts for each in instance.coverage()}
        return coverage, instance.executed_instructions, instance.last_instructions(1 << 16)


@pytest.mark.parametrize("what", [True, "branches", "coverage", "trace"])
@pytest.mark.parametrize("how", ["flavours", "watched", "conditions", "in turns"])
async def test_flavours_record_what_slow_twins_do(what: bool | str, how: str) -> None:
    found = await recorded(what, how)
    assert found == await recorded(what, "slow twins")
    coverage, executed, last = found
    if what is True:
        assert sum(map(sum, coverage.values())) == executed == len(last)
    assert bool(coverage) is bool(executed) is (what != "trace")
    assert bool(last) is (what != "coverage")


async def test_coverage_and_trace_agree_with_all_that_is_recorded() -> None:
    coverage, executed, last = await recorded(True, "flavours")
    assert (await recorded("coverage", "flavours"))[:2] == (coverage, executed)
    assert (await recorded("trace", "flavours"))[2] == last
