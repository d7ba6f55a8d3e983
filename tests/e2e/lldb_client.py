"""Driving the real LLDB 22 against a guest that this process serves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime
from attrs import define

from trio_wasmdbg import Debuggee, GuestOutput, debug_wasm, load_module, make_engine, serve_gdb

GUESTS = Path(__file__).parent / "guests"
LLDB = shutil.which("lldb-22")
LLDB_DAP = shutil.which("lldb-dap-22")

needs_lldb = pytest.mark.skipif(LLDB is None, reason="lldb-22 is not installed (apt-get install lldb-22)")
needs_lldb_dap = pytest.mark.skipif(
    LLDB_DAP is None, reason="lldb-dap-22 is not installed (apt-get install lldb-22)"
)


def line(file: str, mark: str) -> int:
    """The number of the line that ends in ``// @mark``."""
    found = [
        number
        for number, text in enumerate((GUESTS / file).read_text().splitlines(), 1)
        if text.endswith(f"// @{mark}")
    ]
    (number,) = found
    return number


@define
class Served:
    """A guest that waits for LLDB."""

    debuggee: Debuggee
    port: int


def connect(port: int) -> str:
    """LLDB's command that attaches to a server."""
    return f"process connect --plugin wasm connect://127.0.0.1:{port}"


async def open_listeners() -> tuple[list[trio.SocketListener], int]:
    """Listeners on loopback, at a free port."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    return listeners, port


@asynccontextmanager
async def served(guest: str, export: str, *args: object, **options: Any) -> AsyncIterator[Served]:
    """A guest of this folder, served for the length of a block; *options* as for ``serve_gdb``."""
    module = await load_module(make_engine(), GUESTS / f"{guest}.wasm", name=f"{guest}.wasm")
    listeners, port = await open_listeners()
    with GuestOutput() as output:
        wasi = wasmtime.WasiConfig()
        wasi.stdout_file = output.path
        async with debug_wasm(module, export, args, wasi=wasi) as debuggee, trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[Any]) -> None:
                await serve_gdb(debuggee, listeners, output=output, task_status=task_status, **options)

            await nursery.start(serve)
            yield Served(debuggee, port)
            nursery.cancel_scope.cancel()


async def lldb(
    port: int | None,
    *commands: str,
    on_crash: Sequence[str] = (),
    halt_when: str | None = None,
) -> str:
    """Run ``lldb-22 --batch``, attach to *port*, carry out *commands*; the whole transcript.

    :param on_crash: after a crash, LLDB gives up the rest of a batch and carries out these instead.
    :param halt_when: when LLDB has shown this, ``halting.py`` (imported by a command) interrupts the guest.
    """
    assert LLDB is not None
    arguments = [LLDB, "--batch", "--no-lldbinit", "--no-use-colors"]
    first = [f"settings set target.source-map /guests {GUESTS}", "settings set stop-line-count-after 0"]
    if port is not None:
        first.append(connect(port))
    for command in (*first, *commands):
        arguments += ["--one-line", command]
    for command in on_crash:
        arguments += ["--one-line-on-crash", command]
    # Python inside LLDB must not look into this interpreter's environment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    folder = tempfile.TemporaryDirectory()
    signal_file = Path(folder.name) / "halt"
    environment["HALT_WHEN"] = str(signal_file)
    process = await trio.lowlevel.open_process(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    assert process.stdout is not None
    shown = b""
    try:
        with trio.fail_after(60):
            async for part in process.stdout:
                shown += part
                if halt_when is not None and halt_when.encode() in shown:
                    signal_file.touch()
            await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        folder.cleanup()
        text = shown.decode("utf-8", "replace")
        print(text)
    return text


async def debug(
    guest: str, export: str, *commands: str, args: tuple[object, ...] = (), on_crash: Sequence[str] = ()
) -> str:
    """One LLDB session with one guest."""
    async with served(guest, export, *args) as at:
        return await lldb(at.port, *commands, on_crash=on_crash)


def in_order(transcript: str, *wanted: str) -> None:
    """Every text in *wanted* occurs, after the one before it."""
    position = 0
    for text in wanted:
        found = transcript.find(text, position)
        assert found >= 0, f"not found after position {position}: {text!r}"
        position = found + len(text)
