"""One client, from its arrival to its leaving."""

from __future__ import annotations

import enum
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from ...abc import BreakpointToken, ExceptionTarget, TargetView
from ...engine import events
from ...errors import DebuggerError, RemoteProtocolError, WrongStateError
from ...gdbremote import (
    NEED_DATA,
    OK,
    UNSUPPORTED,
    GdbConnection,
    Interrupt,
    StopReply,
    WasmAddress,
    commands,
    error,
    killed,
    output,
)
from ._output import GuestOutput
from ._process import Process, Thread
from ._stops import SIGKILL, exit_reply, reason_of

__all__ = ["Leaving", "Session"]

logger = logging.getLogger("trio_wasmdbg.gdbremote")

_HANDSHAKE: Final = 10.0
"""Seconds to the first packet, and for the rest of any packet that has begun."""
_SEND: Final = 30.0
"""Seconds for a client to take a reply."""
_RECEIVE: Final = 65536
_QUEUE: Final = 64
"""Packets that may wait while the guest runs; after that the client is not read from."""
_OUTPUT: Final = 8192
"""Bytes of guest output in one packet."""


class Leaving(enum.Enum):
    """How a client has left."""

    LOST = "lost"
    """Its connection ended, or it was cut off for what it sent."""
    DETACHED = "detached"
    KILLED = "killed"
    FINISHED = "finished"
    """The guest has ended, and the client has been told."""


class _Gone(Exception):
    """The session is over."""

    def __init__(self, how: Leaving) -> None:
        self.how = how


Handler = Callable[["Session", Any], Awaitable[bytes]]


