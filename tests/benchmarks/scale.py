"""What does one more paused guest cost, in resident memory, memory maps and address space?

Each guest has its own store, a memory of one page with one byte written, and is paused 50 frames deep.
The figures are the growth from a first number of guests to a second one, divided by their difference, with
everything counted: Wasmtime's part, and the Python objects of the debuggee, its task and its event::

    python -m tests.benchmarks.scale [--guests 10000] [--first 1000] [--default-config] [--json]

The guests' memories are small ones (``prepare_config(config, many_guests=True)``), unless the default is
asked for.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from functools import partial
from pathlib import Path

import trio
import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import Debuggee, Guest, load_module, make_engine, run_debuggee

__all__ = ["Scale", "main", "measure"]

DEPTH = 50

DEEP = """
(module (memory (export "memory") 1)
  (func $deep (export "deep") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get $n) (i32.const 1)))))
      (else (i32.store (i32.const 0) (i32.const 1)) (call $bottom) (i32.const 0))))
  (func $bottom))
"""


@frozen
class Usage:
    """What the process uses: kilobytes and a number."""

    resident: int
    address_space: int
    maps: int

    @classmethod
    def now(cls) -> Usage:
        gc.collect()
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        maps = Path("/proc/self/maps").read_bytes().count(b"\n")
        return cls(int(fields["VmRSS"].split()[0]), int(fields["VmSize"].split()[0]), maps)


@frozen
class Scale:
    """Per guest: kilobytes resident, megabytes of address space, memory maps, milliseconds."""

    config: str
    guests: int
    frames: int
    resident: float
    address_space: float
    maps: float
    to_pause: float
    to_drop: float


async def measure(first: int, guests: int, *, many_guests: bool = True) -> Scale:
    """Pause *guests* of them, and see what those after the *first* have cost."""
    module = await load_module(make_engine(many_guests=many_guests), DEEP)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("deep"), DEPTH - 2)

    held: list[Debuggee] = []
    async def grow_to(count: int) -> None:
        while len(held) < count:
            debuggee: Debuggee = await nursery.start(run_debuggee, wasmtime.Store(module.engine), body)
            debuggee.add_breakpoint("bottom")
            await debuggee.run()
            held.append(debuggee)

    async with trio.open_nursery() as nursery:
        await grow_to(first)
        before, began = Usage.now(), time.perf_counter()
        await grow_to(guests)
        after, paused = Usage.now(), time.perf_counter()
        dropping = time.perf_counter()
        for debuggee in held:
            debuggee.cancel()
    dropped = time.perf_counter()
    more = guests - first
    return Scale(
        "many guests" if many_guests else "default",
        guests,
        DEPTH,
        (after.resident - before.resident) / more,
        (after.address_space - before.address_space) / more / 1024,
        (after.maps - before.maps) / more,
        1000 * (paused - began) / more,
        1000 * (dropped - dropping) / guests,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What one more paused guest costs.")
    parser.add_argument("--guests", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=1_000)
    parser.add_argument("--default-config", action="store_true", help="memories with their reservations")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = trio.run(partial(measure, options.first, options.guests, many_guests=not options.default_config))
    if options.json:
        json.dump(asdict(found), sys.stdout, indent=1)
        print()
        return
    print(f"{found.guests} guests, paused {found.frames} frames deep, engine for {found.config}; each takes")
    print(f"{found.resident:9.1f} KB resident")
    print(f"{found.address_space:9.1f} MB of address space")
    print(f"{found.maps:9.2f} memory maps")
    print(f"{found.to_pause:9.2f} ms to make and pause")
    print(f"{found.to_drop:9.2f} ms to drop")


if __name__ == "__main__":
    main()
