"""``run``: a WASI command, or one export of a module, under the debugger."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

import trio
import wasmtime
from attrs import evolve

from trio_wasmdbg import DebuggerError, NotFoundError, debug_wasm, events, load_module, make_engine
from trio_wasmdbg.cli._arguments import RunOptions
from trio_wasmdbg.cli._control import CANCELLED, Control
from trio_wasmdbg.cli._guest_stderr import GuestStderr
from trio_wasmdbg.cli._invoke import BadInvocation, convert_arguments, exported_function, result_lines
from trio_wasmdbg.cli._printing import Printer, make_printer
from trio_wasmdbg.cli._progress import file_size, status
from trio_wasmdbg.cli._recording import event_record
from trio_wasmdbg.cli._records import EventRecord
from trio_wasmdbg.cli._values import clean

__all__ = ["run"]

FAILED: Final = 1
"""The module can't be loaded or linked, or ended with an error that is no trap."""
BAD_USAGE: Final = 2
TRAPPED: Final = 134
"""128 + SIGABRT, as of a native program that aborts."""


def run(options: RunOptions) -> int:
    """Run the command; the exit code is the guest's, or one of the above."""
    printer = make_printer(sys.stderr, os.environ, as_json=options.as_json)
    try:
        if not options.as_json:
            return trio.run(_run, options, printer, None)
        with GuestStderr(lambda text: printer.event(EventRecord("stderr", facts={"text": text}))) as stderr:
            return trio.run(_run, options, printer, stderr)
    except KeyboardInterrupt:  # before anybody listened to signals
        return CANCELLED


async def _run(options: RunOptions, printer: Printer, stderr: GuestStderr | None) -> int:
    control = Control(printer, before_event=stderr.drain if stderr is not None else None)
    # Installed before anything takes time.  SIGCONT does what it always does, besides.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGCONT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control.watch, signals)
            if stderr is not None:
                nursery.start_soon(stderr.watch)
            code = CANCELLED
            with control.scope:
                code = await _load_and_run(options, printer, control, stderr)
            if control.scope.cancelled_caught:
                control.tell_of_cancellation()
            nursery.cancel_scope.cancel()
    return code


async def _load_and_run(
    options: RunOptions, printer: Printer, control: Control, stderr: GuestStderr | None
) -> int:
    def complain(message: str, code: int) -> int:
        text = " ".join(f"{options.file}: {message}".split())  # Wasmtime's messages have many lines
        printer.event(EventRecord("error", note=text, facts={"exit_code": code}))
        return code

    path = trio.Path(options.file)
    try:
        size = file_size((await path.stat()).st_size)
        async with status(f"loading {path.name} ({size})", sys.stderr, os.environ) as tell:
            module = await load_module(
                make_engine(), Path(path), frames=options.frames, processes=options.processes, progress=tell
            )
    except OSError as error:
        return complain(error.strerror or str(error), FAILED)
    except (wasmtime.WasmtimeError, DebuggerError) as error:
        return complain(f"this module can't be loaded: {error}", FAILED)

    export = "_start" if options.invoke is None else options.invoke
    words = () if options.invoke is None else options.arguments
    try:
        type = exported_function(module, export)
        arguments = convert_arguments(words, type, export)
        wasi = _wasi(options, stderr)
    except BadInvocation as error:
        return complain(str(error), BAD_USAGE)

    async with debug_wasm(module, export, arguments, wasi=wasi) as debuggee:
        finished, trapped = await control.run(debuggee)
    code = _exit_code(finished)
    if isinstance(finished.error, NotFoundError):
        return complain(f"{finished.error} (`run` gives a module nothing but WASI)", code)
    if finished.error is None and options.invoke is not None:
        for line in result_lines(finished.result, type):
            print(line, flush=True)
    if not trapped or options.as_json:
        record = event_record(finished)
        printer.event(evolve(record, facts={**record.facts, "exit_code": code}))
    return code


def _exit_code(finished: events.Finished) -> int:
    if finished.exit_code is not None:
        return finished.exit_code
    if finished.error is None:
        return 0
    return TRAPPED if isinstance(finished.error, wasmtime.Trap) else FAILED


def _wasi(options: RunOptions, stderr: GuestStderr | None) -> wasmtime.WasiConfig:
    config = wasmtime.WasiConfig()
    try:
        config.argv = [Path(options.file).name, *(options.arguments if options.invoke is None else ())]
        config.env = list(options.environment)
        for host, guest in options.directories:
            config.preopen_dir(host, guest)
    except UnicodeEncodeError as error:
        raise BadInvocation(f"WASI's strings are UTF-8, which {clean(error.object)} is not") from None
    except wasmtime.WasmtimeError as error:
        raise BadInvocation(f"WASI refuses: {error}") from None
    config.inherit_stdin()
    config.inherit_stdout()
    if stderr is not None:
        stderr.configure(config)
    else:
        config.inherit_stderr()
    return config
