"""From live events and frames to records: taken while the guest is paused, good for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

import wasmtime

from trio_wasmdbg import OPTIMISED_OUT, UNAVAILABLE, Frame, OpaqueReference, WasmException, events
from trio_wasmdbg.cli._records import EventRecord, FrameRecord, LocalRecord, Reference, Value
from trio_wasmdbg.wasm import disassemble

__all__ = ["callers", "event_record", "frame_record", "error_text", "instruction_text", "stack_records"]


def callers(frame: Frame | None) -> Iterator[Frame]:
    """A frame, its caller, that one's caller, to the activation's first."""
    while frame is not None:
        yield frame
        frame = frame.parent


def instruction_text(frame: Frame) -> str:
    """The instruction that comes next in a frame, disassembled."""
    return disassemble(frame.instance.module.original, frame.instruction, frame.function_index)


def frame_record(frame: Frame, depth: int = 0) -> FrameRecord:
    """A frame's whole state."""
    return FrameRecord(
        depth=depth,
        function_index=frame.function_index,
        function_name=frame.function_name,
        module_offset=frame.module_offset,
        instruction=instruction_text(frame),
        locals=tuple(
            LocalRecord(
                variable.index,
                # A placeholder for a missing name is no name.
                None if variable.name == f"local[{variable.index}]" else variable.name,
                _value(frame, str(variable.type), variable.value),
            )
            for variable in frame.variables
        ),
        operand_stack=tuple(
            _value(frame, str(type), value)
            for type, value in zip(frame.operand_types, frame.operand_stack, strict=True)
        ),
        exact=frame.exact,
    )


MOST_INNER, MOST_OUTER = 40, 10
"""Frames that are shown of a stack with more: a runaway recursion has a hundred thousand."""


def stack_records(frame: Frame | None) -> list[FrameRecord]:
    """A frame and its callers, innermost first; in the middle of a very deep stack, a gap."""
    frames = enumerate(callers(frame))
    inner = [frame_record(each, depth) for depth, each in islice(frames, MOST_INNER)]
    outer = deque(frames, maxlen=MOST_OUTER)
    return inner + [frame_record(each, depth) for depth, each in outer]


def _value(frame: Frame, type: str, value: object) -> Value:
    if value is UNAVAILABLE:
        return Value(type, None, known=False)
    if value is OPTIMISED_OUT:
        return Value(type, repr(value), known=False)
    # A host's object may be anything, also one of these.
    if isinstance(value, OpaqueReference) or (
        type != "externref" and isinstance(value, wasmtime.Func | WasmException)
    ):
        return Value(type, Reference(frame.instance.describe_reference(value)))
    return Value(type, value)


def event_record(event: events.Event) -> EventRecord:
    """An event in words, and its facts for scripts."""
    if isinstance(event, events.Finished):
        return _finished(event)
    kind, detail, note = "paused", "", ""
    facts: dict[str, object] = {}
    match event:
        case events.Breakpoint():
            numbers = [each.id for each in event.breakpoints]
            kind, detail = "breakpoint", " and ".join(map(str, numbers))
            facts["breakpoints"] = numbers
        case events.Step():
            kind = "step"
        case events.Interrupted():
            kind = "interrupted"
        case events.Trap():
            kind, detail = "trap", event.code or ""
            note = event.message.removeprefix("wasm trap: ")
            facts |= {"code": event.code, "live": event.live}
        case events.ExceptionThrown():
            kind, detail = "exception", "" if event.tag is None else f"{event.tag} {list(event.payload)}"
        case events.UncaughtException():
            kind, note = "uncaught exception", event.message
            detail = "" if event.tag is None else f"{event.tag} {list(event.payload)}"
        case events.HostcallError():
            kind, detail = "host error", event.host_function
            note = error_text(event.error)
            facts |= {"host_function": event.host_function, "error": note, "live": event.live}
        case events.HostCallEntered():
            kind, detail = "host call", f"{event.host_function}{_tuple(event.arguments)}"
            facts["host_function"] = event.host_function
        case events.HostCallReturned():
            kind, detail = "host return", f"{event.host_function} = {_tuple(event.results)}"
            facts["host_function"] = event.host_function
        case events.MemoryGrown():
            kind = "memory growth"
            detail = f"memory {event.memory}: {event.old_size} to {event.new_size} bytes"
        case events.InstanceCreated():
            kind, detail = "instance", repr(event.instance)
        case events.CallReturned():
            kind = "call returned"
            detail = repr(event.result) if event.error is None else error_text(event.error)
    location = event.location
    if location is None:
        return EventRecord(kind, detail, note=note or "no guest code is on the stack", facts=facts)
    facts["function_index"] = location.function_index
    return EventRecord(kind, detail, location.function_name, location.module_offset, note, facts)


def _tuple(values: tuple[object, ...]) -> str:
    return f"({', '.join(map(repr, values))})"


def _finished(event: events.Finished) -> EventRecord:
    if event.exit_code is not None:
        detail = f"with exit code {event.exit_code}"
        return EventRecord("finished", detail, facts={"exit_code": event.exit_code})
    if event.error is not None:
        text = error_text(event.error)
        return EventRecord("finished", "with an error", note=text, facts={"error": text})
    result = event.result
    shown = result if isinstance(result, int | float | str | None) else repr(result)
    return EventRecord("finished", "" if result is None else f"with {shown}", facts={"result": shown})


def error_text(error: BaseException | None) -> str:
    if isinstance(error, wasmtime.Trap):
        return error.message.removeprefix("wasm trap: ")
    return f"{type(error).__name__}: {error}"
