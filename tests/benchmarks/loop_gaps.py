"""How long does the trio loop stall while a guest computes, sleeps, waits, or a slow twin is made?

A task that sleeps 1 ms at a time measures the gaps between its wake-ups; the same without a guest,
in the same run, is what the machine does by itself.  Prints a table::

    python -m tests.benchmarks.loop_gaps [--seconds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import Debuggee, Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["Gaps", "SCENES", "main", "measure"]

GUEST = """
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $work (param $n i32) (result i32) (local $x i32)
    (loop $l
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func (export "compute") (loop $for_ever (drop (call $work (i32.const 1000))) (br $for_ever)))
  (func (export "sleep")
    ;; one subscription to the monotonic clock, a second from now, again and again
    (i32.store8 (i32.const 8) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 1000000000))
    (loop $l
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $l)))
  (func (export "read")
    (i32.store (i32.const 0) (i32.const 256))
    (i32.store (i32.const 4) (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""


# Short from stop to stop, ten times in a row; then it computes for tens of milliseconds.
BURSTS = """
(module
  (func $stop (export "stop"))
  (func $work (param $n i32) (result i32) (local $x i32)
    (loop $l
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func (export "main") (local $i i32)
    (loop $for_ever
      (local.set $i (i32.const 10))
      (loop $l (call $stop) (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
      (drop (call $work (i32.const 20000000)))
      (br $for_ever))))
"""


@frozen
class Gaps:
    """The gaps that a sampler has seen, in milliseconds, beyond the millisecond it asked for."""

    scene: str
    samples: int
    median: float
    p99: float
    p999: float
    worst: float

    @classmethod
    def of(cls, scene: str, gaps: list[float]) -> Gaps:
        ordered = sorted(gaps)

        def at(quantile: float) -> float:
            return 1000 * ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

        return cls(scene, len(ordered), at(0.5), at(0.99), at(0.999), 1000 * ordered[-1])


async def sample(seconds: float) -> list[float]:
    gaps = []
    end = time.perf_counter() + seconds
    before = time.perf_counter()
    while before < end:
        await trio.sleep(0.001)
        now = time.perf_counter()
        gaps.append(max(0.0, now - before - 0.001))
        before = now
    return gaps


async def _sample_going_on(debuggee: Debuggee, kind: type[events.Event], seconds: float) -> list[float]:
    """The same, while another task lets the guest go on from each event of this kind, as fast as it can."""
    async with trio.open_nursery() as nursery:

        async def go_on() -> None:
            async for event in debuggee:
                assert isinstance(event, kind)

        nursery.start_soon(go_on)
        gaps = await sample(seconds)
        nursery.cancel_scope.cancel()
    return gaps


@asynccontextmanager
async def running(module: GuestModule, export: str) -> AsyncIterator[Debuggee]:
    store = wasmtime.Store(module.engine)
    wasi = wasmtime.WasiConfig()
    wasi.inherit_stdin()
    store.set_wasi(wasi)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        await guest.call(instance.func(export))

    async with open_debuggee(store, body) as debuggee, trio.open_nursery() as nursery:
        nursery.start_soon(debuggee.run)
        yield debuggee
        nursery.cancel_scope.cancel()


async def no_guest(module: GuestModule, seconds: float) -> list[float]:
    return await sample(seconds)


async def computing(module: GuestModule, seconds: float) -> list[float]:
    async with running(module, "compute"):
        return await sample(seconds)


async def sleeping(module: GuestModule, seconds: float) -> list[float]:
    async with running(module, "sleep"):
        return await sample(seconds)


async def reading(module: GuestModule, seconds: float) -> list[float]:
    """Waits on standard input: a pipe into which nothing is written while we look."""
    saved, (theirs, ours) = os.dup(0), os.pipe()
    os.dup2(theirs, 0)
    try:
        async with running(module, "read"):
            gaps = await sample(seconds)
            os.write(ours, b"x")  # the built-in WASI can't be interrupted
            return gaps
    finally:
        os.dup2(saved, 0)
        for fd in (saved, theirs, ours):
            os.close(fd)


def big_function(instructions: int) -> str:
    lines = ["(local.set $x (i32.add (local.get $x) (i32.const 7)))"] * (instructions // 4)
    return f'(module (func (export "big") (result i32) (local $x i32) {" ".join(lines)} (local.get $x)))'


async def making_slow_twins(module: GuestModule, seconds: float) -> list[float]:
    """Slow twins of a function of 20,000 instructions, one after the other."""
    gaps: list[float] = []

    async def make(cancel: trio.CancelScope) -> None:
        while True:
            big = await load_module(module.engine, big_function(20_000))
            await big.slow_twin(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make, nursery.cancel_scope)
        gaps = await sample(seconds)
        nursery.cancel_scope.cancel()
    return gaps


async def stepping(module: GuestModule, seconds: float) -> list[float]:
    """A task that single-steps as fast as it can: its work is the loop's, in small pieces."""
    store = wasmtime.Store(module.engine)
    store.set_wasi(wasmtime.WasiConfig())

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        guest.single_step = True
        await guest.call(instance.func("compute"))

    async with open_debuggee(store, body) as debuggee:
        return await _sample_going_on(debuggee, events.Step, seconds)


async def stopping(module: GuestModule, seconds: float) -> list[float]:
    """A task that runs to a breakpoint, and on, as fast as it can."""
    store = wasmtime.Store(module.engine)
    store.set_wasi(wasmtime.WasiConfig())

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(guest.linker_for(module, None, wasi=True), module)
        await guest.call(instance.func("compute"))

    async with open_debuggee(store, body) as debuggee:
        debuggee.add_breakpoint("work")
        return await _sample_going_on(debuggee, events.Breakpoint, seconds)


async def bursts(module: GuestModule, seconds: float) -> list[float]:
    """The same where the run to the next breakpoint is short, mostly: the trio thread makes it itself."""
    program = await load_module(module.engine, BURSTS)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, program)
        await guest.call(instance.func("main"))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.add_breakpoint("stop")
        gaps = await _sample_going_on(debuggee, events.Breakpoint, seconds)
        assert debuggee.statistics().polls_inline
    return gaps


SCENES: dict[str, Callable[[GuestModule, float], Awaitable[list[float]]]] = {
    "no guest": no_guest,
    "computing": computing,
    "sleeping in WASI": sleeping,
    "waiting on stdin": reading,
    "slow twins being made": making_slow_twins,
    "single steps": stepping,
    "stops at a breakpoint": stopping,
    "stops, now and then computing": bursts,
}


async def measure(seconds: float, scenes: list[str] | None = None) -> list[Gaps]:
    """The gaps of each scene, "no guest" first."""
    module = await load_module(make_engine(), GUEST)
    return [
        Gaps.of(name, await scene(module, seconds))
        for name, scene in SCENES.items()
        if scenes is None or name in scenes or name == "no guest"
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Gaps of the trio loop under guests.")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each scene (default: 5)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = trio.run(measure, options.seconds)
    if options.json:
        json.dump([asdict(each) for each in found], sys.stdout, indent=1)
        print()
        return
    idle = found[0]
    columns = "".join(f"{each:>9}" for each in ("samples", "median", "99 %", "99.9 %", "worst"))
    print(f"{'gaps in ms':30}{columns}{'99.9 % - idle':>15}")
    for each in found:
        print(
            f"{each.scene:30}{each.samples:9}{each.median:9.2f}{each.p99:9.2f}{each.p999:9.2f}{each.worst:9.2f}"
            f"{each.p999 - idle.p999:15.2f}"
        )


if __name__ == "__main__":
    main()
