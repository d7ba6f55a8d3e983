"""What do functions cost that run in flavours?  (Rows 4 and 7.)

A condition that never holds, and a watchpoint that nothing touches, each with flavours and without (in slow
twins), against the plain module; the null variant is the plain module once more.  Ratios of one run, taken in
turns::

    python -m tests.benchmarks.flavours [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import trio
import wasmtime

from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    GuestModule,
    events,
    load_module,
    make_engine,
    open_debuggee,
)

__all__ = ["main", "measure"]

PROGRAMS: Final = {
    "a condition": """
        (module (memory (export "memory") 1)
          (func $run (export "run") (param $n i32) (local $i i32)
            (loop $again
              (i32.store (i32.const 128) (local.get $i))
              (local.tee $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.ne (local.get $n))))))""",
    "stores in a loop": """
        (module (memory (export "memory") 2)
          (func $run (export "run") (param $n i32) (local $i i32)
            (loop $again
              (i32.store offset=1024 (i32.and (i32.shl (local.get $i) (i32.const 2)) (i32.const 0xffff))
                (i32.add
                  (i32.load offset=1024 (i32.and (i32.mul (local.get $i) (i32.const 52)) (i32.const 0xfffc)))
                  (local.get $i)))
              (local.tee $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.ne (local.get $n))))))""",
    "stores in calls": """
        (module (memory (export "memory") 2)
          (func $put (param $i i32)
            (i32.store offset=1024 (i32.and (i32.shl (local.get $i) (i32.const 2)) (i32.const 0xffff))
              (local.get $i)))
          (func $run (export "run") (param $n i32) (local $i i32)
            (loop $again
              (call $put (local.get $i))
              (local.tee $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.ne (local.get $n))))))""",
}  # fmt: skip


def condition(debuggee: Debuggee, instance: GuestInstance) -> None:
    """One that never holds, in the loop."""
    module = instance.module
    (run,) = module.functions_named("run")
    debuggee.add_breakpoint(offset=module.offsets(run)[3], condition="i == -1")


def watch(debuggee: Debuggee, instance: GuestInstance) -> None:
    """Memory that no program touches."""
    debuggee.watch_memory(instance, 64, 4)


def plain(engine: wasmtime.Engine, text: str, count: int) -> float:
    """CPU seconds of the plain module."""
    store = wasmtime.Store(engine)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, text), [])
    run = instance.exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    run(store, 1000)
    began = time.process_time()
    run(store, count)
    return time.process_time() - began


async def debugged(
    module: GuestModule, count: int, arm: Callable[[Debuggee, GuestInstance], None] | None, flavours: bool
) -> float:
    """CPU seconds under the debugger, without what has to be made first."""
    seconds = 0.0

    async def body(guest: Guest) -> None:
        nonlocal seconds
        instance = await guest.instantiate(None, module)
        if arm is not None:
            arm(debuggee, instance)
        await guest.call(instance.func("run"), 1000)
        began = time.process_time()
        await guest.call(instance.func("run"), count)
        seconds = time.process_time() - began

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.flavours = flavours
        assert isinstance(await debuggee.run(), events.Finished)
    return seconds


async def measure(rounds: int, count: int = 20_000_000) -> list[dict[str, object]]:
    """A line for each program and variant: times the plain module, and millions of rounds a second."""
    engine = make_engine()
    lines: list[dict[str, object]] = []
    for name, text in PROGRAMS.items():
        module = await load_module(engine, text, cache=None)
        arm = condition if name == "a condition" else watch
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            seconds = {
                "null": plain(engine, text, count),
                "idle": await debugged(module, count, None, True),
                "flavours": await debugged(module, count, arm, True),
                "slow twins": 10 * await debugged(module, count // 10, arm, False),
            }
            base = plain(engine, text, count)
            for variant, taken in seconds.items():
                found.setdefault(variant, []).append(taken / base)
                found.setdefault(f"{variant} rate", []).append(count / taken / 1e6)
        for variant in ("null", "idle", "flavours", "slow twins"):
            lines.append({
                "program": name, "variant": variant, "ratio": median(found[variant]),
                "spread": max(found[variant]) - min(found[variant]),
                "millions a second": median(found[f"{variant} rate"]),
            })  # fmt: skip
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What flavours cost, and what slow twins do.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = trio.run(measure, options.rounds)
    if options.json:
        json.dump(lines, sys.stdout, indent=1)
        print()
        return
    print(f"{'':20}{'':12}{'× plain':>9}{'spread':>9}{'M/s':>9}")
    for line in lines:
        print(
            f"{line['program']:20}{line['variant']:12}{line['ratio']:9.2f}{line['spread']:9.2f}"
            f"{line['millions a second']:9.0f}"
        )


if __name__ == "__main__":
    main()
