"""Who is served when: listeners, one client after the other, and what happens between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeAlias

import trio
from attrs import define, field

from ...abc import Debuggable, DebugTarget
from ...engine import events
from ._breakpoints import BREAKPOINTS
from ._handshake import HANDSHAKE
from ._monitor import MONITOR
from ._output import GuestOutput
from ._process import Process
from ._session import Handler, Leaving, Session
from ._state import STATE

__all__ = ["WhenClientLeaves", "serve_gdb"]

logger = logging.getLogger("trio_wasmdbg.gdbremote")

WhenClientLeaves: TypeAlias = Literal["pause", "resume", "kill"]

Served: TypeAlias = Debuggable | DebugTarget | Iterable[Debuggable | DebugTarget]

HANDLERS: dict[type, Handler] = {**HANDSHAKE, **STATE, **BREAKPOINTS, **MONITOR}


async def serve_gdb(
    debuggee: Served | Callable[[], AbstractAsyncContextManager[Served]],
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    when_client_leaves: WhenClientLeaves = "pause",
    run_detached: bool = False,
    output: GuestOutput | None = None,
    output_sink: Callable[[bytes], None] | None = None,
    task_status: trio.TaskStatus[Sequence[trio.abc.Listener[Any]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Let LLDB (or gdb) debug a guest, one client at a time.

    ``process connect --plugin wasm connect://127.0.0.1:PORT`` is what LLDB 22 is told.

    :param debuggee: a :class:`Debuggee`, several of them (the threads of one process), or a function
        that returns an async context manager for either: it is entered when a client comes, and
        left when the guest has ended.
    :param listeners: where clients come from; whoever can connect controls the guest, so keep them
        on loopback.
    :param when_client_leaves: what becomes of the guest when a connection is lost: it stays paused
        (for the next client, or for its holder's ``run()``), it goes on, or it is cancelled.  A client
        that detaches lets it go on in any case.
    :param run_detached: between clients this server waits for the guest's events itself, so that a
        guest left alone comes to its end.  Otherwise that is left to the debuggee's holder.
    :param output: where the guest writes; while a client's guest runs, the client is shown it.
    :param output_sink: who gets that between clients.

    While a client is attached, the holder's own ``run()`` raises :exc:`trio.BusyResourceError`; a
    client that comes while the holder waits in ``run()`` is turned away.  A client's garbage ends
    no more than its own session.

    Returns when every debuggee has ended, as far as this server has been told; with a function,
    never.  Cancelled: the client is cut off, breakpoints it has set are gone, the debuggee is left
    as it is.
    """
    server = _Server(when_client_leaves, run_detached, output, output_sink)
    async with trio.open_nursery() as nursery:
        accept = trio.serve_listeners
        await nursery.start(accept, server.greet, listeners)
        task_status.started(listeners)
        if callable(debuggee) and not isinstance(debuggee, Debuggable | DebugTarget):
            while True:
                first = await server.next_client()
                async with debuggee() as made:
                    await server.serve(_targets(made), first)
        else:
            await server.serve(_targets(debuggee), None)
        nursery.cancel_scope.cancel()


def _targets(served: Served) -> list[DebugTarget]:
    if isinstance(served, DebugTarget):
        return [served]
    if isinstance(served, Debuggable):
        return [served.debug_target()]
    return [target for each in served for target in _targets(each)]


@define(eq=False)
class _Client:
    """A connection that waits to be served."""

    stream: trio.abc.Stream
    done: trio.Event = field(factory=trio.Event)


