"""Every exception that trio_wasmdbg raises, on one page.

Three families, told apart by whose fault it is:

* the caller's: :class:`UsageError` and its children (wrong state, stale handle, unknown name);
* the guest's, or the bytes it came in: :class:`ModuleError` and its children;
* ours: :class:`InternalError` ("please file a bug").

:class:`EnvironmentProblem` is a small one: the machine or the installed packages can't do what is
needed.  :class:`RemoteProtocolError` is a debugger client's fault, and ends no more than its
session.  Trio's own exceptions (``trio.BusyResourceError``, ``trio.ClosedResourceError``) and
Wasmtime's (``wasmtime.Trap``, ``wasmtime.WasmtimeError``, ``wasmtime.ExitTrap``) are reused, never
wrapped.
"""

from __future__ import annotations

__all__ = [
    "CallAbandonedError",
    "DebuggerError",
    "EngineConfigError",
    "EnvironmentProblem",
    "EvaluationError",
    "ExpressionError",
    "GrowthRefusedError",
    "InternalError",
    "MalformedModuleError",
    "ModuleError",
    "NotFoundError",
    "OptimisedOutError",
    "OutOfBoundsError",
    "ReentryError",
    "RemoteProtocolError",
    "StaleHandleError",
    "StoreClosedError",
    "StoreLimitError",
    "TooManyGuests",
    "UnsupportedFeatureError",
    "UnsupportedInstructionError",
    "UnsupportedPythonError",
    "UnsupportedWasmtimeError",
    "UsageError",
    "WrongStateError",
]


class DebuggerError(Exception):
    """Root of everything that trio_wasmdbg itself raises."""


# ── the caller's fault ─────────────────────────────────────────────────────────────────────────


class UsageError(DebuggerError):
    """The call can't be carried out as it was made; nothing has changed."""


class WrongStateError(UsageError):
    """The debuggee is in a state in which this call makes no sense.

    :ivar state: the state's name, as in the docs' diagram (``"running"``, ``"complete"``, …).
    """

    def __init__(self, message: str, *, state: str) -> None:
        super().__init__(f"{message} (the debuggee is {state})")
        self.state = state


class StaleHandleError(UsageError):
    """A frame handle was used after the guest had been resumed."""


class StoreClosedError(UsageError):
    """The :class:`wasmtime.Store` behind this object has been closed."""


class NotFoundError(UsageError, LookupError):
    """No function, local, memory, … of that name or index; the message lists near misses."""


class OutOfBoundsError(UsageError, IndexError):
    """An address or index lies outside of a memory or table; nothing has been read or written."""


class GrowthRefusedError(UsageError):
    """A memory or table can't grow so far: its maximum, or the store's limits, do not allow it."""


class ExpressionError(UsageError):
    """An expression, or the template of a log point, can't be read; the message shows the place.

    :ivar message: what is wrong, without the place.
    :ivar text: the whole text.
    :ivar column: where, counted in characters from 1; one more than the text has means its end.
    """

    def __init__(self, message: str, *, text: str, column: int) -> None:
        super().__init__(f"{message}\n{_caret(text, column)}")
        self.message = message
        self.text = text
        self.column = column


class EvaluationError(ExpressionError):
    """An expression is right, but has no value in the state the guest is in.

    It divides an integer by zero, reads outside a memory, or needs a value that is not available.
    """


def _caret(text: str, column: int) -> str:
    """Two lines: the part of *text* round *column*, harmless to print, and a ``^`` under the place."""
    first = max(0, column - 1 - 50)
    shown = "".join(char if char.isprintable() else "?" for char in text[first : first + 70])
    return f"    {shown}\n    {' ' * (column - 1 - first)}^"


class CallAbandonedError(DebuggerError):
    """A host function's call into the guest was ended by the debugger.

    Somebody has made a frame further out return or throw, so the host function's own result does not count
    any more.
    """


class OptimisedOutError(UsageError):
    """A local is needed that was not kept: its module was loaded with ``frames="live"``."""


class ReentryError(UsageError):
    """A plain host function of the user's own linker tried to call back into the paused guest."""


# ── the guest's fault ──────────────────────────────────────────────────────────────────────────


def _place(offset: int | None, function: int | None, name: str | None) -> str:
    where = ""
    if offset is not None:
        where += f" at offset {offset:#x}"
    if function is not None:
        where += f" in function {function}"
        if name is not None:
            where += f" '{name}'"
    return where


class ModuleError(DebuggerError):
    """Something about a module's bytes; the message ends with the place.

    :ivar offset: file offset in the original module, or None.
    :ivar function: function index, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        function: int | None = None,
        function_name: str | None = None,
    ) -> None:
        super().__init__(message + _place(offset, function, function_name))
        self.offset = offset
        self.function = function


class MalformedModuleError(ModuleError):
    """The bytes are not a WebAssembly module (spec, "Binary Format")."""


class UnsupportedFeatureError(ModuleError):
    """A valid module uses something that can't be made debuggable (yet)."""


class UnsupportedInstructionError(UnsupportedFeatureError):
    """A function uses an instruction that can't be made debuggable (yet)."""


# ── a client's fault ───────────────────────────────────────────────────────────────────────────


class RemoteProtocolError(DebuggerError):
    """A debugger client has sent what its protocol does not allow; only its connection ends."""


# ── the machine's fault ────────────────────────────────────────────────────────────────────────


class EnvironmentProblem(DebuggerError):
    """Something about the machine or the installed packages."""


class UnsupportedWasmtimeError(EnvironmentProblem, ImportError):
    """The installed ``wasmtime`` package is not one that this release can drive."""


class UnsupportedPythonError(EnvironmentProblem, ImportError):
    """The interpreter can't run Python code on a guest's stack: CPython 3.14.0."""


class EngineConfigError(EnvironmentProblem):
    """The user's engine lacks a switch that the debugger needs.

    :ivar missing: names of the missing switches, as ``wasmtime.Config`` spells them.
    """

    def __init__(self, message: str, *, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class StoreLimitError(EnvironmentProblem):
    """The store's limits (10,000 instances, or ``Store.set_limits``) leave no room for the debugger.

    It needs one instance for itself, one for each instrumented instance, and one for each slow twin.
    """


class TooManyGuests(EnvironmentProblem):
    """One more guest would run the process into a limit at which Wasmtime aborts it."""


# ── ours ───────────────────────────────────────────────────────────────────────────────────────


class InternalError(DebuggerError):
    """A bug in trio_wasmdbg: please report it with the message."""
