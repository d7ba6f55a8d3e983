"""Events: what comes out of a debuggee, one record for each kind of pause and one for the end.

Frames and instances appear here only by the small protocols they satisfy, so that this layer
stays free of Wasmtime and trio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from ..addresses import ModuleOffset
from ._breakpoints import Breakpoint as BreakpointHandle
from ._watchpoints import WatchHit

__all__ = [
    "Breakpoint",
    "CallReturned",
    "Event",
    "ExceptionThrown",
    "Finished",
    "FrameView",
    "HostCallEntered",
    "HostCallReturned",
    "HostcallError",
    "InstanceCreated",
    "Interrupted",
    "Location",
    "MemoryGrown",
    "Paused",
    "Step",
    "Trap",
    "UncaughtException",
    "Watch",
]


class FrameView(Protocol):
    """What an event promises about its innermost frame (``debuggee.Frame`` is the real one)."""

    @property
    def function_index(self) -> int: ...
    @property
    def function_name(self) -> str: ...
    @property
    def module_offset(self) -> ModuleOffset | None: ...
    @property
    def locals(self) -> Sequence[Any]: ...
    @property
    def operand_stack(self) -> Sequence[Any]: ...
    @property
    def parent(self) -> Any: ...
    @property
    def exact(self) -> bool: ...


@frozen
class Location:
    """A place in a guest's code."""

    function_index: int
    """In the module's function index space, imports first."""
    function_name: str
    """From the name section, else the export's or import's name, else ``func[12]``."""
    module_offset: ModuleOffset
    """File offset of the instruction that comes next, in the original module."""
    module_name: str | None = None

    def __str__(self) -> str:
        return f"{self.function_name} at {self.module_offset:#x}"


@frozen
class Paused:
    """What all pauses have in common."""

    location: Location | None
    """None where no guest code is on the stack (an interrupt of a debuggee not yet started)."""
    frame: Any = field(repr=False, eq=False)
    """The innermost frame (:class:`trio_wasmdbg.Frame`); it expires at the next resume."""


@frozen
class Breakpoint(Paused):
    """One or more breakpoints stand at the instruction that comes next."""

    breakpoints: tuple[BreakpointHandle, ...] = ()


@frozen
class Watch(Paused):
    """The instruction just executed has touched what is watched; the next one is where the guest is."""

    hits: tuple[WatchHit, ...] = ()
    instruction_offset: ModuleOffset | None = None
    """Module offset of the instruction that did it."""
    breakpoints: tuple[BreakpointHandle, ...] = ()
    """Breakpoints at the place that has been reached."""


@frozen
class Step(Paused):
    """A step has ended, or single-step mode is on and one instruction has been executed."""

    returned: tuple[Any, ...] | None = None
    """After a step out, and at the end of a function: the values that it returns."""


@frozen
class Interrupted(Paused):
    """:meth:`Debuggee.interrupt` was called and the guest has reached a check site."""


@frozen
class Trap(Paused):
    """The guest traps.

    With ``live`` the instruction has not been executed yet: its operands are on the operand stack
    and may be changed.  Otherwise Wasmtime has unwound the guest already and the frames are read
    from the shadow stack, which outlives it: callers' locals are exact, the innermost frame's are
    as its ``exact`` says.
    """

    code: str | None = None
    """Name of the ``wasmtime.TrapCode`` (``"INTEGER_DIVISION_BY_ZERO"``), None if it has none."""
    message: str = ""
    live: bool = False
    backtrace: tuple[Any, ...] = field(default=(), repr=False)
    """The innermost 100 frames as plain records, which don't expire."""


@frozen
class ExceptionThrown(Paused):
    """A WebAssembly exception is about to be thrown (``stop_on_exceptions``)."""

    tag: int | None = None
    """Index of its tag in the module; None if it has no index there."""
    payload: tuple[Any, ...] = ()
    """The values it carries."""
    caught: bool = False
    """Whether a ``try_table`` of this activation catches it."""


@frozen
class UncaughtException(Paused):
    """A WebAssembly exception was thrown that nobody catches, and the guest has been unwound.

    Not told where :class:`ExceptionThrown` has told of the throw.  Frames are shown as after a
    :class:`Trap` that was not live.
    """

    tag: int | None = None
    """Index of its tag in the module; None if it has no index there."""
    payload: tuple[Any, ...] = ()
    """The values it carries."""
    message: str = ""
    backtrace: tuple[Any, ...] = field(default=(), repr=False)
    """The innermost 100 frames as plain records, which don't expire."""


@frozen
class HostcallError(Paused):
    """A host function raised.  With ``live`` the guest has not been unwound yet."""

    error: BaseException | None = None
    host_function: str = ""
    live: bool = False


@frozen
class HostCallEntered(Paused):
    """The guest calls a host function, which has not run yet (``stop_on_host_calls``)."""

    host_function: str = ""
    arguments: tuple[Any, ...] = ()


@frozen
class HostCallReturned(Paused):
    """A host function has returned; the guest does not have the results yet."""

    host_function: str = ""
    results: tuple[Any, ...] = ()


@frozen
class MemoryGrown(Paused):
    """A ``memory.grow`` has made a memory larger (``stop_on_memory_growth``)."""

    memory: int = 0
    """Its index in the instance that has grown it, the frame's."""
    old_size: int = 0
    """In bytes; ``new_size`` likewise."""
    new_size: int = 0
    sharing: tuple[Any, ...] = ()
    """The other debugged instances (:class:`trio_wasmdbg.GuestInstance`) that have this memory."""


@frozen
class InstanceCreated(Paused):
    """A module was instantiated; its start function has not run yet (``stop_on_instances``)."""

    instance: Any = None


@frozen
class CallReturned(Paused):
    """An injected call has come back; the guest stands where it stood before."""

    result: Any = None
    error: BaseException | None = None


@frozen
class Finished:
    """The body has ended: with a result, or with an error (and the exit code, if it has one)."""

    result: Any = None
    error: BaseException | None = None
    exit_code: int | None = None
    """Set where the guest ended itself by WASI's ``proc_exit``."""

    @property
    def location(self) -> Any:
        """None: there is no place any more.  Here so that every event has the attribute."""
        return None

    @property
    def frame(self) -> Any:
        """None, likewise."""
        return None


Event: TypeAlias = (
    Breakpoint
    | Watch
    | Step
    | Interrupted
    | Trap
    | ExceptionThrown
    | UncaughtException
    | HostcallError
    | HostCallEntered
    | HostCallReturned
    | MemoryGrown
    | InstanceCreated
    | CallReturned
    | Finished
)
