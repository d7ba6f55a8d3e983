"""Where output goes: tables on a terminal, plain lines elsewhere, JSON lines for scripts.

Three printers with one face, :class:`Printer`; :func:`make_printer` picks one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from trio_wasmdbg.cli._plain import event_json, event_line, frame_json, frame_lines, gap, table_lines
from trio_wasmdbg.cli._records import EventRecord, FrameRecord
from trio_wasmdbg.cli._values import clean

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["JsonPrinter", "PlainPrinter", "Printer", "RichPrinter", "make_printer"]


class Printer(Protocol):
    """How a command tells what happens."""

    def heading(self, text: str) -> None:
        """A new section."""

    def say(self, text: str) -> None:
        """A sentence for people."""

    def event(self, event: EventRecord) -> None:
        """An event."""

    def backtrace(self, frames: Sequence[FrameRecord]) -> None:
        """Frames, innermost first, with locals and operand stacks."""

    def rows(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """A small table of facts."""


class PlainPrinter:
    """Plain lines; the same input gives the same bytes anywhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = False

    def _line(self, text: str = "") -> None:
        # A name may need characters that the stream's encoding lacks; that is no reason to die.
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self._stream.flush()
        self._begun = True

    def heading(self, text: str) -> None:
        if self._begun:
            self._line()
        self._line(f"== {clean(text)}")

    def say(self, text: str) -> None:
        self._line(clean(text, most=2000))

    def event(self, event: EventRecord) -> None:
        self._line(f"* {event_line(event)}")

    def backtrace(self, frames: Sequence[FrameRecord]) -> None:
        before = None
        for frame in frames:
            if left_out := gap(before, frame):
                self._line(f"  … {left_out} frames left out …")
            for line in frame_lines(frame):
                self._line(f"  {line}")
            before = frame

    def rows(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        cells = [tuple(clean(cell) for cell in row) for row in rows]
        for line in table_lines([columns, *cells]):
            self._line(f"  {line}")


class JsonPrinter:
    """One JSON object a line, each with an ``"event"``; prose for people is left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _object(self, content: Mapping[str, object]) -> None:
        # ASCII only: escapes and lone surrogates included, whatever the stream's encoding.
        self._stream.write(json.dumps(content, allow_nan=False) + "\n")
        self._stream.flush()

    def heading(self, text: str) -> None:
        """Nothing: a script doesn't read headings."""

    def say(self, text: str) -> None:
        """Nothing: a script doesn't read sentences."""

    def event(self, event: EventRecord) -> None:
        self._object(event_json(event))

    def backtrace(self, frames: Sequence[FrameRecord]) -> None:
        self._object({"event": "backtrace", "frames": [frame_json(frame) for frame in frames]})

    def rows(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        facts = [dict(zip(columns, row, strict=True)) for row in rows]
        self._object({"event": "table", "rows": facts})


class RichPrinter:
    """Colours and tables, by rich."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def heading(self, text: str) -> None:
        from trio_wasmdbg.cli._rich import heading

        self._console.print()
        self._console.print(heading(text))

    def say(self, text: str) -> None:
        self._console.print(clean(text, most=2000))

    def event(self, event: EventRecord) -> None:
        from trio_wasmdbg.cli._rich import event_text

        self._console.print(event_text(event))

    def backtrace(self, frames: Sequence[FrameRecord]) -> None:
        from trio_wasmdbg.cli._rich import backtrace_table

        self._console.print(backtrace_table(list(frames)))

    def rows(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        from trio_wasmdbg.cli._rich import rows_table

        self._console.print(rows_table(columns, list(rows)))


def make_printer(stream: TextIO, environ: Mapping[str, str], *, as_json: bool = False) -> Printer:
    """The printer for *stream*.

    Tables only where the stream is a terminal that can draw them (not ``TERM=dumb``, an encoding
    with box characters) and rich is installed; colours only without ``NO_COLOR`` (no-color.org:
    set to anything but the empty string).
    """
    if as_json:
        return JsonPrinter(stream)
    drawable = (stream.encoding or "").lower().replace("-", "").startswith("utf")
    if not stream.isatty() or environ.get("TERM", "") == "dumb" or not drawable:
        return PlainPrinter(stream)
    try:
        from trio_wasmdbg.cli._rich import make_console
    except ImportError:  # installed without the `cli` extra
        return PlainPrinter(stream)
    return RichPrinter(make_console(stream, colour=not environ.get("NO_COLOR")))
