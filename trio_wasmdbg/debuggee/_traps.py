"""Traps as the user sees them: in the original module's offsets, with every frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import wasmtime
from attrs import frozen

from .. import capi
from ..addresses import ModuleOffset
from ..engine import StepKind
from ..errors import ReentryError
from ..instrument import SLOW
from ._frames import Frame
from ._stores import StoreState

__all__ = [
    "IN_EXCEPTION",
    "GuestTrap",
    "TrapFrame",
    "explain",
    "live_trap",
    "make_trap",
    "returned_values",
    "trap_frames",
    "where_trapped",
]


@frozen
class TrapFrame:
    """A frame of a :class:`GuestTrap`, innermost first; same names as ``wasmtime.Frame``'s."""

    func_index: int
    func_name: str | None
    module_offset: ModuleOffset
    func_offset: int
    """From the beginning of the function's body."""
    module_name: str | None


class GuestTrap(wasmtime.Trap):
    """A ``wasmtime.Trap`` whose text and frames speak of the original module.

    Wasmtime knows only the rewritten one, and at most 20 frames; the shadow stack knows them all.
    """

    def __init__(self, message: str, code: wasmtime.TrapCode | None, frames: tuple[TrapFrame, ...]) -> None:
        super().__init__(message)
        self._text = message
        self._code = code
        self._frames = frames

    def __str__(self) -> str:
        return self._text

    @property
    def message(self) -> str:
        return self._text

    @property
    def trap_code(self) -> wasmtime.TrapCode | None:
        return self._code

    @property
    def frames(self) -> list[TrapFrame]:  # type: ignore[override]
        return list(self._frames)


def make_trap(result: capi.Trapped, frames: tuple[TrapFrame, ...], *, overflow: bool) -> GuestTrap:
    """The exception for the body, from Wasmtime's trap and the shadow stack."""
    code: wasmtime.TrapCode | None
    if overflow:
        code, text = wasmtime.TrapCode.STACK_OVERFLOW, "wasm trap: call stack exhausted"
    else:
        code = wasmtime.TrapCode[result.code] if result.code is not None else None
        text = trap_text(result.message)
    return GuestTrap(text, code, frames)


IN_EXCEPTION = 100
"""Frames kept in a trap's exception; the Trap event has them all."""


def trap_frames(frames: Iterable[Frame]) -> tuple[TrapFrame, ...]:
    """Frames as an exception keeps them."""
    return tuple(_trap_frame(frame) for frame in frames)


def _trap_frame(frame: Frame) -> TrapFrame:
    module = frame.instance.module
    body = module.original.functions[frame.function_index].body
    assert body is not None
    return TrapFrame(
        frame.function_index,
        frame.function_name,
        frame.module_offset,
        frame.module_offset - body.start,
        module.name,
    )


def trap_text(message: str) -> str:
    """Wasmtime's text without its backtrace, whose offsets are the rewritten module's."""
    _, found, causes = message.partition("Caused by:")
    if not found:
        return message.strip()
    lines = [line.strip() for line in causes.strip().splitlines()]
    # One cause stands alone, several are numbered, the trap itself last.
    texts = [line.partition(": ")[2] if line[:1].isdigit() else line for line in lines]
    return ": ".join([texts[-1], *texts[:-1]])


def where_trapped(state: StoreState, base_sp: int, result: capi.Trapped) -> tuple[dict[str, Any], bool]:
    """What is known of the innermost shadow frame after an unwinding, and whether the stack was full.

    The frame on top may be the trapped function's (and then Wasmtime's backtrace has the place), or
    its caller's, when the trapped function had not pushed a frame yet.
    """
    sp = state.sp.get()
    if sp >= base_sp:
        return {"at_call": True}, False
    instance = state.instance(state.current.get())
    place = instance.module.origin(result.frames)
    if place is not None and place.inserted and result.code == "MEMORY_OUT_OF_BOUNDS":
        # The only inserted store that can be out of bounds is that of a frame which does not fit
        # the shadow stack: a little later the machine's own stack would have been exhausted.
        return {"at_call": True}, True
    header = instance.debug_memory.u32(sp)
    function = header & ~SLOW
    if header & SLOW:
        # A slow twin notes its resume point before whatever may trap.
        return {"at_call": False}, False
    if place is None or place.inserted or place.function != function:
        return {"at_call": True}, False
    resume_point = instance.module.plan(function).resume_point_at(place.offset)
    return {"at_call": False, "innermost_exact": False, "innermost_resume_point": resume_point}, False


def live_trap(frame: Frame) -> tuple[str, str]:
    """Code and text of the trap that the next instruction is going to raise."""
    name = frame.instruction.op.name
    if name == "unreachable":
        return "UNREACHABLE", "wasm `unreachable` instruction executed"
    left, right = frame.operand_stack[-2:]
    if right == 0:
        return "INTEGER_DIVISION_BY_ZERO", f"integer divide by zero: {left} {name} {right}"
    return "INTEGER_OVERFLOW", f"integer overflow: {left} {name} {right}"


def returned_values(frame: Frame, step: StepKind | None, fp: int) -> tuple[Any, ...] | None:
    """The values that a function returns, at its end or, after a step out, in its caller."""
    operands = frame.operand_stack
    if step is StepKind.RETURN and frame.at_end:
        return operands
    if step in (StepKind.OUT, StepKind.RETURN):
        count = frame.results_of_call_before
        return operands[len(operands) - count :] if count is not None else None
    return None


def explain(error: BaseException) -> BaseException:
    """Wasmtime refuses a synchronous call from a plain host function; say what to do instead."""
    if isinstance(error, wasmtime.WasmtimeError) and "*_async" in str(error):
        better = ReentryError(
            "a plain host function can't call back into the guest that it was called from; define it "
            "with guest.define() as an 'async def' function and use 'await guest.call(...)' in it"
        )
        better.__cause__ = error
        return better
    return error
