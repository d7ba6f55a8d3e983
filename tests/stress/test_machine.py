"""The stress test finds what it looks for, in bodies of the user's own and in the library."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import ENGINE, load
from trio_wasmdbg import Debuggee, Guest, events
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


async def test_a_stalled_loop() -> None:
    async def computes(guest: Guest) -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    assert "kept the loop for" in await found_with(computes, cycles=10, longest_computation=0.1)


async def test_a_life_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stress._run, "_OLDEST", 0.5)

    async def hangs(guest: Guest) -> None:
        await trio.sleep_forever()

    assert "a life has not ended" in await found_with(hangs)


async def test_an_attack_can_be_cancelled() -> None:
    progress: list[int] = []
    with trio.move_on_after(1.5) as scope:
        await stress(seconds=60, progress=lambda report: progress.append(report.counts["cycles"]))
    assert scope.cancelled_caught
    assert len(progress) >= 2
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


FAULTS = {"loses an event": lose_an_event, "skips breakpoints": skip_a_breakpoint}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_of_the_library(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run, broken = Debuggee.run, 0

    async def faulty(self: Debuggee, **options: Any) -> events.Event:
        nonlocal broken
        broken += 1
        # The runs that show what is right are not to be wrong in the same way.
        return await (FAULTS[fault](self, run) if broken > 200 and broken % 3 == 0 else run(self))

    async def no_keeper(self: object) -> None:
        """The lives in the store that is kept open have no number: none of them can be run again alone."""

    monkeypatch.setattr(Debuggee, "run", faulty)
    monkeypatch.setattr(_stress._run._Run, "_keeper", no_keeper)
    with pytest.raises(StressFailure) as failure:
        await stress(seconds=40, seed=5, profile="cancel")
    text = everything(failure.value)
    assert "not what it did when it was left alone" in text
    assert "again: python -m trio_wasmdbg stress --seed 5 --profile cancel --cycle" in text


async def test_a_teardown_that_leaves_a_call_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counters of the library itself are looked at."""
    monkeypatch.setattr(_stress._census, "process_census", lambda: {**process_census(), "call futures": 1})
    assert "1 call futures" in await found_with(nothing)
