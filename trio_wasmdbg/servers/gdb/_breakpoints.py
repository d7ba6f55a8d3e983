"""``Z`` and ``z``: breakpoints and watchpoints."""

from __future__ import annotations

from typing import Final

from ...addresses import ModuleOffset
from ...errors import UsageError
from ...gdbremote import OK, UNSUPPORTED, AddressKind, WasmAddress, commands
from ._session import Handler, Session

__all__ = ["BREAKPOINTS"]


async def breakpoint_(session: Session, command: commands.Breakpoint) -> bytes:
    """Set one, or take it away."""
    if command.kind > 1:
        return UNSUPPORTED
    if command.insert:
        return _insert(session, command)
    for token in [token for token, address in session.breakpoints.items() if address == command.address]:
        session.remove_breakpoint(token)
    return OK


def _insert(session: Session, command: commands.Breakpoint) -> bytes:
    address = WasmAddress.from_raw(command.address)
    if address.kind is not AddressKind.CODE:
        raise UsageError("a breakpoint stands in code")
    module = session.process.space.module(address.id)
    if command.address in session.breakpoints.values():
        return OK  # "inserting an already inserted breakpoint": must be idempotent (GDB manual)
    for thread in session.process.live:
        token = thread.target.add_breakpoint(module, ModuleOffset(address.offset))
        session.breakpoints[token] = command.address
        session.owners[token] = thread
    return OK


BREAKPOINTS: Final[dict[type[commands.Command], Handler]] = {commands.Breakpoint: breakpoint_}
