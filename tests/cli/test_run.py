"""``run``: whose output goes where, exit codes, arguments, complaints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.process import run
from tests.guests.catalog import COMMANDS, Command, wasm
from trio_wasmdbg.cli._invoke import BadInvocation, convert_arguments, result_lines
from trio_wasmdbg.wasm import F32, F64, I32, I64, V128, FuncType

TRAPS = """(module
  (func $quotient (param i32) (result i32) (i32.div_s (i32.const 10) (local.get 0)))
  (func $deeper (param i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "divide") (param i32) (result i32) (call $quotient (local.get 0)))
  (func (export "deep") (result i32) (call $deeper (i32.const 0)))
  (func (export "swap") (param i64 f32) (result f32 i64) (local.get 1) (local.get 0))
  (func (export "nothing")))"""

EXPORTS = "deep, divide, nothing, swap"


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    path = tmp_path / "traps.wat"
    path.write_text(TRAPS)
    return path


def objects(output: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


# ── WASI commands ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("case", COMMANDS, ids=str)
def test_command(case: Command, as_json: bool, tmp_path: Path) -> None:
    (tmp_path / f"{case.guest}.wasm").write_bytes(wasm(case.guest))
    options = [word for name, value in case.env for word in ("--env", f"{name}={value}")]
    if as_json:
        options.append("--json")

    done = run("run", *options, f"{case.guest}.wasm", *case.argv, stdin=case.stdin, cwd=tmp_path)

    assert done.stdout.decode() == case.stdout
    assert done.returncode == case.exit_code
    if as_json:
        *written, finished = objects(done.stderr)
        assert "".join(str(each["text"]) for each in written) == case.stderr
        assert {each["event"] for each in written} <= {"stderr"}
        assert (finished["event"], finished["exit_code"]) == ("finished", case.exit_code)
    else:
        guests, _, event = done.stderr.decode().rpartition("* finished")
        assert guests == case.stderr
        assert event in ("\n", f" with exit code {case.exit_code}\n")


def test_directories(tmp_path: Path) -> None:
    # path_open of "note" in the first preopened folder (descriptor 3), and its size by fd_filestat_get.
    (tmp_path / "note").write_text("x" * 77)
    module = tmp_path / "size.wat"
    module.write_text(r"""(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "note")
      (func (export "_start")
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
              (i64.const 0x200002) (i64.const 0) (i32.const 0) (i32.const 16))
          (then (call $exit (i32.const 99))))
        (drop (call $stat (i32.load (i32.const 16)) (i32.const 64)))
        (call $exit (i32.load (i32.const 96)))))""")

    assert run("run", "--dir", f"{tmp_path}::/data", module).returncode == 77
    assert run("run", module).returncode == 99


# ── --invoke ───────────────────────────────────────────────────────────────────────────────────


def test_invoke(traps: Path) -> None:
    done = run("run", "--invoke", "swap", traps, "0xffffffffffffffff", "0.1")

    assert done.stdout == b"0.1\n-1\n"
    assert done.returncode == 0


def test_invoke_without_results(traps: Path) -> None:
    done = run("run", "--invoke", "nothing", traps)

    assert (done.stdout, done.returncode) == (b"", 0)


def test_invoke_in_json(traps: Path) -> None:
    done = run("run", "--json", "--invoke", "divide", traps, "-5")

    assert done.stdout == b"-2\n"
    assert objects(done.stderr) == [{"event": "finished", "detail": "with -2", "result": -2, "exit_code": 0}]


@pytest.mark.parametrize(
    ("word", "type", "number"),
    [
        ("-1", I32, -1),
        ("4294967295", I32, -1),
        ("0x80000000", I32, -(1 << 31)),
        ("0b101", I32, 5),
        ("-9223372036854775808", I64, -(1 << 63)),
        ("0x1.8p3", F64, 12.0),
        ("-inf", F32, float("-inf")),
        ("1e300", F64, 1e300),
    ],
)
def test_a_word_becomes_a_number(word: str, type: object, number: float) -> None:
    assert convert_arguments([word], FuncType((type,), ()), "f") == [number]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "type"),
    [
        ("x", I32), ("1.5", I32), ("4294967296", I32), ("-2147483649", I32),
        ("1e99", F32), ("1", V128), ("", I64),
    ],
)
def test_a_word_that_does_not_fit(word: str, type: object) -> None:
    with pytest.raises(BadInvocation, match=r"argument 1 of f: .* is no "):
        convert_arguments([word], FuncType((type,), ()), "f")  # type: ignore[arg-type]


def test_results_as_lines() -> None:
    assert result_lines(None, FuncType((), ())) == []
    assert result_lines(-7, FuncType((), (I32,))) == ["-7"]
    assert result_lines((1, 0.5), FuncType((), (I64, F64))) == ["1", "0.5"]


# ── traps ──────────────────────────────────────────────────────────────────────────────────────


def test_a_trap_has_its_backtrace(traps: Path) -> None:
    done = run("run", "--invoke", "divide", traps, "0")

    assert (done.stdout, done.returncode) == (b"", 134)
    event, *frames = done.stderr.decode().splitlines()
    assert event.startswith("* trap INTEGER_DIVISION_BY_ZERO in quotient at 0x")
    assert frames[0].startswith("  #0 quotient (function 0) at 0x")
    assert frames[0].endswith("  i32.div_s")
    assert frames[1:3] == ["     local 0  i32  0", "     operand stack [i32 10 (0xa), i32 0]"]
    assert frames[3].startswith("  #1 divide (function 2) at 0x")
    assert frames[3].endswith("  call 0 (;quotient;)")


def test_a_trap_in_json(traps: Path) -> None:
    done = run("run", "--json", "--invoke", "divide", traps, "0")

    trap, backtrace, finished = objects(done.stderr)
    assert (trap["event"], trap["code"], trap["live"]) == ("trap", "INTEGER_DIVISION_BY_ZERO", True)
    frames = backtrace["frames"]
    assert isinstance(frames, list)
    assert [frame["function_name"] for frame in frames] == ["quotient", "divide"]
    assert [operand["value"] for operand in frames[0]["operand_stack"]] == [10, 0]
    assert frames[0]["module_offset"] == trap["module_offset"]
    assert (finished["event"], finished["exit_code"]) == ("finished", done.returncode)


def test_a_runaway_recursion_is_shown_with_a_gap(traps: Path) -> None:
    done = run("run", "--json", "--invoke", "deep", traps)

    trap, backtrace, _ = objects(done.stderr)
    assert (trap["code"], done.returncode) == ("STACK_OVERFLOW", 134)
    frames = backtrace["frames"]
    assert isinstance(frames, list)
    depths = [frame["depth"] for frame in frames]
    assert depths[:3] == [0, 1, 2]
    assert len(depths) == 50
    assert depths[-1] > 1000
    assert frames[-1]["function_name"] == "deep"
    # Each frame's local says how deep it is.
    assert [frame["locals"][0]["value"] for frame in frames[-4:-1]] == [2, 1, 0]

    text = run("run", "--invoke", "deep", traps).stderr.decode()
    assert f"  … {depths[40] - 40} frames left out …\n" in text


# ── mistakes ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "complaint", "code"),
    [
        (["--invoke", "divide"], "divide takes 1 argument (i32), not 0", 2),
        (["--invoke", "nothing"], None, 0),
        (["--invoke", "fly"], f"no function is exported as 'fly'; exported are: {EXPORTS}", 2),
        ([], f"no WASI command (nothing exports _start); --invoke calls one of: {EXPORTS}", 2),
    ],
)
def test_the_call_does_not_fit(traps: Path, arguments: list[str], complaint: str | None, code: int) -> None:
    done = run("run", *arguments, traps)

    assert done.returncode == code
    if complaint is not None:
        assert done.stderr.decode() == f"* error: {traps}: {complaint}\n"
        assert done.stdout == b""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\0asm\1\0\0\0\1\xff", "can't be loaded: .*at offset 0xa"),
        (b"no module at all", r"can't be loaded: .*bad magic number.*at offset 0x0"),
        (b'(module (import "env" "fly" (func)) (func (export "_start")))', "imports env.fly.*nothing but "),
        (b"(module (func (export \"_start\") i32.flap))", "can't be loaded: .*i32.flap"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_the_module_is_bad(tmp_path: Path, content: bytes, complaint: str, as_json: bool) -> None:
    path = tmp_path / "bad.wasm"
    path.write_bytes(content)

    done = run("run", *(["--json"] if as_json else []), path)

    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    if as_json:
        error = json.loads(line)
        assert (error["event"], error["exit_code"]) == ("error", 1)
        line = error["note"]
    assert re.search(f"{path}: .*{complaint}", line)


def test_there_is_no_such_file(tmp_path: Path) -> None:
    done = run("run", "nowhere.wasm", cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.decode() == "* error: nowhere.wasm: No such file or directory\n"


def test_an_invalid_exit_code_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "exit.wat"
    path.write_text("""(module
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (func (export "_start") (call $exit (i32.const 130))))""")

    done = run("run", path)

    assert done.returncode == 1
    assert "invalid exit status" in done.stderr.decode()


