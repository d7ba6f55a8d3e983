"""Work off the trio thread: cancellation, and holding back garbage collections."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import pytest
import trio

from trio_wasmdbg.debuggee._threads import collections_held_back, compute


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
