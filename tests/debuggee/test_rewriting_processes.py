"""Modules rewritten by several processes: the same result, and nothing is left, whatever happens to them."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from tests.benchmarks._generated import grown
from tests.benchmarks._programs import Program
from tests.debuggee._processes import in_a_process
from tests.debuggee._support import ENGINE
from tests.waiting import until
from trio_wasmdbg import ModuleCache, Progress, load_module
from trio_wasmdbg._program import rewriting_program
from trio_wasmdbg._rewriting_process import GREETING_SIZE, greeting
from trio_wasmdbg.debuggee import _loading, _processes, _progress
from trio_wasmdbg.instrument import FRAME_MODES, FrameMode, Made, Share, batches, instrument, saved
from trio_wasmdbg.wasm import decode_module

GROWN = grown(Program("json", "application", "O2").path.read_bytes(), 40)
MODULE = decode_module(GROWN)
CODE = sum(body.end - body.start for f in MODULE.functions if (body := f.body) is not None)
PACKAGE = Path(_processes.__file__).parents[1]

SMALL = 2_000
"""Bytes of a batch here, so that there are enough of them."""

PROXY = """#!{python}
import os, subprocess, sys
{code}
"""
"""A program in the interpreter's place, which is given the interpreter's arguments."""


class Started:
    """The processes that were started."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []
        self.threads: list[threading.Thread] = []

    def check_ended(self) -> None:
        for each in self.all:
            assert each.returncode is not None
            with pytest.raises(ChildProcessError):
                os.waitpid(each.pid, os.WNOHANG)
            for pipe in (each.stdin, each.stdout):
                assert pipe is None or pipe.closed
        assert not [thread for thread in threading.enumerate() if thread.name == "trio_wasmdbg rewriting"]


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Batches are small; at the end, no process or thread is left."""
    it = Started()
    popen = subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        it.all.append(popen(*arguments, **options))
        return it.all[-1]

    monkeypatch.setattr(subprocess, "Popen", watched)
    monkeypatch.setattr(_processes, "batches", lambda module: batches(module, SMALL))
    yield it
    it.check_ended()


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The functions that have come from other processes.  This one begins when there is one."""
    found: set[int] = set()
    work = _processes._Work
    deliver_all, of_this_process = work.deliver_all, work.of_this_process
    come = threading.Event()

    def delivering(self: _processes._Work, owner: object, batch: range, made: list[Made | None]) -> None:
        deliver_all(self, owner, batch, made)
        found.update(batch)
        come.set()

    def waiting(self: _processes._Work) -> Iterator[int]:
        assert come.wait(60)
        return of_this_process(self)

    monkeypatch.setattr(work, "deliver_all", delivering)
    monkeypatch.setattr(work, "of_this_process", waiting)
    return found


def nothing(*_arguments: object) -> None:
    pass


def made(frames: FrameMode = "exact", processes: int | None = 3) -> dict[int, Made | None]:
    return _processes.made_by_processes(MODULE, frames, processes, nothing, nothing)


def check(those: dict[int, Made | None], frames: FrameMode = "exact") -> None:
    """All functions are there, and the module is as it should be."""
    assert sorted(those) == [f.index for f in MODULE.functions if f.body is not None]
    together, alone = instrument(MODULE, frames=frames, made=those), instrument(MODULE, frames=frames)
    assert b"".join(saved(together, bytes(32))) == b"".join(saved(alone, bytes(32)))


# ── the result ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("frames", FRAME_MODES)
async def test_the_result_is_the_same(frames: FrameMode, started: Started, delivered: set[int]) -> None:
    check(made(frames), frames)
    assert len(started.all) == 2
    assert delivered


