"""What does it cost to make a module debuggable, and to stop in a function for the first time?  (Row 9.)

Rewriting, compiling, code size, memory and the cache are those of ``rewrite_cost``, for modules up to 10 MB,
and for one of 26 MB from npm; compiling and code size stand beside the native peer's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import wasmtime

from tests.benchmarks import rewrite_cost
from tests.benchmarks._generated import calls_of, function_of, grown, wasm_of
from tests.benchmarks._measure import NotMeasured
from tests.benchmarks._modes import OURS
from tests.benchmarks._programs import Program
from tests.benchmarks._report import Figure, Matrix, number
from tests.benchmarks._settings import Settings
from tests.real._catalog import PROGRAMS as REAL
from tests.real._packages import NotFetched
from tests.real._report import run as run_real
from trio_wasmdbg import Guest, events, load_module, make_engine, open_debuggee
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

__all__ = ["first_stop", "measure"]

_RATIO_GOALS: Final = {"exact": 3.0, "live": 2.2}

_FUNCTIONS: Final = {100: 5.0, 1_000: 20.0, 10_000: 20.0, 25_000: 20.0}
"""Instructions of a function; milliseconds until the first stop in it."""

_COLUMNS: Final = (
    "frames", "MB/s", "rewrite + compile", "compiled code", "rewritten code", "peak memory", "cached",
)  # fmt: skip


@contextmanager
def modules(settings: Settings) -> Iterator[dict[str, Path]]:
    """Modules of several sizes, by what to call them."""
    small = Program("json", "application", "O2").path
    with TemporaryDirectory() as name:
        found = {"json -O2": small}
        for times in (5,) if settings.quick else (50, 500, 5000):
            found |= _grown(Path(name), times)
        yield found


def _grown(folder: Path, times: int) -> dict[str, Path]:
    wasm = grown(Program("json", "application", "O2").path.read_bytes(), times)
    path = folder / f"{times}.wasm"
    path.write_bytes(wasm)
    return {f"{len(wasm) / 1e6:.1g} MB, json {times} times": path}


def large() -> Path:
    """The largest module whose compilation is bearable: CPython, 26 MB."""
    program = next(each for each in REAL if each.name == "python")
    try:
        return program.package.file(program.member)
    except NotFetched as exc:
        raise NotMeasured(str(exc)) from None


async def first_stop(
    instructions: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    at: float = 0,
    step: bool = False,
) -> float:
    """Milliseconds from a breakpoint on a function that has never been stopped in to its event.

    :param at: how far into the function the breakpoint lies, as a part of it.
    :param step: of the first step after it instead, for which the slow twin is made.
    """
    module = await load_module(make_engine(), function_of(instructions), cache=None)

    async def body(guest: Guest) -> None:
        instance = await guest.instantiate(None, module)
        await guest.call(instance.func("run"), 1)

    async with open_debuggee(wasmtime.Store(module.engine), body) as debuggee:
        debuggee.stop_on_instances = True
        created = await debuggee.run()
        assert isinstance(created, events.InstanceCreated)
        began = clock()
        if at:
            offsets = created.instance.module.offsets(1)
            debuggee.add_breakpoint(1, offset=offsets[int(at * len(offsets))])
        else:
            debuggee.add_breakpoint("run")
        assert isinstance(await debuggee.run(), events.Breakpoint)
        if step:
            began = clock()
            assert isinstance(await debuggee.step(), events.Step)
        return 1000 * (clock() - began)


def _many_calls(count: int) -> Figure:
    """Compiling a rewritten function with so many calls, to compiling it as it is: CPU time, one thread."""
    engine, plain = rewrite_cost.one_thread(), wasm_of(calls_of(count))
    seconds = []
    for wasm in (plain, instrument(decode_module(plain)).wasm):
        began = time.process_time()
        wasmtime.Module(engine, wasm)
        seconds.append(time.process_time() - began)
    note = f"{number(seconds[0])} and {number(seconds[1])} s"
    what, ratio = f"compiling {count:,} calls in a row", seconds[1] / seconds[0]
    return Figure(9, what, "exact", ratio, against="plain", spread=note)


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """A line for each module and mode, the goals at the worst of them, and first stops."""
    figures: list[Figure | Matrix] = []
    for instructions, goal in _FUNCTIONS.items():
        if settings.quick and instructions > 1_000:
            continue
        settings.say(f"first stop in {instructions:,} instructions")
        size = f"a function of {instructions:,} instructions"
        for what, at, step in (
            (f"first stop in {size}", 0.0, False),
            (f"first step in {size}, after a stop at its beginning", 0.0, True),
            (f"first stop in the middle of {size}", 0.5, False),
        ):
            took = [await first_stop(instructions, at=at, step=step) for _ in range(settings.rounds)]
            spread = f"least {number(min(took))}, most {number(max(took))}"
            figures.append(Figure(9, what, "exact", median(took), "ms", spread=spread, goal=("≤", goal)))
    counts = (5_000,) if settings.quick else (5_000, 20_000, 50_000)
    figures += map(_many_calls, counts)
    matrix = Matrix(9, "made debuggable: times the plain module", _COLUMNS)
    found: dict[str, list[rewrite_cost.Cost]] = {}
    with modules(settings) as paths:
        if settings.large:
            try:
                paths["26 MB, CPython from npm"] = large()
            except NotMeasured as exc:
                figures.append(Figure(9, "a module of 26 MB", note=str(exc)))
        for name, path in paths.items():
            big = path.stat().st_size > 2e6
            for mode in OURS:
                if mode.missing is not None or ((big or settings.quick) and mode.name != "exact"):
                    continue
                settings.say(f"rewriting {name}, {mode.name}")
                rounds = 1 if big else max(2, settings.rounds // 3)
                cost = rewrite_cost.measure(path, rounds, mode.loading["frames"])
                if path != paths["json -O2"]:
                    # What has to be done once for any module, however small, hides the rest of that one.
                    found.setdefault(mode.name, []).append(cost)
                matrix.lines[f"{name}, {mode.name}"] = dict(
                    zip(
                        _COLUMNS,
                        (
                            mode.name,
                            number(cost.rewrite_mb),
                            number(cost.ratio),
                            number(cost.artifact),
                            number(cost.growth),
                            f"{number(cost.memory)} bytes a byte",
                            number(cost.cached),
                        ),
                        strict=True,
                    )
                )
        figures += _native(settings, paths)
        figures += _walls(settings, paths)
    for mode_name, costs in found.items():
        figures += _worst(mode_name, costs)
    if settings.large:
        figures += _real(settings)
    return [*figures, matrix]


def _worst(mode: str, costs: list[rewrite_cost.Cost]) -> Iterator[Figure]:
    """Each goal, by the module that is furthest from it."""
    sizes = f"the worst of {len(costs)} modules" if len(costs) > 1 else f"{costs[0].size:,} bytes"
    ratio = _RATIO_GOALS.get(mode)
    yield Figure(
        9, "rewrite + compile", mode, max(each.ratio for each in costs), "×", "plain compile", sizes,
        None if ratio is None else ("≤", ratio),
    )  # fmt: skip
    yield Figure(9, "rewriting", mode, min(each.rewrite_mb for each in costs), "MB/s", "", sizes, ("≥", 1.5))
    yield Figure(
        9, "compiled code", mode, max(each.artifact for each in costs), "×", "plain", sizes, ("≤", 2.5)
    )
    yield Figure(
        9, "peak memory of rewriting", mode, max(each.memory for each in costs), "bytes a byte", "", sizes,
        ("≤", 30),
    )  # fmt: skip
    yield Figure(
        9, "from the cache", mode, max(each.cached for each in costs), "×", "rewriting", sizes, ("≤", 0.1)
    )


def _walls(settings: Settings, paths: dict[str, Path]) -> Iterator[Figure]:
    """How long a user waits for modules that are large enough for several processes, by the clock."""
    if settings.quick:
        # Smaller than pays, but they do what they do with large ones.
        with TemporaryDirectory() as folder:
            yield from _walls_of(settings, _grown(Path(folder), 300), 1, 2)
    else:
        yield from _walls_of(settings, {n: path for n, path in paths.items() if path.stat().st_size > 1e6}, 2)


def _walls_of(
    settings: Settings, paths: dict[str, Path], rounds: int, processes: int | None = None
) -> Iterator[Figure]:
    for name, path in paths.items():
        settings.say(f"rewriting {name}, by one process and by several")
        it = rewrite_cost.wall(path, rounds, processes=processes)
        for by, took in {1: it.one, it.processes: it.several}.items():
            what = f"rewrite + compile, by the clock, on all processors, rewritten by {by} of {it.processes}"
            note = f"{number(took)} and {number(it.plain)} s"
            yield Figure(9, f"{what} processes: {name}", "exact", took / it.plain, "×", "plain compile", note)
        what = f"peak memory of rewriting by {it.processes} processes, all of them: {name}"
        # What an interpreter takes is not small beside a small module.
        yield Figure(9, what, "exact", it.memory, "bytes a byte", goal=None if processes else ("≤", 30))


def _native(settings: Settings, paths: dict[str, Path]) -> Iterator[Figure]:
    """What the native peer takes for the same; the largest of ours that has nothing to import."""
    mode = "native guest_debug"
    try:
        peer = settings.native()
    except NotMeasured as exc:
        yield Figure(9, "compile", mode, note=str(exc))
        return
    name = list(paths)[1]
    answers = [
        {debug: peer.load(paths[name], debug=debug) for debug in (False, True)}
        for _ in range(max(2, settings.rounds // 3))
    ]
    least = {debug: min(each[debug]["seconds"] for each in answers) for debug in (False, True)}
    yield Figure(9, "compile", mode, least[True] / least[False], "×", "native plain", name)
    code = answers[0][True]["code"] / answers[0][False]["code"]
    yield Figure(9, "compiled code", mode, code, "×", "native plain", name)


def _real(settings: Settings) -> Iterator[Figure]:
    """A script, run by CPython in the guest: started, compiled, executed."""
    program = next(each for each in REAL if each.name == "python")
    settings.say("a script in CPython")
    try:
        report = run_real(program, ("plain", "fast"))
    except NotFetched as exc:
        yield Figure(2, "a script in CPython, 26 MB", "exact", note=str(exc))
        return
    if not report.same:
        yield Figure(2, "a script in CPython, 26 MB", "exact", note=report.error or "the output differs")
        return
    plain, fast = report.outcomes["plain"], report.outcomes["fast"]
    remark = f"{plain.seconds:.1f} s plain; loading {plain.load:.0f} and {fast.load:.0f} s"
    yield Figure(2, "a script in CPython, 26 MB", "exact", fast.seconds / plain.seconds, "×", "plain", remark)
