"""Polls after a pause: short ones, long ones, cancelled ones; the thread that makes them comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio.testing

from tests.waiting import until
from trio_wasmdbg.debuggee import _brief_runs
from trio_wasmdbg.debuggee._brief_runs import PATIENCE, BriefRuns


async def gone(runs: BriefRuns) -> None:
    with trio.fail_after(10):
        await until(lambda: not runs._alive)


@pytest.fixture
def runs() -> BriefRuns:
    return BriefRuns(trio.CapacityLimiter(2))


def nothing() -> None:
    pytest.fail("nobody cancelled")


def long(result: bool) -> Callable[[], bool]:
    def poll() -> bool:
        time.sleep(20 * PATIENCE)
        return result

    return poll


async def test_short_and_long_ones_in_any_order(runs: BriefRuns) -> None:
    for number in range(200):
        expected = bool(number % 3)
        short = number % 7 < 5
        poll = (lambda expected=expected: expected) if short else long(expected)
        assert await runs.run(poll, nothing) is expected
        assert runs._limiter.borrowed_tokens == 0


async def test_another_thread_makes_them(runs: BriefRuns) -> None:
    for _ in range(3):
        assert not await runs.run(lambda: threading.current_thread() is threading.main_thread(), nothing)


async def test_after_a_long_one_the_loop_is_not_kept_waiting(runs: BriefRuns) -> None:
    """Not even for a moment: other tasks run before the next one has ended."""
    await runs.run(long(True), nothing)
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        go = threading.Event()
        nursery.start_soon(trio.to_thread.run_sync, go.set)
        assert await runs.run(go.wait, nothing)
        assert ran


async def test_an_error_comes_out(runs: BriefRuns) -> None:
    def fails() -> bool:
        raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await runs.run(fails, nothing)
        assert await runs.run(lambda: True, nothing)


@pytest.mark.parametrize("before", [True, False])
async def test_a_cancellation_is_told_and_waits_for_the_end(runs: BriefRuns, before: bool) -> None:
    """The first time in the thread of its own, the second time in one of trio's."""
    for _ in range(2):
        stop = threading.Event()
        with trio.CancelScope() as scope:
            if before:
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + 10 * PATIENCE
            try:
                assert await runs.run(partial(stop.wait, 10), stop.set)
            except trio.Cancelled:
                # One of trio's begins with a checkpoint.
                assert before and not runs.probably
                raise
            assert stop.is_set()
        assert runs._limiter.borrowed_tokens == 0


async def test_without_a_place_it_waits_for_one() -> None:
    limiter = trio.CapacityLimiter(1)
    runs = BriefRuns(limiter)
    limiter.acquire_on_behalf_of_nowait("somebody")

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run() -> None:
            assert await runs.run(lambda: True, nothing)

        await trio.testing.wait_all_tasks_blocked()
        assert limiter.statistics().tasks_waiting == 1
        limiter.release_on_behalf_of("somebody")


async def test_the_thread_goes_when_nothing_comes(runs: BriefRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a poll comes just as it goes: none is lost."""
    monkeypatch.setattr(_brief_runs, "LINGER", 0.0005)
    for number in range(300):
        assert await runs.run(lambda: True, nothing)
        if number % 2:
            await trio.sleep(0.0005)
    await gone(runs)
    assert await runs.run(lambda: True, nothing)


async def test_closed_it_goes_at_once(runs: BriefRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_brief_runs, "LINGER", 1000)
    assert await runs.run(lambda: True, nothing)
    runs.close()
    await gone(runs)
