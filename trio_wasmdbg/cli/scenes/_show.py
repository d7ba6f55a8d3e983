"""How a scene tells what happens: live events and frames in, lines out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trio_wasmdbg import Frame, events
from trio_wasmdbg.cli._recording import event_record, frame_record, stack_records

if TYPE_CHECKING:
    from trio_wasmdbg.cli._printing import Printer

__all__ = ["Show"]


class Show:
    """A scene's voice.  It takes what the debugger gives, and reads it at once."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer

    def say(self, text: str) -> None:
        """A sentence."""
        self._printer.say(text)

    def event(self, event: events.Event) -> None:
        """What kind of event it is, and where the guest is."""
        self._printer.event(event_record(event))

    def frame(self, frame: Frame) -> None:
        """One frame: function, offset, instruction, locals, operand stack."""
        self._printer.backtrace([frame_record(frame)])

    def backtrace(self, frame: Frame) -> None:
        """A frame and all its callers."""
        self._printer.backtrace(stack_records(frame))

    def table(self, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
        """A few facts, aligned."""
        self._printer.rows(columns, [tuple(map(str, row)) for row in rows])
