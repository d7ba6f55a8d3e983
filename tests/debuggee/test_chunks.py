"""Slow twins whose chunks are made when the guest comes to them: tiny ones, of all functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import wasmtime

from tests.benchmarks._generated import function_of
from tests.debuggee._support import ENGINE
from trio_wasmdbg import FrameMode, Guest, GuestInstance, events, load_module, open_debuggee
from trio_wasmdbg.debuggee import _arming, _modules, _twins
from trio_wasmdbg.debuggee._twins import Chunked
from trio_wasmdbg.instrument import _details

SIZE = 5

# Jumps back and forth over many chunks, calls, a trap that is caught by nobody, and a throw that is.
SOURCE = """
(module (tag $oops (param i32)) (global $seen (export "seen") (mut i32) (i32.const 0))
  (func $risky (param i32) (result i32)
    (if (i32.eq (local.get 0) (i32.const 3)) (then (throw $oops (i32.const 40))))
    (i32.mul (local.get 0) (i32.const 3)))
  (func $run (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (block $caught (result i32)
        (try_table (catch $oops $caught)
          (local.set $sum (i32.add (local.get $sum) (call $risky (local.get $i)))))
        (i32.const 1))
      (local.set $sum (i32.add (local.get $sum)))
      (block $a (block $b (block $c (br_table $a $b $c (i32.rem_u (local.get $i) (i32.const 3))))
          (local.set $sum (i32.add (local.get $sum) (i32.const 100))))
        (global.set $seen (i32.add (global.get $seen) (i32.const 1))))
      (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))
  (func (export "spin") (param i32)
    (local.set 0 (i32.add (local.get 0) (i32.const 1))) (local.set 0 (i32.add (local.get 0) (i32.const 1)))
    (loop $again (local.set 0 (i32.add (local.get 0) (i32.const 1)))
      (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $again))))
"""

RUN = 1
Place = tuple[str, int]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_modules, "_CHUNK", SIZE)
    monkeypatch.setattr(_modules, "_CHUNKED", 0)
    monkeypatch.setattr(_modules, "_FIRST", SIZE)
    monkeypatch.setattr(_modules, "_NEAREST", 0)
    monkeypatch.setattr(_twins, "AT_ONCE", 0)
    monkeypatch.setattr(_twins, "FEWEST", 1)
    monkeypatch.setattr(_details, "TYPED_WHOLE", 0)


def body_of(
    use: Callable[[Guest, GuestInstance], Awaitable[Any]], found: list[GuestInstance]
) -> Callable[[Guest], Awaitable[Any]]:
    async def body(guest: Guest) -> Any:
        # A module of its own: twins made with other chunks must not be found.
        module = await load_module(ENGINE, SOURCE, cache=None)
        instance = await guest.instantiate(None, module)
        found.append(instance)
        return await use(guest, instance)

    return body


async def plain(n: int) -> Any:
    """The result, with nothing armed."""

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("run"), n)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(use, [])) as debuggee:
        return (await debuggee.finish()).result


async def steps(n: int) -> tuple[list[tuple[Place, Any, Any]], Any, GuestInstance]:
    """Every place with locals and operands, the result, and the instance."""
    found: list[GuestInstance] = []

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        guest.single_step = True
        return await guest.call(instance.func("run"), n)

    seen = []
    async with open_debuggee(wasmtime.Store(ENGINE), body_of(use, found)) as debuggee:
        while isinstance(event := await debuggee.run(), events.Step):
            frame = event.frame
            seen.append(((frame.function_name, frame.resume_point), frame.locals, frame.operand_stack))
        assert isinstance(event, events.Finished)
        assert event.error is None
        return seen, event.result, found[0]


async def test_every_step_is_the_same(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # A few instructions first, then all of the function.
    usual = await steps(7)
    assert usual[2].companions == 3
    with monkeypatch.context() as patch:
        patch.setattr(_modules, "_CHUNK", 1 << 20)
        whole = await steps(7)
    assert whole[2].companions == 2
    assert usual[:2] == whole[:2]
    request.getfixturevalue("tiny")
    parts = await steps(7)
    assert parts[:2] == whole[:2]
    # Each time as many as there were; so there are few, however many chunks a function has.
    assert len(parts[2]._chunked) == 2
    assert all(len(each.made) >= each.total - 1 for each in parts[2]._chunked.values())
    assert 4 < parts[2].companions <= 14


@pytest.mark.parametrize("k", range(0, 60, SIZE - 1))
async def test_a_breakpoint_in_any_chunk(tiny: None, k: int) -> None:
    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("run"), 3)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(use, [])) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        offsets = created.instance.module.offsets(RUN)
        debuggee.add_breakpoint(RUN, offset=offsets[min(k, len(offsets) - 1)])
        event = await debuggee.run()
        while not isinstance(event, events.Finished):
            assert isinstance(event, events.Breakpoint)
            assert event.frame.resume_point == min(k, len(offsets) - 1)
            # On through the slow twin, from wherever it was entered.
            for _ in range(7):
                if not isinstance(event, events.Finished):
                    event = await debuggee.step()
            if not isinstance(event, events.Finished):
                event = await debuggee.run()
        assert isinstance(event, events.Finished)
        assert event.result == await plain(3)


async def test_cancelled_while_a_chunk_is_made(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest is deleted, nothing is left half made, and the store can be used again."""
    asked = trio.Event()
    real = _modules.GuestModule.chunks

    async def chunks(self: Any, *arguments: Any) -> Any:
        if not asked.is_set():
            asked.set()
            await trio.sleep_forever()
        return await real(self, *arguments)

    monkeypatch.setattr(_modules.GuestModule, "chunks", chunks)
    made: list[int] = []

    async def use(guest: Guest, instance: GuestInstance) -> Any:
        guest.single_step = True
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def cancel() -> None:
                await asked.wait()
                nursery.cancel_scope.cancel()

            await guest.call(instance.func("run"), 7)
        assert asked.is_set()
        made.extend(len(each.made) for each in instance._chunked.values())
        return await guest.call(instance.func("run"), 7)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(use, [])) as debuggee:
        while isinstance(event := await debuggee.run(), events.Step):
            pass
        assert isinstance(event, events.Finished)
        assert event.result == await plain(7)
    assert made == [1]


