"""``python -m tests.real [PROGRAM …]``: real programs, plain, in fast twins and in slow ones.

Prints a table; all times are in seconds, those of slow twins with the making of them.
"""

from __future__ import annotations

import argparse
import sys

from tests.real._catalog import PROGRAMS
from tests.real._packages import NotFetched
from tests.real._report import HEADER, run
from tests.real._run import MODES


def main() -> int:
    """1 if a program did not give the same output in all modes."""
    parser = argparse.ArgumentParser(prog="python -m tests.real")
    names = [program.name for program in PROGRAMS]
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--fast", action="store_true", help="leave out slow twins")
    arguments = parser.parse_args()
    unknown = set(arguments.programs) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    print(HEADER, flush=True)
    bad = 0
    for program in PROGRAMS:
        if arguments.programs and program.name not in arguments.programs:
            continue
        modes = MODES if program.slow and not arguments.fast else MODES[:2]
        try:
            report = run(program, modes)
        except NotFetched as why:
            print(f"{program.name:<12} left out: {why}", flush=True)
            continue
        print(report.line(), flush=True)
        for each in report.opaque:
            print(f"{'':<12} {each}")
        if not report.same:
            bad += 1
            for outcome in report.outcomes.values():
                print(f"{'':<12} {outcome.mode}: …{outcome.tail!r}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
