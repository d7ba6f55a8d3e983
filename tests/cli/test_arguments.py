"""The command line's grammar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trio_wasmdbg import __version__
from trio_wasmdbg.cli._arguments import DemoOptions, Options, RunOptions, parse_arguments


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", DemoOptions()),
        ("demo", DemoOptions()),
        ("demo --list", DemoOptions(list=True)),
        ("demo trap spin", DemoOptions(scenes=("trap", "spin"))),
        ("run a.wasm", RunOptions("a.wasm")),
        (
            "run a.wasm -h --json --env X=1 -- -x",
            RunOptions("a.wasm", ("-h", "--json", "--env", "X=1", "--", "-x")),
        ),
        ("run --json a.wasm b", RunOptions("a.wasm", ("b",), as_json=True)),
        ("run --invoke gcd a.wasm -12 8", RunOptions("a.wasm", ("-12", "8"), invoke="gcd")),
        ("run --frames live a.wasm", RunOptions("a.wasm", frames="live")),
        ("run --processes 3 a.wasm", RunOptions("a.wasm", processes=3)),
        ("run --dir . a.wasm", RunOptions("a.wasm", directories=((".", "."),))),
        ("run --dir .::/data --dir / a.wasm", RunOptions("a.wasm", directories=((".", "/data"), ("/", "/")))),
        ("run --env A=1 --env B= a.wasm", RunOptions("a.wasm", environment=(("A", "1"), ("B", "")))),
        (
            "run --env A=b=c --env HERE a.wasm",
            RunOptions("a.wasm", environment=(("A", "b=c"), ("HERE", "yes"))),
        ),
    ],
)
def test_parse(line: str, expected: Options) -> None:
    assert parse_arguments(line.split(), {"HERE": "yes"}) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("fly", "invalid choice: 'fly'"),
        ("run", "required: FILE"),
        ("run --jso a.wasm", "unrecognized arguments: --jso"),
        ("run --dir nowhere-at-all a.wasm", "'nowhere-at-all' is not a folder"),
        ("run --dir .:: a.wasm", "is not HOST or HOST::GUEST"),
        ("run --frames dead a.wasm", "invalid choice: 'dead'"),
        ("run --processes 0 a.wasm", "'0' is not a number of processes"),
        ("gdb --processes two a.wasm", "'two' is not a number of processes"),
        ("run --env =1 a.wasm", "is not NAME or NAME=VALUE"),
        ("run --env AWAY a.wasm", "AWAY is not set here"),
    ],
)
def test_a_mistake_is_explained_on_stderr(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments(line.split(), {})

    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert complaint in err
    assert "--help` explains" in err


@pytest.mark.parametrize("command", ["", "demo", "run"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse_arguments([*command.split(), "--help"])

    assert stop.value.code == 0
    assert f"examples:\n  trio-wasmdbg {command or 'demo'}" in capsys.readouterr().out


def test_the_module_can_be_run() -> None:
    root = Path(__file__).resolve().parents[2]

    done = subprocess.run(
        [sys.executable, "-m", "trio_wasmdbg", "--version"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"trio_wasmdbg {__version__}\n"
