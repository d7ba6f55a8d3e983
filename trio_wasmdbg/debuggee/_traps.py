"""Traps as the user sees them: in the original module's offsets, with every frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import wasmtime
from attrs import frozen

from .. import capi
from ..addresses import ModuleOffset
from ..engine import RawFrame, StepKind
from ..errors import ReentryError
from ._frames import Frame
from ._recording import cut, settle
from ._stores import StoreState

__all__ = [
    "IN_EXCEPTION",
    "GuestTrap",
    "TrapFrame",
    "explain",
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


_COUNTED = ("OUT_OF_FUEL", "INTERRUPT")
"""Traps that the engine adds at function entries and loop headers, also before inserted code."""


def where_trapped(
    state: StoreState, base_sp: int, trace: Sequence[capi.RawFrame], code: str | None
) -> tuple[dict[str, Any], bool]:
    """How to show the stack after an unwinding, and whether it was the shadow stack that was full.

    A slow twin's frame says where it is.  A fast twin's place is known from Wasmtime's backtrace; it
    may not have pushed a frame yet (that happens before its first call), and is then shown by one that
    is not on the shadow stack.

    Lets what was recorded end there as well.
    """
    at_call: dict[str, Any] = {"at_call": True}
    settle(state.instances)
    innermost = trace[0] if trace else None
    if innermost is None or code == "STACK_OVERFLOW":
        # A function without room on the machine's stack has executed nothing: its caller is on top.
        return at_call, False
    if any(innermost.module_name == instance.module.companion_name for instance in state.instances):
        return {"at_call": False}, False
    sp, current = state.sp.get(), state.current.get()
    instances = state.instances if not 1 <= current <= len(state.instances) else [state.instance(current)]
    for instance in instances:
        place = instance.module.origin(trace)
        if place is not None:
            break
    else:
        return at_call, False
    if not instance.module.is_instrumented(place.function):
        return at_call, False
    plan = instance.module.plan(place.function)
    k = plan.resume_point_at(place.offset)
    if place.inserted and code == "MEMORY_OUT_OF_BOUNDS" and sp < plan.frame.size:
        # The only inserted store that can be out of bounds is that of a frame which does not fit the
        # shadow stack: a little later the machine's own stack would have been exhausted.
        if k or not plan.catching():  # else its frame is the first thing that it does
            cut(instance, trace, place.function, k or 0)
        return at_call, True
    if k is None:
        return at_call, False
    if place.inserted and code not in _COUNTED:
        k = plan.trapping(k)
    if code not in _COUNTED:
        cut(instance, trace, place.function, k)
    found: dict[str, Any] = {"at_call": False, "innermost_exact": False, "innermost_resume_point": k}
    copied = instance.module._copies.is_named(innermost.module_name)
    pushed = sp < base_sp and instance._debug_memory.u32(sp) == place.function
    pushed = pushed and (copied or plan.has_frame(k))
    if pushed and code not in _COUNTED and plan.is_whole(k, copied=copied):
        found["innermost_exact"] = True
        found["innermost_whole"] = copied
    if not pushed:
        found["unpushed"] = RawFrame(instance.id, sp, place.function, k, False, False, 0)
    return found, False


_OUT, _RETURN = StepKind.OUT, StepKind.RETURN


def returned_values(frame: Frame, step: StepKind | None, fp: int) -> tuple[Any, ...] | None:
    """The values that a function returns, at its end or, after a step out, in its caller."""
    if step is not _OUT and step is not _RETURN:
        return None
    operands = frame.operand_stack
    if step is _RETURN and frame.at_end:
        return operands
    count = frame._results_of_call_before
    return operands[len(operands) - count :] if count is not None else None


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
