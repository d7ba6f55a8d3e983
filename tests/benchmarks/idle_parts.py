"""Which part of what a fast twin adds costs how much, with nothing armed?  (Behind rows 1 and 2.)

Each part is left out in turn, of the same programs: what comes out computes the same, but can't be debugged.
Ratios to the plain module, of the least CPU times of one run, taken in turns; the null variant is the plain
module once more, and a *further instance* is one that imports the stack pointer of its store's first.  The
programs run without trio, and without a debuggee::

    python -m tests.benchmarks.idle_parts [--frames exact] [--rounds 5] [--seconds 0.1] [--json] [PROGRAM ...]

Parts do not add up: a value that nobody stores any more also need not be kept in a register, and how small
loops and recursions run depends on where their code happens to lie.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

import wasmtime

from tests.benchmarks._measure import geomean
from tests.benchmarks._programs import PROGRAMS, Program
from tests.instrument._harness import ENGINE, Plain, Rig
from trio_wasmdbg.instrument import FRAME_MODES, RESUME_OFFSET, STACK_SIZE, FrameMode, instrument
from trio_wasmdbg.instrument import _emit as emit
from trio_wasmdbg.instrument._additions import FrameAccess
from trio_wasmdbg.instrument._check_sites import AFTER_CALL, ENTRY, LOOP
from trio_wasmdbg.instrument._fast_twin import FastTwinBuilder
from trio_wasmdbg.instrument._stores import FrameStores
from trio_wasmdbg.wasm import decode_module

__all__ = ["PARTS", "main", "measure", "rewritten"]

FURTHER: Final = "further instance"

_FRAME: Final = 4096
"""Where all frames lie if there is no stack pointer."""


def _without_checks(kind: int) -> tuple[type, str, object]:
    made = FastTwinBuilder._check

    def check(self: FastTwinBuilder, resume_point: int, which: int, cold: bytes) -> None:
        if which == kind:
            self._sites.append(resume_point << 2 | which)
            self._address_places.append(0)  # nowhere; only several processes want to know
        else:
            made(self, resume_point, which, cold)

    return FastTwinBuilder, "_check", check


def _without_resume_points() -> tuple[type, str, object]:
    made = FrameAccess.store_i32

    def store_i32(self: FrameAccess, offset: int, value: bytes) -> bytes:
        return b"" if offset == RESUME_OFFSET else made(self, offset, value)

    return FrameAccess, "store_i32", store_i32


def _nothing(*arguments: object) -> bytes:
    return b""


PARTS: Final[dict[str, Callable[[], list[tuple[type, str, object]]]]] = {
    "nothing": list,
    "checks at entry": lambda: [_without_checks(ENTRY)],
    "checks in loops": lambda: [_without_checks(LOOP)],
    "checks after calls": lambda: [_without_checks(AFTER_CALL)],
    "locals": lambda: [(FrameStores, "locals", _nothing)],
    "operands": lambda: [(FastTwinBuilder, "_store_operands", _nothing)],
    "resume points": lambda: [_without_resume_points()],
    # the function's index goes with it
    "stack pointer": lambda: [
        (FrameAccess, "push", _nothing),
        (FrameAccess, "pop", _nothing),
        (FrameAccess, "new_frame", lambda self, size: emit.i32_const(_FRAME)),
    ],
}
"""What is left out, and by which attributes of the rewriter."""


@contextmanager
def _left_out(part: str) -> Iterator[None]:
    patches = [patch.object(*replaced) for replaced in PARTS[part]()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def rewritten(wasm: bytes, frames: FrameMode, part: str) -> Rig:
    """The module rewritten without one part."""
    with _left_out(part):
        instrumented = instrument(decode_module(wasm), frames=frames)
    return Rig(wasm, instrumented=instrumented)


def further_instance(wasm: bytes, frames: FrameMode) -> Rig:
    """The module rewritten, as it is in a store that has an instance already."""
    instrumented = instrument(decode_module(wasm), frames=frames)
    names = instrumented.names

    def define(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
        number = wasmtime.GlobalType(wasmtime.ValType.i32(), True)
        for name, value in ((names.sp, STACK_SIZE), (names.instance, 0)):
            item = wasmtime.Global(store, number, wasmtime.Val.i32(value))
            linker.define(store, names.prefix, name, item)

    compiled = wasmtime.Module(ENGINE, instrumented.importing())
    return Rig(wasm, define, instrumented=instrumented, compiled=compiled)


def _timed(plain: Plain, n: int) -> tuple[float, object]:
    run = plain.exports["run"]
    assert isinstance(run, wasmtime.Func)
    began = time.process_time()
    result = run(plain.store, n)
    return time.process_time() - began, result


def measure(
    programs: Sequence[Program], frames: FrameMode, rounds: int, seconds: float
) -> dict[str, dict[str, float]]:
    """By program: by the part that is left out: times the plain module."""
    found: dict[str, dict[str, float]] = {}
    for program in programs:
        wasm = program.path.read_bytes()
        ways = {"plain": Plain(wasm), "null": Plain(wasm), FURTHER: further_instance(wasm, frames)}
        ways |= {part: rewritten(wasm, frames, part) for part in PARTS}
        n = 1
        while (took := _timed(ways["plain"], n)[0]) < seconds / 4:
            n *= 4
        n = max(1, math.ceil(n * seconds / took))
        _, expected = _timed(ways["plain"], n)
        times: dict[str, list[float]] = {name: [] for name in ways}
        order = list(ways)
        for _ in range(rounds):
            for name in order:
                took, result = _timed(ways[name], n)
                assert result == expected, f"{program.title}, {name}: {result} is not {expected}"
                times[name].append(took)
            order.reverse()
        least = min(times.pop("plain"))
        found[program.title] = {name: min(taken) / least for name, taken in times.items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="What each part of a fast twin costs, with nothing armed.",
        epilog="example: python -m tests.benchmarks.idle_parts --frames live calls regex",
    )
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="names; default: all")
    parser.add_argument("--frames", choices=FRAME_MODES, default="exact")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="CPU time of one plain run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = [each for each in PROGRAMS if not options.programs or each.name in options.programs]
    if not wanted:
        parser.error(f"no such program: {', '.join(options.programs)}")
    found = measure(wanted, options.frames, options.rounds, options.seconds)
    names = ["null", FURTHER, *PARTS]
    means = {name: geomean(ratios[name] for ratios in found.values()) for name in names}
    if options.json:
        json.dump({"programs": found, "geometric mean": means}, sys.stdout, indent=1)
        print()
        return
    width = max(map(len, found), default=0)
    print(f"frames={options.frames}, without:")
    print(" " * max(width, 14), *(f"{name:>18}" for name in names))
    for title, ratios in {**found, "geometric mean": means}.items():
        print(f"{title:<{max(width, 14)}}", *(f"{ratios[name]:18.3f}" for name in names))


if __name__ == "__main__":
    main()
