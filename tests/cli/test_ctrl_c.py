"""``run`` and Ctrl-C: real signals to real processes, each after something that it was seen to print."""

from __future__ import annotations

import json
import os
import pty
from pathlib import Path

import pytest

from tests.cli.process import Process, started

PRELUDE = r"""
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\06\00\00\00")   ;; one iovec: 6 bytes at 16
  (data (i32.const 16) "ready\n")"""

SAY = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"

# It says that it is ready in the function that spins, so that is where it is from then on.
SPINS = f"""(module {PRELUDE}
  (func $spin (param $tag i32) {SAY} (loop $again (br $again)))
  (func (export "_start") (call $spin (i32.const 77))))"""

# Slowly: were the pipe ever full, it would be stuck in the write, where it can't be paused.
TALKS = f"""(module {PRELUDE}
  (func $wait (local $left i32)
    (local.set $left (i32.const 1000000))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left))))
  (func (export "_start") (loop $again {SAY} (call $wait) (br $again))))"""

READS = f"""(module {PRELUDE}
  (func (export "_start")
    {SAY}
    (loop $again
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $again))))"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("spins", SPINS), ("talks", TALKS), ("reads", READS)):
        (tmp_path / f"{name}.wat").write_text(text)
    return tmp_path


def test_the_first_pauses_and_the_second_cancels(folder: Path) -> None:
    with started("run", folder / "spins.wat") as process:
        assert process.line("stdout") == "ready\n"
        process.interrupt()

        shown = process.until("Paused")
        assert shown[0].startswith("* interrupted in spin at 0x")
        assert "local 0" in shown[2]
        assert shown[2].endswith("77 (0x4d)\n")
        assert any(line.startswith("  #1 _start ") for line in shown)
        assert shown[-1].endswith("Ctrl-C again cancels.\n")

        process.interrupt()
        assert process.line() == "* cancelled\n"
        assert process.wait() == 130
        assert process.rest("stdout") == ""
        assert process.rest() == ""


def test_in_json(folder: Path) -> None:
    with started("run", "--json", folder / "spins.wat") as process:
        process.line("stdout")
        process.interrupt()
        interrupted, backtrace = json.loads(process.line()), json.loads(process.line())
        assert (interrupted["event"], interrupted["function_name"]) == ("interrupted", "spin")
        assert [frame["function_name"] for frame in backtrace["frames"]] == ["spin", "_start"]
        process.interrupt()
        assert json.loads(process.line()) == {"event": "cancelled", "exit_code": 130}
        assert process.wait() == 130


def test_sigcont_goes_on_and_the_count_starts_anew(folder: Path) -> None:
    with started("run", folder / "talks.wat") as process:
        assert process.line("stdout") == "ready\n"
        for _ in range(3):
            process.interrupt()
            assert "kill -CONT" in process.until("Paused")[-1]
            process.written()  # what it wrote before it paused; nothing more comes
            process.go_on()
            assert process.line() == "The guest goes on.\n"
            assert process.line("stdout") == "ready\n"
        process.interrupt()
        process.until("Paused")
        process.interrupt()
        assert process.wait() == 130


def test_enter_goes_on(folder: Path) -> None:
    terminal, stdin = pty.openpty()
    try:
        with started("run", folder / "talks.wat", stdin=stdin) as process:
            assert process.line("stdout") == "ready\n"
            process.interrupt()
            assert process.until("Paused")[-1] == "Paused: Enter goes on, Ctrl-C again cancels.\n"
            process.written()
            os.write(terminal, b"\n")
            assert process.line("stdout") == "ready\n"
            process.interrupt()
            process.until("Paused")
            process.interrupt()
            assert process.wait() == 130
    finally:
        os.close(stdin)
        os.close(terminal)


def interrupt_while_it_reads(process: Process) -> None:
    """Ctrl-C, with the guest inside WASI's read; where it pauses before that, it goes on first."""
    process.interrupt()
    while "inside a host function" not in (line := process.line()):
        if line.startswith("Paused"):
            process.go_on()
            # Two signals that wait together would be delivered in their numbers' order.
            process.until("goes on.")
            process.interrupt()


def test_a_guest_that_waits_for_input(folder: Path) -> None:
    """It can't be paused inside WASI, and can't be stopped: the process ends around it."""
    with started("run", folder / "reads.wat") as process:
        assert process.line("stdout") == "ready\n"
        interrupt_while_it_reads(process)
        process.interrupt()
        assert process.line() == "* cancelled: inside a host function, which has not returned\n"
        assert process.wait() == 130


def test_a_guest_that_gets_its_input_pauses_then(folder: Path) -> None:
    with started("run", folder / "reads.wat") as process:
        assert process.line("stdout") == "ready\n"
        interrupt_while_it_reads(process)
        stdin = process.stdin
        stdin.write(b"x\n")
        stdin.flush()
        shown = process.until("Paused")
        assert shown[0].startswith("* interrupted in _start at 0x")
        process.interrupt()
        assert process.wait() == 130


def test_while_loading(tmp_path: Path) -> None:
    """A named pipe that nobody writes to loads for ever; the terminal says so."""
    os.mkfifo(tmp_path / "slow.wasm")
    terminal, stderr = pty.openpty()
    try:
        with started("run", tmp_path / "slow.wasm", stderr=stderr) as process:
            seen = b""
            while b"loading slow.wasm" not in seen:
                seen += os.read(terminal, 4096)
            process.interrupt()
            while b"cancelled" not in seen:
                seen += os.read(terminal, 4096)
            # The status line is wiped out before anything else is said.
            assert seen.index(b"\r\x1b[K") < seen.index(b"cancelled")
            assert process.wait() == 130
    finally:
        os.close(stderr)
        os.close(terminal)
