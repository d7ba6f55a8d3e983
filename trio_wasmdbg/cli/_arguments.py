"""The command line's grammar: arguments in, one record of options out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

from attrs import frozen

from trio_wasmdbg import FrameMode
from trio_wasmdbg._version import __version__
from trio_wasmdbg.cli._gdb_arguments import (
    GdbOptions,
    add_gdb_parser,
    add_loading,
    gdb_options,
    platform_form,
)
from trio_wasmdbg.cli._stress_arguments import StressOptions, add_stress_parser, stress_options

__all__ = ["DemoOptions", "GdbOptions", "Options", "RunOptions", "StressOptions", "parse_arguments"]


@frozen
class DemoOptions:
    """``demo [--list | --source] [SCENE...]``"""

    scenes: tuple[str, ...] = ()
    """None named: all of them."""
    list: bool = False
    source: bool = False


@frozen
class RunOptions:
    """``run [OPTION...] FILE [ARGUMENT...]``"""

    file: str
    arguments: tuple[str, ...] = ()
    directories: tuple[tuple[str, str], ...] = ()
    """Pairs of the host's folder and the guest's name for it."""
    environment: tuple[tuple[str, str], ...] = ()
    invoke: str | None = None
    """An export to call, instead of ``_start``."""
    as_json: bool = False
    frames: FrameMode = "exact"
    processes: int | None = None
    """How many may rewrite the module; None: as many as pay."""


Options: TypeAlias = DemoOptions | RunOptions | GdbOptions | StressOptions


def parse_arguments(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Options:
    """What *arguments* (without the program's name) ask for; nothing at all asks for the demo.

    :raises SystemExit: with code 2 after a complaint on stderr, or 0 after ``--help`` or ``--version``.
    """
    parser = _make_parser(environ)
    found = parser.parse_args(platform_form(arguments) or ["demo"])
    if found.command == "demo":
        return DemoOptions(scenes=tuple(found.scene), list=found.list, source=found.source)
    if found.command == "gdb":
        return gdb_options(found)
    if found.command == "stress":
        return stress_options(found)
    return RunOptions(
        file=found.file,
        arguments=tuple(found.arguments),
        directories=tuple(found.dir),
        environment=tuple(found.env),
        invoke=found.invoke,
        as_json=found.json,
        frames=found.frames,
        processes=found.processes,
    )


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints end with where help is."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n(`{self.prog} --help` explains)\n")


def _make_parser(environ: Mapping[str, str]) -> _Parser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="trio-wasmdbg",
        description="A WebAssembly debugger for trio applications.  Without arguments: the demo.",
        epilog="examples:\n  trio-wasmdbg demo\n  trio-wasmdbg run --dir . program.wasm input.txt",
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trio_wasmdbg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="watch the debugger at work on a bundled guest",
        description="Debugs a bundled guest, compiled from C, step by step.",
        epilog="examples:\n  trio-wasmdbg demo            every scene\n"
        "  trio-wasmdbg demo --list     their names\n"
        "  trio-wasmdbg demo --source trap   the program of one of them\n",
        formatter_class=raw,
        allow_abbrev=False,
    )
    what = demo.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="name the scenes, and play none")
    what.add_argument("--source", action="store_true", help="print the scenes' programs, and play none")
    demo.add_argument("scene", nargs="*", metavar="SCENE", help="play only these, in this order")

    run = commands.add_parser(
        "run",
        help="run a WASI command under the debugger",
        usage="%(prog)s [-h] [--dir HOST[::GUEST]] [--env NAME[=VALUE]] [--invoke EXPORT] [--json]\n       "
        "[--frames HOW] [--processes N] FILE [ARGUMENT ...]",
        description="Runs a WASI command, or one export of a module, under the debugger.  The guest's output "
        "alone\ngoes to standard output, events go to standard error, and the guest's exit code is the\n"
        "program's own.  Ctrl-C pauses the guest, a second one cancels it (exit code 130).\n"
        "Everything after FILE belongs to the guest.",
        epilog="examples:\n  trio-wasmdbg run --dir data::/data --env LANG=C convert.wasm /data/in.txt\n"
        "  trio-wasmdbg run --invoke gcd module.wasm 1071 462\n",
        formatter_class=raw,
        allow_abbrev=False,
    )
    run.add_argument(
        "--dir",
        action="append",
        default=[],
        type=_directory,
        metavar="HOST[::GUEST]",
        help="let the guest see a folder, under its own or another name",
    )
    run.add_argument(
        "--env",
        action="append",
        default=[],
        type=lambda text: _variable(text, environ),
        metavar="NAME[=VALUE]",
        help="an environment variable for the guest; without a value, this process's own",
    )
    run.add_argument("--invoke", metavar="EXPORT", help="call this export with the arguments as numbers")
    run.add_argument("--json", action="store_true", help="events as JSON, an object a line")
    add_loading(run)
    run.add_argument("file", metavar="FILE", help="a module, binary (.wasm) or text (.wat)")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="the guest's arguments")

    add_gdb_parser(commands, _directory, lambda text: _variable(text, environ))
    add_stress_parser(commands)
    return parser


def _directory(text: str) -> tuple[str, str]:
    host, separator, guest = text.partition("::")
    if not host or (separator and not guest):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST or HOST::GUEST")
    if not os.path.isdir(host):
        raise argparse.ArgumentTypeError(f"{host!r} is not a folder")
    return host, guest or host


def _variable(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME or NAME=VALUE")
    if separator:
        return name, value
    if name not in environ:
        raise argparse.ArgumentTypeError(f"{name} is not set here, and has no =VALUE")
    return name, environ[name]
