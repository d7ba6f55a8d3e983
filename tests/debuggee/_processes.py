"""Processes of their own, for what may end one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

__all__ = ["in_a_process"]

ROOT = Path(__file__).parents[2]


async def in_a_process(
    program: str, *options: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter whose warnings are errors; TooSlowError if it does not end."""
    command = [sys.executable, "-W", "error", *options, "-c", program]
    with trio.fail_after(seconds):
        done = await trio.run_process(
            command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False
        )
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
