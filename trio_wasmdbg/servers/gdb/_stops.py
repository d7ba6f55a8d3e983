"""From a debuggee's event to what a client is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from ...abc import BreakpointToken
from ...engine import events
from ...gdbremote import commands, exited, killed

__all__ = ["Reason", "exit_reply", "exit_status", "reason_of"]

SIGINT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGSEGV = 2, 4, 5, 6, 7, 8, 9, 11

SIG_LIBRARY: Final = 32
"""A signal at which LLDB neither stops nor says anything, by default ("SIG32" of Linux)."""

TRAP_SIGNALS: Final[Mapping[str, int]] = {
    "INTEGER_DIVISION_BY_ZERO": SIGFPE,
    "INTEGER_OVERFLOW": SIGFPE,
    "BAD_CONVERSION_TO_INTEGER": SIGFPE,
    "MEMORY_OUT_OF_BOUNDS": SIGSEGV,
    "TABLE_OUT_OF_BOUNDS": SIGSEGV,
    "ARRAY_OUT_OF_BOUNDS": SIGSEGV,
    "STACK_OVERFLOW": SIGSEGV,
    "NULL_REFERENCE": SIGSEGV,
    "HEAP_MISALIGNED": SIGBUS,
    "UNREACHABLE": SIGILL,
    "BAD_SIGNATURE": SIGILL,
    "INDIRECT_CALL_TO_NULL": SIGILL,
    "CAST_FAILURE": SIGILL,
}
"""What a native program would have died of; anything else is SIGABRT."""


@frozen
class Reason:
    """A stop reply's cause."""

    signal: int = 0
    reason: str = ""
    description: str = ""


def reason_of(
    event: events.Event | None,
    ours: Mapping[BreakpointToken, int],
    watched: Mapping[BreakpointToken, commands.Breakpoint],
    *,
    interrupted: bool,
) -> Reason:
    """Why a thread has stopped.

    :param ours: the client's breakpoints.  Others are the application's, and told in words.
    :param watched: the client's watchpoints.
    :param interrupted: the client has asked for the stop.
    """
    if isinstance(event, events.Breakpoint):
        if any(token in ours for token in event.breakpoints):
            return Reason(SIGTRAP, "breakpoint")
        numbers = ", ".join(str(getattr(each, "id", "?")) for each in event.breakpoints)
        return Reason(SIGTRAP, "exception", f"breakpoint {numbers} of the application")
    if isinstance(event, events.Watch):
        for hit in event.hits:
            packet = watched.get(hit.watchpoint)
            if packet is not None:
                base = packet.address & ~0xFFFF_FFFF
                where = packet.address if hit.address is None else base | hit.address
                # In decimal: what is watched, a number of no meaning here, what was accessed.
                return Reason(SIGTRAP, "watchpoint", f"{packet.address} 0 {where}")
        texts = "; ".join(f"{hit.watchpoint.what}: {hit.old} -> {hit.new}" for hit in event.hits)
        return Reason(SIGTRAP, "exception", f"watchpoint of the application: {texts}")
    if isinstance(event, events.Step):
        return Reason(SIGTRAP, "trace")
    if isinstance(event, events.Trap):
        return Reason(_trap_signal(event.code), "exception", _trap_text(event.message))
    if isinstance(event, events.ExceptionThrown):
        fate = "caught" if event.caught else "uncaught"
        return Reason(SIGABRT, "exception", f"{fate} wasm exception of {_tag_text(event)}")
    if isinstance(event, events.UncaughtException):
        return Reason(SIGABRT, "exception", f"uncaught wasm exception of {_tag_text(event)}")
    if isinstance(event, events.HostcallError):
        what = f"host function {event.host_function} " if event.host_function else "a host function "
        return Reason(SIGABRT, "exception", f"{what}raised {type(event.error).__name__}: {event.error}")
    if isinstance(event, events.MemoryGrown):
        sizes = f"from {event.old_size} to {event.new_size} bytes"
        return Reason(SIGTRAP, "exception", f"memory {event.memory} has grown {sizes}")
    if isinstance(event, events.InstanceCreated):
        return Reason(SIG_LIBRARY, "signal")
    if isinstance(event, events.Interrupted) and not interrupted:
        return Reason(SIGTRAP, "exception", "interrupted by the application")
    return Reason(SIGINT, "signal") if interrupted else Reason(SIGTRAP, "trace")


def _tag_text(event: events.ExceptionThrown | events.UncaughtException) -> str:
    tag = "another module's tag" if event.tag is None else f"tag {event.tag}"
    return f"{tag}, payload {event.payload}"


def _trap_text(message: str) -> str:
    # Wasmtime's own texts say so already, those of trap instructions don't.
    return message if message.startswith("wasm trap") else f"wasm trap: {message}"


def _trap_signal(code: str | None) -> int:
    return TRAP_SIGNALS.get((code or "").upper(), SIGABRT)


def exit_status(finished: events.Finished) -> tuple[int, int]:
    """(exit status, signal) of a process that has ended so; the signal is 0 for a normal end."""
    if finished.exit_code is not None:
        return finished.exit_code, 0
    if finished.error is None:
        return 0, 0
    code = getattr(finished.error, "trap_code", None)
    if code is not None or type(finished.error).__name__ in ("GuestTrap", "Trap"):
        return 0, _trap_signal(getattr(code, "name", None))
    return 1, 0


def exit_reply(ends: list[events.Finished]) -> bytes:
    """How the whole process has ended: as the first thread that did not end well, if there is one."""
    statuses = [exit_status(finished) for finished in ends]
    status, signal = next((each for each in statuses if each != (0, 0)), (0, 0))
    return killed(signal) if signal else exited(status)
