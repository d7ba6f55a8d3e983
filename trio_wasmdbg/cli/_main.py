"""The program's entry: parse, dispatch, exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from trio_wasmdbg.cli._arguments import DemoOptions, GdbOptions, Options, RunOptions, parse_arguments
from trio_wasmdbg.cli._demo import demo
from trio_wasmdbg.cli._gdb import gdb
from trio_wasmdbg.cli._run import run

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[type[Options], Callable[[Any], int]]] = {
    DemoOptions: demo,
    GdbOptions: gdb,
    RunOptions: run,
}
"""What each kind of options does: takes them, and gives the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; *arguments* defaults to the process's own.

    :returns: the exit code.
    """
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(type(options))
    if command is None:
        print(f"trio-wasmdbg: {type(options).__name__} has no command in this build", file=sys.stderr)
        return 70
    try:
        code = command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left.  Python would complain again at exit, when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code
