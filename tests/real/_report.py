"""Runs programs in child processes and tells what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from tests.real._catalog import Program
from tests.real._run import MODES, Outcome

__all__ = ["HEADER", "Report", "run"]

HEADER = (
    f"{'program':<12} {'from':<16} {'MB':>5} {'functions':>9} | {'load plain':>10} {'debugged':>8} "
    f"| {'run plain':>9} {'fast':>7} {'slow':>7} {'twins':>6} | output"
)


@frozen
class Report:
    """One program, in every mode that was asked for.

    :ivar error: what went wrong, else None.
    """

    program: Program
    size: int
    functions: int
    opaque: tuple[str, ...]
    outcomes: dict[str, Outcome]
    error: str | None

    @property
    def same(self) -> bool:
        """Whether it gave out the same in all modes."""
        return self.error is None and len({each.output for each in self.outcomes.values()}) == 1

    def line(self) -> str:
        """A row under :data:`HEADER`; all times in seconds."""

        def seconds(mode: str, attribute: str = "seconds") -> str:
            outcome = self.outcomes.get(mode)
            return "-" if outcome is None else f"{getattr(outcome, attribute):.2f}"

        slow = self.outcomes.get("slow")
        output = self.error or ("the same" if self.same else "DIFFERS")
        opaque = f", {len(self.opaque)} opaque" if self.opaque else ""
        return (
            f"{self.program.name:<12} {self.program.language:<16} {self.size / 1e6:>5.1f} "
            f"{self.functions:>9} "
            f"| {seconds('plain', 'load'):>10} {seconds('fast', 'load'):>8} "
            f"| {seconds('plain'):>9} {seconds('fast'):>7} {seconds('slow'):>7} "
            f"{slow.slow_twins if slow is not None else '-':>6} | {output}{opaque}"
        )


def run(program: Program, modes: Sequence[str] = MODES, timeout: float = 1800) -> Report:
    """Runs it in a child process, which may die.

    :raises NotFetched: it can't be had.
    """
    path = program.package.file(program.member)
    command = [sys.executable, "-m", "tests.real._run", program.name, str(path), *modes]
    error = None
    module: dict[str, Any] = {"size": 0, "functions": 0, "opaque": []}
    outcomes: dict[str, Outcome] = {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
        out = done.stdout
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["(it says nothing)"])[-1]
            error = f"ended with {done.returncode}: {last}"
    except subprocess.TimeoutExpired as late:
        out = late.stdout.decode() if late.stdout is not None else ""
        error = f"not done after {timeout:.0f} s"
    for record in _records(out):
        if "mode" in record:
            outcomes[record["mode"]] = Outcome(**record)
        else:
            module = record
    opaque = tuple(module["opaque"])
    return Report(program, module["size"], module["functions"], opaque, outcomes, error)


def _records(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)
