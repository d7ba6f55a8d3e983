"""The program's entry: parse, dispatch, exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from trio_wasmdbg.cli._arguments import (
    DemoOptions,
    GdbOptions,
    Options,
    RunOptions,
    StressOptions,
    parse_arguments,
)
from trio_wasmdbg.cli._demo import demo
from trio_wasmdbg.cli._gdb import gdb
from trio_wasmdbg.cli._run import run
from trio_wasmdbg.cli._stress import stress

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[type[Options], Callable[[Any], int]]] = {
    DemoOptions: demo,
    GdbOptions: gdb,
    RunOptions: run,
    StressOptions: stress,
}
"""What each kind of options does: takes them, and gives the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; *arguments* defaults to the process's own.

    :returns: the exit code.
    """
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        code = COMMANDS[type(options)](options)
        sys.stdout.flush()
    except BaseException as error:
        if _is_only(error, KeyboardInterrupt):
            return 130
        if not _is_only(error, BrokenPipeError):
            raise
        # Whoever read our output has left.  Python would complain again at exit, when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _is_only(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an exception, or everything in a group from a nursery, is of one kind."""
    return isinstance(error, kind) or (
        isinstance(error, BaseExceptionGroup) and error.split(kind)[1] is None
    )