class Session:
    """Serves one client.

    :param process: attached already, and settled.
    """

    def __init__(self, stream: trio.abc.Stream, process: Process, guest_output: GuestOutput | None) -> None:
        self.process = process
        self.output = guest_output
        self.breakpoints: dict[BreakpointToken, int] = {}
        """The client's, and the address that it asked for.  One packet makes one in each thread."""
        self.watchpoints: dict[BreakpointToken, commands.Breakpoint] = {}
        """The client's, and the packet that has set it."""
        self.conditions: dict[int, str] = {}
        """By a breakpoint's address; they outlive the breakpoint, which clients take away to step over it."""
        self.exceptions = "uncaught"
        """Which WebAssembly exceptions stop a thread: ``all``, ``uncaught`` or ``none``."""
        self._throws: dict[int, BreakpointToken] = {}
        """By thread, what stops it there."""
        self.owners: dict[BreakpointToken, Thread] = {}
        self.selected = 1
        """The thread that was last asked about: commands that name none mean it."""
        self.frame = 0
        """Its frame that was last asked about: whose memory 0 is meant."""
        self.error_strings = False
        self.stop_thread = 1
        self._stacks: dict[tuple[int, int], list[int]] = {}
        """Call stacks by thread and how much of them was asked for; good for one stop."""
        self._interrupted = False
        self._stream = stream
        self._connection = GdbConnection()
        self._queue_in, self._queue = trio.open_memory_channel[commands.Command](_QUEUE)
        self._running: trio.CancelScope | None = None
        self._began = False
        self._hung_up = False

    async def serve(self, handlers: Mapping[type[commands.Command], Handler]) -> Leaving:
        """Until the client has left, or the guest has ended and the client knows."""
        self._handlers = handlers
        try:
            await self.stop_on_exceptions(self.exceptions)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                try:
                    return await self._answer()
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            self._remove_breakpoints()

    # ── reading ────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        begun = trio.current_time()
        try:
            while True:
                # Measured from a packet's first byte: one byte now and then gains no time.
                unfinished = not self._began or self._connection.partial
                with trio.CancelScope(deadline=begun + _HANDSHAKE if unfinished else math.inf) as scope:
                    data = await self._stream.receive_some(_RECEIVE)
                if scope.cancelled_caught:
                    logger.warning("a client is cut off: it doesn't finish its packet")
                    break
                if not data:
                    break
                if self._began and not self._connection.partial:
                    begun = trio.current_time()
                self._connection.receive_data(data)
                while (event := self._connection.next_event()) is not NEED_DATA:
                    if isinstance(event, Interrupt):
                        self._on_interrupt()
                    elif isinstance(event, commands.Command):
                        self._began = True
                        await self._queue_in.send(event)
        except RemoteProtocolError as exc:
            logger.warning("a client is cut off: %s", exc)
        except trio.BrokenResourceError:
            pass
        # What has arrived is still answered; but nobody waits any more for the guest to stop.
        self._hung_up = True
        self._queue_in.close()
        if self._running is not None:
            self._running.cancel()

    def _on_interrupt(self) -> None:
        self._interrupted = True
        if self._running is not None:
            self.process.interrupt()

    async def _send(self, payload: bytes, answers: commands.Command | None = None) -> None:
        logger.debug("<-- %r", payload[:200])
        self._connection.send(payload, answers=answers)
        with trio.move_on_after(_SEND) as scope:
            try:
                await self._stream.send_all(self._connection.data_to_send())
            except trio.BrokenResourceError:
                raise _Gone(Leaving.LOST) from None
        if scope.cancelled_caught:
            logger.warning("a client is cut off: it doesn't take its replies")
            raise _Gone(Leaving.LOST)

    # ── answering ──────────────────────────────────────────────────────────────────────────────

    async def _answer(self) -> Leaving:
        try:
            async for command in self._queue:
                logger.debug("--> %s", command)
                if isinstance(command, commands.Resume):
                    await self._resume(command)
                elif isinstance(command, commands.Detach):
                    self._remove_breakpoints()
                    await self._send(OK)
                    return Leaving.DETACHED
                elif isinstance(command, commands.Kill):
                    await self._send(killed(SIGKILL))
                    return Leaving.KILLED
                elif isinstance(command, commands.QueryStop):
                    await self._send(await self.stop_reply())
                else:
                    await self._send(await self._reply(command), command)
        except _Gone as exc:
            return exc.how
        return Leaving.LOST

    async def _reply(self, command: commands.Command) -> bytes:
        if isinstance(command, commands.Malformed):
            return self.error(f"malformed packet: {command.why}")
        handler = self._handlers.get(type(command))
        if handler is None:
            return UNSUPPORTED
        try:
            return await handler(self, command)
        except (DebuggerError, LookupError, TypeError, ValueError, OverflowError) as exc:
            return self.error(str(exc))
        except trio.ClosedResourceError:
            return self.error("the guest is gone")
        except Exception:
            # Ours, and to be reported; but no reason to take the application down.
            logger.exception("handling %r has failed", command)
            return self.error("internal error: see the server's log")

    def error(self, text: str, code: int = 1) -> bytes:
        """An error reply, in words if the client understands them."""
        return error(code, text, with_text=self.error_strings)

    async def print(self, text: str) -> None:
        """Show text to the user at the client, as output of a monitor command."""
        data = text.encode("utf-8", "replace")
        for at in range(0, len(data), _OUTPUT):
            await self._send(output(data[at : at + _OUTPUT]))

    async def stop_on_exceptions(self, which: str) -> None:
        """Choose the exceptions that stop a thread: ``all``, ``uncaught`` or ``none``."""
        if which != self.exceptions:
            for token in self._throws.values():
                self.remove_breakpoint(token)
            self._throws.clear()
        self.exceptions = which
        self.process.exceptions_stop = which != "none"
        for thread in self.process.live:
            target = thread.target
            if which == "none" or thread.tid in self._throws or not isinstance(target, ExceptionTarget):
                continue
            try:
                stop = functools.partial(_stop_on_exceptions, target, which)
                token = await target.inspect(stop)
            except (WrongStateError, trio.ClosedResourceError):
                continue  # it computes: the next stop is soon enough
            if token is not None:
                self._throws[thread.tid] = token
                self.owners[token] = thread

    # ── running ────────────────────────────────────────────────────────────────────────────────

    async def _resume(self, command: commands.Resume) -> None:
        process = self.process
        if not process.live:
            await self._send(await self.stop_reply())
            return
        steps = self._steps(command)
        if not steps:
            await self._send(self.error("no such thread"))
            return
        if self._hung_up:
            raise _Gone(Leaving.LOST)
        self._interrupted = False
        self._stacks.clear()
        if process.space.changed:
            # There are new modules, which may be the first ones with exceptions.
            process.space.changed = False
            await self.stop_on_exceptions(self.exceptions)
        with trio.CancelScope() as self._running:
            # A condition is the target's to evaluate, and was when it came here.
            unconditional = {
                token: place for token, place in self.breakpoints.items() if place not in self.conditions
            }
            await process.resume(steps, unconditional)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump)
                stopped = await process.wait_stop()
                nursery.cancel_scope.cancel()
        if self._running.cancelled_caught:
            raise _Gone(Leaving.LOST)
        self._running = None
        thread = stopped or process.thread(self.stop_thread) or process.thread(None)
        self.stop_thread = self.selected = thread.tid if thread is not None else 0
        self.frame = 0
        await self._flush()
        reply = await self.stop_reply()
        await self._send(reply)
        if not process.live:
            raise _Gone(Leaving.FINISHED)

    def _steps(self, command: commands.Resume) -> dict[int, bool]:
        """Thread to "step?"; of several actions the first one that names a thread counts."""
        steps: dict[int, bool] = {}
        for thread in self.process.live:
            for action in command.actions:
                if action.thread in (None, 0, thread.tid):
                    steps[thread.tid] = action.step
                    break
        if len(command.actions) == 1 and command.actions[0].step and command.actions[0].thread is None:
            # A bare "s" means the selected thread; the others stay where they are.
            steps = {tid: step for tid, step in steps.items() if tid == self.selected} or steps
        return steps

    async def _pump(self) -> None:
        if self.output is None:
            return
        try:
            while True:
                await self.output.wait()
                await self._flush()
        except _Gone:
            assert self._running is not None
            self._running.cancel()

    async def _flush(self) -> None:
        """Everything that the guest has written so far."""
        if self.output is not None:
            # Cancelled here: what was drained has been sent, or the client is gone.
            with trio.CancelScope(shield=True):
                await self._send_output(self.output.drain())

    async def _send_output(self, data: bytes) -> None:
        for at in range(0, len(data), _OUTPUT):
            await self._send(output(data[at : at + _OUTPUT]))

    # ── stops ──────────────────────────────────────────────────────────────────────────────────

    async def stop_reply(self, tid: int | None = None) -> bytes:
        """Why the process, or one thread of it, has stopped."""
        process = self.process
        if not process.live:
            ends = [thread.target.finished for thread in process.threads]
            return exit_reply([end for end in ends if end is not None])
        thread = process.thread(self.stop_thread if tid is None else tid) or process.live[0]
        chosen = thread.tid == self.stop_thread
        why = reason_of(thread.event, self.breakpoints, self.watchpoints, interrupted=self._interrupted)
        if not chosen and isinstance(thread.event, events.Interrupted | None):
            why = type(why)()
        pcs = tuple([(each.tid, await self.pc(each)) for each in process.live])
        return StopReply(
            why.signal,
            thread.tid,
            pcs,
            why.reason,
            why.description,
            thread.target.name,
            libraries=process.space.changed,
        ).encode()

    async def pc(self, thread: Thread) -> int:
        """The address at which a thread stands."""
        return (await self.call_stack(thread, 1))[0]

    async def call_stack(self, thread: Thread, most: int) -> list[int]:
        """Addresses of the frames, innermost first; never empty.

        Callers stand at their return addresses.  The innermost frame stands at the address that the
        client gave its breakpoint, where that is why it has stopped: LLDB puts one at a function's
        first byte, which is no instruction yet.
        """
        known = self._stacks.get((thread.tid, most))
        if known is not None:
            return known
        addresses: list[int] = []

        def walk(view: TargetView) -> None:
            self.process.space.note(thread.tid, view)
            for position, frame in enumerate(view.frames()):
                offset = frame.return_offset if position else frame.module_offset
                number = self.process.space.number(frame.instance.module)
                addresses.append(WasmAddress.code(number, offset).raw)
                if len(addresses) >= most:
                    break

        try:
            await thread.target.inspect(walk)
        except (WrongStateError, trio.ClosedResourceError):
            pass  # it is in a call that can't be looked into
        if not addresses:
            addresses.append(WasmAddress.code(0, 0).raw)
        if isinstance(thread.event, events.Breakpoint):
            asked = [self.breakpoints[each] for each in thread.event.breakpoints if each in self.breakpoints]
            if asked:
                addresses[0] = min(asked)
        self._stacks[thread.tid, most] = addresses
        return addresses

    def remove_breakpoint(self, token: BreakpointToken) -> None:
        """Take away one of the client's breakpoints or watchpoints."""
        self.breakpoints.pop(token, None)
        self.watchpoints.pop(token, None)
        self.owners.pop(token).target.remove_breakpoint(token)

    def _remove_breakpoints(self) -> None:
        for token in list(self.owners):
            self.remove_breakpoint(token)


def _stop_on_exceptions(target: ExceptionTarget, which: str, view: TargetView) -> BreakpointToken | None:
    return target.stop_on_exceptions(which)
