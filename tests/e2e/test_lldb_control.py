"""LLDB 22 and the course of things: interrupts, leaving and coming back, threads, modules, the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import wasmtime

from tests.e2e.lldb_client import (
    GUESTS,
    LLDB,
    connect,
    in_order,
    line,
    lldb,
    needs_lldb,
    open_listeners,
    served,
)
from trio_wasmdbg import Debuggee, Guest, GuestOutput, load_module, make_engine, open_debuggee, serve_gdb

pytestmark = [needs_lldb, pytest.mark.slow]

SPIN = line("basket.c", "spin")
HALTING = f"command script import {GUESTS.parent / 'halting.py'}"


async def test_interrupt_of_a_spinning_guest() -> None:
    async with served("basket", "spin") as at:
        text = await lldb(
            at.port, HALTING, "c", "thread info", "bt", "expr stop = 1", "c", halt_when="spinning\n"
        )

    in_order(text, "stop reason = signal SIGINT", f"spin at basket.c:{SPIN}", "(volatile int) $0 = 1")
    in_order(text, "exited with status = 0")


async def test_detach_and_come_back() -> None:
    async with served("basket", "spin") as at:
        first = await lldb(at.port, f"b basket.c:{SPIN}", "c", "breakpoint disable 1", "detach")
        second = await lldb(at.port, "bt", "expr stop = 1", "c")

    in_order(first, "breakpoint 1.1", "detached")
    in_order(second, f"spin at basket.c:{SPIN}", "exited with status = 0")


async def test_a_crashed_client_leaves_the_guest_paused_for_the_next_one() -> None:
    assert LLDB is not None
    async with served("basket", "shop") as at:
        # The shell command kills LLDB itself.
        first = await lldb(at.port, "b sum", "c", "script import os; os.kill(os.getpid(), 9)")
        second = await lldb(at.port, "bt", "p counter", "c")

    in_order(first, "breakpoint 1.1")
    in_order(second, "sum", "shop", "(int) 0", "exited with status = 0")


async def test_kill() -> None:
    async with served("basket", "spin") as at:
        text = await lldb(at.port, "b spin", "c", "process kill")
        await trio.testing.wait_all_tasks_blocked()
        assert at.debuggee.state.value == "closed"

    in_order(text, "breakpoint 1.1", "Process 1 exited with status = 9")


async def test_the_application_is_kept_out_while_lldb_is_there() -> None:
    async with served("basket", "spin") as at, trio.open_nursery() as nursery:
        told: list[str] = []

        async def attach() -> None:
            told.append(await lldb(at.port, HALTING, "c", "process kill", halt_when="spinning\n"))

        nursery.start_soon(attach)
        while not told:
            if at.debuggee.state.value == "running":
                with pytest.raises(trio.BusyResourceError):
                    await at.debuggee.run()
            await trio.sleep(0.01)

    in_order(told[0], "exited with status = 9")


async def test_a_module_that_comes_later() -> None:
    engine = make_engine()
    early = await load_module(engine, GUESTS / "counts.wasm", name="counts.wasm")
    late = await load_module(engine, GUESTS / "basket.wasm", name="basket.wasm")
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())

    async def body(guest: Guest) -> object:
        first = await guest.instantiate({}, early)
        await guest.call(first.func("run"))
        second = await guest.instantiate(guest.linker_for(late, {}, wasi=True), late)
        return await guest.call(second.func("shop"))

    listeners, port = await open_listeners()
    async with open_debuggee(store, body) as debuggee, trio.open_nursery() as nursery:
        nursery.start_soon(serve_gdb, debuggee, listeners)
        text = await lldb(port, "b line_price", "image list", "c", "bt", "p *item", "image list", "c")
        nursery.cancel_scope.cancel()

    in_order(
        text,
        "no locations (pending)", "counts.wasm", "(lldb) c",
        "stop reason = breakpoint 1.1", "line_price", "sum", "shop", "id = 101", "counts.wasm", "basket.wasm",
    )  # fmt: skip
    assert "SIG" not in text, "the stop at which LLDB learns of the module is not shown"


async def test_two_debuggees_are_two_threads() -> None:
    engine = make_engine()
    module = await load_module(engine, GUESTS / "basket.wasm", name="basket.wasm")

    @asynccontextmanager
    async def one(export: str, output: GuestOutput) -> AsyncIterator[Debuggee]:
        store = wasmtime.Store(engine)
        wasi = wasmtime.WasiConfig()
        wasi.stdout_file = output.path
        store.set_wasi(wasi)

        async def body(guest: Guest) -> object:
            instance = await guest.instantiate(guest.linker_for(module, {}, wasi=True), module)
            return await guest.call(instance.func(export))

        async with open_debuggee(store, body) as debuggee:
            yield debuggee

    listeners, port = await open_listeners()
    with GuestOutput() as output:
        async with one("shop", output) as shop, one("spin", output) as spin, trio.open_nursery() as nursery:
            nursery.start_soon(serve_gdb, [shop, spin], listeners)
            text = await lldb(
                port, "thread list", "b sum", "c", "thread list", "thread backtrace all",
                "thread select 2", "bt", "thread select 1", "p count", "breakpoint delete -f",
            )  # fmt: skip
            nursery.cancel_scope.cancel()

    in_order(text, "thread #1", "shop", "thread #2", "spin")
    in_order(text, "breakpoint 1.1", "thread #1", "sum", "thread #2", "spin", "(int) 3")


# ── the command ────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def command(*arguments: str) -> AsyncIterator[tuple[trio.Process, int]]:
    """The ``gdb`` command with these arguments, and its port."""
    environment = {**os.environ, "PYTHONPATH": str(GUESTS.parents[2])}
    async with trio.open_nursery() as nursery:


        async def run(*, task_status: trio.TaskStatus[trio.Process]) -> None:
            await trio.run_process(
                [sys.executable, "-m", "trio_wasmdbg", "gdb", *arguments],
                stdin=b"", stdout=subprocess.PIPE, check=False, env=environment, task_status=task_status,
            )  # fmt: skip

        process: trio.Process = await nursery.start(run)
        assert process.stdout is not None
        said = b""
        while b"\n" not in said:
            said += await process.stdout.receive_some()
        assert said.startswith(b"listening on 127.0.0.1:"), said
        yield process, int(said.split(b":")[1].split()[0])
        with trio.move_on_after(20) as scope:
            await process.wait()
        if scope.cancelled_caught:
            process.kill()
            raise AssertionError("the command has not ended")
        nursery.cancel_scope.cancel()


async def test_the_commands_exit_code_is_the_guests() -> None:
    async with command("--invoke", "leave", str(GUESTS / "basket.wasm"), "42") as (process, port):
        text = await lldb(port, "b leave", "c", "frame variable", "c")

    in_order(text, "breakpoint 1.1", "(int) code = 42", "bye", "exited with status = 42")
    assert process.returncode == 42


async def test_the_commands_guest_goes_on_after_a_detach() -> None:
    async with command("--invoke", "leave", str(GUESTS / "basket.wasm"), "43") as (process, port):
        await lldb(port, "detach")
        assert process.stdout is not None
        assert await process.stdout.receive_some() == b"bye\n", "its output has come back to us"

    assert process.returncode == 43


async def test_the_commands_exit_code_after_a_kill() -> None:
    async with command("--invoke", "spin", str(GUESTS / "basket.wasm")) as (process, port):
        await lldb(port, "process kill")

    assert process.returncode == 137


async def test_ctrl_c_ends_the_command() -> None:
    async with command("--invoke", "spin", str(GUESTS / "basket.wasm")) as (process, _port):
        process.send_signal(signal.SIGINT)

    assert process.returncode == 130


async def test_lldbs_own_run_launches_us(tmp_path: object) -> None:
    runtime = f"{tmp_path}/runtime"
    with open(runtime, "w") as script:  # noqa: ASYNC230
        root = GUESTS.parents[2]
        script.write(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m trio_wasmdbg "$@"\n')
    os.chmod(runtime, 0o755)
    text = await lldb(
        None,
        f"settings set platform.plugin.wasm.runtime-path {runtime}",
        "settings set -- platform.plugin.wasm.port-arg --gdb=",
        "settings set -- platform.plugin.wasm.runtime-args gdb --invoke leave",
        f"target create {GUESTS / 'basket.wasm'}",
        "b leave",
        "run 44",
        "frame variable",
        "c",
    )

    in_order(text, "breakpoint 1.1", "(int) code = 44", "bye", "exited with status = 44")


def test_connect_is_what_the_manual_says() -> None:
    assert connect(1234) == "process connect --plugin wasm connect://127.0.0.1:1234"
