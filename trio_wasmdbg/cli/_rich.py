"""The same facts drawn for a terminal, by the rich library (the ``cli`` extra).

Text from a module goes into :class:`rich.text.Text`, never through rich's markup.
"""

from __future__ import annotations

from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from trio_wasmdbg.cli._plain import event_line, gap
from trio_wasmdbg.cli._records import EventRecord, FrameRecord
from trio_wasmdbg.cli._values import clean, format_offset, format_value

__all__ = ["backtrace_table", "event_text", "make_console", "rows_table"]

KIND_STYLES = {
    "breakpoint": "bold yellow",
    "step": "bold blue",
    "interrupted": "bold magenta",
    "trap": "bold red",
    "exception": "bold red",
    "host error": "bold red",
    "finished": "bold green",
}


def make_console(stream: TextIO, *, colour: bool, width: int | None = None) -> Console:
    """A console on *stream*; without *colour* tables are still drawn."""
    return Console(
        file=stream,
        force_terminal=True,
        no_color=not colour,
        width=width,
        highlight=False,
        emoji=False,
        markup=False,
    )


def heading(text: str) -> Rule:
    """A line across the terminal with a title."""
    return Rule(Text(clean(text), style="bold"), align="left", style="dim")


def event_text(event: EventRecord) -> Text:
    """An event on a line, its kind in the kind's colour."""
    line, kind = event_line(event), clean(event.kind)
    style = KIND_STYLES.get(event.kind, "bold")
    return Text.assemble((f"● {kind}", style), line[len(kind) :])


def backtrace_table(frames: list[FrameRecord]) -> Table:
    """Frames as rows, innermost first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    table.add_column("function", style="cyan", overflow="fold")
    table.add_column("offset", no_wrap=True)
    table.add_column("instruction", style="green", overflow="fold")
    table.add_column("locals", overflow="fold")
    table.add_column("operand stack", overflow="fold")
    before = None
    for frame in frames:
        if left_out := gap(before, frame):
            table.add_row("…", f"{left_out} frames left out", style="dim")
        before = frame
        locals_ = Text()
        for local in frame.locals:
            name = str(local.index) if local.name is None else f"{local.index} {clean(local.name)}"
            locals_.append("\n" if locals_ else "")
            locals_.append(name, style="bold").append(f" {local.value.type} ", style="dim")
            locals_.append(format_value(local.value))
        operands = Text()
        for operand in frame.operand_stack:
            operands.append("\n" if operands else "")
            operands.append(f"{operand.type} ", style="dim").append(format_value(operand))
        if not frame.exact:
            operands.append("\n" if operands else "").append("not exact: unwound by the trap", style="red")
        table.add_row(
            str(frame.depth),
            Text(clean(frame.function_name)),
            format_offset(frame.module_offset),
            Text(clean(frame.instruction or "")),
            locals_,
            operands,
            style="" if frame.exact else "dim",
        )
    return table


def rows_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """A small table of facts."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table