async def test_loading_by_processes(started: Started, delivered: set[int], tmp_path: Path) -> None:
    cache = ModuleCache(tmp_path / "cache", min_module=0)
    alone = await load_module(ENGINE, GROWN, cache=None, processes=1)
    assert not started.all
    together = await load_module(ENGINE, GROWN, cache=cache, processes=2)
    assert len(started.all) == 1 and delivered
    assert together._instrumented.wasm == alone._instrumented.wasm
    again = await load_module(ENGINE, GROWN, cache=cache, processes=2)
    assert len(started.all) == 1
    assert again._instrumented.wasm == alone._instrumented.wasm


async def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= _processes.usable_processors() <= (os.cpu_count() or 1)
    default = _processes.default_processes
    for processors in (1, 2, 3, 64):
        monkeypatch.setattr(_processes, "usable_processors", lambda: processors)  # noqa: B023
        # Too little code, and a module that is too small for another process's memory.
        assert [default(50 << 20, code) for code in (0, 10, 999_999)] == [1, 1, 1]
        assert default(1_100_000, 1_099_000) == 1
        sizes = [(1_500_000, 1_000_000), (5_000_000, 3_000_000), (7_000_000, 7_000_000), (26 << 20, 6 << 20)]
        for (size, code), most in zip(sizes, (2, 4, 4, 8), strict=True):
            assert default(size, code) == min(most, processors)
            assert (default(size, code) - 1) * (22_000_000 + 1.7 * size) <= _processes.MEMORY * size
        assert default(1 << 30, 1 << 30) == min(8, processors)


async def test_a_small_module_is_rewritten_by_one(started: Started) -> None:
    assert made(processes=None) == {}
    assert made(processes=1) == {}
    await load_module(ENGINE, "(module (func))", processes=8)
    await load_module(ENGINE, b"\0asm\1\0\0\0", processes=8)
    assert not started.all


@pytest.mark.parametrize("processes", [0, -1])
async def test_no_process_at_all_is_too_few(processes: int) -> None:
    with pytest.raises(ValueError, match=f"at least this process rewrites a module, not {processes}"):
        await load_module(ENGINE, GROWN, processes=processes)


async def test_progress(delivered: set[int]) -> None:
    told: list[tuple[int, int]] = []
    ticks: list[None] = []
    _processes.made_by_processes(
        MODULE, "exact", 2, lambda: ticks.append(None), lambda *done: told.append(done)
    )
    assert told == sorted(told) and {total for _, total in told} == {CODE}
    assert told[0][0] > 0 and told[-1][0] <= CODE
    assert len(ticks) >= len(told)


async def test_progress_of_loading(monkeypatch: pytest.MonkeyPatch, delivered: set[int]) -> None:
    monkeypatch.setattr(_progress, "_PAUSE", 0.0)
    reports: list[Progress] = []
    await load_module(ENGINE, GROWN, processes=2, cache=None, progress=reports.append)
    done = [report.done for report in reports if report.stage == "rewrite"]
    assert done[0] == 0 and done[-1] == CODE and done == sorted(done) and len(done) > 2
    assert {report.total for report in reports if report.stage == "rewrite"} == {CODE}


