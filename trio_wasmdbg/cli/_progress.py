"""A line on the terminal while something takes long; nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, TextIO

import trio

from trio_wasmdbg.cli._values import clean

__all__ = ["file_size", "status"]

PATIENCE: Final = 0.3
"""Seconds before anything is said: most things are done by then."""

EVERY: Final = 0.2
"""Seconds from one look of the line to the next."""


@asynccontextmanager
async def status(text: str, stream: TextIO, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """While the block runs, and it takes its time: *text* and the seconds, on a line that goes away."""
    if not stream.isatty() or environ.get("TERM", "") == "dumb":
        yield
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, clean(text), stream)
        yield
        nursery.cancel_scope.cancel()


async def _tell(text: str, stream: TextIO) -> None:
    began = trio.current_time()
    await trio.sleep(PATIENCE)
    try:
        while True:
            # To the line's beginning, the text, and whatever was there before is wiped out.
            stream.write(f"\r{text} … {trio.current_time() - began:.0f} s\x1b[K")
            stream.flush()
            await trio.sleep(EVERY)
    finally:
        stream.write("\r\x1b[K")
        stream.flush()


def file_size(size: int) -> str:
    """A size in bytes as people read it: ``512 bytes``, ``1.5 MB``."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
