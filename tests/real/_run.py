"""The child process: ``python -m tests.real._run PROGRAM FILE MODE…`` runs a program in each mode.

Prints a line of JSON for the module, and one for each mode, as :class:`Outcome`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
import wasmtime
from attrs import asdict, frozen

from tests.real._catalog import PROGRAMS, Program, Session
from trio_wasmdbg import Guest, GuestInstance, GuestModule, events, load_module, make_engine, open_debuggee

__all__ = ["MODES", "Debugged", "Outcome", "digest", "in_sandbox", "main", "perform", "run_plain"]

MODES: Final = ("plain", "fast", "slow")
"""Plain; in fast twins, with nothing armed; with a breakpoint on every function whose condition never holds,
so that each of them runs in its slow twin."""


@frozen
class Outcome:
    """What came of a program.

    :ivar load: seconds of compiling it, and before that rewriting it.
    :ivar seconds: of running it (in slow twins, of making those as well).
    :ivar output: a hash of all that it has given out: streams, files, results, exit code.
    :ivar tail: the end of what it has given out, for people.
    :ivar slow_twins: how many functions got one.
    """

    mode: str
    load: float
    seconds: float
    output: str
    tail: str
    slow_twins: int = 0


class _Plain:
    """A :class:`Session` of the engine's own."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        self._store = store
        self._exports = instance.exports(store)
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory

    async def call(self, export: str, *args: object) -> Any:
        """Calls an export."""
        func = self._exports[export]
        assert isinstance(func, wasmtime.Func)
        return func(self._store, *args)

    def read(self, address: int, length: int) -> bytes:
        """Reads its memory."""
        return bytes(self._memory.read(self._store, address, address + length))

    def write(self, address: int, data: bytes) -> None:
        """Writes its memory."""
        self._memory.write(self._store, data, address)


class Debugged:
    """A :class:`Session` under the debugger."""

    def __init__(self, guest: Guest, instance: GuestInstance) -> None:
        self._guest = guest
        self._instance = instance

    async def call(self, export: str, *args: object) -> Any:
        """Calls an export."""
        return await self._guest.call(self._instance.func(export), *args)

    def read(self, address: int, length: int) -> bytes:
        """Reads its memory."""
        return self._instance.read_memory(address, length)

    def write(self, address: int, data: bytes) -> None:
        """Writes its memory."""
        self._instance.write_memory(address, data)


async def perform(program: Program, session: Session, exports: Any) -> bytes:
    """Lets a program do its task."""
    if program.use is None:
        await session.call("_start")
        return b""
    if "_initialize" in exports:
        await session.call("_initialize")
    return await program.use(session)


class _Sandbox:
    """Streams and a folder for one run."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._program = program
        self._folder = folder
        (folder / "stdin").write_bytes(program.stdin)
        (folder / "root").mkdir()
        for name, data in program.files.items():
            path = folder / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def store(self, engine: wasmtime.Engine) -> wasmtime.Store:
        """A store with this WASI."""
        wasi = wasmtime.WasiConfig()
        wasi.argv = [self._program.name, *self._program.argv]
        wasi.env = list(self._program.env)
        wasi.stdin_file = str(self._folder / "stdin")
        wasi.stdout_file = str(self._folder / "stdout")
        wasi.stderr_file = str(self._folder / "stderr")
        wasi.preopen_dir(str(self._folder / "root"), "/")
        store = wasmtime.Store(engine)
        store.set_wasi(wasi)
        return store

    def outcome(self, *more: bytes) -> bytes:
        """All that was given out."""
        files = [self._folder / "stdout", self._folder / "stderr"]
        files += [self._folder / "root" / name for name in self._program.outputs]
        return b"\n--\n".join([*(path.read_bytes() for path in files), *more])


async def in_sandbox(
    program: Program, engine: wasmtime.Engine, work: Callable[[wasmtime.Store], Awaitable[bytes]]
) -> tuple[bytes, float]:
    """All that a program has given out, and the seconds that it took."""
    with TemporaryDirectory() as folder:
        sandbox = _Sandbox(program, Path(folder))
        store = sandbox.store(engine)
        began = time.perf_counter()
        ending = await work(store)
        seconds = time.perf_counter() - began
        store.close()  # closes the streams
        return sandbox.outcome(ending), seconds


async def run_plain(program: Program, data: bytes) -> Outcome:
    """Runs it without the debugger."""
    engine = wasmtime.Engine()
    began = time.perf_counter()
    module = wasmtime.Module(engine, data)
    load = time.perf_counter() - began

    async def work(store: wasmtime.Store) -> bytes:
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        instance = linker.instantiate(store, module)
        try:
            result = await perform(program, _Plain(store, instance), instance.exports(store))
        except wasmtime.ExitTrap as exit:
            return b"exit %d" % exit.code
        return result + b"exit 0"

    output, seconds = await in_sandbox(program, engine, work)
    return Outcome("plain", load, seconds, *digest(output))


async def run_debugged(program: Program, module: GuestModule, mode: str, load: float) -> Outcome:
    """Runs it in fast twins, or in slow ones."""
    twins = 0

    async def work(store: wasmtime.Store) -> bytes:
        nonlocal twins

        async def body(guest: Guest) -> bytes:
            instance = await guest.instantiate(guest.linker_for(module, {}, wasi=True), module)
            return await perform(program, Debugged(guest, instance), instance.exports)

        async with open_debuggee(store, body) as debuggee:
            if mode == "slow":
                debuggee.flavours = False
                debuggee.add_breakpoint(re.compile(""), condition="0")
            finished = await debuggee.run()
            assert isinstance(finished, events.Finished), finished
            twins = debuggee.statistics().slow_twins
        if finished.error is not None and finished.exit_code is None:
            raise finished.error
        return (finished.result or b"") + b"exit %d" % (finished.exit_code or 0)

    output, seconds = await in_sandbox(program, module.engine, work)
    return Outcome(mode, load, seconds, *digest(output), twins)


def digest(output: bytes) -> tuple[str, str]:
    """What is kept of an output: its hash, and its end."""
    return hashlib.sha256(output).hexdigest(), output[-300:].decode("utf-8", "replace")


async def _main(name: str, data: bytes, modes: list[str]) -> None:
    (program,) = [each for each in PROGRAMS if each.name == name]
    module, load = None, 0.0
    for mode in modes:
        if mode == "plain":
            outcome = await run_plain(program, data)
        else:
            if module is None:
                began = time.perf_counter()
                module = await load_module(make_engine(), data, name=name, cache=None)
                load = time.perf_counter() - began
                bodies = [f for f in module.original.functions if f.body is not None]
                opaque = [str(each) for each in module._instrumented.opaque.values()]
                print(json.dumps({"size": len(data), "functions": len(bodies), "opaque": opaque}), flush=True)
            outcome = await run_debugged(program, module, mode, load)
        print(json.dumps(asdict(outcome)), flush=True)


def main(arguments: list[str]) -> None:
    """Runs what the command line says."""
    name, path, *modes = arguments
    trio.run(_main, name, Path(path).read_bytes(), modes)


if __name__ == "__main__":
    main(sys.argv[1:])
