"""What does making a module debuggable cost, beside compiling it, in time and memory, and when it was cached?

For each module, in each mode: how fast it is rewritten (bytes of the module a CPU second, decoding
included; the same for the bytes of function bodies alone, since debug information costs next to nothing),
how much longer rewriting and compiling take than compiling it as it is (both compilations on one thread,
CPU seconds), the highest memory that rewriting takes beyond what was there, for each byte of the module (of
Python's allocations, by tracemalloc, in a run of its own), and what a second load takes of the first one's
rewriting when it comes from the cache::

    python -m tests.benchmarks.rewrite_cost [--rounds 3] [--frames MODE ...] [--json] [MODULE.wasm ...]

Rounds are interleaved, and each figure is the least of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import wasmtime
from attrs import asdict, frozen

from trio_wasmdbg import ModuleCache, prepare_config
from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, instrument
from trio_wasmdbg.wasm import decode_module

__all__ = ["Cost", "main", "measure", "one_thread"]

GUESTS: Final = [
    Path(__file__).parents[1] / "guests/hello.wasm",
    Path(__file__).parents[1] / "guests/echo.wasm",
]


_ROW: Final = "{:<16} {:<11} {:>9} {:>9} {:>6} {:>6} {:>7} {:>9} {:>12} {:>7} {:>7}"


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
    memory: float
    cached: float


def _nothing() -> None:
    pass


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all of its threads."""
    gc.collect()
    gc.disable()  # as load_module does
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
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
        _peak(data, frames) / size,
        least["cached"] / least["rewrite"],
    )


def _plain_config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.parallel_compilation = False
    return config


def _peak(data: bytes, frames: FrameMode) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        rewritten = instrument(decode_module(data), frames=frames)
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
    options = parser.parse_args(arguments)
    if not options.json:
        print("compilations on one thread; CPU seconds, the least of the rounds")
        heads = ("bytes", "of code", "MB/s", "code", "growth", "artifact", "(r+c)/plain", "memory", "cached")
        print(_ROW.format("module", "frames", *heads))
    for path, frames in product(options.modules, options.frames):
        it = measure(path, options.rounds, frames)
        if options.json:
            print(json.dumps(asdict(it)))
        else:
            ratios = (f"{it.growth:.2f}x", f"{it.artifact:.2f}x", f"{it.ratio:.2f}x", f"{it.memory:.1f}x")
            rates = (f"{it.rewrite_mb:.2f}", f"{it.code_mb:.2f}")
            print(_ROW.format(it.name, frames, it.size, it.code, *rates, *ratios, f"{it.cached:.3f}"))


if __name__ == "__main__":
    main(sys.argv[1:])
