"""The handle: what the holder of a debuggee does with it.

Every await in :meth:`Debuggee.run` and :meth:`Debuggee.with_store` can be cancelled.  Beside each
stands what that leaves behind; the states in ``engine._lifecycle`` exist for nothing else.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, final

import trio
import wasmtime
from attrs import frozen

from ..addresses import ModuleOffset
from ..engine import Lifecycle, Signal, State, StepKind, encode_value, events
from ..errors import InternalError, UsageError, WrongStateError
from ..wasm import F32, F64, I32, I64, V128, ValType
from ._messages import Answer, Command, Completed, Continue, Inject, PausedAt, Polled, Query, Response
from ._short_cuts import may_run, run
from ._stop_controls import StopControls
from ._tellers import HostCallPoint
from ._util import ConflictDetector, NoPublicConstructor
from ._view import StoreView

if TYPE_CHECKING:
    from ..abc import DebugTarget
    from ._core import Core

__all__ = ["Debuggee", "Statistics"]

R = TypeVar("R")

# Looked up once: CPython 3.11 takes a tenth of a microsecond to find a member of an enum.
_PAUSED, _COMPLETE, _CLOSED = State.PAUSED, State.COMPLETE, State.CLOSED
_CONTINUE, _EVENT = Signal.CONTINUE, Signal.EVENT
_RUN, _STEP, _POLLED = Continue(), Continue(StepKind.INSTRUCTION), Polled()

_NUMBERS = {str(each): each for each in (I32, I64, F32, F64, V128)}


@frozen
class Statistics:
    """Counters of one debuggee, as :meth:`Debuggee.statistics` returns them."""

    state: str
    events: dict[str, int]
    """How many of each kind of event."""
    polls_inline: int
    """Runs on the trio thread: single steps, and what is probably short."""
    polls_in_threads: int
    calls: int
    """Calls into the guest that are under way."""
    instances: int
    slow_twins: int
    twins_kept: int
    """Compiled slow twins that the instances' modules keep, so that further instances start sooner."""
    companions: int
    """Instances in the store that hold slow twins and flavours: of its 10,000."""
    flavours: int
    """Copies of functions that test conditions, watched memory, … at full speed."""
    flavours_refused: dict[str, int]
    """Why functions have no flavour and run in their slow twins, and how many."""
    loop_copies: int
    """Copies of hot loops, in which activations that were in slow twins have gone back to full speed."""
    loops_refused: dict[str, int]
    """Why loops have no copy, so that an activation in its slow twin stays there, and how many."""
    breakpoints: int
    frames: dict[str, int]
    """How many of the instances keep their frames in each way (see :func:`load_module`)."""