async def test_a_function_that_comes_meanwhile_is_not_finished_here(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other process delivers while this one, which has nothing else left, is at the same functions.
    work, share = _processes._Work, Share
    take, deliver_all, of_this_process, make = work.take, work.deliver_all, work.of_this_process, share.make
    works: list[_processes._Work] = []
    taken, begun = threading.Event(), threading.Event()
    delivered = threading.Event()
    those: list[int] = []
    here: list[int] = []

    def taking(self: _processes._Work, owner: object) -> range | None:
        batch = take(self, owner)
        if batch is not None:
            works.append(self)
            those.extend(batch)
        taken.set()
        return batch

    def delivering(self: _processes._Work, *arguments: Any) -> None:
        assert begun.wait(60)
        deliver_all(self, *arguments)
        delivered.set()

    def waiting(self: _processes._Work) -> Iterator[int]:
        assert taken.wait(60)
        return of_this_process(self)

    def tick() -> None:
        if works[0].here in those:
            begun.set()
            assert delivered.wait(60)

    def making(self: Share, index: int) -> Made | None:
        here.append(index)
        return make(self, index)

    monkeypatch.setattr(work, "take", taking)
    monkeypatch.setattr(work, "deliver_all", delivering)
    monkeypatch.setattr(work, "of_this_process", waiting)
    monkeypatch.setattr(share, "make", making)
    monkeypatch.setattr(_processes, "batches", lambda module: batches(module, CODE // 2 + 1))
    check(_processes.made_by_processes(MODULE, "exact", 2, tick, nothing))
    assert begun.is_set() and 0 < len(set(those).intersection(here)) < len(those)
    assert here[-1] == works[0].here


# ── what may happen to the others ──────────────────────────────────────────────────────────────


def proxy(folder: Path, code: str) -> str:
    """A program that takes the interpreter's place."""
    path = folder / "python-proxy"
    path.write_text(PROXY.format(python=sys.executable, code=code))
    path.chmod(0o700)
    return str(path)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        pytest.param("sys.exit(3)", "not the same program", id="ends at once"),
        pytest.param("print('Hello.  ' * 100)", "not the same program", id="says something else"),
        # Whether it is noticed in telling it the module, or in hearing it.
        pytest.param("os.write(1, {greeting})", "Error(", id="ends after the greeting"),
        pytest.param(
            "os.write(1, {greeting} + b'\\xff' * 100); sys.stdin.buffer.read()",
            "UnpicklingError",
            id="says junk",
        ),
        pytest.param(
            "import pickle; os.write(1, {greeting} + pickle.dumps([])); sys.stdin.buffer.read()",
            "0 functions instead of",
            id="delivers too little",
        ),
        pytest.param(
            "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n"
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
            "Error(",
            id="hears nothing",
        ),
        pytest.param(
            "sys.argv[-1] = '/nowhere'; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
            "not the same program",
            id="does not find attrs",
        ),
    ],
)
async def test_a_program_that_is_not_what_it_should_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str, what: str
) -> None:
    caplog.set_level(logging.INFO, "trio_wasmdbg.processes")
    monkeypatch.setattr(sys, "executable", proxy(tmp_path, code.replace("{greeting}", repr(greeting()))))
    ended = threading.Event()
    give_back = _processes._Work.give_back

    def giving_back(self: _processes._Work, owner: object) -> None:
        give_back(self, owner)
        ended.set()

    of_this_process = _processes._Work.of_this_process

    def waiting(self: _processes._Work) -> Iterator[int]:
        assert ended.wait(60)
        return of_this_process(self)

    monkeypatch.setattr(_processes._Work, "give_back", giving_back)
    monkeypatch.setattr(_processes._Work, "of_this_process", waiting)
    check(made(processes=2))
    assert what in caplog.text


@pytest.mark.parametrize("code", ["import time; time.sleep(3600)", "os.kill(os.getpid(), 19)"])
async def test_a_program_that_says_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    monkeypatch.setattr(sys, "executable", proxy(tmp_path, code))
    check(made())