class _Server:
    def __init__(
        self,
        when_client_leaves: WhenClientLeaves,
        run_detached: bool,
        output: GuestOutput | None,
        sink: Callable[[bytes], None] | None,
    ) -> None:
        self._when_client_leaves = when_client_leaves
        self._run_detached = run_detached
        self._output = output
        self._sink = sink
        self._clients_in, self._clients = trio.open_memory_channel[_Client](1)
        self._place = trio.Lock()

    # ── clients ────────────────────────────────────────────────────────────────────────────────

    async def greet(self, stream: trio.abc.Stream) -> None:
        """A new connection, in a task of its own."""
        try:
            # One that comes right after another one has left finds it leaving still.
            with trio.move_on_after(_QUEUEING):
                await self._place.acquire()
            if self._place.statistics().owner is not trio.lowlevel.current_task():
                logger.warning("a client is turned away: another one is attached")
                return
            try:
                client = _Client(stream)
                await self._clients_in.send(client)
                await client.done.wait()
            finally:
                self._place.release()
        finally:
            await trio.aclose_forcefully(stream)

    async def next_client(self) -> _Client:
        """Wait for one."""
        return await self._clients.receive()

    # ── one process, client after client ───────────────────────────────────────────────────────

    async def serve(self, targets: Sequence[DebugTarget], first: _Client | None) -> None:
        """Until all targets have ended."""
        client = first
        try:
            while True:
                process = Process(targets)
                if client is None:
                    if process.live or not self._run_detached:
                        client = await self._client_or_end(process)
                    if client is None:
                        return
                how = await self._session(process, client)
                client.done.set()
                client = None
                self._let_go(process, how)
                if how in (Leaving.KILLED, Leaving.FINISHED) or not process.live:
                    return
        finally:
            if client is not None:
                client.done.set()

    async def _session(self, process: Process, client: _Client) -> Leaving:
        logger.info("a client is attached")
        try:
            async with process.attached():
                await process.settle()
                session = Session(client.stream, process, self._output)
                how = await session.serve(HANDLERS)
                if how is Leaving.FINISHED:
                    # The client closes when it has read that; at once, it might not read it.
                    with trio.move_on_after(_FAREWELL):
                        await _until_closed(client.stream)
        except trio.BusyResourceError as exc:
            logger.warning("a client is turned away: %s", exc)
            how = Leaving.LOST
        logger.info("the client has left: %s", how.value)
        return how

    def _let_go(self, process: Process, how: Leaving) -> None:
        resume = how is Leaving.DETACHED
        kill = how is Leaving.KILLED
        if how is Leaving.LOST:
            resume = self._when_client_leaves == "resume"
            kill = self._when_client_leaves == "kill"
        for thread in process.live:
            if kill:
                thread.target.kill()
            elif resume:
                if thread.target.running:
                    thread.target.clear_interrupt()
                thread.target.resume_nowait()
            elif thread.target.running:
                thread.target.interrupt()

    async def _client_or_end(self, process: Process) -> _Client | None:
        """The next client; or None when the guest has ended meanwhile."""
        found: _Client | None = None
        async with trio.open_nursery() as nursery:
            if self._output is not None and self._sink is not None:
                nursery.start_soon(self._output.pump, self._sink)
            if self._run_detached and any(thread.target.running for thread in process.live):
                nursery.start_soon(self._run_to_end, process, nursery.cancel_scope)
            found = await self.next_client()
            nursery.cancel_scope.cancel()
        return found

    async def _run_to_end(self, process: Process, scope: trio.CancelScope) -> None:
        """Take the guest's events in nobody's name, and let it go on."""
        async with trio.open_nursery() as nursery:
            for thread in process.live:
                if thread.target.running:
                    nursery.start_soon(_run_one, thread.target)
        if not process.live:
            scope.cancel()


_FAREWELL = 5.0
"""Seconds for a client to close the connection after it was told of the guest's end."""
_QUEUEING = 1.0
"""Seconds for which a client waits for another one to leave."""


async def _until_closed(stream: trio.abc.Stream) -> None:
    try:
        while await stream.receive_some(4096):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def _run_one(target: DebugTarget) -> None:
    with target.attach():
        while target.finished is None:
            try:
                event = await target.run()
            except trio.ClosedResourceError:
                return
            if not isinstance(event, events.Finished):
                logger.info("no client is there for %s: the guest goes on", type(event).__name__)
