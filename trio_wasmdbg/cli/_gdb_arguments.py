"""The grammar of ``gdb``, and of the form in which LLDB's own ``run`` launches us."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from attrs import frozen

from trio_wasmdbg import FrameMode

__all__ = ["GdbOptions", "add_gdb_parser", "add_loading", "gdb_options", "platform_form"]


@frozen
class GdbOptions:
    """``gdb [OPTION...] FILE [ARGUMENT...]``"""

    file: str
    arguments: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    directories: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    invoke: str | None = None
    when_client_leaves: Literal["pause", "resume", "kill"] = "pause"
    frames: FrameMode = "exact"
    processes: int | None = None
    """How many may rewrite the module; None: as many as pay."""


_PLATFORM = "--gdb="


def platform_form(arguments: Sequence[str]) -> list[str]:
    """``--gdb=PORT [gdb] FILE …`` is ``gdb --listen 127.0.0.1:PORT FILE …``; all else stays.

    LLDB's WebAssembly platform starts its runtime as ``RUNTIME --gdb=PORT RUNTIME-ARGS FILE ARGS``.
    """
    if not arguments or not arguments[0].startswith(_PLATFORM):
        return list(arguments)
    port, rest = arguments[0].removeprefix(_PLATFORM), list(arguments[1:])
    if rest[:1] == ["gdb"]:
        del rest[0]
    return ["gdb", "--listen", f"127.0.0.1:{port}", *rest]


def add_gdb_parser(
    commands: Any, directory: Callable[[str], object], variable: Callable[[str], object]
) -> None:
    """Add the command to the program's parser; *directory* and *variable* parse ``--dir`` and ``--env``."""
    gdb = commands.add_parser(
        "gdb",
        help="serve a WASI command to LLDB",
        usage="%(prog)s [-h] [--listen HOST:PORT] [--when-client-leaves WHAT] [--dir HOST[::GUEST]] "
        "[--env NAME[=VALUE]]\n       [--invoke EXPORT] [--frames HOW] [--processes N] FILE [ARGUMENT ...]",
        description="Waits for LLDB 22, at the guest's first instruction.  What the guest writes goes to the "
        "debugger\nwhile one is attached, to standard output otherwise.  The exit code is the guest's.",
        epilog="examples:\n  trio-wasmdbg gdb --listen 127.0.0.1:1234 program.wasm\n"
        "  lldb-22 -o 'process connect --plugin wasm connect://127.0.0.1:1234'\n\n"
        "LLDB's own `run` launches this program after:\n"
        "  settings set platform.plugin.wasm.runtime-path /path/to/trio-wasmdbg\n"
        "  settings set -- platform.plugin.wasm.port-arg --gdb=\n"
        "  settings set -- platform.plugin.wasm.runtime-args gdb\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    gdb.add_argument(
        "--listen",
        type=_address,
        default=("127.0.0.1", 0),
        metavar="HOST:PORT",
        help="where to wait (default: 127.0.0.1, at a free port); whoever connects controls the guest",
    )
    gdb.add_argument(
        "--when-client-leaves",
        choices=("pause", "resume", "kill"),
        default="pause",
        metavar="WHAT",
        help="pause (for the next client; the default), resume or kill the guest when a connection is lost",
    )
    gdb.add_argument(
        "--dir", action="append", default=[], type=directory, metavar="HOST[::GUEST]",
        help="let the guest see a folder, under its own or another name",
    )  # fmt: skip
    gdb.add_argument(
        "--env", action="append", default=[], type=variable, metavar="NAME[=VALUE]",
        help="an environment variable for the guest; without a value, this process's own",
    )  # fmt: skip
    gdb.add_argument("--invoke", metavar="EXPORT", help="call this export with the arguments as numbers")
    add_loading(gdb)
    gdb.add_argument("file", metavar="FILE", help="a module, binary (.wasm) or text (.wat)")
    gdb.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="the guest's arguments")


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Add what is asked for when a module is loaded: ``--frames`` and ``--processes``."""
    parser.add_argument(
        "--frames",
        choices=get_args(FrameMode),
        default="exact",
        metavar="HOW",
        help="keep every local of every frame (exact; the default), only those that the program still needs "
        "(live; faster), or also those of a function that has trapped (post-mortem; slower)",
    )
    parser.add_argument(
        "--processes",
        type=_processes,
        metavar="N",
        help="rewrite the module in so many processes, 1 for this one alone (default: as many as pay)",
    )


def gdb_options(found: argparse.Namespace) -> GdbOptions:
    """What was found on the command line."""
    host, port = found.listen
    return GdbOptions(
        file=found.file,
        arguments=tuple(found.arguments),
        host=host,
        port=port,
        directories=tuple(found.dir),
        environment=tuple(found.env),
        invoke=found.invoke,
        when_client_leaves=found.when_client_leaves,
        frames=found.frames,
        processes=found.processes,
    )


def _processes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = "", text
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)
