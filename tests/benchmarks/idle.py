"""How much slower does a guest run under the debugger, with nothing to stop at?  (Rows 1 and 2.)

Programs from C, at -O2 and -O0, in each of our modes; against the plain module, the same once more (null),
Wasmtime's epoch and fuel engines, and its native guest debugging, this against its own plain run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tests.benchmarks._compare import NATIVE, NATIVE_PLAIN, compare, summary, worst
from tests.benchmarks._measure import NotMeasured, Ratio
from tests.benchmarks._modes import OURS, PLAIN, attached
from tests.benchmarks._programs import Program
from tests.benchmarks._report import Figure, Matrix
from tests.benchmarks._settings import Settings

__all__ = ["measure"]

_YARDSTICKS: Final = {"null": "plain", "epoch": "plain", "fuel": "plain", NATIVE: NATIVE_PLAIN}
"""Not ours; and what they are ratios to."""


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Means, worst cases, and a line for each program."""
    try:
        peer, no_peer = settings.native(), ""
    except NotMeasured as exc:
        peer, no_peer = None, str(exc)
    modes = {mode.name: mode for mode in OURS}
    ways = PLAIN | {name: attached(**mode.loading) for name, mode in modes.items() if mode.missing is None}
    found: dict[str, dict[Program, Ratio]] = {name: {} for name in (*modes, *_YARDSTICKS)}
    for program in settings.programs:
        settings.say(program.title)
        for name, ratio in (await compare(program, ways, settings, peer=peer)).items():
            found[name][program] = ratio
    figures: list[Figure | Matrix] = []
    for name, mode in modes.items():
        apps, every, most, recursion = mode.goals
        if mode.missing is not None:
            figures.append(Figure(mode.row, "idle", name, note=mode.missing))
        figures += _groups(mode.row, name, found[name], apps, every)
        figures += worst(mode.row, "the worst program", name, _others(found[name]), goal=most)
        figures += worst(
            mode.row, "the worst recursion", name, _of_kind(found[name], "recursion"), goal=recursion
        )
    for name, base in _YARDSTICKS.items():
        if name == NATIVE and peer is None:
            figures.append(Figure(2, "idle", name, note=no_peer))
        figures += _groups(2, name, found[name], None, None, base)
        figures += worst(2, "the worst program", name, found[name], against=base)
    columns = tuple(name for name in found if found[name])
    matrix = Matrix(1, "idle: times the plain run, of the minima (of the medians)", columns)
    for program in settings.programs:
        matrix.lines[program.title] = {name: found[name][program] for name in columns}
    return [*figures, matrix]


def _of_kind(ratios: dict[Program, Ratio], kind: str) -> dict[Program, Ratio]:
    return {program: ratio for program, ratio in ratios.items() if program.kind == kind}


def _others(ratios: dict[Program, Ratio]) -> dict[Program, Ratio]:
    return {program: ratio for program, ratio in ratios.items() if program.kind != "recursion"}


def _groups(
    row: int,
    name: str,
    ratios: dict[Program, Ratio],
    apps: float | None,
    every: float | None,
    base: str = "plain",
) -> Iterable[Figure]:
    applications = _of_kind(ratios, "application")
    yield from summary(row, "idle, applications", name, applications, against=base, goal=apps)
    yield from summary(row, "idle, all programs", name, ratios, against=base, goal=every)
