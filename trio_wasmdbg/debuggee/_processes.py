"""Rewriting a large module by several processes at once.

Each of the others is an interpreter that runs ``_rewriting_process``, without the application's ``__main__``
(which is why it is not :mod:`multiprocessing` that starts them), and is served by a thread here: it is told
the module, takes functions, and says what it has made of them (see ``instrument/_shares``).  Meanwhile the
caller's thread rewrites as well.  Functions are handed out in small batches, so whoever is faster does more.

Nothing depends on the others.  What one of them has not begun with, when it has not started or has died, goes
to the rest.  Nobody waits for it, either: what it has not delivered when all else is done is rewritten here,
until it does.  So the worst that an environment can do in which no process can be started, or not ours, is
what happens with one process.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

import attrs

from .._rewriting_process import GREETING_SIZE, greeting
from ..instrument import FrameMode, Made, Share, batches
from ..wasm import Module

__all__ = ["default_processes", "made_by_processes", "usable_processors"]

logger = logging.getLogger("trio_wasmdbg.processes")

CODE_EACH: Final = 500_000
"""Bytes of function bodies for each process: for fewer, starting it takes longer than it saves."""
MEMORY: Final = 20
"""Bytes of memory that the others may take, all of them together, for each byte of the module."""
MOST: Final = 8
"""Processes that are used unless more are asked for."""

_START: Final = """
import sys, types
folder, needed = sys.argv[1:]
sys.path.append(needed)
package = sys.modules["trio_wasmdbg"] = types.ModuleType("trio_wasmdbg")
package.__path__ = [folder]
from trio_wasmdbg._rewriting_process import main
main()
"""
"""What an interpreter is started with.  The package's own ``__init__`` would import trio and the engine, so
there is an empty package in its place."""


def usable_processors() -> int:
    """How many processors this process may use."""
    count: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)  # CPython 3.13
    if count is not None:
        return count() or 1
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def default_processes(size: int, code: int) -> int:
    """How many processes pay, this one included, for *size* bytes of a module with *code* bytes of bodies."""
    # An interpreter with what it needs takes 22 MB, and the module in it 1.7 times its size.
    afforded = MEMORY * size // (22_000_000 + 2 * size)
    return max(1, min(usable_processors(), code // CODE_EACH, 1 + afforded, MOST))


def made_by_processes(
    module: Module,
    frames: FrameMode,
    processes: int | None,
    tick: Callable[[], None],
    progress: Callable[[int, int], None],
) -> dict[int, Made | None]:
    """What becomes of the functions, for :func:`~trio_wasmdbg.instrument.instrument`.

    :param processes: how many rewrite, this one included; None: as many as pay.  If that is one, there is
        nothing to share out, and nothing is made here.
    :param tick: called about every 2,000 instructions.  What it raises ends the others, and is raised here.
    :param progress: called now and then, in this thread, with the bytes of function bodies that are done, and
        of how many.
    """
    work = _Work(module)
    if processes is None:
        processes = default_processes(len(module.data), work.total)
    # One batch is what this process begins with.
    others = min(processes, len(work.batches)) - 1
    command = _command() if others > 0 else None
    if command is None:
        return {}

    def pace() -> None:
        tick()
        if work.here in work.made:
            raise _DeliveredError
        progress(work.done, work.total)

    share = Share(module, frames, pace)
    with ExitStack() as started:
        for _ in range(others):
            try:
                other = _Process(command, work, [module.data, frames])
            except (OSError, RuntimeError) as error:
                logger.info("rewriting goes on without another process: %s", error)
                break
            started.callback(other.close)
        since = 0
        for index in work.of_this_process():
            # If it is delivered meanwhile, what is made of it here is of no use.
            with suppress(_DeliveredError):
                made = share.make(index)
                since += 2000 if made is None else made.instructions
                if since >= 2000:
                    since = 0
                    pace()
                work.deliver(index, made)
    return work.made


class _DeliveredError(Exception):
    """Another process has delivered the function that is being rewritten here."""


class _Work:
    """What is to be done, who does it, and what is done; used by all threads.

    :ivar made: by function.
    :ivar done: bytes of function bodies, of ``total``.
    :ivar here: the function that is being rewritten by this process.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._lock = threading.Lock()
        self.batches = deque(batches(module))
        self._elsewhere: dict[object, range] = {}
        self.made: dict[int, Made | None] = {}
        self.done = 0
        self.total = sum(self._size(function.index) for function in module.functions)
        self.here = -1

    def _size(self, index: int) -> int:
        body = self._module.functions[index].body
        return 0 if body is None else body.end - body.start

    def take(self, owner: object) -> range | None:
        """Functions for another process; None if there are no more."""
        with self._lock:
            if not self.batches:
                return None
            batch = self._elsewhere[owner] = self.batches.popleft()
            return batch

    def deliver_all(self, owner: object, batch: range, made: list[Made | None]) -> None:
        """What another process has made of the functions that it took."""
        if len(made) != len(batch):
            raise ValueError(f"{len(made)} functions instead of {len(batch)}")
        for index, one in zip(batch, made, strict=True):
            self.deliver(index, one)
        with self._lock:
            self._elsewhere.pop(owner, None)

    def deliver(self, index: int, made: Made | None) -> None:
        """What has been made of one function; the first to say it counts."""
        with self._lock:
            if index not in self.made:
                self.made[index] = made
                self.done += self._size(index)

    def give_back(self, owner: object) -> None:
        """Another process won't deliver what it took."""
        with self._lock:
            batch = self._elsewhere.pop(owner, None)
            if batch is not None:
                self.batches.append(batch)

    def of_this_process(self) -> Iterator[int]:
        """Functions to be rewritten here: of batches that nobody has taken, and then of the others' that are
        not delivered yet."""
        while True:
            with self._lock:
                if self.batches:
                    batch = self.batches.popleft()
                elif self._elsewhere:
                    batch = self._elsewhere.pop(next(iter(self._elsewhere)))
                else:
                    return
            for index in batch:
                if index not in self.made:
                    self.here = index
                    yield index


