"""Events and frames as plain lines of text, for pipes, files and tests."""

from __future__ import annotations

from collections.abc import Sequence

from trio_wasmdbg.cli._records import EventRecord, FrameRecord, LocalRecord
from trio_wasmdbg.cli._values import clean, format_offset, format_operands, format_value, json_value

__all__ = [
    "event_json",
    "event_line",
    "frame_json",
    "frame_line",
    "frame_lines",
    "gap",
    "local_label",
    "table_lines",
]


def event_line(event: EventRecord) -> str:
    """``breakpoint 1 in subtotal at 0x126: note``"""
    words = [clean(event.kind)]
    if event.detail:
        words.append(clean(event.detail))
    if event.function_name is not None:
        words.append(f"in {clean(event.function_name)}")
    if event.module_offset is not None:
        words.append(f"at {format_offset(event.module_offset)}")
    line = " ".join(words)
    return f"{line}: {clean(event.note, most=2000)}" if event.note else line


def frame_line(frame: FrameRecord) -> str:
    """``#1 subtotal (function 3) at 0x136  call 3``"""
    line = f"#{frame.depth} {clean(frame.function_name)} (function {frame.function_index})"
    line += f" at {format_offset(frame.module_offset)}"
    return f"{line}  {clean(frame.instruction)}" if frame.instruction else line


def local_label(local: LocalRecord) -> str:
    """``local 0`` or ``local 0 count``"""
    return f"local {local.index}" if local.name is None else f"local {local.index} {clean(local.name)}"


def frame_lines(frame: FrameRecord) -> list[str]:
    """A frame with its locals, one a line, and its operand stack."""
    rows = [(local_label(local), local.value.type, format_value(local.value)) for local in frame.locals]
    lines = [frame_line(frame)]
    lines += ["   " + line for line in table_lines(rows)]
    lines.append(f"   operand stack {format_operands(frame.operand_stack)}")
    if not frame.exact:
        lines.append("   (unwound by the trap: locals and operands are not exact)")
    return lines


def gap(before: FrameRecord | None, frame: FrameRecord) -> int:
    """How many frames were left out between two that follow each other in a backtrace."""
    return frame.depth - before.depth - 1 if before is not None else 0


def table_lines(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of equal length as aligned columns, two spaces between them."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def event_json(event: EventRecord) -> dict[str, object]:
    """An event for a script."""
    shown: dict[str, object] = {"event": event.kind}
    if event.detail:
        shown["detail"] = event.detail
    if event.function_name is not None:
        shown["function_name"] = event.function_name
    if event.module_offset is not None:
        shown["module_offset"] = event.module_offset
    if event.note:
        shown["note"] = event.note
    return shown | dict(event.facts)


def frame_json(frame: FrameRecord) -> dict[str, object]:
    """A frame for a script."""
    return {
        "depth": frame.depth,
        "function_index": frame.function_index,
        "function_name": frame.function_name,
        "module_offset": frame.module_offset,
        "instruction": frame.instruction,
        "locals": [
            {"index": local.index, "name": local.name} | json_value(local.value) for local in frame.locals
        ],
        "operand_stack": [json_value(operand) for operand in frame.operand_stack],
        "exact": frame.exact,
    }
