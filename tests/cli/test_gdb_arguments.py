"""The grammar of ``gdb``, the form in which LLDB launches us, and what goes wrong before anybody connects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import environment
from trio_wasmdbg.cli._arguments import GdbOptions, parse_arguments

ROOT = Path(__file__).parents[2]
BASKET = str(ROOT / "tests" / "e2e" / "guests" / "basket.wasm")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gdb a.wasm", GdbOptions("a.wasm")),
        ("gdb --listen 127.0.0.1:1234 a.wasm b -c", GdbOptions("a.wasm", ("b", "-c"), port=1234)),
        ("gdb --listen :1234 a.wasm", GdbOptions("a.wasm", port=1234)),
        ("gdb --listen 1234 a.wasm", GdbOptions("a.wasm", port=1234)),
        ("gdb --listen [::1]:1 a.wasm", GdbOptions("a.wasm", host="::1", port=1)),
        ("gdb --listen 0.0.0.0:0 a.wasm", GdbOptions("a.wasm", host="0.0.0.0")),
        ("gdb --when-client-leaves kill a.wasm", GdbOptions("a.wasm", when_client_leaves="kill")),
        ("gdb --invoke f --dir . --env A=1 a.wasm 1", GdbOptions(
            "a.wasm", ("1",), directories=((".", "."),), environment=(("A", "1"),), invoke="f")),
        # As LLDB's platform spells it: --gdb=PORT RUNTIME-ARGS MODULE ARGS.
        ("--gdb=4711 gdb /abs/t.wasm one two", GdbOptions("/abs/t.wasm", ("one", "two"), port=4711)),
        ("--gdb=4711 /abs/t.wasm -x", GdbOptions("/abs/t.wasm", ("-x",), port=4711)),
        ("--gdb=4711 gdb --invoke f t.wasm", GdbOptions("t.wasm", port=4711, invoke="f")),
    ],
)  # fmt: skip
def test_parse(line: str, expected: GdbOptions) -> None:
    assert parse_arguments(line.split(), {}) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("gdb", "required: FILE"),
        ("gdb --listen nowhere a.wasm", "'nowhere' is not HOST:PORT"),
        ("gdb --listen localhost:99999 a.wasm", "is not HOST:PORT"),
        ("gdb --when-client-leaves cry a.wasm", "invalid choice: 'cry'"),
        ("--gdb=x gdb a.wasm", "is not HOST:PORT"),
    ],
)
def test_complaints(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(line.split(), {})
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["nowhere.wasm"], 1, "nowhere.wasm: No such file"),
        ([__file__], 1, "can't be loaded"),
        ([BASKET], 2, "_start"),
        (["--invoke", "leave", BASKET], 2, "leave"),
        (["--listen", "192.0.2.1:1", "--invoke", "shop", BASKET], 1, "can't listen on 192.0.2.1:1"),
    ],
)
def test_nothing_to_serve(arguments: list[str], code: int, complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trio_wasmdbg", "gdb", *arguments],
        capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip
    assert done.returncode == code
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_it_warns_where_others_can_connect() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "trio_wasmdbg", "gdb", "--listen", "0.0.0.0:0", "--invoke", "shop", BASKET],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("listening on 0.0.0.0:")
        process.terminate()
        assert "whoever connects controls the guest" in process.stderr.read()