class _Process:
    """Another process, and the thread that serves it."""

    def __init__(self, command: list[str], work: _Work, setup: list[object]) -> None:
        """:raises OSError, RuntimeError: it can't be started."""
        self._work = work
        self._setup = setup
        self._closed = False
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # A daemon: the application may end while a module is being loaded.
        self._thread = threading.Thread(target=self._serve, name="trio_wasmdbg rewriting", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._closed = True
        self._process.kill()
        self._thread.join()
        self._end()

    def _end(self) -> None:
        process = self._process
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        process.wait()

    def _serve(self) -> None:
        try:
            self._talk()
        except Exception as error:
            # It has died, or is not what it should be.
            if not self._closed:
                logger.info("rewriting goes on without one of its processes: %r", error)
        finally:
            self._work.give_back(self)

    def _talk(self) -> None:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        if answers.read(GREETING_SIZE) != greeting():
            raise ValueError("it is not the same program")
        pickle.dump(self._setup, requests, pickle.HIGHEST_PROTOCOL)
        while (batch := self._work.take(self)) is not None:
            pickle.dump(batch, requests, pickle.HIGHEST_PROTOCOL)
            requests.flush()
            self._work.deliver_all(self, batch, pickle.load(answers))


def _command() -> list[str] | None:
    """What starts another process; None where no interpreter is known that would understand it."""
    interpreter = sys.executable
    # A program that Python is built into, or frozen with, would begin anew.
    named = os.path.basename(interpreter or "").lower().startswith(("python", "pypy"))
    if not named or getattr(sys, "frozen", False):
        logger.info("rewriting goes on in one process: no interpreter is known")
        return None
    # Neither environment, site nor current folder: of the paths here, only those that have what is needed.
    options = ["-I", "-S", "-B"]
    if sys.pycache_prefix is not None:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    needed = os.path.dirname(os.path.dirname(os.path.abspath(attrs.__file__)))
    return [interpreter, *options, "-c", _START, ours, needed]
