"""Work off the trio thread: cancellation, holding back garbage collections, who gets the interpreter lock."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import trio

from trio_wasmdbg.debuggee._threads import SWITCH_INTERVAL, collections_held_back, compute


async def test_collections_are_back_after_the_last_one() -> None:
    with collections_held_back():
        assert not gc.isenabled()
        with collections_held_back():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


async def test_collections_that_were_off_stay_off() -> None:
    gc.disable()
    try:
        with collections_held_back():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


async def test_they_are_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), collections_held_back():
        raise ZeroDivisionError
    assert gc.isenabled()


async def test_a_cancelled_computation_ends_at_its_next_tick() -> None:
    began, ended = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def work(tick: Callable[[], None]) -> None:
        token.run_sync_soon(began.set)
        try:
            while True:
                tick()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute, work)
        await began.wait()
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(ended.wait, 10)


@pytest.fixture
def switch_interval() -> Iterator[float]:
    """What the interpreter has, other than ours; the same after the test."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield sys.getswitchinterval()
    sys.setswitchinterval(before)


async def test_others_get_the_interpreter_lock_sooner_while_it_computes(switch_interval: float) -> None:
    assert switch_interval > SWITCH_INTERVAL

    def work(tick: Callable[[], None]) -> float:
        return sys.getswitchinterval()

    def nested(tick: Callable[[], None]) -> tuple[float, float]:
        inner = trio.from_thread.run(compute, work)
        return inner, sys.getswitchinterval()

    for _ in range(20):
        assert await compute(nested) == pytest.approx((SWITCH_INTERVAL, SWITCH_INTERVAL), abs=1e-6)
        assert sys.getswitchinterval() == switch_interval

    def fail(tick: Callable[[], None]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await compute(fail)
    assert sys.getswitchinterval() == switch_interval


async def test_what_the_application_wants_goes_first(switch_interval: float) -> None:
    """Shorter ones stay, and so does what is set meanwhile."""
    sys.setswitchinterval(1e-4)
    shorter = sys.getswitchinterval()

    def work(tick: Callable[[], None]) -> float:
        return sys.getswitchinterval()

    assert await compute(work) == shorter
    assert sys.getswitchinterval() == shorter

    def changed(tick: Callable[[], None]) -> None:
        sys.setswitchinterval(0.002)

    sys.setswitchinterval(switch_interval)
    await compute(changed)
    assert sys.getswitchinterval() == pytest.approx(0.002, abs=1e-6)
