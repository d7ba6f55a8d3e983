"""How fast are stops, steps and conditions in Python, and what does a paused guest cost?

Each figure stands beside its yardstick of the same run, with the rounds interleaved: the bare hand-over of a
message to another trio task and back over two memory channels::

    python -m tests.benchmarks.stops [--rounds 7] [--json]

* *stop*: a breakpoint in a loop; the event, the decision in the holder's task, the resume.
* *over both channels*: the same without short cuts, by which the holder's task makes short runs itself: each
  command goes to the debuggee's task, and each event back.
* *stop, with WASI*: the same where functions are imported that may wait: other threads run such a guest.
* *step*: ``await debuggee.step()``.
* *callable*: a Python function as a breakpoint's condition, false.
* *counted*: ``await debuggee.step(n)``, instructions of the guest.
* *idle*: CPU time of this process while 100 guests are paused, in ten seconds (``--idle`` for fewer).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from statistics import median
from typing import Final
from unittest.mock import patch

import trio
import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import Debuggee, Frame, Guest, GuestModule, events, load_module, make_engine, open_debuggee
from trio_wasmdbg.debuggee import _debuggee

__all__ = ["Figure", "idle", "main", "measure"]

GUEST: Final = """
(module
  (func $leaf (export "leaf") (param $x i32) (result i32) (i32.add (local.get $x) (i32.const 1)))
  (func $work (export "work") (param $n i32) (result i32) (local $i i32)
    (loop $again
      (local.set $i (call $leaf (local.get $i)))
      (br_if $again (i32.lt_s (local.get $i) (local.get $n))))
    (local.get $i))
  (func $loop (export "loop") (param $n i32) (result i32) (local $i i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $x)))
"""

_IMPORT: Final = '(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))'
WITH_WASI: Final = GUEST.replace("(module", _IMPORT)


@frozen
class Figure:
    """One line of the table.

    :ivar microseconds: of one, the median of the rounds.
    :ivar least: of one, in the best round.
    :ivar ratio: to the bare hand-over of the same round, the median of the rounds; 0 where that is no
        yardstick.
    """

    what: str
    rounds: int
    count: int
    microseconds: float
    least: float
    ratio: float

    @property
    def rate(self) -> float:
        """How many a second."""
        return 1e6 / self.microseconds


@asynccontextmanager
async def calling(module: GuestModule, export: str, *args: object) -> AsyncIterator[Debuggee]:
    """A debuggee whose body calls one export."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        await guest.call(instance.func(export), *args)

    store = wasmtime.Store(module.engine)
    store.set_wasi(wasmtime.WasiConfig())
    async with open_debuggee(store, body) as debuggee:
        yield debuggee


