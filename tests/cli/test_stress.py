"""The `stress` command, as a process."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from tests.cli.process import ROOT, environment, run, started
from trio_wasmdbg.cli import _stress as command
from trio_wasmdbg.cli._arguments import parse_arguments
from trio_wasmdbg.cli._stress_arguments import PROFILE_NAMES, StressOptions
from trio_wasmdbg.testing import PROFILES, Failure, Report


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stress", StressOptions()),
        (
            "stress --seconds 2.5 --seed 7 --debuggees 9 --profile drop --cycle 31 --json",
            StressOptions(2.5, 7, 9, "drop", 31, True),
        ),
    ],
)
def test_parse(line: str, expected: StressOptions) -> None:
    assert parse_arguments(line.split()) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--seconds 0", "'0' is not a number of seconds"),
        ("--seconds inf", "'inf' is not a number of seconds"),
        ("--seconds soon", "'soon' is not a number of seconds"),
        ("--seed x", "'x' is not a number"),
        ("--debuggees 0", "'0' is not a number from 1 to 10000"),
        ("--profile rough", "invalid choice: 'rough'"),
        ("more", "unrecognized arguments: more"),
    ],
)
def test_a_mistake_is_explained(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["stress", *line.split()])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err


def test_the_profiles_are_those_of_the_library() -> None:
    assert tuple(PROFILES) == PROFILE_NAMES


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["stress", "--help"])
    assert stop.value.code == 0
    assert "trio-wasmdbg stress --seconds 600 --profile teardown" in capsys.readouterr().out


def test_a_summary() -> None:
    done = run("stress", "--seconds", "3", "--seed", "5", "--debuggees", "2")

    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == ["seed 5, profile mixed"]
    first, *counts, last = done.stdout.decode().splitlines()
    assert first.startswith("everything held: ")
    assert first.endswith("again: python -m trio_wasmdbg stress --seed 5 --profile mixed --debuggees 2")
    assert any(line.split()[1:] == ["cancels:", "run"] for line in counts)
    assert last.startswith("  longest step of a task: ")


def test_json_and_a_random_seed() -> None:
    done = run("stress", "--seconds", "2", "--json", "--profile", "cancel")

    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert done.stderr.decode() == f"seed {report['seed']}, profile cancel\n"
    assert report["failures"] == []
    assert report["counts"]["cycles"] > 0
    assert {"cycles", "alive"} == set(report["census"][0])


FAILS = """
import sys
from trio_wasmdbg import Debuggee
run = Debuggee.run
async def twice(self, **options):
    event = await run(self, **options)
    return await run(self) if type(event).__name__ == "Breakpoint" and self.breakpoints else event
calls = 0
async def faulty(self, **options):
    global calls
    calls += 1
    return await (twice if calls > 300 and calls % 2 else run)(self, **options)
Debuggee.run = faulty
from trio_wasmdbg.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_failure_comes_with_the_command_that_repeats_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS, "stress", "--seconds", "20", "--seed", "6"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=100,
    )  # fmt: skip

    assert done.returncode == 1
    assert done.stdout.startswith("failed: ")
    assert "FAILED: " in done.stderr
    assert "again: python -m trio_wasmdbg stress --seed 6 --profile mixed" in done.stderr


def test_ctrl_c_ends_with_a_summary() -> None:
    with started("stress", "--seconds", "60", "--seed", "1") as process:
        assert process.line() == "seed 1, profile mixed\n"
        process.interrupt()
        assert process.wait() == 130
        assert process.rest() == ""
        assert process.rest("stdout").startswith("stopped by Ctrl-C: ")


def test_on_a_terminal_the_line_counts_along(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run = command._Run(StressOptions())
    monkeypatch.setattr(run, "_watchdog", lambda: None)
    report = Report(3, "mixed")
    report.counts.update({"cycles": 1200, "ended: finished": 1000, "ended: leave": 200, "cancels": 7})
    run._on_progress(report)
    assert run._line.bar.startswith(" 1,200 cycles (1,000 finished, 200 dropped), 7 cancels, ")
    report.failures += [Failure(f"number {n}", n) for n in range(100)]
    run._on_progress(report)
    run._on_progress(report)
    told = terminal.getvalue()
    assert told.count("FAILED: ") == command.TOLD
    assert "\r\x1b[KFAILED: cycle 0: number 0\n  again: " in told
