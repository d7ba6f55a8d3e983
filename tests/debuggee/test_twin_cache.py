"""A module keeps the slow twins that were used last; forgotten ones go on where they are installed."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import wasmtime

from tests.debuggee._support import ENGINE
from trio_wasmdbg import Guest, GuestModule, events, load_module, open_debuggee
from trio_wasmdbg.debuggee._twins import Twin, TwinCache


@pytest.fixture
async def twin() -> Twin:
    return Twin(wasmtime.Module(ENGINE, "(module)"), "", (), 8)


def sized(twin: Twin, size: int) -> Twin:
    return Twin(twin.compiled, "", (), size)


async def test_what_was_not_used_for_longest_goes(twin: Twin) -> None:
    cache = TwinCache(most=3)
    for function in (1, 2, 3):
        cache.add(function, (), twin)
    assert cache.get(1, ()) is twin
    cache.add(4, (), twin)
    assert [cache.get(function, ()) for function in (1, 2, 3, 4)] == [twin, None, twin, twin]
    # Conditions make another twin of it.
    assert cache.get(4, ((0, ("i == 1",)),)) is None
    cache.add(4, ((0, ("i == 1",)),), twin)
    assert len(cache) == 3 and cache.get(1, ()) is None


async def test_large_ones_take_more_room(twin: Twin) -> None:
    cache = TwinCache(most=100, most_bytes=1000)
    for function in range(10):
        cache.add(function, (), sized(twin, 100))
    assert len(cache) == 10
    cache.add(9, (), sized(twin, 300))  # in place of the other
    assert len(cache) == 8 and cache.get(1, ()) is None and cache.get(2, ()) is not None
    cache.add(20, (), sized(twin, 5000))
    assert len(cache) == 1 and cache.get(20, ()) is not None
    cache.add(21, (), sized(twin, 1000))
    assert len(cache) == 1 and cache.get(21, ()) is not None
    cache.add(22, (), sized(twin, 0))
    assert len(cache) == 2


COUNT = 12
CHAIN = "".join(
    f"(func $f{n} (param $i i32) (result i32) (i32.add (local.get $i) (call $f{n + 1} (local.get $i))))"
    for n in range(COUNT)
)
SOURCE = f"""
(module {CHAIN} (func $f{COUNT} (param $i i32) (result i32) (local.get $i))
  (func (export "run") (param $rounds i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $f0 (local.get $rounds))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum)))
"""


async def stepped(module: GuestModule) -> tuple[list[tuple[str, int | None]], Any, list[int], int]:
    """Every place, the result, how many twins were kept at any time, how many were installed at the end."""
    kept: set[int] = set()
    places = []

    async def body(guest: Guest) -> Any:
        guest.single_step = True
        instance = await guest.instantiate(None, module)
        return await guest.call(instance.func("run"), 3)

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        while isinstance(event := await debuggee.run(), events.Step):
            places.append((event.frame.function_name, event.frame.module_offset))
            kept.add(debuggee.statistics().twins_kept)
            if len(places) % 50 == 0:
                gc.collect()
        assert isinstance(event, events.Finished)
        return places, event.result, sorted(kept), debuggee.statistics().slow_twins


async def test_twins_that_are_forgotten_go_on_where_they_are() -> None:
    whole = await load_module(ENGINE, SOURCE)
    small = await load_module(ENGINE, SOURCE)
    small._slow = TwinCache(most=2)
    places, result, kept, installed = await stepped(whole)
    assert kept[-1] == installed == COUNT + 2
    assert result == (3 + 2 + 1) * (COUNT + 1)
    for _ in range(2):  # another instance makes them anew
        again, same, few, as_many = await stepped(small)
        assert (again, same, as_many) == (places, result, installed)
        assert few[-1] == 2