async def test_interrupted_in_chunks(tiny: None) -> None:
    async def use(guest: Guest, instance: GuestInstance) -> Any:
        return await guest.call(instance.func("spin"), 3)

    async with open_debuggee(wasmtime.Store(ENGINE), body_of(use, [])) as debuggee:
        for _ in range(5):
            debuggee.interrupt()
            assert isinstance(await debuggee.run(), events.Interrupted)
            for _ in range(SIZE):
                assert isinstance(await debuggee.step(), events.Step)


async def test_what_is_made_doubles() -> None:
    chunked = Chunked(0, (), SIZE, 100, {50})
    order = []
    for chunk in (51, 59, 10, 77):
        wanted = chunked.wanted(chunk)
        assert not chunked.made & set(wanted)
        chunked.made.update(wanted)
        order.append((wanted.start, wanted.stop))
    assert order == [(51, 59), (59, 68), (10, 28), (77, 100)]
    assert chunked.wanted(99) == range(99, 100)
    assert chunked.wanted(45) == range(45, 50)


# Ways around each other, in a function that the check sites before a place are looked for in.
WAYS = """
(module (func $twice (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func $run (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (block $skip
        (br_if $skip (i32.eq (local.get $i) (i32.const 2)))
        (local.set $sum (call $twice (local.get $sum)))
        (if (i32.and (local.get $i) (i32.const 1))
          (then (local.set $sum (i32.add (local.get $sum) (call $twice (local.get $i)))))
          (else (local.set $sum (i32.add (local.get $sum) (i32.const 5)))))
        (nop))
      (block $a (block $b (br_table $a $b (local.get $i)))
        (local.set $sum (i32.add (local.get $sum) (i32.const 3))))
      (br_if $again (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (if (i32.gt_s (local.get $sum) (i32.const 1000)) (then (return (i32.const -1))))
    (local.get $sum)))
"""


async def stops_at(k: int, source: str = WAYS) -> list[tuple[int, tuple[object, ...]]]:
    """Places and locals at each stop at instruction *k*, and the result."""

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, await load_module(ENGINE, source, cache=None))
        return await guest.call(instance.func("run"), 5)

    seen: list[tuple[int, tuple[object, ...]]] = []
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        debuggee.add_breakpoint(RUN, offset=created.instance.module.offsets(RUN)[k])
        while isinstance(event := await debuggee.run(), events.Breakpoint):
            seen.append((event.frame.resume_point, tuple(event.frame.locals)))
        assert isinstance(event, events.Finished)
        seen.append((-1, (event.result,)))
    return seen


