"""How does each cost grow with what it depends on: sizes, functions, depth, breakpoints, guests?  (Row 13.)

Each is measured for a size that doubles again and again; what counts is the worst doubling.  A size is
measured in rounds, interleaved with the others, and its time is the least of them.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
import wasmtime
from attrs import frozen

from tests.benchmarks._generated import function_of, grown, wasm_of
from tests.benchmarks._measure import interleaved
from tests.benchmarks._programs import THOUSAND, Program
from tests.benchmarks._report import Figure, Matrix, number
from tests.benchmarks._settings import Settings
from tests.benchmarks.start import first_stop
from tests.waiting import until
from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestModule,
    ModuleCache,
    events,
    load_module,
    make_engine,
    open_debuggee,
)
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

__all__ = ["measure"]

_GOAL: Final = 2.3
_SMALL: Final = Program("json", "application", "O2").path

DEEP: Final = """
(module
  (func $down (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)))))
      (else (call $bottom))))
  (func $bottom (result i32) (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (call $at)
      (br_if $again (i32.lt_u (local.get $i) (i32.const 100000))))
    (local.get $i))
  (func $at)
  (func (export "run") (param $n i32) (result i32) (call $down (local.get $n))))
"""


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of a call, without garbage collections, as where modules are loaded."""
    gc.disable()
    try:
        began = time.process_time()
        work()
        return time.process_time() - began
    finally:
        gc.enable()


@asynccontextmanager
async def paused(module: GuestModule, n: int, place: str | None) -> AsyncIterator[Debuggee]:
    """A guest in its ``run(n)``, stopped in a function, or not begun."""

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("run"), n)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.stop_on_instances = True
        assert isinstance(await debuggee.run(), events.InstanceCreated)
        if place is not None:
            debuggee.add_breakpoint(place)
            assert isinstance(await debuggee.run(), events.Breakpoint)
        yield debuggee


# ── what is measured: seconds for a size ───────────────────────────────────────────────────────


async def rewriting_a_module(size: int) -> float:
    """So many copies of a small program."""
    wasm = grown(_SMALL.read_bytes(), size)
    return cpu(lambda: instrument(decode_module(wasm)))


async def rewriting_a_function(size: int) -> float:
    """One function of so many instructions."""
    wasm = wasm_of(function_of(size))
    return cpu(lambda: instrument(decode_module(wasm)))


async def loading_from_the_cache(size: int) -> float:
    """The rewritten copies of a small program."""
    module = decode_module(grown(_SMALL.read_bytes(), size))
    with TemporaryDirectory() as folder:
        cache = ModuleCache(Path(folder) / "cache", min_module=0)
        cache.save(instrument(module))
        return cpu(lambda: cache.load(module, lambda: None))


async def stopping_first(size: int) -> float:
    """In a function of so many instructions."""
    return await first_stop(size, time.process_time) / 1000


async def stopping_with_functions(size: int) -> float:
    """A hundred stops in a module of so many functions."""
    module = await _grown_deep(size)
    async with paused(module, 1, "at") as debuggee:
        return await _stops(debuggee, 100)


async def stopping_at_depth(size: int) -> float:
    """A hundred stops under so many activations."""
    async with paused(await _module(DEEP), size, "at") as debuggee:
        return await _stops(debuggee, 100)


async def walking_the_stack(size: int) -> float:
    """All frames of so many activations, with their locals: the mean of as many walks as make 8,000 frames,
    each at a stop of its own, so that the machine and the garbage collector disturb every size alike."""
    took, walks = 0.0, max(1, 8_000 // size)
    async with paused(await _module(DEEP), size, "at") as debuggee:
        for _ in range(walks):
            assert isinstance(await debuggee.run(), events.Breakpoint)
            began = time.process_time()
            locals_ = await debuggee.with_store(lambda view: [frame.locals for frame in view.frames()])
            took += time.process_time() - began
            assert len(locals_) == size + 4
            del locals_
    return took / walks


async def adding_breakpoints(size: int) -> float:
    """So many of them, at different places."""
    async with paused(await _many_places(), 1, None) as debuggee:
        return cpu(lambda: _add(debuggee, size))


async def removing_breakpoints(size: int) -> float:
    """So many of them, one after the other."""
    async with paused(await _many_places(), 1, None) as debuggee:
        _add(debuggee, size)
        began = time.process_time()
        for each in debuggee.breakpoints:
            debuggee.remove_breakpoint(each)
        return time.process_time() - began


async def stopping_with_breakpoints(size: int) -> float:
    """A hundred stops while so many others are set."""
    async with paused(await _many_places(), 1000, "mix") as debuggee:
        _add(debuggee, size)
        await debuggee.run()
        return await _stops(debuggee, 100)


async def many_guests(size: int) -> float:
    """So many, each opened, stopped, and ended."""
    module = await _module(DEEP)
    began = time.process_time()
    async with AsyncExitStack() as stack:
        for _ in range(size):
            await stack.enter_async_context(paused(module, 1, "at"))
    return time.process_time() - began


async def cancelling_with_functions(size: int) -> float:
    """A guest that computes, in a module of so many functions: until it is gone; wall time."""
    module = await _grown_deep(size)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("run"), 1)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee, trio.open_nursery() as nursery:
        nursery.start_soon(_run, debuggee)
        await until(lambda: debuggee.statistics().polls_in_threads >= 2)
        began = time.perf_counter()
        debuggee.cancel()
        nursery.cancel_scope.cancel()
    return time.perf_counter() - began


