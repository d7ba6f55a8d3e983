"""How soon is a guest interrupted, or cancelled, wherever it is?

From ``interrupt()`` to the Interrupted event, and from ``cancel()`` to the body's Cancelled, with the
guest's fiber gone: medians and 99th percentiles::

    python -m tests.benchmarks.latency [--rounds 300] [--json]

The guest computes in a loop without calls or stores, recurses (to 1,000 frames, over and over), fills
memory, 64 KiB or 16 MiB at a time, is paused, or is in an asynchronous host function.  Nothing reaches it
inside of one ``memory.fill``: the line of 16 MiB shows how long one takes.  An interrupt of a guest in a host
function comes when that has returned; what is measured begins there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import trio
import wasmtime
from attrs import asdict, frozen

from tests.waiting import until
from trio_wasmdbg import Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["Latency", "cancelled", "interrupted", "main", "measure"]

GUEST = """
(module (import "host" "wait" (func $wait)) (memory 256)
  (func (export "spin") (loop $l (br $l)))
  (func $down (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)))))
      (else (i32.const 0))))
  (func (export "recurse") (loop $l (drop (call $down (i32.const 1000))) (br $l)))
  (func (export "fill") (loop $l
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l)))
  (func (export "fill16") (loop $l
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216)) (br $l)))
  (func (export "wait") (call $wait) (loop $l (br $l))))
"""


OUT_OF_REACH = {"interrupt, memory.fill of 16 MiB", "cancel, memory.fill of 16 MiB"}


@frozen
class Latency:
    """Milliseconds.

    :ivar reachable: the guest comes to a check at once, wherever it is.
    """

    what: str
    reachable: bool
    rounds: int
    median: float
    p99: float
    worst: float

    @classmethod
    def of(cls, what: str, seconds: list[float]) -> Latency:
        ordered = sorted(seconds)
        last = len(ordered) - 1
        p99 = ordered[min(last, int(0.99 * len(ordered)))]
        median, worst = ordered[last // 2], ordered[last]
        return cls(what, what not in OUT_OF_REACH, len(ordered), 1000 * median, 1000 * p99, 1000 * worst)


async def computing(polls: Callable[[], bool]) -> None:
    """Wait until the guest is in its worker thread, and some more."""
    await until(polls)
    await trio.sleep(0.002)


def imports() -> dict[str, dict[str, Callable[..., Awaitable[None]]]]:
    """An asynchronous host function that waits until it is cancelled."""
    return {"host": {"wait": trio.sleep_forever}}


async def interrupted(module: GuestModule, export: str) -> float:
    """Seconds from ``interrupt()`` to the event."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(imports(), module)
        await guest.call(instance.func(export))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        began = 0.0

        async def interrupt() -> None:
            nonlocal began
            await computing(lambda: debuggee.statistics().polls_in_threads >= 2)
            began = time.perf_counter()
            debuggee.interrupt()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            event = await debuggee.run()
            took = time.perf_counter() - began
        assert isinstance(event, events.Interrupted)
        return took


async def interrupted_while_paused(module: GuestModule) -> float:
    """Seconds from ``interrupt()`` and ``run()`` to the event."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(imports(), module)
        await guest.call(instance.func("spin"))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.add_breakpoint("spin")
        await debuggee.run()
        began = time.perf_counter()
        debuggee.interrupt()
        event = await debuggee.run()
        took = time.perf_counter() - began
        assert isinstance(event, events.Interrupted)
        return took


async def interrupted_in_a_host_function(module: GuestModule) -> float:
    """Seconds from the return of a host function, in which the guest was interrupted, to the event."""
    began = 0.0

    async def wait() -> None:
        nonlocal began
        debuggee.interrupt()
        await trio.lowlevel.checkpoint()
        began = time.perf_counter()

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate({"host": {"wait": wait}}, module)
        await guest.call(instance.func("wait"))

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        event = await debuggee.run()
        took = time.perf_counter() - began
        assert isinstance(event, events.Interrupted)
        return took


async def cancelled(module: GuestModule, export: str, *, pause: bool = False) -> float:
    """Seconds from ``cancel()`` until the body sees Cancelled; of a guest that computes, or is paused."""
    gone = 0.0

    async def body(guest: Guest) -> None:
        nonlocal gone
        instance = await guest.instantiate(imports(), module)
        try:
            await guest.call(instance.func(export))
        finally:
            gone = time.perf_counter()

    began = 0.0
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee, trio.open_nursery() as nursery:

        async def run() -> None:
            try:
                await debuggee.run()
            except trio.ClosedResourceError:
                pass  # what is to be expected when somebody cancels it

        if pause:
            debuggee.add_breakpoint(export)
            await debuggee.run()
        else:
            nursery.start_soon(run)
            await computing(lambda: debuggee.statistics().polls_in_threads >= 2)
        began = time.perf_counter()
        debuggee.cancel()
    return gone - began


KINDS: dict[str, Callable[[GuestModule], Awaitable[float]]] = {
    "interrupt -> Interrupted": partial(interrupted, export="spin"),
    "interrupt, recursion": partial(interrupted, export="recurse"),
    "interrupt, memory.fill": partial(interrupted, export="fill"),
    "interrupt, memory.fill of 16 MiB": partial(interrupted, export="fill16"),
    "interrupt, paused": interrupted_while_paused,
    "interrupt, in a host function": interrupted_in_a_host_function,
    "cancel -> guest gone": partial(cancelled, export="spin"),
    "cancel, recursion": partial(cancelled, export="recurse"),
    "cancel, memory.fill": partial(cancelled, export="fill"),
    "cancel, memory.fill of 16 MiB": partial(cancelled, export="fill16"),
    "cancel, paused": partial(cancelled, export="spin", pause=True),
    "cancel, in a host function": partial(cancelled, export="wait"),
}


async def measure(rounds: int) -> list[Latency]:
    """All, interleaved."""
    module = await load_module(make_engine(), GUEST)
    found: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(rounds):
        for name, kind in KINDS.items():
            found[name].append(await kind(module))
    return [Latency.of(name, seconds) for name, seconds in found.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Latency of interrupts and cancellations.")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = trio.run(measure, options.rounds)
    if options.json:
        json.dump([asdict(each) for each in found], sys.stdout, indent=1)
        print()
        return
    print(f"{'milliseconds':34}{'rounds':>8}{'median':>9}{'99 %':>9}{'worst':>9}")
    for each in found:
        print(f"{each.what:34}{each.rounds:8}{each.median:9.2f}{each.p99:9.2f}{each.worst:9.2f}")


if __name__ == "__main__":
    main()
