"""``Z`` and ``z``: breakpoints and watchpoints."""

from __future__ import annotations

from typing import Final

from ...abc import BreakpointToken, ConditionTarget, TargetInstance, WatchpointTarget
from ...addresses import ModuleOffset
from ...errors import UsageError
from ...gdbremote import OK, UNSUPPORTED, AddressKind, WasmAddress, commands
from ._process import Thread
from ._session import Handler, Session
from ._state import with_memory_place

__all__ = ["BREAKPOINTS", "set_condition"]

_ACCESSES: Final = {2: "write", 3: "read", 4: "access"}
"""By the packet's kind."""


async def breakpoint_(session: Session, command: commands.Breakpoint) -> bytes:
    """Set one, or take it away."""
    if command.kind in _ACCESSES:
        return await _watch(session, command)
    if command.insert:
        # "Implementations should be idempotent" (GDB manual, "Packets", z and Z).
        if command.address not in session.breakpoints.values():
            _insert(session, command.address)
        return OK
    _remove(session, command.address)
    return OK


def _remove(session: Session, address: int) -> None:
    for token in [token for token, known in session.breakpoints.items() if known == address]:
        session.remove_breakpoint(token)


def _insert(session: Session, raw: int) -> None:
    address = WasmAddress.from_raw(raw)
    if address.kind is not AddressKind.CODE:
        raise UsageError("a breakpoint stands in code")
    module, offset = session.process.space.module(address.id), ModuleOffset(address.offset)
    condition = session.conditions.get(raw)
    for thread in session.process.live:
        target = thread.target
        token: BreakpointToken
        if condition is not None and isinstance(target, ConditionTarget):
            token = target.add_conditional_breakpoint(module, offset, condition)
        else:
            token = target.add_breakpoint(module, offset)
        session.breakpoints[token] = raw
        session.owners[token] = thread


def set_condition(session: Session, address: int, condition: str | None) -> bool:
    """Give the client's breakpoint at an address a condition, or take it; whether it is set right now.

    :raises UsageError: it does not parse, or the target can't evaluate any.
    """
    if not all(isinstance(thread.target, ConditionTarget) for thread in session.process.live):
        raise UsageError("this target evaluates no conditions")
    before = session.conditions.pop(address, None)
    if condition is not None:
        session.conditions[address] = condition
    there = address in session.breakpoints.values()
    _remove(session, address)
    try:
        # Also where there is none: so a condition that does not parse is refused at once.
        _insert(session, address)
    except UsageError:
        session.conditions.pop(address, None)
        if before is not None:
            session.conditions[address] = before
        _remove(session, address)
        if there:
            _insert(session, address)
        raise
    if not there:
        _remove(session, address)
    return there


async def _watch(session: Session, command: commands.Breakpoint) -> bytes:
    if not all(isinstance(thread.target, WatchpointTarget) for thread in session.process.threads):
        return UNSUPPORTED
    same = [
        token
        for token, known in session.watchpoints.items()
        if (known.kind, known.address, known.size) == (command.kind, command.address, command.size)
    ]
    if not command.insert:
        for token in same:
            session.remove_breakpoint(token)
        return OK
    if same:
        return OK
    address = WasmAddress.from_raw(command.address)
    if address.kind is not AddressKind.MEMORY:
        raise UsageError("a watchpoint watches memory")

    def set_it(thread: Thread, instance: TargetInstance, index: int) -> None:
        assert isinstance(thread.target, WatchpointTarget)
        if address.offset + command.size > instance.memory(index).size:
            raise UsageError("what is watched lies outside of the memory")
        token = thread.target.add_watchpoint(
            instance, index, address.offset, command.size, _ACCESSES[command.kind]
        )
        session.watchpoints[token] = command
        session.owners[token] = thread

    await with_memory_place(session, address.id, set_it)
    return OK


BREAKPOINTS: Final[dict[type[commands.Command], Handler]] = {commands.Breakpoint: breakpoint_}
