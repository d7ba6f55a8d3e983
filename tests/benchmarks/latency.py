"""How soon is a guest interrupted, or cancelled, that computes in a loop without calls or stores?

From ``interrupt()`` to the Interrupted event, and from ``cancel()`` to the body's Cancelled, with the
guest's fiber gone: medians and 99th percentiles::

    python -m tests.benchmarks.latency [--rounds 300] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Awaitable, Callable

import trio
import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import Guest, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["Latency", "cancelled", "interrupted", "main", "measure"]

SPIN = '(module (func (export "spin") (loop $l (br $l))))'


@frozen
class Latency:
    """Milliseconds."""

    what: str
    rounds: int
    median: float
    p99: float
    worst: float

    @classmethod
    def of(cls, what: str, seconds: list[float]) -> Latency:
        ordered = sorted(seconds)
        last = len(ordered) - 1
        p99 = ordered[min(last, int(0.99 * len(ordered)))]
        return cls(what, len(ordered), 1000 * ordered[last // 2], 1000 * p99, 1000 * ordered[last])


async def computing(polls: Callable[[], bool]) -> None:
    """Wait until the guest is in its worker thread, and some more."""
    while not polls():
        await trio.lowlevel.checkpoint()
    await trio.sleep(0.002)


async def interrupted(module: GuestModule) -> float:
    """Seconds from ``interrupt()`` to the event."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("spin"))

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


async def cancelled(module: GuestModule) -> float:
    """Seconds from ``cancel()`` until the body sees Cancelled."""
    gone = 0.0

    async def body(guest: Guest) -> None:
        nonlocal gone
        instance = await guest.instantiate(None, module)
        try:
            await guest.call(instance.func("spin"))
        finally:
            gone = time.perf_counter()

    began = 0.0
    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee, trio.open_nursery() as nursery:

        async def run() -> None:
            try:
                await debuggee.run()
            except trio.ClosedResourceError:
                pass  # what is to be expected when somebody cancels it

        nursery.start_soon(run)
        await computing(lambda: debuggee.statistics().polls_in_threads >= 2)
        began = time.perf_counter()
        debuggee.cancel()
    return gone - began


KINDS: dict[str, Callable[[GuestModule], Awaitable[float]]] = {
    "interrupt -> Interrupted": interrupted,
    "cancel -> guest gone": cancelled,
}


async def measure(rounds: int) -> list[Latency]:
    """Both, interleaved."""
    module = await load_module(make_engine(), SPIN)
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
    print(f"{'milliseconds':28}{'rounds':>8}{'median':>9}{'99 %':>9}{'worst':>9}")
    for each in found:
        print(f"{each.what:28}{each.rounds:8}{each.median:9.2f}{each.p99:9.2f}{each.worst:9.2f}")


if __name__ == "__main__":
    main()
