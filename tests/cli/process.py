"""The program as a process: what it prints is read as it comes, signals are sent when it has."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """The package from this tree, UTF-8, a plain terminal where there is one."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "TERM": "xterm"}


def run(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """``trio-wasmdbg`` from beginning to end."""
    return subprocess.run(
        [sys.executable, "-m", "trio_wasmdbg", *map(str, arguments)],
        cwd=cwd or ROOT,
        env=environment(),
        input=stdin,
        capture_output=True,
        timeout=60,
    )


class Process:
    """One that is under way."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.seen: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    @property
    def stdin(self) -> IO[bytes]:
        assert self._popen.stdin is not None
        return self._popen.stdin

    def interrupt(self) -> None:
        self._popen.send_signal(signal.SIGINT)

    def go_on(self) -> None:
        self._popen.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """The exit code."""
        return self._popen.wait(60)

    def line(self, stream: str = "stderr") -> str:
        """The next line; the process must print one."""
        pipe: IO[bytes] | None = getattr(self._popen, stream)
        assert pipe is not None
        line = pipe.readline()
        assert line, f"{stream} has ended; all of it: {self.seen}"
        self.seen[stream] += line
        return line.decode()

    def until(self, words: str, stream: str = "stderr") -> list[str]:
        """Lines up to one that contains *words*."""
        lines = [self.line(stream)]
        while words not in lines[-1]:
            lines.append(self.line(stream))
        return lines

    def written(self) -> bytes:
        """What stands in standard output already."""
        assert self._popen.stdout is not None
        descriptor = self._popen.stdout.fileno()
        os.set_blocking(descriptor, False)
        try:
            return self._popen.stdout.read() or b""
        finally:
            os.set_blocking(descriptor, True)

    def close(self, stream: str) -> None:
        """Our end of a pipe."""
        pipe: IO[bytes] | None = getattr(self._popen, stream)
        assert pipe is not None
        pipe.close()

    def rest(self, stream: str = "stderr") -> str:
        pipe: IO[bytes] | None = getattr(self._popen, stream)
        assert pipe is not None
        return pipe.read().decode()


@contextmanager
def started(*arguments: str | Path, **how: Any) -> Iterator[Process]:
    """``trio-wasmdbg``, with pipes unless *how* has something else; killed at the end of the block."""
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    popen = subprocess.Popen(
        [sys.executable, "-m", "trio_wasmdbg", *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        **{**streams, **how},
    )
    with popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()
