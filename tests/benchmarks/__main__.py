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


async def run(parts: Sequence[str], asked: Settings) -> Report:
    """Measure some parts."""
    found: list[Figure | Matrix] = []
    for name in parts:
        asked.say(f"{name} ({PARTS[name][0]})")
        found += await PARTS[name][1](asked)
    # Last: by now it is known which peers there are.
    report = Report(about_this_machine(asked.peer_versions))
    report.add(found)
    return report


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
    options = parser.parse_args(arguments)
    if options.list:
        for name, (rows, part) in PARTS.items():
            print(f"{name:12} {rows:14} {question(part)}")
        return
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    with settings(quick=options.quick, peers=not options.no_peers, large=not options.no_large) as asked:
        report = trio.run(run, options.parts or list(PARTS), asked)
    if options.json is not None:
        options.json.write_text(report.json(), "utf-8")
    print(report.markdown() if options.markdown else report.text())


def question(part: Part) -> str:
    """The first line of the file that a part is in."""
    return (part.__globals__["__doc__"] or "").partition("\n")[0]


if __name__ == "__main__":
    main()
