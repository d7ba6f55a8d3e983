"""The guest's standard error as events, for ``--json``: the stream itself carries JSON lines only.

Wasmtime writes into a pipe, which it opens by name.  (It would call a Python function, too, but from
threads of its own, which may outlive the interpreter.)
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from types import TracebackType

import trio
import wasmtime

__all__ = ["GuestStderr"]


class GuestStderr:
    """A pipe from the guest's standard error to *tell*; a context manager."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def __enter__(self) -> GuestStderr:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain(final=True)
        os.close(self._reader)
        os.close(self._writer)

    def configure(self, config: wasmtime.WasiConfig) -> None:
        """Make it the guest's standard error."""
        config.stderr_file = f"/dev/fd/{self._writer}"

    async def watch(self) -> None:
        """Tell what is written while the guest runs, for ever; a task of its own."""
        while True:
            await trio.lowlevel.wait_readable(self._reader)
            self.drain()

    def drain(self, *, final: bool = False) -> None:
        """Tell everything that has been written so far; before an event, it keeps the order."""
        data = b""
        try:
            while chunk := os.read(self._reader, 65536):
                data += chunk
        except BlockingIOError:
            pass  # that was all
        text = self._decoder.decode(data, final)
        if text:
            self._tell(text)
