"""The stress test finds what it looks for, in bodies of the user's own and in the library."""

from __future__ import annotations

import mmap
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime
from attrs import evolve

from tests.debuggee._support import ENGINE, load
from trio_wasmdbg import Debuggee, Guest, StoreView, events
from trio_wasmdbg.debuggee import process_census
from trio_wasmdbg.testing import Report, StressFailure, _stress, stress

PROGRAM = """
(module
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (func $leaf (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "main") (param i32) (result i32)
    (call $leaf (call $ask (call $leaf (local.get 0))))))
"""
Extra = Callable[[Guest], Awaitable[Any]]


async def body_with(extra: Extra) -> Callable[[Guest], Awaitable[Any]]:
    """A body that calls the program, and does something else before."""
    module = await load(PROGRAM)

    async def ask(x: int) -> int:
        await trio.lowlevel.checkpoint()
        return x * 2

    async def body(guest: Guest) -> Any:
        found = await extra(guest)
        instance = await guest.instantiate({"host": {"ask": ask}}, module)
        return found, await guest.call(instance.func("main"), 20)

    return body


async def attack(extra: Extra, **options: Any) -> Report:
    options = {"cycles": 60, "seconds": 60, "seed": 3, **options}
    return await stress(await body_with(extra), make_store=lambda: wasmtime.Store(ENGINE), **options)


async def found_with(extra: Extra, **options: Any) -> str:
    """What the stress test complains about."""
    with pytest.raises(StressFailure) as failure:
        await attack(extra, **options)
    return everything(failure.value)


def everything(failure: StressFailure) -> str:
    assert failure.report.failures
    return "\n".join([*map(str, failure.report.failures), str(failure)])


async def nothing(guest: Guest) -> None:
    pass


async def test_an_own_body() -> None:
    report = await attack(nothing, cycles=200)

    assert report.failures == []
    assert report.counts["cycles"] == 200
    assert report.counts["cancels"] > 50
    assert report.counts["queries"] > 20
    assert report.counts["ended: finished"] > 20


async def test_a_body_that_raises_and_cleans_up() -> None:
    async def raises(guest: Guest) -> None:
        try:
            await trio.sleep(0.001)
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
        raise KeyError("the body's own")

    assert (await attack(raises)).failures == []


async def test_what_is_not_the_same_each_time() -> None:
    async def moody(guest: Guest) -> float:
        return random.random()

    assert "not what it did when it was left alone" in await found_with(moody)
    assert (await attack(moody, deterministic=False)).failures == []


async def test_left_over_file_descriptors() -> None:
    opened: list[int] = []

    async def leaks(guest: Guest) -> None:
        opened.append(os.open(os.devnull, os.O_RDONLY))

    try:
        found = await found_with(leaks, cycles=800, debuggees=2)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert "left over after" in found
    assert "file descriptors" in found


async def test_left_over_objects() -> None:
    kept: list[Guest] = []

    async def keeps(guest: Guest) -> None:
        kept.append(guest)

    found = await found_with(keeps, cycles=800, debuggees=2)
    kept.clear()
    assert "objects: trio_wasmdbg.Guest" in found


@pytest.mark.filterwarnings("ignore:coroutine")
async def test_complaints_at_collection() -> None:
    async def forgets(guest: Guest) -> None:
        trio.lowlevel.checkpoint()  # type: ignore[unused-coroutine]  # noqa: ASYNC105

    assert "was never awaited" in await found_with(forgets)


async def test_a_thread_that_ends_with_an_exception() -> None:
    def fails() -> None:
        raise KeyError("nobody catches it")

    async def starts(guest: Guest) -> None:
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()

    assert "a thread ended with KeyError" in await found_with(starts, cycles=20)


class Unraisable:
    def __del__(self) -> None:
        raise KeyError("in a finalizer")


async def test_an_exception_in_a_finalizer() -> None:
    async def drops(guest: Guest) -> None:
        Unraisable()

    assert "unraisable: " in await found_with(drops, cycles=20)


async def test_left_over_threads() -> None:
    go = threading.Event()

    async def starts(guest: Guest) -> None:
        for _ in range(6):  # not every life comes to its body
            threading.Thread(target=go.wait).start()

    try:
        found = await found_with(starts, cycles=240, debuggees=1)
    finally:
        go.set()
    assert re.search(r"left over after .*: threads: ", found)


async def test_left_over_tasks() -> None:
    go = trio.Event()

    async def starts(guest: Guest) -> None:
        trio.lowlevel.spawn_system_task(go.wait)

    try:
        found = await found_with(starts, cycles=240, debuggees=1)
    finally:
        go.set()
        await trio.testing.wait_all_tasks_blocked()
    assert re.search(r"left over after .*: trio tasks: ", found)


async def test_left_over_memory_maps() -> None:
    maps: list[mmap.mmap] = []

    async def maps_memory(guest: Guest) -> None:
        maps.extend(mmap.mmap(-1, mmap.PAGESIZE) for _ in range(3))

    try:
        found = await found_with(maps_memory, cycles=240, debuggees=1)
    finally:
        for each in maps:
            each.close()
    assert re.search(r"left over after .*: memory maps: ", found)


async def test_left_over_compiled_code() -> None:
    modules: list[wasmtime.Module] = []

    async def compiles(guest: Guest) -> None:
        modules.append(wasmtime.Module(ENGINE, "(module)"))

    found = await found_with(compiles, cycles=240, debuggees=1)
    modules.clear()
    assert re.search(r"left over after .*: objects: wasmtime.Module: ", found)


