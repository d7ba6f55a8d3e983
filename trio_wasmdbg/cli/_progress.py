"""A line on the terminal while something takes long; nothing where there is no terminal."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TextIO

import trio

from trio_wasmdbg import Progress
from trio_wasmdbg.cli._values import clean

__all__ = ["Line", "file_size", "shown", "status"]

PATIENCE: Final = 0.3
"""Seconds before anything is said: most things are done by then."""

EVERY: Final = 0.2
"""Seconds from one look of the line to the next."""


WIDTH: Final = 20
"""Characters of the bar."""

SHARES: Final = {"read": (0.0, 0.0), "validate": (0.0, 0.05), "rewrite": (0.05, 0.75), "compile": (0.75, 1.0)}
"""From where to where each stage moves the bar; about what they take of the time."""


class Line:
    """What the line says.

    :ivar text: what is being done.
    :ivar bar: how far it has come; empty as long as nobody has said.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.bar = ""

    def update(self, progress: Progress) -> None:
        """Move the bar; the ``progress=`` of :func:`trio_wasmdbg.load_module`."""
        begin, end = SHARES[progress.stage]
        done = begin + (end - begin) * (progress.done / progress.total if progress.total else 0.0)
        full = round(done * WIDTH)
        self.bar = f" [{'#' * full}{'-' * (WIDTH - full)}] {done:4.0%} {progress.stage}"


@asynccontextmanager
async def status(
    text: str, stream: TextIO, environ: Mapping[str, str]
) -> AsyncIterator[Callable[[Progress], None]]:
    """While the block runs, and it takes its time: *text* and the seconds, on a line that goes away.

    The block gets a function that adds a bar to it.
    """
    line = Line(clean(text))
    async with shown(line, stream, environ):
        yield line.update


@asynccontextmanager
async def shown(line: Line, stream: TextIO, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Show *line*, as it is at each moment, while the block runs and if *stream* is a terminal."""
    if not stream.isatty() or environ.get("TERM", "") == "dumb":
        yield
        return
    problem: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, line, stream)
        try:
            yield
        except Exception as error:
            problem = error  # raised below, so that it comes out as it is, in no group
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem


async def _tell(line: Line, stream: TextIO) -> None:
    began = trio.current_time()
    await trio.sleep(PATIENCE)
    try:
        while True:
            # To the line's beginning, the text, and whatever was there before is wiped out.
            text = f"{line.text} …{line.bar} {trio.current_time() - began:.0f} s"
            stream.write(f"\r{text[: _columns(stream) - 1]}\x1b[K")
            stream.flush()
            await trio.sleep(EVERY)
    finally:
        stream.write("\r\x1b[K")
        stream.flush()


def _columns(stream: TextIO) -> int:
    """The terminal's width: what is wider would stay when the line goes away."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def file_size(size: int) -> str:
    """A size in bytes as people read it: ``512 bytes``, ``1.5 MB``."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
