"""What does making a module debuggable cost, beside compiling it, in time and memory, and when it was cached?

For each module, in each mode: how fast it is rewritten (bytes of the module a CPU second, decoding
included; the same for the bytes of function bodies alone, since debug information costs next to nothing),
how much longer rewriting and compiling take than compiling it as it is (both compilations on one thread,
CPU seconds), the highest memory that rewriting takes beyond what was there, for each byte of the module (of
Python's allocations, by tracemalloc, in a run of its own), and what a second load takes of the first one's
rewriting when it comes from the cache::

    python -m tests.benchmarks.rewrite_cost [--rounds 3] [--frames MODE ...] [--json] [--wall] [MODULE ...]

Rounds are interleaved, and each figure is the least of them.

With ``--wall``, how long a user waits instead: seconds by the clock, with compilations on all processors, and
the module rewritten by one process and by as many as pay.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import ModuleCache, prepare_config
from trio_wasmdbg.debuggee import _processes
from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, Instrumented, instrument
from trio_wasmdbg.wasm import decode_module

__all__ = ["Cost", "Wall", "main", "measure", "one_thread", "wall"]

GUESTS: Final = [
    Path(__file__).parents[1] / "guests/hello.wasm",
    Path(__file__).parents[1] / "guests/echo.wasm",
]


_WALL_ROW: Final = "{:<16} {:<11} {:>9} {:>9} {:>11} {:>11} {:>7}"
_ROW: Final = "{:<16} {:<11} {:>9} {:>9} {:>6} {:>6} {:>7} {:>9} {:>12} {:>8} {:>7} {:>7}"


@frozen
class Cost:
    """What one module costs.

    :ivar frames: the mode.
    :ivar size: bytes.
    :ivar code: bytes of function bodies.
    :ivar rewrite_mb: megabytes that are rewritten in a CPU second.
    :ivar code_mb: megabytes of function bodies that are rewritten in a CPU second.
    :ivar growth: bytes of the rewritten module for each byte.
    :ivar artifact: bytes of compiled code (the artifact as it is serialised) to those of the plain module's.
    :ivar ratio: rewriting and compiling to compiling alone; both compilations on one thread.
    :ivar compiling: the rewritten module's compilation to that of the plain one.
    :ivar memory: extra bytes at the peak of rewriting for each byte.
    :ivar cached: CPU time of a load from the cache to that of rewriting; both with decoding.
    """

    name: str
    frames: str
    size: int
    code: int
    rewrite_mb: float
    code_mb: float
    growth: float
    artifact: float
    ratio: float
    compiling: float
    memory: float
    cached: float


@frozen
class Wall:
    """How long loading one module takes, by the clock; compilations on all processors.

    :ivar processes: how many pay; 1: there is nothing to compare.
    :ivar plain: seconds of compiling the module as it is.
    :ivar one: of decoding, rewriting and compiling it, by one process.
    :ivar several: by so many.
    :ivar memory: extra bytes at the peak of rewriting for each byte, the other processes whole.
    """

    name: str
    frames: str
    processes: int
    plain: float
    one: float
    several: float
    memory: float


def _nothing(*_arguments: object) -> None:
    pass


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all of its threads."""
    return _seconds(work, time.process_time)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    gc.collect()
    gc.disable()  # as load_module does
    try:
        began = clock()
        work()
        return clock() - began
    finally:
        gc.enable()


def one_thread() -> wasmtime.Engine:
    """An engine for rewritten modules that compiles on one thread."""
    config = wasmtime.Config()
    prepare_config(config)
    config.parallel_compilation = False
    return wasmtime.Engine(config)


def measure(path: Path, rounds: int = 3, frames: FrameMode = "exact") -> Cost:
    """Measure one module in one mode."""
    data = path.read_bytes()
    size = len(data)
    engine, plain_engine = one_thread(), wasmtime.Engine(_plain_config())
    rewritten = instrument(decode_module(data), frames=frames)
    times: dict[str, list[float]] = {"plain": [], "rewrite": [], "compile": [], "cached": []}
    with TemporaryDirectory() as folder:
        cache = ModuleCache(Path(folder) / "cache", min_module=0)
        cache.save(rewritten)
        wasm = rewritten.wasm
        code = sum(f.body.end - f.body.start for f in rewritten.original.functions if f.body is not None)
        del rewritten

        def load() -> None:
            assert cache.load(decode_module(data), _nothing, frames=frames) is not None

        for _ in range(rounds):
            times["plain"].append(_cpu(lambda: wasmtime.Module(plain_engine, data)))
            times["rewrite"].append(_cpu(lambda: instrument(decode_module(data), frames=frames)))
            times["compile"].append(_cpu(lambda: wasmtime.Module(engine, wasm)))
            times["cached"].append(_cpu(load))
    least = {name: min(each) for name, each in times.items()}
    artifacts = [
        len(wasmtime.Module(each, code).serialize()) for each, code in ((plain_engine, data), (engine, wasm))
    ]
    return Cost(
        path.name,
        frames,
        size,
        code,
        size / least["rewrite"] / 1e6,
        code / least["rewrite"] / 1e6,
        len(wasm) / size,
        artifacts[1] / artifacts[0],
        (least["rewrite"] + least["compile"]) / least["plain"],
        least["compile"] / least["plain"],
        _peak(lambda: instrument(decode_module(data), frames=frames)) / size,
        least["cached"] / least["rewrite"],
    )


