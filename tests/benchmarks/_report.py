"""How are figures shown: to people as one table, in Markdown for the manual, as JSON for machines?"""

from __future__ import annotations

import io
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import field, frozen
from rich.console import Console
from rich.table import Table

from tests.benchmarks._measure import Ratio

__all__ = ["Figure", "Matrix", "Report", "about_this_machine"]

_SIGNS: Final = {"≤": float.__le__, "≥": float.__ge__}


@frozen
class Figure:
    """One line of the table.

    :ivar row: its number in the plan of measurements.
    :ivar mode: what the debugger keeps or does meanwhile: ``exact``, ``live``, …
    :ivar value: None: not measured, for the reason in *note*.
    :ivar against: what *value* is a ratio to, or of what peer it is.
    :ivar spread: how far the measurements were apart.
    :ivar goal: as a sign and a number, ``("≤", 1.15)``.
    """

    row: int
    what: str
    mode: str = ""
    value: float | None = None
    unit: str = "×"
    against: str = ""
    spread: str = ""
    goal: tuple[str, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        sign, bound = self.goal
        return _SIGNS[sign](float(self.value), float(bound))

    @property
    def cells(self) -> tuple[str, ...]:
        """As text: value, goal, and how far off."""
        value = f"not measured: {self.note}" if self.value is None else f"{number(self.value)} {self.unit}"
        goal = "" if self.goal is None else f"{self.goal[0]} {number(self.goal[1])}"
        verdict = {True: "yes", False: "no", None: ""}[self.met]
        remark = self.note if self.value is not None else ""
        return (
            str(self.row),
            self.what,
            self.mode,
            value,
            self.against,
            "; ".join(filter(None, (self.spread, remark))),
            goal,
            verdict,
        )


def number(value: float) -> str:
    """With three digits that say something."""
    if value >= 1000:
        return f"{value:,.0f}"
    if 0 < value < 0.1:
        return f"{value:.2g}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


@frozen
class Matrix:
    """Ratios of several variants, or other cells, a line for each program."""

    row: int
    title: str
    columns: tuple[str, ...]
    lines: dict[str, dict[str, Ratio | str]] = field(factory=dict)

    def cells(self, name: str) -> tuple[str, ...]:
        """Of one line: ratio of the minima, that of the medians behind it."""
        cells: list[str] = []
        for column in self.columns:
            cell = self.lines[name].get(column, "–")
            cells.append(cell if isinstance(cell, str) else f"{cell.minima:.2f} ({cell.medians:.2f})")
        return tuple(cells)


_HEADINGS: Final = ("row", "what", "mode", "measured", "against", "spread and remarks", "goal", "met")


@frozen
class Report:
    """All that has been found, part by part."""

    machine: dict[str, str]
    parts: dict[str, list[Figure | Matrix]] = field(factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """By row."""
        found = [each for part in self.parts.values() for each in part if isinstance(each, Figure)]
        return sorted(found, key=lambda each: each.row)

    @property
    def matrices(self) -> list[Matrix]:
        return [each for part in self.parts.values() for each in part if isinstance(each, Matrix)]

    def text(self, width: int | None = None) -> str:
        """For people: one table, then a line for each program."""
        console = Console(file=io.StringIO(), width=width or 180, force_terminal=False)
        for line in self.about():
            console.print(line, highlight=False)
        table = Table(title="what debugging costs", title_justify="left", show_edge=False)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right" if heading == "row" else "left")
        before = None
        for figure in self.figures:
            if before is not None and figure.row != before:
                table.add_section()
            before = figure.row
            table.add_row(*figure.cells)
        console.print(table)
        for matrix in self.matrices:
            console.print()
            inner = Table(title=matrix.title, title_justify="left", show_edge=False)
            inner.add_column("program")
            for column in matrix.columns:
                inner.add_column(column, justify="right")
            for name in matrix.lines:
                inner.add_row(name, *matrix.cells(name))
            console.print(inner)
        output = console.file
        assert isinstance(output, io.StringIO)
        return "\n".join(line.rstrip() for line in output.getvalue().splitlines())

    def about(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.machine.items()]

    def markdown(self) -> str:
        """For the manual."""
        lines = [f"- {line}" for line in self.about()]
        lines += ["", *_markdown_table(_HEADINGS, [each.cells for each in self.figures])]
        for matrix in self.matrices:
            rows = [(name, *matrix.cells(name)) for name in matrix.lines]
            lines += ["", f"{matrix.title}:", "", *_markdown_table(("program", *matrix.columns), rows)]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """For machines; :meth:`from_json` reads it."""
        parts = {
            name: {
                "figures": [attrs.asdict(each) for each in part if isinstance(each, Figure)],
                "matrices": [attrs.asdict(each) for each in part if isinstance(each, Matrix)],
            }
            for name, part in self.parts.items()
        }
        return json.dumps({"machine": self.machine, "parts": parts}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """What an earlier run has written."""
        told = json.loads(text)
        report = cls(told["machine"])
        for name, part in told["parts"].items():
            report.parts[name] = [_figure(each) for each in part["figures"]]
            report.parts[name] += [_matrix(each) for each in part["matrices"]]
        return report


def _figure(told: dict[str, Any]) -> Figure:
    goal = told.pop("goal")
    return Figure(**told, goal=None if goal is None else (goal[0], goal[1]))


def _matrix(told: dict[str, Any]) -> Matrix:
    lines = {
        name: {column: cell if isinstance(cell, str) else Ratio(**cell) for column, cell in line.items()}
        for name, line in told["lines"].items()
    }
    return Matrix(told["row"], told["title"], tuple(told["columns"]), lines)


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(headings) + " |",
        "| " + " | ".join("---" for _ in headings) + " |",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def about_this_machine(peers: dict[str, str]) -> dict[str, str]:
    """Processor and versions, of the peers too."""
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "machine": f"{model}, {os.cpu_count()} processors, {platform.system()} {platform.release()}",
        "versions": ", ".join(
            [
                f"CPython {platform.python_version()}",
                *(f"{name} {version(name)}" for name in ("wasmtime", "trio")),
            ]
        ),
        **peers,
        "load": f"{os.getloadavg()[2]:.1f} processes wanted to run, in the last quarter of an hour",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