@pytest.mark.parametrize("k", range(53))
async def test_only_the_sites_before_a_place_are_armed(
    tiny: None, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """The stops are those of functions of which all sites are armed."""
    expected = await stops_at(k)
    monkeypatch.setattr(_arming, "MOST_OF_A_FLAVOUR", 0)
    assert await stops_at(k) == expected


async def test_a_breakpoint_far_into_a_large_function_makes_few_chunks() -> None:
    found: list[GuestInstance] = []

    async def body(guest: Guest) -> Any:
        instance = await guest.instantiate(None, await load_module(ENGINE, function_of(6_000), cache=None))
        found.append(instance)
        return await guest.call(instance.func("run"), 1)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        offsets = created.instance.module.offsets(RUN)
        for k in (5_300, 5_600):
            debuggee.add_breakpoint(RUN, offset=offsets[k])
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint) and event.frame.resume_point == 5_300
        (chunked,) = found[0]._chunked.values()
        assert len(chunked.made) * chunked.size <= 100 and chunked.total > 50
        # It is in its slow twin now, and comes to the other one there.
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint) and event.frame.resume_point == 5_600
        finished = await debuggee.finish()
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        assert (await debuggee.finish()).result == finished.result


BLOCKS = "(block (br_if 0 (i32.eqz (local.get 0))) (local.set 0 (i32.add (local.get 0) (i32.const 3))))"


@pytest.mark.parametrize("frames", ["exact", "live"])
async def test_a_function_that_neither_calls_nor_loops(frames: FrameMode) -> None:
    """It is divided by check sites, and has no more made than from the one before the place."""
    text = f'(module (func (export "run") (param i32) (result i32) {BLOCKS * 800} (local.get 0)))'
    found: list[GuestInstance] = []

    async def body(guest: Guest) -> Any:
        module = await load_module(ENGINE, text, cache=None, frames=frames)
        found.append(await guest.instantiate(None, module))
        return await guest.call(found[0].func("run"), 5)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        at = 9 * 500 + 4
        debuggee.add_breakpoint(0, offset=created.instance.module.offsets(0)[at])
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint) and event.frame.resume_point == at
        assert event.frame.local(0) == 5 + 3 * 500
        (chunked,) = found[0]._chunked.values()
        assert len(chunked.made) * chunked.size <= 500 and chunked.total > 70
        event.frame.set_local(0, 7)
        assert (await debuggee.finish()).result == 7 + 3 * 300


# Called often, and the place is come to when its argument is 7 only.
OFTEN = """
(module (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $run (export "run") (param $x i32) (result i32) (local $i i32)
    {adds}
    (local.set $x (call $leaf (local.get $x)))
    (if (i32.eq (local.get $x) (i32.const 8)) (then (local.set $i (i32.const 40)) (nop)))
    {adds}
    (i32.add (local.get $x) (local.get $i)))
  (func (export "many") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $run (local.get $n))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
""".format(adds="(local.set $i (i32.add (local.get $i) (i32.const 3)))" * 150)


async def often(at_once: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[int]]:
    """Locals at each stop and the result; how many flavours there are at the stop, and in the end."""
    monkeypatch.setattr(_arming, "AT_ONCE", at_once)
    found: list[GuestInstance] = []

    async def body(guest: Guest) -> Any:
        found.append(await guest.instantiate(None, await load_module(ENGINE, OFTEN, cache=None)))
        return await guest.call(found[0].func("many"), 20)

    seen: list[object] = []
    flavours: list[int] = []
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        module = created.instance.module
        nop = [k for k, (_, text) in enumerate(module.disassembly(RUN)) if text == "nop"]
        debuggee.add_breakpoint(RUN, offset=module.offsets(RUN)[nop[0]])
        while isinstance(event := await debuggee.run(), events.Breakpoint):
            seen.append((event.frame.resume_point, tuple(event.frame.locals)))
            flavours.append(len(found[0]._flavours))
        assert isinstance(event, events.Finished)
        seen.append(event.result)
        flavours.append(len(found[0]._flavours))
    return seen, flavours


async def test_the_first_stop_needs_no_flavour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The activation that is left first goes on in its slow twin, the others in a flavour."""
    expected, flavours = await often(1 << 20, monkeypatch)
    assert len(expected) == 2 and flavours == [1, 1]
    assert await often(500, monkeypatch) == (expected, [1, 1])
    # Come to at once.
    monkeypatch.setattr("tests.debuggee.test_chunks.OFTEN", OFTEN.replace("i32.const 8", "i32.const 21"))
    expected, flavours = await often(1 << 20, monkeypatch)
    assert len(expected) == 2 and flavours == [1, 1]
    assert await often(500, monkeypatch) == (expected, [0, 1])
    # There are too many others.
    monkeypatch.setattr(_arming, "FEW", 0)
    assert await often(500, monkeypatch) == (expected, [1, 1])


@pytest.mark.parametrize("k", range(0, 53, 2))
async def test_stops_without_flavours_are_the_same(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    expected = await stops_at(k)
    monkeypatch.setattr(_arming, "AT_ONCE", 0)
    assert await stops_at(k) == expected
