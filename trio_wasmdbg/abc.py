"""What a debug server may ask of a guest, whatever runs it.

A server holds :class:`DebugTarget` objects and nothing else: the debuggee's adapter is one, the
test kit's fake another.  What not every target can do is a capability, a class of its own, and a
server offers its clients only what its target has (``isinstance`` tells).

``trio_wasmdbg.testing.check_debug_target`` tries a target against everything that is said here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from attrs import frozen

from .addresses import ModuleOffset
from .engine import events

__all__ = [
    "BreakpointToken",
    "ConditionTarget",
    "DebugTarget",
    "Debuggable",
    "ExceptionTarget",
    "TargetFrame",
    "TargetInstance",
    "TargetMemory",
    "TargetModule",
    "TargetVariable",
    "TargetView",
    "WatchpointTarget",
]

R = TypeVar("R")

BreakpointToken = Any
"""What identifies a breakpoint to the target that made it; hashable."""


class TargetModule(Protocol):
    """A module, as its maker wrote it.  Compared by identity."""

    @property
    def name(self) -> str | None: ...
    @property
    def bytecode(self) -> bytes:
        """The original module's bytes."""


class TargetMemory(Protocol):
    """A linear memory, while the guest does not compute."""

    @property
    def size(self) -> int:
        """Bytes."""
    def read(self, address: int, size: int) -> bytes:
        """IndexError where it does not fit."""
    def write(self, address: int, data: bytes) -> None:
        """IndexError where it does not fit; nothing has changed then."""


class TargetInstance(Protocol):
    """An instance of a module."""

    @property
    def id(self) -> int:
        """Unique in its target, and lasting."""
    @property
    def module(self) -> TargetModule: ...
    @property
    def memory_count(self) -> int: ...
    def memory(self, index: int) -> TargetMemory:
        """NotFoundError where there is none."""
    def read_global(self, index: int) -> bytes:
        """Little-endian, as wide as its type; NotFoundError, or UsageError for a reference."""
    def write_global(self, index: int, data: bytes) -> None:
        """As :meth:`read_global`; UsageError also for one that is immutable, or a wrong width."""


@frozen
class TargetVariable:
    """A local with its name, for people."""

    index: int
    name: str
    type: str
    value: Any


class TargetFrame(Protocol):
    """A frame of a paused guest.  Values are bytes, little-endian, as wide as their types."""

    @property
    def instance(self) -> TargetInstance: ...
    @property
    def function_name(self) -> str: ...
    @property
    def module_offset(self) -> ModuleOffset:
        """Of the instruction that comes next; in a caller, of the call under way."""
    @property
    def return_offset(self) -> ModuleOffset:
        """Of the instruction after that one: where a caller goes on."""
    @property
    def variables(self) -> Sequence[TargetVariable]: ...
    def read_local(self, index: int) -> bytes:
        """NotFoundError, or UsageError where the value is unknown or a reference."""
    def write_local(self, index: int, data: bytes) -> None:
        """As :meth:`read_local`; UsageError also for a wrong width."""
    def read_operand(self, height: int) -> bytes:
        """0 is the bottom of the operand stack; NotFoundError, UsageError."""


class TargetView(Protocol):
    """A guest that does not compute; valid while the function runs that it was given to."""

    @property
    def instances(self) -> Sequence[TargetInstance]:
        """Oldest first."""
    def frames(self) -> Iterator[TargetFrame]:
        """All frames, innermost first; none where no guest code is on the stack."""
    def breakpoints_here(self) -> Sequence[BreakpointToken]:
        """Those that stand at the instruction that comes next."""