async def hand_over(module: GuestModule, count: int) -> float:
    """Seconds for *count* messages to another task and back."""
    there, theirs = trio.open_memory_channel[int](1)
    back, ours = trio.open_memory_channel[int](1)

    async def echo() -> None:
        async for message in theirs:
            back.send_nowait(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        began = time.perf_counter()
        for i in range(count):
            there.send_nowait(i)
            await ours.receive()
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return took


async def stop(module: GuestModule, count: int) -> float:
    """Seconds for *count* stops at a breakpoint in a function that is called in a loop."""
    async with calling(module, "work", 1 << 30) as debuggee:
        debuggee.add_breakpoint("leaf")
        for _ in range(3):
            await debuggee.run()
        began = time.perf_counter()
        for _ in range(count):
            await debuggee.run()
        return time.perf_counter() - began


@contextmanager
def over_both_channels() -> Iterator[None]:
    """No short cuts: each command goes to the debuggee's task."""
    with patch.object(_debuggee, "may_run", lambda calls, command: False):
        yield


async def stop_over_channels(module: GuestModule, count: int) -> float:
    """As :func:`stop`, over both channels."""
    with over_both_channels():
        return await stop(module, count)


async def step_over_channels(module: GuestModule, count: int) -> float:
    """As :func:`step`, over both channels."""
    with over_both_channels():
        return await step(module, count)


async def stop_with_wasi(module: GuestModule, count: int) -> float:
    """The same, of a guest that imports a function of WASI."""
    return await stop(await load_module(module.engine, WITH_WASI), count)


async def step(module: GuestModule, count: int) -> float:
    """Seconds for *count* single steps through calls and loops."""
    async with calling(module, "work", 1 << 30) as debuggee:
        for _ in range(30):
            await debuggee.step()
        began = time.perf_counter()
        for _ in range(count):
            await debuggee.step()
        return time.perf_counter() - began


async def callable_condition(module: GuestModule, count: int) -> float:
    """Seconds for *count* evaluations of a Python function that is false, from the first on."""
    began = 0.0

    def condition(frame: Frame) -> bool:
        nonlocal began
        began = began or time.perf_counter()
        return bool(frame.local(0) == -1)

    async with calling(module, "work", count) as debuggee:
        debuggee.add_breakpoint("leaf", condition=condition)
        await debuggee.run()
        return time.perf_counter() - began


async def counted(module: GuestModule, count: int) -> float:
    """Seconds for a step of *count* instructions, in a loop."""
    async with calling(module, "loop", -1) as debuggee:
        debuggee.add_breakpoint("loop")
        await debuggee.run()
        await debuggee.step(1000)
        began = time.perf_counter()
        event = await debuggee.step(count)
        took = time.perf_counter() - began
        assert isinstance(event, events.Step)
        return took


@frozen
class _Row:
    measure: Callable[[GuestModule, int], Awaitable[float]]
    count: int
    yardstick: bool = True


BARE: Final = "bare hand-over over two channels"

ROWS: Final[dict[str, _Row]] = {
    BARE: _Row(hand_over, 2000),
    "stop, decide in another task, resume": _Row(stop, 1000),
    "stop, over both channels": _Row(stop_over_channels, 1000),
    "stop, of a guest that imports WASI": _Row(stop_with_wasi, 1000),
    "await step()": _Row(step, 1000),
    "await step(), over both channels": _Row(step_over_channels, 1000),
    "condition that is a Python callable": _Row(callable_condition, 30_000, yardstick=False),
    "step(n): an instruction": _Row(counted, 20_000_000, yardstick=False),
}


async def measure(rounds: int, scale: float = 1.0, only: str = "") -> list[Figure]:
    """All rows, interleaved; *scale* shrinks each."""
    module = await load_module(make_engine(), GUEST)
    rows = {what: row for what, row in ROWS.items() if only in what or what == BARE}
    found: dict[str, list[float]] = {what: [] for what in rows}
    for _ in range(rounds):
        for what, row in rows.items():
            count = max(1, int(row.count * scale))
            found[what].append(await row.measure(module, count) / count)
    return [_figure(what, rows[what], seconds, found[BARE], scale) for what, seconds in found.items()]


def _figure(what: str, row: _Row, seconds: list[float], bare: list[float], scale: float) -> Figure:
    ratio = median(a / b for a, b in zip(seconds, bare, strict=True)) if row.yardstick else 0.0
    return Figure(
        what, len(seconds), int(row.count * scale), 1e6 * median(seconds), 1e6 * min(seconds), ratio
    )


async def idle(guests: int, seconds: float) -> float:
    """CPU seconds of this process while so many guests are paused for so long."""
    module = await load_module(make_engine(), GUEST)
    async with AsyncExitStack() as stack:
        for _ in range(guests):
            debuggee = await stack.enter_async_context(calling(module, "work", 1 << 30))
            debuggee.add_breakpoint("leaf")
            for _ in range(2):
                await debuggee.run()
        await trio.sleep(0.1)
        before = time.process_time()
        await trio.sleep(seconds)
        return time.process_time() - before


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of stops, steps and conditions in Python.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="rows with this text in their name")
    parser.add_argument("--idle", type=float, default=10.0, metavar="SECONDS", help="0: no such row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = trio.run(measure, options.rounds, 1.0, options.only)
    cpu = trio.run(idle, 100, options.idle) if options.idle else None
    if options.json:
        lines = [{**asdict(each), "rate": each.rate} for each in found]
        found_all = {"rows": lines, "idle_cpu_seconds": cpu, "idle_seconds": options.idle}
        json.dump(found_all, sys.stdout, indent=1)
        print()
        return
    print(f"{'microseconds':40}{'median':>10}{'least':>10}{'x bare':>9}{'a second':>14}")
    for each in found:
        ratio = f"{each.ratio:9.2f}" if each.ratio else f"{'':9}"
        print(f"{each.what:40}{each.microseconds:10.3f}{each.least:10.3f}{ratio}{each.rate:14,.0f}")
    if cpu is not None:
        print(f"100 paused guests used {1000 * cpu:.1f} ms of CPU in {options.idle:g} s")


if __name__ == "__main__":
    main()
