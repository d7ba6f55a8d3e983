"""How a call into a guest can end: it returned, it trapped, or it failed for another reason.

Which of the two error cells Wasmtime fills is a rule of its own (``handle_call_error``): a real trap
comes in the trap cell, everything else, also a "trap" made by a host function, in the error cell.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import POINTER, byref, cast
from typing import Any, Final, TypeAlias

import wasmtime
from attrs import field, frozen
from wasmtime import _bindings

from trio_wasmdbg.capi import _library as lib
from trio_wasmdbg.capi._raw_memory import read_bytes, unpack
from trio_wasmdbg.capi._values import _PAIR, _U64, WasmException

__all__ = ["Failed", "Outcome", "RawFrame", "Returned", "Trapped"]

_NO_OFFSET: Final = 2**64 - 1


@frozen
class RawFrame:
    """One frame of Wasmtime's own backtrace, innermost first.  Capped by Wasmtime at 20 frames.

    :ivar func_index: function index in the module that was compiled (the instrumented one).
    :ivar func_name: from the name section, or None.
    :ivar func_offset: bytes from the function body's beginning, or None.
    :ivar module_offset: file offset in the module that was compiled, or None.
    :ivar module_name: from the name section, or None.
    """

    func_index: int
    func_name: str | None
    func_offset: int | None
    module_offset: int | None
    module_name: str | None


@frozen
class Returned:
    """The call returned.

    :ivar values: the results; of an instantiation, one :class:`~trio_wasmdbg.capi.RawInstance`.
    """

    values: tuple[Any, ...]


@frozen
class Trapped:
    """The guest trapped.

    :ivar code: name of the :class:`wasmtime.TrapCode`, such as ``"MEMORY_OUT_OF_BOUNDS"``, or None.
    :ivar message: Wasmtime's text, with its backtrace.
    :ivar frames: innermost first.
    :ivar trap: the :class:`wasmtime.Trap`, ready to be raised.
    """

    code: str | None
    message: str
    frames: tuple[RawFrame, ...]
    trap: wasmtime.Trap = field(eq=False, repr=False)


@frozen
class Failed:
    """The call failed, and not by a trap: an exit, an exception in a host function, a refusal.

    :ivar message: Wasmtime's text.
    :ivar exit_code: what the guest gave to WASI's ``proc_exit``, or None.
    :ivar exception: the very exception that a host function raised, or None.
    :ivar thrown: the guest's exception that nobody has caught, or None.
    :ivar frames: innermost first; empty when the guest had not been entered.
    :ivar error: the :class:`wasmtime.WasmtimeError` (or :class:`wasmtime.ExitTrap`), ready to be raised.
    """

    message: str
    exit_code: int | None
    exception: BaseException | None
    thrown: WasmException | None
    frames: tuple[RawFrame, ...]
    error: wasmtime.WasmtimeError = field(eq=False, repr=False)


Outcome: TypeAlias = Returned | Trapped | Failed


def trapped(pointer: int) -> Trapped:
    """Make the outcome from a ``wasm_trap_t *``, which it takes over."""
    trap = wasmtime.Trap._from_ptr(cast(pointer, POINTER(_bindings.wasm_trap_t)))
    try:
        code = trap.trap_code
    except ValueError:  # a code that this wasmtime-py has no name for
        code = None
    return Trapped(
        code=code.name if code is not None else None,
        message=trap.message,
        frames=_frames(lib.trap_trace, pointer),
        trap=trap,
    )


def failed(pointer: int, exception: BaseException | None, thrown: WasmException | None) -> Failed:
    """Make the outcome from a ``wasmtime_error_t *``, which it takes over."""
    error = wasmtime.WasmtimeError._from_ptr(cast(pointer, POINTER(_bindings.wasmtime_error_t)))
    return Failed(
        message=str(error),
        exit_code=error.code if isinstance(error, wasmtime.ExitTrap) else None,
        exception=exception,
        thrown=thrown,
        frames=_frames(lib.error_trace, pointer),
        error=error,
    )


def _frames(trace: Callable[..., None], pointer: int) -> tuple[RawFrame, ...]:
    vector = _bindings.wasm_frame_vec_t()
    trace(pointer, byref(vector))
    try:
        size, data = _PAIR.unpack(bytes(vector))
        return tuple(_frame(unpack(_U64, data + 8 * i)[0]) for i in range(size))
    finally:
        lib.frame_vec_delete(byref(vector))


def _frame(pointer: int) -> RawFrame:
    func_offset, module_offset = lib.frame_func_offset(pointer), lib.frame_module_offset(pointer)
    return RawFrame(
        func_index=lib.frame_func_index(pointer),
        func_name=_name(lib.frame_func_name(pointer)),
        func_offset=None if func_offset == _NO_OFFSET else func_offset,
        module_offset=None if module_offset == _NO_OFFSET else module_offset,
        module_name=_name(lib.frame_module_name(pointer)),
    )


def _name(pointer: int | None) -> str | None:
    if not pointer:
        return None
    size, data = unpack(_PAIR, pointer)
    return read_bytes(data, size).decode("utf-8", "replace") if size else ""