async def test_what_modules_keep_is_not_left_over() -> None:
    before = dict.fromkeys(_stress._census._MUST_BE_ZERO, 0)
    before |= {"companions": 5, "functions in companions": 9, "objects: wasmtime.Module": 40, "threads": 3}
    now = before | {"companions": 65, "functions in companions": 99, "objects: wasmtime.Module": 100}
    assert _stress._census.growth(before, now) == []
    now["objects: wasmtime.Module"] += 21
    assert _stress._census.growth(before, now) == ["objects: wasmtime.Module: 40 before, 121 now"]


async def test_left_over_host_functions() -> None:
    """They live as long as their linker, or a store that can call them."""
    linkers: list[wasmtime.Linker] = []

    async def defines(guest: Guest) -> None:
        linkers.append(linker := wasmtime.Linker(ENGINE))
        guest.define(linker, "host", "kept", wasmtime.FuncType([], []), trio.lowlevel.checkpoint)

    found = await found_with(defines, cycles=240, debuggees=1)
    linkers.clear()
    assert re.search(r"left over after .*: host functions: ", found)


async def test_a_stalled_loop() -> None:
    async def computes(guest: Guest) -> None:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass

    assert "kept the loop for" in await found_with(computes, cycles=10, longest_computation=0.1)


async def test_a_life_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stress._run, "_OLDEST", 0.5)

    async def hangs(guest: Guest) -> None:
        await trio.sleep_forever()

    assert "a life has not ended" in await found_with(hangs)


async def test_an_attack_can_be_cancelled() -> None:
    progress: list[int] = []

    def on_progress(report: Report) -> None:
        progress.append(report.counts["cycles"])
        if len(progress) == 4:
            scope.cancel()

    with trio.CancelScope() as scope:
        await stress(seconds=60, progress=on_progress)
    assert scope.cancelled_caught
    assert len(progress) >= 4
    assert process_census()["call futures"] == 0


async def test_an_unknown_profile() -> None:
    with pytest.raises(ValueError, match="no profile 'rough': there are mixed, cancel"):
        await stress(profile="rough")


Run = Callable[[Debuggee], Awaitable[events.Event]]


async def lose_an_event(debuggee: Debuggee, run: Run) -> events.Event:
    try:
        return await run(debuggee)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await run(debuggee)
        raise


async def skip_a_breakpoint(debuggee: Debuggee, run: Run) -> events.Event:
    event = await run(debuggee)
    return await run(debuggee) if isinstance(event, events.Breakpoint) else event


async def tell_twice(debuggee: Debuggee, run: Run) -> events.Event:
    event = told.pop(debuggee, None) or await run(debuggee)
    if isinstance(event, events.HostCallEntered) and event.frame is not None:
        # The frame of the first one is of the past by then.
        told[debuggee] = evolve(event, frame=None)
    return event


told: weakref.WeakKeyDictionary[Debuggee, events.Event] = weakref.WeakKeyDictionary()

FAULTS = {
    "loses an event": lose_an_event,
    "invents an event": tell_twice,
    "skips breakpoints": skip_a_breakpoint,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_of_the_library(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, broken = Debuggee.run, 0

    async def faulty(self: Debuggee, **options: Any) -> events.Event:
        nonlocal broken
        broken += 1
        # The runs that show what is right are not to be wrong in the same way.
        return await (FAULTS[fault](self, run) if broken > 200 and broken % 3 == 0 else run(self))

    monkeypatch.setattr(Debuggee, "run", faulty)
    with pytest.raises(StressFailure) as failure:
        await stress(seconds=40, seed=5, profile="cancel")
    text = everything(failure.value)
    assert "not what it did when it was left alone" in text
    assert "again: python -m trio_wasmdbg stress --seed 5 --profile cancel --cycle" in text


async def test_a_query_that_runs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    with_store = Debuggee.with_store

    async def faulty(self: Debuggee, fn: Callable[[StoreView], Any]) -> Any:
        await with_store(self, fn)
        return await with_store(self, fn)

    monkeypatch.setattr(Debuggee, "with_store", faulty)
    with pytest.raises(StressFailure) as failure:
        await stress(seconds=60, cycles=100, seed=5, profile="cancel")
    assert re.search("a query has run 2 times|not run whole or not at all", everything(failure.value))


async def test_a_life_that_changes_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    body = _stress._scenario._Body
    run = body.run

    async def writes(self: Any, guest: Guest) -> Any:
        for instance, _ in self._stage.left:
            instance.write_memory(100, b"changed")
        return await run(self, guest)

    monkeypatch.setattr(body, "run", writes)
    with pytest.raises(StressFailure) as failure:
        await stress(seconds=60, cycles=100, seed=5, profile="cancel")
    assert "another life has changed this one's instance" in everything(failure.value)


async def test_a_store_whose_instances_answer_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Guest.call

    async def off_by_one(self: Guest, func: wasmtime.Func, *arguments: object) -> Any:
        result = await call(self, func, *arguments)
        return result + 1 if arguments == (5,) else result

    monkeypatch.setattr(Guest, "call", off_by_one)
    with pytest.raises(StressFailure) as failure:
        await stress(seconds=60, cycles=100, seed=5, profile="cancel")
    assert "the store's instances answer" in everything(failure.value)


async def test_a_kept_life_that_fails_is_repeated_alone() -> None:
    """Lives in the store that is kept open have negative numbers."""
    report = await stress(seconds=60, cycles=100, seed=5, cycle=-3)
    assert report.counts["cycles in one store"] > 0
    assert report.counts["cycles"] == report.counts["cycles in one store"] + 1


async def test_a_teardown_that_leaves_a_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counters of the library itself are looked at."""
    monkeypatch.setattr(_stress._census, "process_census", lambda: {**process_census(), "call futures": 1})
    assert "1 call futures" in await found_with(nothing)
