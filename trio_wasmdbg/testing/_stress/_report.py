"""What a stress run has done, and what it has found."""

from __future__ import annotations

from collections import Counter

from attrs import asdict, define, field, frozen

__all__ = ["DEBUGGEES", "Count", "Failure", "Report", "StressFailure"]

DEBUGGEES = 4
"""At the same time, where nobody says."""


@frozen
class Failure:
    """An invariant that did not hold."""

    what: str
    cycle: int | None = None
    """The life in which it showed, if it was one: what ``--cycle`` takes."""
    details: str = ""

    def __str__(self) -> str:
        where = f"cycle {self.cycle}: " if self.cycle is not None else ""
        return f"{where}{self.what}" + (f"\n{self.details}" if self.details else "")


@frozen
class Count:
    """What was alive at rest, between two lives."""

    cycles: int
    """How many lives had been lived in the store that is kept open; in any, where none is."""
    alive: dict[str, int]


@define
class Report:
    """Counters of a stress run.

    :ivar seed: what the random choices were made from.
    :ivar profile: which attacks were preferred.
    :ivar debuggees: how many there were at the same time.
    :ivar counts: how many of everything: ``"cycles"``, ``"cancels"``, ``"interrupts"``, ….
    :ivar seconds: how long it ran.
    :ivar longest_step: seconds of the longest step of a debuggee's or its holder's task, garbage collections
        aside.
    :ivar census: what was alive after the first hundred cycles or so, and at the last count.
    """

    seed: int
    profile: str
    debuggees: int = DEBUGGEES
    counts: Counter[str] = field(factory=Counter)
    failures: list[Failure] = field(factory=list)
    seconds: float = 0.0
    longest_step: float = 0.0
    census: tuple[Count, Count] | None = None
    notes: list[str] = field(factory=list)

    def command(self, failure: Failure | None = None) -> str:
        """The command that does the same again: the whole run, or the cycle of a failure."""
        command = f"python -m trio_wasmdbg stress --seed {self.seed} --profile {self.profile}"
        if self.debuggees != DEBUGGEES:
            command += f" --debuggees {self.debuggees}"
        if failure is not None and failure.cycle is not None:
            command += f" --cycle {failure.cycle}"
        return command

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "seed": self.seed,
            "profile": self.profile,
            "debuggees": self.debuggees,
            "seconds": round(self.seconds, 3),
            "longest_step": round(self.longest_step, 4),
            "counts": dict(sorted(self.counts.items())),
            "census": [asdict(count) for count in self.census] if self.census is not None else None,
            "failures": [
                {"cycle": f.cycle, "what": f.what, "details": f.details, "again": self.command(f)}
                for f in self.failures
            ],
            "notes": self.notes,
        }


class StressFailure(AssertionError):
    """An invariant did not hold; ``report`` has everything."""

    def __init__(self, report: Report) -> None:
        self.report = report
        # One that can be done again alone, if there is one.
        first = next((each for each in report.failures if each.cycle is not None), report.failures[0])
        more = f"\n(and {len(report.failures) - 1} more)" if len(report.failures) > 1 else ""
        super().__init__(f"{first}{more}\nseed {report.seed}; again: {report.command(first)}")