async def _run(debuggee: Debuggee) -> None:
    try:
        await debuggee.run()
    except trio.ClosedResourceError:
        pass  # it was cancelled, as is meant


async def _stops(debuggee: Debuggee, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        assert isinstance(await debuggee.run(), events.Breakpoint)
    return time.process_time() - began


def _add(debuggee: Debuggee, count: int) -> None:
    for which in range(count):
        debuggee.add_breakpoint(f"cold_{which % 1000:03}")


# Modules are made once for all rounds.
_made: dict[Any, GuestModule] = {}


async def _module(source: str | bytes) -> GuestModule:
    if source not in _made:
        _made[source] = await load_module(make_engine(), source, cache=None)
    return _made[source]


async def _grown_deep(times: int) -> GuestModule:
    return await _module(grown(wasm_of(DEEP), times))


async def _many_places() -> GuestModule:
    return await _module(THOUSAND[0].path.read_bytes())


@frozen
class _Growth:
    what: str
    against: str
    measure: Callable[[int], Awaitable[float]]
    sizes: tuple[int, ...]


def _doubling(first: int, last: int) -> tuple[int, ...]:
    sizes = [first]
    while sizes[-1] * 2 <= last:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes)


GROWTHS: Final = (
    _Growth("rewriting", "copies of a program of 2 kB", rewriting_a_module, _doubling(32, 512)),
    _Growth("rewriting", "instructions of one function", rewriting_a_function, _doubling(2_000, 64_000)),
    _Growth("load from the cache", "copies of a program of 2 kB", loading_from_the_cache, _doubling(64, 512)),
    _Growth("first stop", "instructions of the function", stopping_first, _doubling(1_000, 16_000)),
    _Growth("100 stops", "functions, in fours", stopping_with_functions, _doubling(1_000, 16_000)),
    _Growth("100 stops", "depth of the stack", stopping_at_depth, _doubling(500, 8_000)),
    _Growth("all frames and locals", "depth of the stack", walking_the_stack, _doubling(500, 8_000)),
    _Growth("setting breakpoints", "breakpoints", adding_breakpoints, (625, 1_250, 2_500, 5_000, 10_000)),
    _Growth("removing breakpoints", "breakpoints", removing_breakpoints, (625, 1_250, 2_500, 5_000, 10_000)),
    _Growth("100 stops", "breakpoints", stopping_with_breakpoints, (1, 625, 1_250, 2_500, 5_000, 10_000)),
    _Growth("guests opened, stopped, ended", "guests", many_guests, _doubling(25, 400)),
    _Growth("cancel, until gone", "functions, in fours", cancelling_with_functions, _doubling(1_000, 16_000)),
)


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """The worst doubling of each, and its times."""
    figures: list[Figure | Matrix] = []
    matrix = Matrix(
        13, "growth: milliseconds at each size", ("against", "sizes", "milliseconds", "doublings")
    )
    for each in GROWTHS:
        few = max(2, each.sizes[-1] // 128)
        sizes = (few, 2 * few) if settings.quick else each.sizes
        settings.say(f"growth of {each.what} with {each.against}")
        times = await interleaved(
            {size: partial(each.measure, size) for size in sizes},
            settings.rounds,
        )
        least = {size: min(found) for size, found in times.items()}
        # A first size that is not half of the second is only looked at.
        doublings = [least[two] / least[one] for one, two in itertools.pairwise(sizes) if two == 2 * one]
        if not doublings:
            continue
        ends = [f"{number(1000 * least[size])} ms at {size:,}" for size in (sizes[0], sizes[-1])]
        what = f"{each.what}: {each.against} doubled"
        figures.append(Figure(13, what, "exact", max(doublings), "×", "half", ", ".join(ends), ("≤", _GOAL)))
        matrix.lines[f"{each.what} / {each.against}"] = {
            "against": each.against,
            "sizes": " ".join(f"{size:,}" for size in sizes),
            "milliseconds": " ".join(number(1000 * least[size]) for size in sizes),
            "doublings": " ".join(number(ratio) for ratio in doublings),
        }
    _made.clear()
    return [*figures, matrix]
