"""What does it cost to have something armed that stops nothing, and to be recorded?  (Rows 3, 7 and 8.)

A thousand breakpoints in functions that are not called; a watchpoint on memory that is not touched, one that
was set and removed, and recordings.  The goals are for what each adds to the idle run, in the same mode; the
ratios to the plain run are beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from tests.benchmarks._compare import compare, summary, worst
from tests.benchmarks._measure import Ratio
from tests.benchmarks._modes import PLAIN, Arm, attached
from tests.benchmarks._programs import THOUSAND, Program
from tests.benchmarks._report import Figure, Matrix
from tests.benchmarks._settings import Settings
from trio_wasmdbg import Debuggee, GuestInstance

__all__ = ["measure"]

_BREAKPOINTS: Final = 1000


def thousand_cold(debuggee: Debuggee, instance: GuestInstance) -> None:
    """A breakpoint in each of the functions that are never called."""
    for number in range(_BREAKPOINTS):
        debuggee.add_breakpoint(f"cold_{number:03}")


def watch(debuggee: Debuggee, instance: GuestInstance) -> None:
    """Memory that no program touches: below everything of theirs."""
    debuggee.watch_memory(instance, 16, 4)


def watch_no_more(debuggee: Debuggee, instance: GuestInstance) -> None:
    """A watchpoint that is removed before the program runs."""
    debuggee.remove_watchpoint(debuggee.watch_memory(instance, 16, 4))


def record_instructions(debuggee: Debuggee, instance: GuestInstance) -> None:
    debuggee.recording = True


def record_coverage(debuggee: Debuggee, instance: GuestInstance) -> None:
    debuggee.recording = "coverage"


def record_trace(debuggee: Debuggee, instance: GuestInstance) -> None:
    debuggee.recording = "trace"


def record_branches(debuggee: Debuggee, instance: GuestInstance) -> None:
    debuggee.recording = "branches"


@frozen
class _Thing:
    row: int
    what: str
    arm: Arm
    goal: float | None


_THINGS: Final = (
    _Thing(7, "a watchpoint is set", watch, 1.2),
    _Thing(7, "a watchpoint was set, and removed", watch_no_more, 1.0),
    _Thing(8, "coverage alone", record_coverage, 1.25),
    _Thing(8, "trace alone", record_trace, 1.5),
    _Thing(8, "branches are traced and counted", record_branches, None),
    _Thing(8, "instructions are traced and counted", record_instructions, None),
)


async def measure(settings: Settings) -> list[Figure | Matrix]:
    """Means and worst cases, and a line for each program."""
    figures = list(await _cold(settings))
    ways = {"plain": PLAIN["plain"], "idle": attached()}
    ways |= {thing.what: attached(thing.arm) for thing in _THINGS}
    added = {_over_idle(thing): (thing.what, "idle") for thing in _THINGS}
    found: dict[str, dict[Program, Ratio]] = {name: {} for name in [*ways, *added] if name != "plain"}
    # These may be slow, and their differences are large: fewer rounds say as much.
    fewer = evolve(settings, rounds=max(2, settings.rounds * 2 // 3), seconds=settings.seconds / 2)
    for program in settings.programs:
        settings.say(f"{program.title}, armed")
        for name, ratio in (await compare(program, ways, fewer, also=added)).items():
            found[name][program] = ratio
    for thing in _THINGS:
        over_idle = found.pop(_over_idle(thing))
        figures += summary(thing.row, thing.what, "exact", over_idle, against="idle", goal=thing.goal)
        figures += summary(thing.row, thing.what, "exact", found[thing.what])
        figures += worst(thing.row, f"{thing.what}, the worst program", "exact", found[thing.what])
    columns = tuple(found)
    matrix = Matrix(7, "armed: times the plain run, of the minima (of the medians)", columns)
    for program in settings.programs:
        matrix.lines[program.title] = {name: found[name][program] for name in columns}
    return [*figures, matrix]


def _over_idle(thing: _Thing) -> str:
    return f"{thing.what}, over idle"


async def _cold(settings: Settings) -> Sequence[Figure]:
    ways = {"idle": attached(), "null": attached(), "armed": attached(thousand_cold)}
    bases = dict.fromkeys(ways, "idle")
    levels = THOUSAND[:1] if settings.quick else THOUSAND
    found = {program: await compare(program, ways, settings, bases=bases) for program in levels}
    armed = {program: ratios["armed"] for program, ratios in found.items()}
    null = {program: ratios["null"] for program, ratios in found.items()}
    what = f"{_BREAKPOINTS} breakpoints in cold functions"
    return [
        *summary(3, what, "exact", armed, against="idle", goal=1.02),
        *summary(3, "the same without any (null)", "exact", null, against="idle"),
    ]
