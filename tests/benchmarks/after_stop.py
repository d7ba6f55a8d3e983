"""Does a loop go back to full speed after it was stopped in, within one activation?  (Row 10.)

A loop is stopped at a breakpoint, which is then removed, or it is interrupted; the rest of its iterations is
timed, against as many iterations of a guest that was never stopped.  One loop has another one in it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
import wasmtime

from tests.benchmarks._measure import interleaved, ratio_of
from tests.benchmarks._report import Figure, Matrix
from tests.benchmarks._settings import Settings
from trio_wasmdbg import Debuggee, Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["measure"]

LOOP: Final = """
(module
  (func (export "run") (param $n i32) (result i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 7))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func (export "nested") (param $n i32) (result i32) (local $x i32) (local $i i32)
    (loop $outer
      (local.set $i (i32.const 50))
      (loop $inner
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
        (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 7))))
        (br_if $inner (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (br_if $outer (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 50))) (i32.const 0))))
    (local.get $x)))
"""

_IN_THE_LOOP: Final = 7
"""An instruction in each of the loops."""


async def _go_on(debuggee: Debuggee, place: int) -> None:
    """Never stopped."""


async def _stop(debuggee: Debuggee, place: int) -> None:
    here = debuggee.add_breakpoint(offset=place)
    assert isinstance(await debuggee.run(), events.Breakpoint)
    debuggee.remove_breakpoint(here)


async def _interrupt(debuggee: Debuggee, place: int) -> None:
    with trio.move_on_after(0.002):
        await debuggee.run()
    debuggee.interrupt()
    event = await debuggee.run()
    assert isinstance(event, events.Interrupted) and event.frame is not None


async def seconds_of(
    module: GuestModule, export: str, iterations: int, first: Callable[[Debuggee, int], Awaitable[None]]
) -> float:
    """CPU seconds of a loop, after what is done *first*."""
    (function,) = module.functions_named(export)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func(export), iterations)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        began = time.process_time()
        await first(debuggee, module.offsets(function)[_IN_THE_LOOP])
        assert isinstance(await debuggee.run(), events.Finished)
        return time.process_time() - began


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Three figures, with their null variant."""
    module = await load_module(make_engine(), LOOP, cache=None)
    # As long as the loop needs to be noticed, its way back to be made, and to be worth it.
    iterations = int(settings.seconds * 1e10)
    run = partial(seconds_of, module, "run", iterations)
    nested = partial(seconds_of, module, "nested", iterations)
    times = await interleaved(
        {
            "idle": lambda: run(_go_on),
            "null": lambda: run(_go_on),
            "stopped": lambda: run(_stop),
            "interrupted": lambda: run(_interrupt),
            "nested, idle": lambda: nested(_go_on),
            "nested": lambda: nested(_stop),
        },
        max(2, settings.rounds // 2),
    )
    figures: list[Figure | Matrix] = []
    for name, idle, what, goal in (
        ("stopped", "idle", "a hot loop after a stop in it, in the same activation", ("≤", 1.05)),
        ("interrupted", "idle", "the same after an interrupt", ("≤", 1.05)),
        ("nested", "nested, idle", "the same after a stop in a loop of 50 rounds in a loop", ("≤", 1.05)),
        ("null", "idle", "the same without a stop (null)", None),
    ):
        ratio = ratio_of(times[name], times[idle])
        spread = f"of the medians {ratio.medians:.2f}; {min(times[idle]) * 1000:.0f} ms when idle"
        figures.append(Figure(10, what, "exact", ratio.minima, "×", "idle", spread, goal))
    return figures
