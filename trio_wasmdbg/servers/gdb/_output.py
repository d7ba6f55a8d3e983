"""The guest's standard output, caught in a pipe, for the client or for whoever wants it."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

import trio

__all__ = ["GuestOutput"]

_PART = 4096
_MOST = 1 << 20
"""Bytes that one drain takes at most: a guest that floods must not keep it from ending."""


class GuestOutput:
    """A pipe into which a guest writes: ``wasi.stdout_file = output.path``.

    A context manager; leaving it closes the pipe.  What comes out is for one reader at a time.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    @property
    def path(self) -> str:
        """The pipe as a file that can be opened for writing."""
        return f"/dev/fd/{self._write}"

    def __enter__(self) -> GuestOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._read)
        os.close(self._write)

    def drain(self) -> bytes:
        """Everything written so far (at most a megabyte); never waits."""
        parts: list[bytes] = []
        size = 0
        while size < _MOST:
            try:
                part = os.read(self._read, _PART)
            except BlockingIOError:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    async def wait(self) -> None:
        """Until there is something to drain; a checkpoint."""
        await trio.lowlevel.wait_readable(self._read)

    async def pump(self, sink: Callable[[bytes], None]) -> None:
        """Hand everything to *sink*, for ever; a checkpoint.  Cancelled: nothing is lost."""
        while True:
            await self.wait()
            sink(self.drain())
