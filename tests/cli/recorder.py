"""A printer that keeps what it is given, for tests that want facts and not text."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from trio_wasmdbg.cli._records import EventRecord, FrameRecord


@define
class Recorder:
    """Everything that was shown, in order and by kind."""

    said: list[str] = field(factory=list)
    events: list[EventRecord] = field(factory=list)
    backtraces: list[list[FrameRecord]] = field(factory=list)
    tables: list[list[dict[str, str]]] = field(factory=list)

    def heading(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def event(self, event: EventRecord) -> None:
        self.events.append(event)

    def backtrace(self, frames: Sequence[FrameRecord]) -> None:
        self.backtraces.append(list(frames))

    def rows(self, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        self.tables.append([dict(zip(columns, row, strict=True)) for row in rows])

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events, in order."""
        return [event.kind for event in self.events]

    @property
    def result(self) -> object:
        """What the last event says that the guest has computed."""
        assert self.events[-1].kind == "finished"
        return self.events[-1].facts["result"]


def local(frame: FrameRecord, index: int) -> object:
    """A local's value."""
    return frame.locals[index].value.value


def operands(frame: FrameRecord) -> list[object]:
    """The operand stack's values, bottom first."""
    return [operand.value for operand in frame.operand_stack]


def names(frames: Sequence[FrameRecord]) -> list[str]:
    """The functions' names, innermost first."""
    return [frame.function_name for frame in frames]
