"""``gdb``: a WASI command, or one export of a module, served to LLDB."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import Final

import trio
import wasmtime

from trio_wasmdbg import DebuggerError, GuestOutput, debug_wasm, events, load_module, make_engine, serve_gdb
from trio_wasmdbg.cli._gdb_arguments import GdbOptions
from trio_wasmdbg.cli._invoke import BadInvocation, convert_arguments, exported_function
from trio_wasmdbg.cli._values import clean

__all__ = ["gdb"]

FAILED: Final = 1
BAD_USAGE: Final = 2
TRAPPED: Final = 134
KILLED: Final = 137
"""128 + SIGKILL: the client has killed the guest."""
CANCELLED: Final = 130


def gdb(options: GdbOptions) -> int:
    """Run the command; the exit code is the guest's, or one of the above."""
    try:
        with GuestOutput() as output:
            return trio.run(_serve, options, output)
    except KeyboardInterrupt:
        return CANCELLED


def _say(text: str) -> None:
    print(clean(f"trio-wasmdbg: {text}"), file=sys.stderr, flush=True)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def _serve(options: GdbOptions, output: GuestOutput) -> int:
    path = Path(options.file)
    try:
        # LLDB looks a module up by its name, and takes a file on its own machine for it.
        name = str(await trio.Path(path).absolute()) if path.suffix == ".wasm" else None
        module = await load_module(
            make_engine(), path, name=name, frames=options.frames, processes=options.processes
        )
    except OSError as error:
        _say(f"{options.file}: {error.strerror or error}")
        return FAILED
    except (wasmtime.WasmtimeError, DebuggerError) as error:
        _say(f"{options.file}: this module can't be loaded: {error}")
        return FAILED
    export = "_start" if options.invoke is None else options.invoke
    try:
        function = exported_function(module, export)
        arguments = convert_arguments(
            () if options.invoke is None else options.arguments, function, export
        )
    except BadInvocation as error:
        _say(f"{options.file}: {error}")
        return BAD_USAGE
    try:
        listeners = await trio.open_tcp_listeners(options.port, host=options.host)
    except OSError as error:
        _say(f"can't listen on {options.host}:{options.port}: {error.strerror or error}")
        return FAILED
    for listener in listeners:
        _warn_of(listener.socket.getsockname()[0])
    async with debug_wasm(module, export, arguments, wasi=_wasi(options, output)) as debuggee:

        async def serve(*, task_status: trio.TaskStatus[object]) -> None:
            await serve_gdb(
                debuggee,
                listeners,
                when_client_leaves=options.when_client_leaves,
                run_detached=True,
                output=output,
                output_sink=_write,
                task_status=task_status,
            )

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            for listener in listeners:
                host, port = listener.socket.getsockname()[:2]
                print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
        finished = debuggee.debug_target().finished
    _write(output.drain())
    return _exit_code(finished)


def _warn_of(host: str) -> None:
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        _say(f"warning: {host} can be reached from other machines, and whoever connects controls the guest")


def _exit_code(finished: events.Finished | None) -> int:
    if finished is None or isinstance(finished.error, trio.ClosedResourceError):
        return KILLED
    if finished.exit_code is not None:
        return finished.exit_code
    if finished.error is None:
        return 0
    _say(f"{type(finished.error).__name__}: {finished.error}")
    return TRAPPED if isinstance(finished.error, wasmtime.Trap) else FAILED


def _wasi(options: GdbOptions, output: GuestOutput) -> wasmtime.WasiConfig:
    config = wasmtime.WasiConfig()
    config.argv = [Path(options.file).name, *(options.arguments if options.invoke is None else ())]
    config.env = list(options.environment)
    for host, guest in options.directories:
        config.preopen_dir(host, guest)
    config.inherit_stdin()
    config.stdout_file = output.path
    config.stderr_file = output.path
    return config