def wall(path: Path, rounds: int = 3, frames: FrameMode = "exact", processes: int | None = None) -> Wall:
    """Measure one module by the clock; *processes*: how many to compare with one, default: as many as pay."""
    data = path.read_bytes()
    config = wasmtime.Config()
    prepare_config(config)
    engine, plain_engine = wasmtime.Engine(config), wasmtime.Engine()
    if processes is None:
        bodies = [function.body for function in decode_module(data).functions]
        code = sum(body.end - body.start for body in bodies if body is not None)
        processes = _processes.default_processes(len(data), code)

    def rewrite(by: int) -> Instrumented:
        module = decode_module(data)
        made = _processes.made_by_processes(module, frames, by, _nothing, _nothing)
        return instrument(module, frames=frames, made=made)

    works: dict[str, Callable[[], object]] = {
        "plain": lambda: wasmtime.Module(plain_engine, data),
        "one": lambda: wasmtime.Module(engine, rewrite(1).wasm),
        "several": lambda: wasmtime.Module(engine, rewrite(processes).wasm),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(_seconds(work, time.perf_counter))
    least = {name: min(each) for name, each in times.items()}
    with _peaks_of_others() as peaks:
        memory = _peak(lambda: rewrite(processes)) + sum(peaks)
    return Wall(path.name, frames, processes, **least, memory=memory / len(data))


@contextmanager
def _peaks_of_others() -> Iterator[list[int]]:
    """The most bytes of memory that each of the other processes has had, where the system tells."""
    peaks: list[int] = []
    close = _processes._Process.close

    def watched(self: _processes._Process) -> None:
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peaks.append(1024 * int(lines["VmHWM"].split()[0]))
        close(self)

    _processes._Process.close = watched  # type: ignore[method-assign]
    try:
        yield peaks
    finally:
        _processes._Process.close = close  # type: ignore[method-assign]


def _plain_config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.parallel_compilation = False
    return config


def _peak(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        rewritten = work()
        _, peak = tracemalloc.get_traced_memory()
        del rewritten
        return peak - before
    finally:
        tracemalloc.stop()


def main(arguments: list[str]) -> None:
    """Print a table, or a line of JSON for each module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", type=Path, default=GUESTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", nargs="+", choices=FRAME_MODES, default=list(FRAME_MODES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wall", action="store_true", help="how long a user waits, by how many processes")
    parser.add_argument("--processes", type=int, help="with --wall: so many, instead of as many as pay")
    options = parser.parse_args(arguments)
    if options.wall:
        _print_walls(options)
        return
    if not options.json:
        print("compilations on one thread; CPU seconds, the least of the rounds")
        sizes = ("bytes", "of code", "MB/s", "code", "growth", "artifact")
        print(_ROW.format("module", "frames", *sizes, "(r+c)/plain", "c/plain", "memory", "cached"))
    for path, frames in product(options.modules, options.frames):
        it = measure(path, options.rounds, frames)
        if options.json:
            print(json.dumps(asdict(it)))
        else:
            ratios = (it.growth, it.artifact, it.ratio, it.compiling)
            figures = (f"{it.rewrite_mb:.2f}", f"{it.code_mb:.2f}", *(f"{each:.2f}x" for each in ratios))
            rest = (f"{it.memory:.1f}x", f"{it.cached:.3f}")
            print(_ROW.format(it.name, frames, it.size, it.code, *figures, *rest))


def _print_walls(options: argparse.Namespace) -> None:
    if not options.json:
        print("seconds by the clock, compilations on all processors, the least of the rounds")
        heads = ("processes", "plain", "one/plain", "all/plain", "memory")
        print(_WALL_ROW.format("module", "frames", *heads))
    for path, frames in product(options.modules, options.frames):
        it = wall(path, options.rounds, frames, options.processes)
        if options.json:
            print(json.dumps(asdict(it)))
        else:
            figures = (f"{it.plain:.2f}", f"{it.one / it.plain:.2f}x", f"{it.several / it.plain:.2f}x")
            print(_WALL_ROW.format(it.name, frames, it.processes, *figures, f"{it.memory:.1f}x"))


if __name__ == "__main__":
    main(sys.argv[1:])