@final
class Debuggee(StopControls, metaclass=NoPublicConstructor):
    """A guest under the debugger; made by :func:`open_debuggee` and :func:`run_debuggee`.

    One task at a time may wait in :meth:`run`, the steps, :meth:`with_store` or :meth:`finish`;
    a second one gets :exc:`trio.BusyResourceError`.
    """

    def __init__(self, core: Core, *, warn: bool) -> None:
        self._core = core
        self._warn = warn
        self._lifecycle = Lifecycle()
        self._conflict = ConflictDetector("another task is using this debuggee")
        self._finished: events.Finished | None = None
        self._error_raised = False

    def __repr__(self) -> str:
        return f"<Debuggee {self.state.value}>"

    def __del__(self) -> None:
        # May run in any thread, at any moment, also when __init__ has failed.
        core = getattr(self, "_core", None)
        if core is None or core.closed or not self._warn:
            return
        try:
            core.token.run_sync_soon(core.drop)
        except trio.RunFinishedError:
            pass  # with the trio run, the debuggee's task is gone too
        if self._finished is None:
            # Last: where warnings are errors, this raises.
            warnings.warn(
                "the last reference to a running debuggee went away: its guest is being cancelled; "
                "call its cancel() or finish(), or use 'async with open_debuggee(...)'",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    # ── state ──────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> State:
        """Where the debuggee is, as far as this handle knows."""
        state = self._lifecycle.state
        return _CLOSED if self._core.closed and state is not _COMPLETE else state

    @property
    def is_complete(self) -> bool:
        """Whether Finished has been received."""
        return self._lifecycle.state is _COMPLETE

    def statistics(self) -> Statistics:
        """Counters, at any time."""
        core = self._core
        return Statistics(
            state=self.state.value,
            events=dict(core.counts),
            polls_inline=core.calls.polls.inline,
            polls_in_threads=core.calls.polls.in_threads,
            calls=len(core.calls),
            instances=len(core.state.instances),
            slow_twins=sum(instance.slow_twins for instance in core.state.instances),
            companions=core.state.companions,
            twins_kept=sum(len(module._slow) for module in {each.module for each in core.state.instances}),
            flavours=sum(len(instance._flavours) for instance in core.state.instances),
            flavours_refused=dict(
                Counter(why for each in core.state.instances for why in each._flavours.refused.values())
            ),
            loop_copies=sum(len(instance._loops) for instance in core.state.instances),
            loops_refused=dict(
                Counter(why for each in core.state.instances for why in each._loops.refused.values())
            ),
            breakpoints=len(core.arming.decider.breakpoints),
            frames=dict(Counter(instance.module.frames for instance in core.state.instances)),
        )

    # ── running ────────────────────────────────────────────────────────────────────────────────

    async def run(self, *, retry: bool = False) -> events.Event:
        """Go on to the next event; a checkpoint.

        :param retry: after a live Trap: execute the instruction again, with its operands as they are
            now.  Without it the guest unwinds, and its caller gets the :exc:`wasmtime.Trap`.
        :raises WrongStateError: the debuggee is complete or closed.
        :raises trio.BusyResourceError: another task is using this debuggee.
        :raises trio.ClosedResourceError: it was cancelled while this waited.

        Cancelled: the guest goes on; the next ``run()`` (or step) returns the event that this one
        would have returned.
        """
        return await self._resume(Continue(retry=True) if retry else _RUN)

    async def step(self, count: int = 1) -> events.Event:
        """Execute one instruction (or *count*), into calls; else as :meth:`run`."""
        if count < 1:
            raise ValueError(f"can't step {count} instructions")
        return await self._resume(_STEP if count == 1 else Continue(StepKind.INSTRUCTION, count=count))

    async def step_over(self) -> events.Event:
        """Execute one instruction, and a call as a whole; else as :meth:`run`."""
        return await self._resume(Continue(StepKind.OVER))

    async def step_out(self) -> events.Event:
        """Go on until the function has returned to its caller; else as :meth:`run`.

        The event's ``returned`` are the values that it has returned.  Out of the outermost function, it
        goes on to the next event.
        """
        return await self._resume(Continue(StepKind.OUT))

    async def run_until(self, offset: int) -> events.Event:
        """Go on to a module offset in this activation of the function, or out of it; else as :meth:`run`.

        :raises UsageError: the guest is not paused in a function that has this offset.
        """
        frame = self._core.stepped_from() if self.state is State.PAUSED else None
        if frame is None:
            raise UsageError("the guest is not paused in a function")
        frame.resume_point_at(ModuleOffset(offset))
        return await self._resume(Continue(StepKind.UNTIL, offset=ModuleOffset(offset)))

    async def run_to_return(self) -> events.Event:
        """Go on to the function's end, before it returns; else as :meth:`run`.

        The event's ``returned`` are the values that it is going to return.  From the end, and by a tail
        call, it goes on to the caller; out of the outermost function, to the next event.
        """
        return await self._resume(Continue(StepKind.RETURN))

    async def finish(self) -> events.Finished:
        """Run to the end, ignoring all events; a checkpoint.

        :returns: Finished, with the body's result or exit code; at once if it is complete already.
        :raises: the body's own exception, as it is.

        Cancelled: events count again; what has been executed has been executed.
        """
        with self._conflict:
            decider = self._core.arming.decider
            decider.ignoring = True
            self._core.arming.rearm()
            try:
                if self.is_complete:
                    await trio.lowlevel.checkpoint()
                while self._finished is None:
                    # Cancelled in here: as in run().
                    await self._resume_held(Continue())
            finally:
                decider.ignoring = False
                self._core.arming.rearm()
        assert self._finished is not None
        error = self._finished.error
        if error is not None:
            self._error_raised = True
            raise error
        return self._finished

    def __aiter__(self) -> Debuggee:
        return self

    async def __anext__(self) -> events.Event:
        """The next event; the last one is Finished."""
        if self.is_complete:
            raise StopAsyncIteration
        return await self.run()

    async def with_store(self, fn: Callable[[StoreView], R]) -> R:
        """Let the debuggee's task run a plain function on the paused store; a checkpoint.

        :returns: what *fn* returns; what it raises is raised here.
        :raises WrongStateError: the guest is running (a ``run()`` was cancelled), or closed.

        Cancelled: *fn* has run once or not at all, and its result is dropped.
        """
        with self._conflict:
            return await self._query_held(fn)

    async def _query_held(self, fn: Callable[[StoreView], R]) -> R:
        if self.is_complete:
            # The debuggee's task is over, and the store is the holder's again.
            await trio.lowlevel.checkpoint()
            return fn(StoreView._create(self._core))
        if self.state is not State.PAUSED:
            await self._settle("look at the store")
        if not self._lifecycle.allows(Signal.QUERY):
            raise WrongStateError(
                "the store can't be looked at while the guest runs: call run() again first",
                state=self.state.value,
            )
        # Cancelled here: paused; fn has not run and never will.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._send(Query(fn))
        self._lifecycle.move(Signal.QUERY)
        # Cancelled here: queried; fn will run, and the next call receives and drops its answer.
        response = await self._receive()
        self._lifecycle.move(Signal.ANSWER)
        if not isinstance(response, Answer):
            raise InternalError(f"a query was answered by {response!r}")
        result: R = response.outcome.unwrap()
        return result

    async def _resume(self, command: Command) -> events.Event:
        with self._conflict:
            return await self._resume_held(command)

    async def _resume_held(self, command: Command) -> events.Event:
        lifecycle = self._lifecycle
        if lifecycle.state is not _PAUSED or self._core.closed:
            await self._settle("run it")
        if lifecycle.allows(_CONTINUE):
            calls = self._core.calls
            if may_run(calls, command):
                # Cancelled here: paused; nothing was sent.
                await trio.lowlevel.checkpoint()
                # Other tasks have run.
                if isinstance(command, Continue) and may_run(calls, command):
                    event = run(calls, command)
                    if event is not None:
                        return event
                    command = _POLLED
            else:
                # Cancelled here: likewise.
                await trio.lowlevel.checkpoint_if_cancelled()
            self._send(command)
            lifecycle.move(_CONTINUE)
        # Else it is running, after a cancelled run(): its event is the one to wait for.
        # Cancelled here: running; the event stays in its channel, for the next call.
        response = await self._receive()
        if isinstance(response, PausedAt) and response.event is not None:
            lifecycle.move(_EVENT)
            return response.event
        if isinstance(response, Completed):
            lifecycle.move(Signal.FINISHED)
            self._finished = response.event
            self._core.collect()
            return response.event
        raise InternalError(f"waiting for an event, received {response!r}")

    async def _settle(self, purpose: str) -> None:
        """Receive what an earlier call has left under way: the start pause, or a stale answer."""
        state = self.state
        if state in (State.COMPLETE, State.CLOSED):
            raise WrongStateError(f"can't {purpose}", state=state.value)
        if state is State.INITIAL:
            # Cancelled here: still initial; the start pause stays in its channel.
            await self._receive()
            self._lifecycle.move(Signal.START_PAUSE)
        elif state is State.QUERIED:
            # Cancelled here: still queried; the stale answer stays in its channel.
            await self._receive()
            self._lifecycle.move(Signal.ANSWER)

    def _send(self, command: Command) -> None:
        try:
            self._core.commands.send_nowait(command)
        except trio.BrokenResourceError:
            # It was cancelled while an earlier response was on its way.
            raise trio.ClosedResourceError("the debuggee was cancelled") from None

    async def _receive(self) -> Response:
        try:
            return await self._core.responses.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError("the debuggee was cancelled") from None

    # ── at any time ────────────────────────────────────────────────────────────────────────────

    def interrupt(self) -> None:
        """Ask the guest to pause at its next check site; from any thread, at any time.

        While paused, it stops the next run at once.  Asking twice is asking once.  No effect on a
        debuggee that is complete or closed.
        """
        self._core.arming.interrupt()

    def cancel(self) -> None:
        """End the debuggee: the guest, then its body (which sees Cancelled); idempotent.

        From the trio thread.  Returns at once; a guest that computes stops at its next check site.
        """
        self._core.drop()

    def debug_target(self) -> DebugTarget:
        """This debuggee as debug servers want it: what :func:`serve_gdb` asks for."""
        from ._target import DebuggeeTarget

        return DebuggeeTarget(self)

    # ── edits at a pause ───────────────────────────────────────────────────────────────────────

    def set_host_values(self, *values: object) -> None:
        """At HostCallEntered: the arguments, at HostCallReturned or a live HostcallError: the results
        to be used instead, at the next resume.

        :raises TypeError, ValueError: they are not as many, or not of the types that the function has.
        :raises UsageError: the guest is paused at no host call.
        :raises WrongStateError: the guest is not paused.
        """
        self._require_paused("change a host call")
        core = self._core
        if core.host_call is not None:
            name, types = core.host_call
            _check_values(name, [_NUMBERS.get(each) for each in types], values)
            core.edits.host_values = values
            return
        # A function of the user's linker: they are operands.
        _, frame = core.here()
        if core.told is None or frame is None or not isinstance(core.told.what, HostCallPoint):
            raise UsageError("the guest is paused at no host call")
        what = core.told.what
        operands = frame.operand_types[what.first :][: what.count]
        _check_values(what.name, [None if each.is_ref else each for each in operands], values)
        for height, value in enumerate(values, what.first):
            frame.set_operand(height, value)

    def trap(self, message: str = "wasm trap: made by the debugger") -> None:
        """Let the guest trap where it is paused, at the next resume.

        :raises WrongStateError: the guest is not paused, or there is no guest code to trap.
        :raises UsageError: it has been unwound already.
        """
        self._require_paused("make the guest trap")
        stack = self._core.shown_stack
        if stack is None:
            raise WrongStateError("no guest code is on the stack", state=self.state.value)
        if not stack.resumable:
            raise UsageError("the guest has been unwound already")
        self._core.edits.trap = message

    async def inject_call(self, func: wasmtime.Func, *args: object) -> events.Event:
        """Call a function of the guest from where it is paused; a checkpoint.

        The call is itself under the debugger: the next event is :class:`events.CallReturned`, or
        whatever pauses the guest in it.  After CallReturned the guest stands where it stood.

        :param func: such as :meth:`GuestInstance.func` gives.
        :raises TypeError: it is no ``wasmtime.Func``.  (Arguments that don't fit are an error of the call.)
        :raises WrongStateError, trio.BusyResourceError, trio.ClosedResourceError: as :meth:`run`.

        Cancelled: the call goes on; the next ``run()`` returns its event.
        """
        if not isinstance(func, wasmtime.Func):
            raise TypeError(f"a wasmtime.Func is called, as GuestInstance.func() gives it, not {func!r}")
        return await self._resume(Inject(func, args))

    def _require_paused(self, purpose: str) -> None:
        if self.state is not State.PAUSED and not self._core.calling_back:
            raise WrongStateError(f"can't {purpose}", state=self.state.value)


def _check_values(name: str, types: Sequence[ValType | None], values: Sequence[object]) -> None:
    """:raises TypeError, ValueError: they don't fit; references (None) are checked by whoever takes them."""
    if len(values) != len(types):
        raise TypeError(f"{name}: {len(types)} values are wanted here, not {len(values)}")
    for valtype, value in zip(types, values, strict=True):
        if valtype is not None:
            encode_value(valtype, value)
