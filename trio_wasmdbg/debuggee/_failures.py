"""Calls into the guest that have ended badly: the guest has been unwound, and its holder is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .. import capi
from ..engine import events
from ._exceptions import GuestException, uncaught
from ._traps import IN_EXCEPTION, explain, make_trap, trap_frames, where_trapped

if TYPE_CHECKING:
    from ._core import Core
    from ._requests import Call

__all__ = ["Failures"]


class Failures:
    """What is done about them, for one debuggee."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def told(self, call: Call, result: capi.Trapped | capi.Failed) -> BaseException:
        """Tell the holder of a guest that has been unwound; the exception that the body is to see."""
        core = self._core
        if isinstance(result, capi.Trapped):
            how, overflow = where_trapped(core.state, call.base_sp, result.frames, result.code)
            core.show(call, resumable=False, **how)
            trap = make_trap(result, trap_frames(core.first_frames(IN_EXCEPTION)), overflow=overflow)
            if not core.arming.decider.ignoring:
                location, frame = core.here()
                code = trap.trap_code.name if trap.trap_code is not None else None
                event = events.Trap(
                    location, frame, code=code, message=trap.message, backtrace=tuple(trap.frames)
                )
                await self._pause_after(event)
            return trap
        if result.thrown is not None:
            return await self._uncaught(call, result, result.thrown)
        if result.exit_code is not None or result.exception is None:
            return result.error
        if result.exception is call.announced:
            return result.exception
        # A plain function of the user's own linker: Wasmtime has unwound the guest already.
        error = explain(result.exception)
        if isinstance(error, Exception) and not core.arming.decider.ignoring:
            core.show(call, at_call=True, resumable=False)
            location, frame = core.here()
            await self._pause_after(events.HostcallError(location, frame, error))
        return error

    async def _uncaught(
        self, call: Call, result: capi.Failed, exception: capi.WasmException
    ) -> GuestException:
        """Tell of an exception that nobody has caught, unless its throw was told of."""
        core = self._core
        how, _ = where_trapped(core.state, call.base_sp, result.frames, None)
        core.show(call, resumable=False, **how)
        location, frame = core.here()
        error = uncaught(exception, frame, trap_frames(core.first_frames(IN_EXCEPTION)))
        told = frame is not None and call.thrown_at == (frame.address, frame.resume_point)
        if not told and not core.arming.decider.ignoring:
            await self._pause_after(
                events.UncaughtException(
                    location, frame, error.tag_index, error.values, str(error), tuple(error.frames)
                )
            )
        return error

    async def _pause_after(self, event: events.Event) -> None:
        """Pause when a call has ended badly.

        :raises CallAbandonedError: a frame further out is to be left.
        """
        core = self._core
        # Cancelled here: it is in its channel; the guest is gone already.
        await core.pause(event)
        await trio.lowlevel.checkpoint_if_cancelled()
        leave = core.edits.leave
        core.edits.clear()
        if leave is not None:
            core.calls.leaving.begin(leave)
