"""However often breakpoints and conditions change, an instance's store stays of the same size."""

from __future__ import annotations

import pytest
import wasmtime

from tests.debuggee._support import ENGINE, body_of, load
from trio_wasmdbg import Guest, GuestInstance, events, open_debuggee
from trio_wasmdbg.debuggee._instances import _MANY_TWINS

ROUNDS = """
(module
  (func $at (export "at") (param $i i32) (result i32) (i32.add (local.get $i) (i32.const 1)))
  (func $beside (export "beside") (param $i i32) (result i32) (i32.add (local.get $i) (i32.const 2)))
  (func (export "run") (param $n i32) (local $i i32)
    (loop $again
      (drop (call $beside (local.get $i)))
      (br_if $again (i32.ne (local.tee $i (call $at (local.get $i))) (local.get $n))))))
"""
FUNCTIONS = 3


async def many_edits(edits: int) -> tuple[int, int]:
    """So many times: another condition (of two kinds that are true, one that is not), run there, remove.

    The store takes no more instances than are allowed for: one more would be an error.  Gives the highest
    numbers of slow twins seen after half of the edits and after all.
    """
    store = wasmtime.Store(ENGINE)
    # The guest, what belongs to the debugger, and twins with conditions; then one without for each function.
    store.set_limits(instances=1 + 2 + _MANY_TWINS + FUNCTIONS)
    module = await load(ROUNDS)

    async def use(guest: Guest, instance: GuestInstance) -> None:
        await guest.call(instance.func("run"), edits)

    half = most = 0
    async with open_debuggee(store, body_of(module, use)) as debuggee:
        for n in range(edits):
            never = debuggee.add_breakpoint("beside", condition=f"i == {-1 - n}")
            condition = (f"i == {n}", f"i > {n - 1} && i < {n + 1}", lambda frame, n=n: frame.local("i") == n)
            it = debuggee.add_breakpoint("at", condition=condition[n % 3])
            event = await debuggee.run()
            assert isinstance(event, events.Breakpoint), event
            assert event.frame.local("i") == n
            debuggee.remove_breakpoint(never)
            debuggee.remove_breakpoint(it)
            most = max(most, debuggee.statistics().slow_twins)
            if n == edits // 2:
                half = most
        assert isinstance(await debuggee.finish(), events.Finished)
    return half, most


async def test_ten_thousand_edits() -> None:
    half, most = await many_edits(10_000)
    assert half == most <= _MANY_TWINS + FUNCTIONS


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_edits() -> None:
    half, most = await many_edits(100_000)
    assert half == most <= _MANY_TWINS + FUNCTIONS