class DebugTarget(ABC):
    """One guest with one stack: what a debugger calls a thread.

    Everything here belongs to one trio run and one task at a time.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """For people."""

    @property
    @abstractmethod
    def finished(self) -> events.Finished | None:
        """How it has ended, if it has."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it was told to go on, and the event has not been received."""

    @property
    @abstractmethod
    def computing(self) -> bool:
        """Whether guest code may be executing right now.

        False while it is paused, and also while it runs, but is in a host function or has not
        called the guest: then it executes nothing without passing a check first.
        """

    @abstractmethod
    def attach(self) -> AbstractContextManager[None]:
        """Keep everybody else from resuming it, for the length of a block.

        :raises trio.BusyResourceError: somebody else is waiting for it.
        """

    @abstractmethod
    async def run(self) -> events.Event:
        """Go on to the next event, or go on waiting for it; a checkpoint.

        :raises WrongStateError: it has finished.
        :raises trio.ClosedResourceError: it was ended from elsewhere.

        Cancelled: the guest goes on, and the next ``run()`` or ``step()`` returns the event.
        """

    @abstractmethod
    async def step(self) -> events.Event:
        """Execute one instruction; else as :meth:`run`."""

    @abstractmethod
    def resume_nowait(self) -> None:
        """Let it go on, with nobody waiting; its event stays for the next :meth:`run`."""

    @abstractmethod
    def interrupt(self) -> None:
        """Have it pause at its next check (an ``Interrupted`` event)."""

    @abstractmethod
    def clear_interrupt(self) -> None:
        """Take that back, unless the event is under way already."""

    @abstractmethod
    def kill(self) -> None:
        """End it; returns at once."""

    @abstractmethod
    async def inspect(self, fn: Callable[[TargetView], R]) -> R:
        """Let *fn* look at the guest and change it; a checkpoint.

        :raises WrongStateError: it is computing.

        Cancelled: *fn* has run once or not at all.
        """

    @abstractmethod
    def add_breakpoint(self, module: TargetModule, offset: ModuleOffset) -> BreakpointToken:
        """Pause before the instruction at this offset, or the one after it.

        :raises NotFoundError: there is no code at this offset.
        """

    @abstractmethod
    def remove_breakpoint(self, token: BreakpointToken) -> None:
        """Take a breakpoint away; no error if it is gone."""

    @abstractmethod
    def stop_on_instances(self) -> AbstractContextManager[None]:
        """Pause (``InstanceCreated``) for each new instance, before any of its code runs."""

    @abstractmethod
    def statistics(self) -> Mapping[str, Any]:
        """Counters, for people."""


class WatchpointTarget(DebugTarget):
    """A target that can pause after a piece of memory was written or read (a ``Watch`` event)."""

    @abstractmethod
    def add_watchpoint(
        self, instance: TargetInstance, memory: int, address: int, size: int, access: str
    ) -> BreakpointToken:
        """Watch *size* bytes from *address*; the event's hits name the token.

        To be called in :meth:`DebugTarget.inspect`; removed by :meth:`DebugTarget.remove_breakpoint`.

        :param access: ``"write"``, ``"read"`` or ``"access"`` (either).
        :raises NotFoundError, UsageError: there is no such memory; the range can't be watched.
        """


class ConditionTarget(DebugTarget):
    """A target whose breakpoints have conditions that it evaluates itself."""

    @abstractmethod
    def add_conditional_breakpoint(
        self, module: TargetModule, offset: ModuleOffset, condition: str
    ) -> BreakpointToken:
        """As :meth:`DebugTarget.add_breakpoint`, but pause only where the condition holds.

        :param condition: text in the library's expression language.
        :raises ExpressionError: it does not parse.
        """


class ExceptionTarget(DebugTarget):
    """A target that can pause where WebAssembly exceptions are thrown (``ExceptionThrown``)."""

    @abstractmethod
    def stop_on_exceptions(self, which: str) -> BreakpointToken | None:
        """Pause for ``"all"``, or the ``"uncaught"`` ones; None where no module has exceptions.

        To be called in :meth:`DebugTarget.inspect`; removed by :meth:`DebugTarget.remove_breakpoint`.
        """


@runtime_checkable
class Debuggable(Protocol):
    """Something that a server can be given: it knows how to be a :class:`DebugTarget`."""

    def debug_target(self) -> DebugTarget:
        """The target; a new adapter each time."""