async def test_one_that_stops_with_functions_is_not_waited_for(
    started: Started, delivered: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = _processes._Work.take
    taken: list[range] = []

    def taking(self: _processes._Work, owner: object) -> range | None:
        batch = take(self, owner)
        if delivered and batch is not None and not taken:
            started.all[0].send_signal(signal.SIGSTOP)
            taken.append(batch)
        return batch

    monkeypatch.setattr(_processes._Work, "take", taking)
    check(made(processes=2))
    assert taken and not delivered & set(taken[0])


async def test_one_that_dies_gives_its_functions_back(
    started: Started, delivered: set[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_wasmdbg.processes")
    take = _processes._Work.take
    taken: list[range] = []

    def taking(self: _processes._Work, owner: object) -> range | None:
        batch = take(self, owner)
        if delivered and batch is not None and not taken:
            started.all[0].kill()
            taken.append(batch)
        return batch

    monkeypatch.setattr(_processes._Work, "take", taking)
    check(made(processes=2))
    assert taken and "goes on without one of its processes" in caplog.text


async def test_without_an_interpreter(
    started: Started, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_wasmdbg.processes")
    for executable in ("", None, "/usr/bin/blender"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", executable)
            assert made() == {}
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert made() == {}
    assert caplog.text.count("no interpreter is known") == 4
    assert not started.all


@pytest.mark.parametrize("error", [PermissionError("no"), BlockingIOError("too many")])
async def test_where_no_process_can_be_started(
    error: OSError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_wasmdbg.processes")

    def refusing(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", refusing)
    check(made())
    assert caplog.text.count("goes on without another process") == 1


async def test_where_no_thread_can_be_started(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refusing)
    check(made())
    assert len(started.all) == 1


# ── whoever wants it no more ───────────────────────────────────────────────────────────────────


async def test_what_tick_raises_ends_them(started: Started, delivered: set[int]) -> None:
    class Enough(Exception):
        pass

    def tick() -> None:
        raise Enough

    with pytest.raises(Enough):
        _processes.made_by_processes(MODULE, "exact", 3, tick, nothing)
    assert len(started.all) == 2
    started.check_ended()


async def test_a_keyboard_interrupt_ends_them(started: Started) -> None:
    def tick() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _processes.made_by_processes(MODULE, "exact", 3, tick, nothing)
    started.check_ended()


async def test_cancelling_ends_them(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = trio.Event()
    token = trio.lowlevel.current_trio_token()
    ended = threading.Event()
    original = _processes.made_by_processes

    def watched(*arguments: Any) -> Any:
        try:
            return original(*arguments)
        finally:
            ended.set()

    of_this_process = _processes._Work.of_this_process

    def telling(self: _processes._Work) -> Iterator[int]:
        token.run_sync_soon(inside.set)
        while True:  # until a tick ends it
            for index in of_this_process(self):
                yield index
                self.made.pop(index)
            self.batches.extend(batches(MODULE, SMALL))

    monkeypatch.setattr(_loading, "made_by_processes", watched)
    monkeypatch.setattr(_processes._Work, "of_this_process", telling)
    async with trio.open_nursery() as nursery:

        async def loading() -> None:
            await load_module(ENGINE, GROWN, cache=None, processes=3)

        nursery.start_soon(loading)
        await inside.wait()
        nursery.cancel_scope.cancel()
    await until(ended.is_set)
    assert len(started.all) == 2


def alive(pid: int) -> bool:
    """Whether a process runs, of whomever it is a child."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


INTERRUPTED = f"""
import os, signal, subprocess, sys, time
from tests.debuggee import test_rewriting_processes as here
from trio_wasmdbg.debuggee import _processes
popen = subprocess.Popen
def watched(*arguments, **options):
    process = popen(*arguments, **options)
    print(process.pid, flush=True)
    return process
subprocess.Popen = watched
count = 0
def tick():
    global count
    count += 1
    if count == 3:
        HOW
_processes.batches = lambda module: here.batches(module, {SMALL})
_processes.made_by_processes(here.MODULE, "exact", 3, tick, here.nothing)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)", "sys.exit(1)"])
async def test_they_end_with_this_process(how: str) -> None:
    done = await in_a_process(INTERRUPTED.replace("HOW", how))
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    await until(lambda: not any(map(alive, pids)))
    assert done.stderr == ""


# ── the other process ──────────────────────────────────────────────────────────────────────────


def converse(*messages: object, folder: str | None = None) -> tuple[bytes, bytes, int]:
    """What the process says, and how it ends."""
    command = _processes._command()
    assert command is not None
    text = b"".join(pickle.dumps(message) for message in messages)
    return run(command if folder is None else [*command[:-2], folder, command[-1]], text)


def run(command: list[str], text: bytes) -> tuple[bytes, bytes, int]:
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    return done.stdout, done.stderr, done.returncode


async def test_what_it_says() -> None:
    text, errors, code = converse([GROWN, "live"], range(3), range(7, 8))
    assert (errors, code) == (b"", 0)
    assert text[:GREETING_SIZE] == greeting()
    found = []
    rest = memoryview(text)[GREETING_SIZE:]
    while rest:
        pieces = pickle.loads(rest)
        found += pieces
        rest = rest[len(pickle.dumps(pieces, pickle.HIGHEST_PROTOCOL)) :]
    assert len(found) == 4 and all(isinstance(one, Made) for one in found)


async def test_it_imports_little() -> None:
    command = _processes._command()
    assert command is not None
    spy = "import atexit, sys; atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))\n"
    at = command.index("-c") + 1
    command[at] = spy + command[at]
    loaded = run(command, b"")[1].decode().split()
    assert "trio_wasmdbg.instrument._rewrite" in loaded
    for name in ("trio", "wasmtime", "ctypes", "asyncio", "site", "trio_wasmdbg.debuggee", "__mp_main__"):
        assert name not in loaded
    assert "trio_wasmdbg._version" in loaded


async def test_it_ignores_ctrl_c(
    started: Started, delivered: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = _processes._Work.take
    count = 0

    def taking(self: _processes._Work, owner: object) -> range | None:
        nonlocal count
        if len(delivered) and count < 3:
            count += 1
            started.all[0].send_signal(signal.SIGINT)
        return take(self, owner)

    monkeypatch.setattr(_processes._Work, "take", taking)
    before: list[int] = []
    deliver_all = _processes._Work.deliver_all

    def delivering(self: _processes._Work, *arguments: Any) -> None:
        deliver_all(self, *arguments)
        before.append(count)

    monkeypatch.setattr(_processes._Work, "deliver_all", delivering)
    check(made(processes=2))
    assert count and before[-1] > 0


async def test_a_package_in_an_archive(tmp_path: Path) -> None:
    # As of an application in one file: the interpreter reads the same files from there.
    archive = tmp_path / "application.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(PACKAGE.rglob("*.py")):
            file.write(path, path.relative_to(PACKAGE.parent))
    text, errors, code = converse([GROWN, "exact"], range(1), folder=str(archive / "trio_wasmdbg"))
    assert (errors, code) == (b"", 0)
    assert text[:GREETING_SIZE] == greeting() and len(text) > GREETING_SIZE


async def test_another_source_is_another_program(tmp_path: Path) -> None:
    changed = tmp_path / "trio_wasmdbg"
    shutil.copytree(PACKAGE, changed, ignore=shutil.ignore_patterns("__pycache__"))
    assert converse(folder=str(changed))[0] == greeting()
    with (changed / "wasm/_leb.py").open("a") as file:
        file.write("# changed\n")
    text, _, _ = converse(folder=str(changed))
    assert len(text) == GREETING_SIZE and text != greeting()


async def test_a_program_whose_source_can_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: object) -> bytes:
        raise OSError

    layer = sys.modules["trio_wasmdbg.wasm._leb"]
    without = []
    for spec in (None, SimpleNamespace(loader=object(), origin="a"), SimpleNamespace(loader=None, origin="a"),
                 SimpleNamespace(loader=SimpleNamespace(get_data=refuse), origin="a")):  # fmt: skip
        monkeypatch.setattr(layer, "__spec__", spec)
        without.append(rewriting_program.__wrapped__())
    assert len(set(without)) == 1 and without[0] != rewriting_program()


async def test_the_greeting_is_of_all_that_rewrites() -> None:
    assert len(greeting()) == GREETING_SIZE and rewriting_program() in greeting()
    for layer in ("instrument", "wasm"):
        for path in (PACKAGE / layer).glob("*.py"):
            name = f"trio_wasmdbg.{layer}.{path.stem}".removesuffix(".__init__")
            assert name in sys.modules
    assert Path(attrs.__file__).parents[1] == Path(_processes._command()[-1])  # type: ignore[index]
