"""How much longer does a program take in one way than in another, both run turn by turn?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from tests.benchmarks._measure import Ratio, geomean, interleaved, ratio_of
from tests.benchmarks._modes import Run, Way
from tests.benchmarks._native import Native
from tests.benchmarks._programs import LEVELS, Program
from tests.benchmarks._report import Figure
from tests.benchmarks._settings import Settings

__all__ = ["NATIVE", "NATIVE_PLAIN", "calibrated", "compare", "summary", "worst"]

NATIVE: Final = "native guest_debug"
NATIVE_PLAIN: Final = "native plain"


async def compare(
    program: Program,
    ways: Mapping[str, Way],
    settings: Settings,
    *,
    bases: Mapping[str, str] | None = None,
    also: Mapping[str, tuple[str, str]] | None = None,
    peer: Native | None = None,
) -> dict[str, Ratio]:
    """The ratio of each way to run one program to its base among them; without *bases*, to the plain run.

    The peer's ratio is to its own plain run.

    :param also: further ratios by name: of which way, to which.
    """
    bases = dict(bases or dict.fromkeys(ways, "plain"))
    if peer is not None:
        bases[NATIVE] = NATIVE_PLAIN
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(settings.loads):
        for name, found in (await _loaded(program, ways, settings, peer)).items():
            times[name] += found
    pairs = {name: (name, base) for name, base in bases.items() if name != base} | dict(also or {})
    return {name: ratio_of(times[one], times[other]) for name, (one, other) in pairs.items()}


async def _loaded(
    program: Program, ways: Mapping[str, Way], settings: Settings, peer: Native | None
) -> dict[str, list[float]]:
    """The times of some rounds, for which the program is loaded in each way once."""
    wasm = program.path.read_bytes()
    async with AsyncExitStack() as stack:
        runs = {name: await stack.enter_async_context(way(wasm)) for name, way in ways.items()}
        if peer is not None:
            runs[NATIVE_PLAIN] = _of_peer(peer, peer.load(program.path, debug=False))
            runs[NATIVE] = _of_peer(peer, peer.load(program.path, debug=True))
        for run in runs.values():
            await run(1)  # a program's first run may prepare what the others use
        first = runs[next(iter(ways))]
        n = await calibrated(first, settings.seconds)
        _, expected = await first(n)

        def timed(name: str) -> Callable[[], Awaitable[float]]:
            async def action() -> float:
                seconds, result = await runs[name](n)
                assert result == expected, f"{program.title}, {name}: {result} is not {expected}"
                return seconds

            return action

        return await interleaved({name: timed(name) for name in runs}, -(-settings.rounds // settings.loads))


def _of_peer(peer: Native, loaded: dict[str, Any]) -> Run:
    async def run(n: int) -> tuple[float, int]:
        return peer.call(loaded, n)

    return run


async def calibrated(run: Run, seconds: float) -> int:
    """How many rounds take about so long."""
    rounds = 1
    while True:
        took, _ = await run(rounds)
        if took >= seconds / 4:
            return max(1, math.ceil(rounds * seconds / took))
        rounds *= 4


def summary(
    row: int,
    what: str,
    mode: str,
    ratios: Mapping[Program, Ratio],
    *,
    against: str = "plain",
    goal: float | None = None,
) -> Iterable[Figure]:
    """The geometric mean over programs, with that of the medians, and that of each level."""
    if not ratios:
        return
    parts = [f"of the medians {geomean(ratio.medians for ratio in ratios.values()):.2f}"]
    for level in LEVELS:
        of_level = [ratio.minima for program, ratio in ratios.items() if program.level == level]
        if of_level and len(of_level) < len(ratios):
            parts.append(f"-{level} {geomean(of_level):.2f}")
    mean = geomean(ratio.minima for ratio in ratios.values())
    yield Figure(row, what, mode, mean, "×", against, ", ".join(parts), None if goal is None else ("≤", goal))


def worst(
    row: int,
    what: str,
    mode: str,
    ratios: Mapping[Program, Ratio],
    *,
    against: str = "plain",
    goal: float | None = None,
) -> Iterable[Figure]:
    """The program that suffers most."""
    if not ratios:
        return
    program = max(ratios, key=lambda each: ratios[each].minima)
    ratio = ratios[program]
    spread = f"median {ratio.medians:.2f}, quartiles {ratio.low:.2f} to {ratio.high:.2f}"
    yield Figure(
        row,
        what,
        mode,
        ratio.minima,
        "×",
        against,
        f"{program.title}: {spread}",
        None if goal is None else ("≤", goal),
    )
