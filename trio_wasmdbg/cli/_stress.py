"""``stress``: attack cancellation, and say what has held."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trio_wasmdbg.cli._progress import Line, shown
from trio_wasmdbg.cli._stress_arguments import StressOptions

if TYPE_CHECKING:
    from trio_wasmdbg.testing import Report

__all__ = ["stress"]

HELD: Final = 0
FAILED: Final = 1
CANCELLED: Final = 130

TOLD: Final = 5
"""Failures that are told in full as they come; all of them are in the JSON object."""

HANGS: Final = 120.0
"""Seconds without a sign of life (of a loop that is stuck in the C library, say) after which every
thread's stack is printed, and the process ends with code 1."""


def stress(options: StressOptions) -> int:
    """Run the machine; the exit code says whether everything held."""
    run = _Run(options)
    try:
        return trio.run(run.main)
    except* KeyboardInterrupt:
        pass
    finally:
        faulthandler.cancel_dump_traceback_later()
    if run.report is not None:
        run.conclude(run.report, "stopped by Ctrl-C")
    return CANCELLED


class _Run:
    def __init__(self, options: StressOptions) -> None:
        self._options = options
        self._line = Line("stress")
        self._told = 0
        self.report: Report | None = None

    async def main(self) -> int:
        # Takes a tenth of a second to import: the other commands shall not wait for it.
        from trio_wasmdbg.testing import StressFailure
        from trio_wasmdbg.testing import stress as attack

        options = self._options
        machine = partial(
            attack,
            seconds=options.seconds,
            seed=options.seed,
            debuggees=options.debuggees,
            profile=options.profile,
            cycle=options.cycle,
            progress=self._on_progress,
        )
        self._watchdog()
        async with shown(self._line, sys.stderr, os.environ):
            try:
                report = await machine()
            except StressFailure as failure:
                report = failure.report
        self._tell_failures(report)
        self.conclude(report, "failed" if report.failures else "everything held")
        return FAILED if report.failures else HELD

    def _watchdog(self) -> None:
        faulthandler.dump_traceback_later(HANGS, exit=True)

    def _on_progress(self, report: Report) -> None:
        self._watchdog()
        first, self.report = self.report is None, report
        if first:
            _say(f"seed {report.seed}, profile {report.profile}")
        self._line.bar = f" {_outcomes(report, brief=True)}"
        self._tell_failures(report)

    def _tell_failures(self, report: Report) -> None:
        for failure in report.failures[self._told : TOLD]:
            _say(f"FAILED: {failure}\n  again: {report.command(failure)}")
        self._told = len(report.failures)

    def conclude(self, report: Report, verdict: str) -> None:
        """The summary, or the JSON object."""
        if self._options.as_json:
            print(json.dumps(report.as_dict()), flush=True)
            return
        print(f"{verdict}: {_outcomes(report)}, in {report.seconds:.0f} s; again: {report.command()}")
        for name, number in sorted(report.counts.items()):
            print(f"  {number:9,} {name}")
        print(f"  longest step of a task: {report.longest_step * 1e3:.0f} ms")
        for note in report.notes:
            print(f"  {note}")
        sys.stdout.flush()


def _say(text: str) -> None:
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def _outcomes(report: Report, *, brief: bool = False) -> str:
    counts = report.counts
    dropped = sum(number for name, number in counts.items() if name.startswith("ended: "))
    dropped -= counts["ended: finished"]
    more = f"{counts['queries']:,} queries, {counts['clients cut off']:,} clients cut off, "
    return (
        f"{counts['cycles']:,} cycles ({counts['ended: finished']:,} finished, {dropped:,} dropped), "
        f"{counts['cancels']:,} cancels, {counts['interrupted']:,} interrupts, {'' if brief else more}"
        f"{len(report.failures)} failures"
    )
