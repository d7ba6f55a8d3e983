"""The two ways to get a debuggee: a block of its own, or a task in the user's nursery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio
import wasmtime

from .. import capi
from ._core import Core
from ._debuggee import Debuggee
from ._guest import Guest
from ._stores import store_state
from ._threads import default_limiter

__all__ = ["Body", "open_debuggee", "run_debuggee"]

Body: TypeAlias = Callable[[Guest], Awaitable[Any]]
"""``async def body(guest)``: what is to be done with the store, under the debugger."""


def _make_core(store: wasmtime.Store, limiter: trio.CapacityLimiter | None) -> Core:
    capi.probe_engine(store.engine)
    state = store_state(store)
    if state.core is not None:
        raise trio.BusyResourceError("this store has a debuggee already")
    core = Core(store, state, limiter or default_limiter())
    state.core = core
    return core


async def run_debuggee(
    store: wasmtime.Store,
    body: Body,
    *,
    limiter: trio.CapacityLimiter | None = None,
    task_status: trio.TaskStatus[Debuggee] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A debuggee as a task: ``debuggee = await nursery.start(run_debuggee, store, body)``.

    The task ends when Finished has been received, when the debuggee is cancelled, or when the last
    reference to the handle goes away (that cancels it, with a :exc:`ResourceWarning` if it was not
    complete).  Parameters and errors as :func:`open_debuggee`.

    Cancelled: as :meth:`Debuggee.cancel`.
    """
    core = _make_core(store, limiter)
    try:
        task_status.started(Debuggee._create(core, warn=True))
        # It keeps what it was given, and nobody but the user may hold the handle.
        del task_status
        await core.main(body, Guest._create(core))
    finally:
        core.close()
    error = core.uncollected_error()
    if error is not None:
        raise error


@asynccontextmanager
async def open_debuggee(
    store: wasmtime.Store, body: Body, *, limiter: trio.CapacityLimiter | None = None
) -> AsyncIterator[Debuggee]:
    """Run *body* under the debugger, paused at its start, for the length of a block.

    ``async with open_debuggee(store, body) as debuggee:``

    :param store: any store of an engine that has what the debugger needs (:func:`prepare_config`).
        From the first debuggee on, Wasmtime refuses synchronous calls in it.
    :param body: ``async def body(guest)``; it may await anything of trio.
    :param limiter: how many guests may compute at the same time (default: 40 in a trio run).
    :raises EngineConfigError: the store's engine lacks a switch.
    :raises trio.BusyResourceError: the store has a debuggee already.

    Leaving the block ends the debuggee: the guest stops at its next check site, its fiber unwinds,
    the body sees Cancelled.  If the body has raised and nobody has collected that (by ``run()`` or
    ``finish()``), it is raised here, as it is.
    """
    core = _make_core(store, limiter)
    debuggee: Debuggee = Debuggee._create(core, warn=False)
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await core.main(body, Guest._create(core))
                if core.fatal is not None:
                    # KeyboardInterrupt, SystemExit: the block can't go on as if nothing had happened.
                    nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            try:
                yield debuggee
            except GeneratorExit:
                raise
            except BaseException as exc:
                # Kept out of the nursery, which would put it into an ExceptionGroup.
                raised = exc
            core.drop()
            # The task has been told to end, and nothing of this block may be left when it has been
            # left; so a cancellation doesn't cut this short.
            with trio.CancelScope(shield=True):
                await core.ended.wait()
    finally:
        core.close()
    error = core.uncollected_error()
    if core.fatal is not None and isinstance(raised, BaseExceptionGroup):
        # The block was cancelled because of it, and the scope of that is left already.
        raised = raised.split(trio.Cancelled)[1]
    if raised is not None and error is not None and not isinstance(raised, trio.Cancelled):
        raise BaseExceptionGroup("the block and the debuggee's body have both failed", [raised, error])
    if error is not None:
        raise error
    if raised is not None:
        raise raised
