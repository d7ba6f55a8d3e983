"""Does a loop go back to full speed after it was stopped in, within one activation?  (Row 10.)

A loop is stopped at a breakpoint, which is then removed; the rest of its iterations is timed, against as many
iterations of a guest that was never stopped.
"""

from __future__ import annotations

import time
from typing import Final

import wasmtime

from tests.benchmarks._measure import interleaved, ratio_of
from tests.benchmarks._report import Figure, Matrix
from tests.benchmarks._settings import Settings
from trio_wasmdbg import Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["measure"]

LOOP: Final = """
(module
  (func (export "run") (param $n i32) (result i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 7))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x)))
"""

_IN_THE_LOOP: Final = 3


async def seconds_of(module: GuestModule, iterations: int, *, stopped: bool) -> float:
    """CPU seconds of the loop, maybe after a stop in its first iteration."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        run = instance.func("run")
        await guest.call(run, 1000)
        armed.append(debuggee.add_breakpoint(offset=module.offsets(0)[_IN_THE_LOOP], enabled=stopped))
        await guest.call(run, iterations)

    armed: list = []  # type: ignore[type-arg]
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        event = None
        if stopped:
            event = await debuggee.run()
            assert isinstance(event, events.Breakpoint)
            debuggee.remove_breakpoint(armed[0])
        began = time.process_time()
        assert isinstance(await debuggee.run(), events.Finished)
        return time.process_time() - began


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """One figure, with its null variant."""
    module = await load_module(make_engine(), LOOP, cache=None)
    # As long as the loop needs to be noticed, its way back to be made, and to be worth it.
    iterations = int(settings.seconds * 5e9)
    times = await interleaved(
        {
            "idle": lambda: seconds_of(module, iterations, stopped=False),
            "null": lambda: seconds_of(module, iterations, stopped=False),
            "stopped": lambda: seconds_of(module, iterations, stopped=True),
        },
        max(2, settings.rounds // 2),
    )
    figures: list[Figure | Matrix] = []
    for name, what, goal in (
        ("stopped", "a hot loop after a stop in it, in the same activation", ("≤", 1.05)),
        ("null", "the same without a stop (null)", None),
    ):
        ratio = ratio_of(times[name], times["idle"])
        spread = f"of the medians {ratio.medians:.2f}; {min(times['idle']) * 1000:.0f} ms when idle"
        figures.append(Figure(10, what, "exact", ratio.minima, "×", "idle", spread, goal))
    return figures
