"""What does a recursion cost at least that can be interrupted, and shows its frames?  (Behind rows 1 and 2.)

``fib``, as clang compiles it at -O2, and what the design needs is added by hand, one thing after another:
check sites, frames with their locals, and a stack pointer, kept in several ways.  Ratios to the function as
it is, of the least CPU times of one run, taken in turns::

    python -m tests.benchmarks.idle_floor [--rounds 60] [--json]

A function this small answers to anything; the parts do not add up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Final

import wasmtime

__all__ = ["VARIANTS", "main", "measure", "module"]

_FRAME: Final = 64
_TOP: Final = 1 << 20
_POINTERS: Final = {
    "imported": ('(import "" "sp" (global $sp (mut i32)))', ""),
    "own": ("", f"(global $sp (mut i32) (i32.const {_TOP}))"),
}

_MODULE: Final = """(module {imported}
  (memory 1) (memory $debug 40 40) {own}
  (table $slots 1 1 funcref)
  (type $cold (func (param i32 i32) (result i32)))
  (func $leave (type $cold)
    (return_call_indirect $slots (type $cold) (local.get 0) (local.get 1) (i32.const 0)))
  (func $fib (param $n i32) (result i32)
    (local $sum i32) (local $fp i32) (local $place i32) (local $got i32) (local $next i32)
    (block $out
      {entry}
      (block $end
        (br_if $end (i32.lt_s (local.get $n) (i32.const 2)))
        {push}
        (loop $again
          (local.set $next (i32.sub (local.get $n) (i32.const 2)))
          {before}
          (local.set $got (call $fib (i32.sub (local.get $n) (i32.const 1))))
          {after}
          (local.set $sum (i32.add (local.get $sum) (local.get $got)))
          (local.set $got (i32.gt_u (local.get $n) (i32.const 3)))
          (local.set $n (local.get $next))
          (br_if $again (local.get $got)))
        {pop_inside})
      {pop_at_end}
      (return (i32.add (local.get $n) (local.get $sum))))
    {way_out})
  (func (export "run") (param $rounds i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $fib (i32.add (i32.const 16)
        (i32.and (local.get $rounds) (i32.const 1))))))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $sum)))"""


def module(checks: bool = False, frames: bool = False, pointer: str = "", late: bool = False) -> bytes:
    """The program with so much of it.

    :param frames: stores of the function's index, the resume point, and three locals.
    :param pointer: where the stack pointer is, one of those known; empty: all frames lie at one place.
    :param late: it is read where the frame is pushed, and written only where that has been done.
    """
    imported, own = _POINTERS.get(pointer, ("", ""))
    found = f"(i32.sub (global.get $sp) (i32.const {_FRAME}))" if pointer else f"(i32.const {_TOP})"
    address = f"(local.set $fp {found})" if pointer or frames or checks else ""
    set_pointer = "(global.set $sp (local.get $fp))" if pointer else ""
    pop = f"(global.set $sp (i32.add (local.get $fp) (i32.const {_FRAME})))" if pointer else ""

    def store(offset: int, value: str) -> str:
        return f"(i32.store $debug offset={offset} (local.get $fp) {value})"

    def check(site: int, cold: str) -> str:
        byte = f"(i32.load8_u $debug offset={2 * _TOP + site} (i32.const 0))"
        return f"(if {byte} (then {cold} (local.set $place (i32.const {site})) (br $out)))" if checks else ""

    on_entry = check(0, f"{address} {store(0, '(i32.const 1)')} {set_pointer} {store(16, '(local.get $n)')}")
    header = store(0, "(i32.const 1)") if frames else ""
    values = {4: "(i32.const 18)", 16: "(local.get $next)", 24: "(local.get $sum)", 32: "(local.get $n)"}
    return bytes(
        wasmtime.wat2wasm(
            _MODULE.format(
                imported=imported,
                own=own,
                entry=("" if late else address) + on_entry,
                push=(address if late else "") + header + set_pointer,
                before="".join(store(*each) for each in values.items()) if frames else "",
                after=check(1, store(40, "(local.get $got)")),
                pop_inside=pop if late else "",
                pop_at_end="" if late else pop,
                way_out="(return_call $leave (local.get $fp) (local.get $place))",
            )
        )
    )


VARIANTS: Final = {
    "plain": {},
    "null": {},
    "check sites": {"checks": True},
    "and frames, all at one place": {"checks": True, "frames": True},
    "and a pointer in an imported global": {"checks": True, "frames": True, "pointer": "imported"},
    "the same, read and written late": {"checks": True, "frames": True, "pointer": "imported", "late": True},
    "and a pointer in an own global": {"checks": True, "frames": True, "pointer": "own"},
    "the same, late": {"checks": True, "frames": True, "pointer": "own", "late": True},
}
"""What is measured, and what of it there is."""


def measure(rounds: int, n: int = 100) -> dict[str, float]:
    """Times the plain function, by variant."""
    ways = {}
    for name, options in VARIANTS.items():
        engine = wasmtime.Engine()
        store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
        number = wasmtime.GlobalType(wasmtime.ValType.i32(), True)
        linker.define(store, "", "sp", wasmtime.Global(store, number, wasmtime.Val.i32(_TOP)))
        made = wasmtime.Module(engine, module(**options))  # type: ignore[arg-type]
        run = linker.instantiate(store, made).exports(store)["run"]
        assert isinstance(run, wasmtime.Func)
        ways[name] = (store, run)
    times: dict[str, list[float]] = {name: [] for name in ways}
    expected = ways["plain"][1](ways["plain"][0], n)
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            store, run = ways[name]
            began = time.process_time()
            result = run(store, n)
            times[name].append(time.process_time() - began)
            assert result == expected, f"{name}: {result} is not {expected}"
        order.reverse()
    least = min(times["plain"])
    return {name: min(taken) / least for name, taken in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What a recursion costs at least under the debugger, by hand.",
        epilog="example: python -m tests.benchmarks.idle_floor --rounds 20",
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rounds)
    if options.json:
        json.dump(found, sys.stdout, indent=1)
        print()
        return
    width = max(map(len, found))
    for name, ratio in found.items():
        print(f"{name:<{width}} {ratio:6.2f}")


if __name__ == "__main__":
    main()
