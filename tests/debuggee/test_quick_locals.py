"""A condition that reads one local at once sees what the frame has."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from tests.debuggee._support import ENGINE
from trio_wasmdbg import OPTIMISED_OUT, Frame, Guest, GuestModule, events, load_module, open_debuggee

PROGRAM = """
(module
  (func $id (param i32) (result i32) (local.get 0))
  (func (export "main") (param $n i32) (param $wide i64) (param $x f64) (param $r externref)
    (local $i i32) (local $late i32) (local $never i64)
    (local.set $wide (i64.mul (local.get $wide) (i64.const -3)))
    (loop $again
      (local.set $i (call $id (i32.add (local.get $i) (i32.const -1))))
      (if (i32.lt_s (local.get $i) (i32.const -3))
        (then (local.set $late (i32.sub (i32.const 5) (local.get $i)))))
      (local.set $x (f64.add (local.get $x) (f64.const 0.5)))
      (br_if $again (i32.gt_s (local.get $i) (local.get $n))))
    (drop (call $id (local.get $late))))
  (func $dirty (export "dirty") (param $n i32) (local $a i64) (local $b i64) (local $c i64) (local $d i64)
    (local.set $a (i64.const 0x1111111122222222))
    (local.set $b (i64.const 0x3333333344444444))
    (local.set $c (i64.const 0x5555555566666666))
    (local.set $d (i64.const 0x7777777788888888))
    (if (local.get $n) (then (call $dirty (i32.sub (local.get $n) (i32.const 1)))))
    (drop (i64.add (i64.add (local.get $a) (local.get $b)) (i64.add (local.get $c) (local.get $d))))))
"""


async def seen(module: GuestModule, how: str, places: list[tuple[int, int]]) -> list[tuple[int, Any, Any]]:
    """At each of these instructions: where, what is read one by one, and what the frame's locals are."""
    found: list[tuple[int, Any, Any]] = []
    edited = False

    def look(frame: Frame) -> bool:
        nonlocal edited
        if how == "edited" and frame.function_index == 1 and not edited and frame.resume_point > 8:
            edited = True
            frame.set_local("never", -77)
        count = len(frame.local_types)
        # Numbers first: with a reference, all of the frame is looked at.
        order = sorted(range(count), key=lambda index: frame.local_types[index].is_ref)
        one_by_one = [value for _, value in sorted((index, frame.local(index)) for index in order)]
        found.append((frame.resume_point, one_by_one, list(frame.locals)))
        with pytest.raises(LookupError):
            frame.local(count)
        with pytest.raises(LookupError):
            frame.local(-1)
        return False

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("dirty"), 3)  # what it leaves on the shadow stack is nobody's value
        await guest.call(instance.func("main"), -9, 1 << 40, 1.25, "an object")

    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        if how == "stepped":
            debuggee.add_breakpoint("main", once=True)
            assert isinstance(await debuggee.run(), events.Breakpoint)
            debuggee.recording = True  # so that all of it runs in slow twins, or in flavours
        for function, k in places:
            debuggee.add_breakpoint(function, offset=module.offsets(function)[k], condition=look)
        if how == "stepped":
            while not isinstance(await debuggee.step(), events.Finished):
                pass
        else:
            assert isinstance(await debuggee.run(), events.Finished)
    return found


@pytest.mark.parametrize("how", ["run", "edited", "stepped"])
@pytest.mark.parametrize("frames", ["exact", "live", "post-mortem"])
async def test_one_by_one_or_all_at_once(frames: Any, how: str) -> None:
    module = await load_module(ENGINE, PROGRAM, frames=frames, cache=None)
    found = await seen(module, how, _places(module))
    assert len(found) > 100
    for place, one_by_one, at_once in found:
        assert one_by_one == at_once, place
    values = [value for _, one_by_one, _ in found for value in one_by_one]
    assert {-9, -3 << 40, "an object", 14} <= set(values)
    assert (OPTIMISED_OUT in values) <= (frames == "live")
    assert (-77 in values) == (how == "edited"), "never assigned by the guest"


@pytest.mark.parametrize("frames", ["exact", "live", "post-mortem"])
async def test_at_one_place_alone(frames: Any) -> None:
    """There, the function is left from where it runs at full speed."""
    module = await load_module(ENGINE, PROGRAM, frames=frames, cache=None)
    for function, k in _places(module):
        found = await seen(module, "run", [(function, k)])
        for place, one_by_one, at_once in found:
            assert one_by_one == at_once, (function, place)


def _places(module: GuestModule) -> list[tuple[int, int]]:
    return [(function, k) for function in (0, 1) for k in range(len(module.offsets(function)))]
