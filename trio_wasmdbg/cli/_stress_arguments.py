"""The grammar of ``stress``."""

from __future__ import annotations

import argparse
import math
from typing import Any, Final

from attrs import frozen

__all__ = ["PROFILE_NAMES", "StressOptions", "add_stress_parser", "stress_options"]

PROFILE_NAMES: Final = ("mixed", "cancel", "interrupt", "drop", "teardown", "clients", "quiet")
"""The keys of ``testing.PROFILES``, which takes long to import."""


@frozen
class StressOptions:
    """``stress [OPTION...]``"""

    seconds: float = 60.0
    seed: int | None = None
    """None: a random one, which is printed."""
    debuggees: int = 4
    profile: str = "mixed"
    cycle: int | None = None
    as_json: bool = False


def add_stress_parser(commands: Any) -> None:
    """Add the command to the program's parser."""
    stress = commands.add_parser(
        "stress",
        help="attack cancellation: random guests, random moments",
        description="Runs random guests under the debugger while cancellations, deadlines, interrupts,\n"
        "drops, queries, edits of breakpoints, debug clients that disappear and garbage collections\n"
        "hit them at random moments.  Checks that no event is lost or invented, and nothing is left\n"
        "behind.  Exit code 0 if everything held; 1, with a command that does it again, if not.",
        epilog="examples:\n  trio-wasmdbg stress --seconds 600 --profile teardown\n"
        "  trio-wasmdbg stress --seed 7 --cycle 1035   one cycle of an earlier run, over and over\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = StressOptions()
    stress.add_argument(
        "--seconds", type=_seconds, default=default.seconds, metavar="N",
        help="for how long (default: %(default)g)",
    )  # fmt: skip
    stress.add_argument(
        "--seed", type=_number, metavar="S", help="of all random choices (default: a random one, printed)"
    )
    stress.add_argument(
        "--debuggees", type=_count, default=default.debuggees, metavar="K",
        help="how many at the same time (default: %(default)d)",
    )  # fmt: skip
    stress.add_argument(
        "--profile", choices=PROFILE_NAMES, default=default.profile, metavar="PROFILE",
        help=f"which attacks are preferred: {', '.join(PROFILE_NAMES)} (default: %(default)s)",
    )  # fmt: skip
    stress.add_argument(
        "--cycle", type=int, metavar="N", help="only this cycle, over and over, until the time is up"
    )
    stress.add_argument("--json", action="store_true", help="the report as JSON on standard output")


def stress_options(found: argparse.Namespace) -> StressOptions:
    """What was found on the command line."""
    return StressOptions(
        seconds=found.seconds,
        seed=found.seed,
        debuggees=found.debuggees,
        profile=found.profile,
        cycle=found.cycle,
        as_json=found.json,
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def _count(text: str) -> int:
    number = _number(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return number
