"""What does debugging cost, beside the plain module, Wasmtime's own debugging, and gdb?

``python -m tests.benchmarks`` measures everything and prints one table; ``--list`` names the parts, some of
which may be named instead of all; ``--quick`` is a look that takes a minute or two.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import trio

from tests.benchmarks import after_stop, armed, events, growth, idle, paused, responsive, start
from tests.benchmarks._report import Figure, Matrix, Report, about_this_machine
from tests.benchmarks._settings import Settings, settings

__all__ = ["PARTS", "main", "run"]

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs/explanation/performance.md"
MARKS: Final = ("<!-- figures -->", "<!-- end of figures -->")

Part: TypeAlias = Callable[[Settings], Awaitable[Sequence[Figure | Matrix]]]

PARTS: Final[dict[str, tuple[str, Part]]] = {
    "idle": ("rows 1, 2", idle.measure),
    "armed": ("rows 3, 7, 8", armed.measure),
    "events": ("rows 4, 5, 6", events.measure),
    "start": ("rows 2, 9", start.measure),
    "after": ("row 10", after_stop.measure),
    "responsive": ("row 11", responsive.measure),
    "paused": ("row 12", paused.measure),
    "growth": ("row 13", growth.measure),
}


async def run(parts: Sequence[str], asked: Settings, before: Report | None = None) -> Report:
    """Measure some parts; of the others, what an earlier run has found."""
    found: dict[str, list[Figure | Matrix]] = {} if before is None else dict(before.parts)
    for name in parts:
        asked.say(f"{name} ({PARTS[name][0]})")
        found[name] = list(await PARTS[name][1](asked))
    # Last: by now it is known which peers there are.
    machine = about_this_machine(asked.peer_versions) if parts or before is None else {}
    return Report((before.machine if before is not None else {}) | machine, found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--list", action="store_true", help="name the parts, and end")
    parser.add_argument("--quick", action="store_true", help="fewer programs and rounds")
    parser.add_argument("--no-peers", action="store_true", help="neither the native peer nor gdb")
    parser.add_argument("--no-large", action="store_true", help="without the programs that are downloaded")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    parser.add_argument("--markdown", action="store_true", help="print Markdown, for the manual")
    parser.add_argument("--docs", action="store_true", help=f"write it into {PAGE.relative_to(ROOT)}, too")
    parser.add_argument(
        "--from", dest="before", type=Path, metavar="FILE", help="parts that are not named: from this JSON"
    )
    options = parser.parse_args(arguments)
    if options.list:
        for name, (rows, part) in PARTS.items():
            print(f"{name:12} {rows:14} {question(part)}")
        return
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    before = None if options.before is None else Report.from_json(options.before.read_text("utf-8"))
    parts = options.parts or (list(PARTS) if before is None else [])
    with settings(quick=options.quick, peers=not options.no_peers, large=not options.no_large) as asked:
        report = trio.run(run, parts, asked, before)
    if options.json is not None:
        options.json.write_text(report.json(), "utf-8")
    if options.docs:
        PAGE.write_text(with_figures(PAGE.read_text("utf-8"), report), "utf-8")
    print(report.markdown() if options.markdown else report.text())


def with_figures(page: str, report: Report) -> str:
    """The manual's page, with these figures instead of those that it has."""
    begin, end = MARKS
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no marks {begin} … {end}")
    return f"{before}{begin}\n\n{report.markdown()}\n{end}{after}"


def question(part: Part) -> str:
    """The first line of the file that a part is in."""
    return (part.__globals__["__doc__"] or "").partition("\n")[0]


if __name__ == "__main__":
    main()
