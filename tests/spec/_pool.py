"""Two child processes that run scripts; one that dies or hangs costs its script only."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

__all__ = ["Pool", "Results"]

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT: Final = 300
"""Seconds of CPU for one script in one mode."""
BUSY: Final = 10
"""So many times as long it may take by the clock: the machine may have other things to do."""

Results = list[dict[str, Any]]
"""One dict a mode, as the worker sends it; ``"died"`` tells what happened where there is no answer."""


class _Worker:
    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.spec._worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment,
        )  # fmt: skip
        self._buffer = b""

    def ask(self, path: Path, modes: Sequence[str]) -> Results:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"path": str(path), "modes": list(modes)}).encode() + b"\n")
        self.process.stdin.flush()
        results: Results = []
        for mode in modes:
            line = self._line()
            if line is None:
                results.append({"mode": mode, "died": self._how(), "counts": {}, "failures": []})
                break
            results.append(json.loads(line))
        return results

    def _line(self) -> bytes | None:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], LIMIT * BUSY)
            if not ready:
                self.process.kill()
                self._buffer = b""
                return None
            data = os.read(descriptor, 1 << 16)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _how(self) -> str:
        assert self.process.stderr is not None
        code = self.process.wait()
        text = self.process.stderr.read().decode(errors="replace")
        return f"the process ended with {code}: {text[-2000:]}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        if self.alive:
            self.process.kill()
        self.process.wait()


class Pool:
    """Runs scripts, so many at a time."""

    def __init__(self, workers: int = 2) -> None:
        self._threads = ThreadPoolExecutor(workers)
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(None)

    def submit(self, path: Path, modes: Sequence[str]) -> Future[Results]:
        """The script's results, in time."""
        return self._threads.submit(self._run, path, modes)

    def _run(self, path: Path, modes: Sequence[str]) -> Results:
        worker = self._idle.get()
        if worker is not None and not worker.alive:
            worker.close()
            worker = None
        if worker is None:
            worker = _Worker()
        try:
            return worker.ask(path, modes)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Ends the processes; what has not begun is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.close()
