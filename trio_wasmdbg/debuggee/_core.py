"""The inside of a debuggee: its task, and its pauses.

The **holder** of the handle, in any task, sends commands and receives responses; the debuggee's
task answers.  Which call into the guest is under way is `_calls`' matter, what is armed is
`_arming`'s; here is what happens between an event and the command to go on.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import outcome
import trio
import wasmtime

from .. import capi
from ..engine import Breakpoint, RawFrame, StepKind, Teller, Told, Where, events, make_plan
from ..errors import InternalError
from ..instrument import SLOW
from ._arming import Arming
from ._calls import CallEnded, Calls
from ._commands import Commands, WaitBroken
from ._edits import Edits
from ._evaluation import Evaluation
from ._frames import Frame, frame_at_check
from ._messages import Answer, Command, Completed, Continue, Inject, PausedAt, Polled, Query
from ._responses import Responses
from ._stack import Activation, CallRecord, Stack, activations_of
from ._stores import StoreState
from ._threads import compute
from ._view import StoreView
from ._watching import Watching

if TYPE_CHECKING:
    from ._guest import Guest
    from ._instances import GuestInstance

__all__ = ["Core"]

logger = logging.getLogger("trio_wasmdbg.debuggee")

_INSTRUCTION: Final = StepKind.INSTRUCTION

_MOST = (1 << 63) - 1
"""Instructions that can be counted in one step."""

MAX_CATCHERS = 1_000
"""Frames that a step looks at for handlers of an exception that it may run into."""


class Core:
    """Everything about one debuggee except the handle."""

    # A dictionary for so many takes a kilobyte and a half, and there may be ten thousand of these.
    __slots__ = (
        "_collected", "_collection", "_dropped", "_finished", "_inject_scopes", "_paused_in",
        "_scope", "_show_again", "_shown", "arming", "asked_at", "calling_back", "calls",
        "closed", "commands", "counts", "edits", "ended", "ending", "evaluation", "fatal", "generation",
        "host_call", "limiter", "responses", "state", "stop_on_host_calls", "stop_on_instances", "store",
        "tellers", "token", "told", "watching",
    )  # fmt: skip

    def __init__(self, store: wasmtime.Store, state: StoreState, limiter: trio.CapacityLimiter) -> None:
        self.store = store
        self.state = state
        self.limiter = limiter
        self.token = trio.lowlevel.current_trio_token()
        self.commands = Commands()
        self.responses = Responses()
        self.arming = Arming(state)
        for instance in state.instances:  # of an earlier debuggee
            self.arming.decider.breakpoints.module_loaded(instance.module)
        self.calls = Calls(self)
        self.edits = Edits()
        self.arming.decider.breakpoints.changed = self.arming.breakpoints_changed
        self.arming.decider.countdown = lambda: capi.get_global(store, state.countdown)
        self.evaluation = self.arming.decider.evaluator = Evaluation(self)
        self.watching = Watching(self)
        self.stop_on_host_calls: re.Pattern[str] | None = None
        self.tellers: dict[type[Teller], Breakpoint] = {}
        """By kind: where something is told of, and by whom."""
        self.told: Told | None = None
        """What the holder is told of at this pause."""
        self.host_call: tuple[str, tuple[str, ...]] | None = None
        """A host function of ours at whose call the guest is paused, and the types of what can be changed."""
        self.stop_on_instances = False
        self.calling_back = False
        """The guest is paused for the callbacks of breakpoints, which may edit it."""
        self.generation = 0
        """Counts resumes: frame handles of an earlier one are stale."""
        self._shown: Stack | None = None
        self._paused_in: Frame | None = None
        """The innermost frame of a guest that is at a check; its stack is made when it is asked for."""
        self._show_again: Callable[[], object] | None = None
        self.asked_at: tuple[GuestInstance, int, int, int] | None = None
        """Where the debug callback is: instance, frame, first word of that, resume point."""
        self._dropped = False
        self._scope: trio.CancelScope | None = None
        """The task's, from its beginning on."""
        self._inject_scopes: list[trio.CancelScope] = []
        self.ending = False
        """The debuggee is being cancelled, or its body has ended: nothing calls in or pauses any more."""
        self.closed = False
        self._finished: events.Finished | None = None
        self.fatal: BaseException | None = None
        """What has ended the task that is not the body's outcome: KeyboardInterrupt and the like."""
        self._collected = False
        """Somebody has received Finished."""
        self._collection: trio.Event | None = None
        self.ended = trio.Event()
        self.counts: dict[str, int] = {}

    # ── the task ───────────────────────────────────────────────────────────────────────────────

    async def main(self, body: Callable[[Guest], Awaitable[Any]], guest: Guest) -> None:
        """The debuggee's task: start pause, body, Finished.  Ends when that has been collected."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                if self._dropped:
                    self._scope.cancel()
                nursery.start_soon(self._watch_for_cancel)
                try:
                    await self._run_body(body, guest)
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            self.close()
            self.ended.set()

    async def _run_body(self, body: Callable[[Guest], Awaitable[Any]], guest: Guest) -> None:
        await self.pause(None)
        finished: events.Finished | None = None
        try:
            finished = events.Finished(result=await body(guest))
        except wasmtime.ExitTrap as exc:
            finished = events.Finished(exit_code=exc.code)
        except Exception as exc:
            finished = events.Finished(error=exc)
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as exc:
            # Cancellations are trio's, and go on; the rest is the body's.
            cancelled, rest = exc.split(trio.Cancelled)
            # A group of nothing but Exceptions is an ExceptionGroup, which mypy does not see.
            error: BaseException | None = rest
            if isinstance(error, Exception):
                finished = events.Finished(error=error)
            else:
                self.fatal = error
            if cancelled is not None:
                self._finished = finished
                raise cancelled from None
        except BaseException as exc:
            # Not the program's outcome but the process's: no event, the task just ends with it.
            self.fatal = exc
        finally:
            dropped = self.ending
            # Calls that other tasks have left under way can't outlive the body.
            self.ending = True
            await self.calls.end_all()
        if finished is None:
            return
        self._finished = finished
        if dropped and finished.error is not None and _without_ended_calls(finished.error) is None:
            # It ended because its call was ended with the debuggee: a cancellation, and no event.
            return
        self.count("Finished")
        try:
            self.responses.send_nowait(Completed(finished))
        except trio.WouldBlock:
            # Cancelled at a pause that nobody has received, and nobody can any more: the handle is
            # closed.  An error is raised where the block is left.
            return
        # Cancelled here: the response stays in the channel for whoever holds the handle.
        self._collection = trio.Event()
        await self._collection.wait()

    def collect(self) -> None:
        """Finished has been received: from here on, the store is its owner's again."""
        self._collected = True
        if self._collection is not None:
            self._collection.set()
        self.close()

    def uncollected_error(self) -> BaseException | None:
        """What the body has raised, where no event has told anybody so far."""
        if self.fatal is not None:
            return self.fatal
        if self._finished is None or self._collected:
            return None
        error = self._finished.error
        return _without_ended_calls(error) if error is not None else None

    def drop(self) -> None:
        """Cancel the debuggee; idempotent, in the trio thread."""
        self._dropped = True
        if self._scope is not None:
            self._scope.cancel()

    async def _watch_for_cancel(self) -> None:
        # A pause is shielded from the body's own cancel scopes (see pause()); this task is outside
        # of those, so a cancellation that reaches it is meant for the whole debuggee.
        try:
            await trio.sleep_forever()
        finally:
            self.ending = True
            # Calls in tasks outside of the debuggee's, or shielded by the body, end as well.
            self.calls.cancel_all()
            for scope in self._inject_scopes:
                scope.cancel()
            self.commands.break_waits()

    def close(self) -> None:
        """The last thing that happens; idempotent."""
        if self.closed:
            return
        self.closed = True
        self.arming.close()
        self.expire()
        if self.state.core is self:
            self.state.core = None
        self.responses.close()
        self.commands.close()
        self.calls.polls.brief_runs.close()

    # ── pauses ─────────────────────────────────────────────────────────────────────────────────

    async def pause(self, event: events.Event | None, *, edited: bool = False) -> None:
        """Tell the holder, answer queries, return when told to go on; a checkpoint.

        Shielded from cancel scopes inside the body: while the debugger holds the guest, a timeout
        of the program under debug waits, as it would in any debugger, and is delivered when the
        guest goes on.  A cancellation of the debuggee itself breaks the shield: Cancelled is raised,
        the response stays in its channel, and the call future is deleted on the way out.

        :param edited: a callback may have edited where the guest goes on.
        """
        if not edited:
            self.edits.clear()
        if self.arming.decider.plan is not None:
            # It was not the step that has ended here, but it is over.
            self.arming.decider.plan = None
            self.arming.plan_changed()
        if not self.ending:
            self._tell(event)
        try:
            if not self.ending:
                # No variable for the command: it may hold the handle, which could never be lost then.
                # Cancelled in here: nothing happens before the guest goes on, unless the debuggee ends.
                while not await self._obey(await self.commands.receive()):
                    pass
                return
        except WaitBroken:
            pass
        # Only the debuggee's own cancellation gets here.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise InternalError("a pause was broken without a cancellation")

    @contextmanager
    def at_host_call(self, name: str, types: tuple[str, ...]) -> Iterator[None]:
        """The guest is paused at a call of a host function of ours."""
        self.host_call = name, types
        try:
            yield
        finally:
            self.host_call = None

    async def _obey(self, command: Command) -> bool:
        """Carry out a command at a pause; True if it ends the pause."""
        decider = self.arming.decider
        if isinstance(command, Continue) and (not decider.interrupt or decider.ignoring):
            self._resume(command)
            return True
        if isinstance(command, Polled):
            return True
        if isinstance(command, Query):
            answer = outcome.capture(command.fn, StoreView._create(self))
            self.responses.send_nowait(Answer(answer))
        elif isinstance(command, Inject):
            with trio.CancelScope(shield=True) as shield:
                self._inject_scopes.append(shield)
                try:
                    # Cancelled in here: the injected call is deleted, then the one below it.
                    await self._inject(command)
                finally:
                    self._inject_scopes.remove(shield)
        else:
            # Asked for while paused: it stops the next run at once.
            decider.interrupt = False
            if command.retry:
                self.edits.retry = True  # still, when it goes on
            self._tell(events.Interrupted(*self.here()))
        return False

    async def _inject(self, command: Inject) -> None:
        """Run an injected call from the pause, tell how it ended, and stand where we stood before."""
        show_again, paused_in, edits, told = self._show_again, self._paused_in, self.edits, self.told
        host_call = self.host_call
        self.edits, self.told, self.host_call = Edits(), None, None
        # A step that something else has ended, a trap maybe, is no step of this call.
        self.arming.decider.plan = None
        self.expire()
        self.arming.rearm()
        result: Any = None
        error: BaseException | None = None
        try:
            result = await self.calls.inject(command.func, command.args)
        except Exception as exc:
            error = exc
        self.edits, self.told, self.host_call = edits, told, host_call
        if paused_in is not None:
            function, slow = paused_in.function_index, paused_in._slow
            head = function | SLOW if slow else function
            self.show_check(paused_in._instance, paused_in._fp, head, paused_in._left_at)
        elif show_again is not None:
            show_again()
        self._tell(events.CallReturned(*self.here(), result, error))

    def _tell(self, event: events.Event | None) -> None:
        if event is not None:
            self.note(event)
        self.responses.send_nowait(PausedAt(event))

    def note(self, event: events.Event) -> None:
        """The holder is being told of this."""
        self.count(type(event).__name__)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("paused: %s", event)

    def _resume(self, command: Continue) -> None:
        plan = None
        if command.step is None:
            pass
        elif command.step is _INSTRUCTION:
            plan = make_plan(command.step, None, None, count=command.count)
        else:
            frame = self.stepped_from()
            caller = self._caller_of(frame) if frame is not None else None
            target = 0
            if command.offset is not None and frame is not None:
                target = frame.resume_point_at(command.offset)
            plan = make_plan(
                command.step,
                frame._place() if frame is not None else None,
                caller._place() if caller is not None else None,
                target=target,
                outer=[each._place() for each in self._catchers(caller)],
            )
        self.arming.decider.plan = plan
        if plan is not None and plan.counted:
            capi.set_global(self.store, self.state.countdown, "i64", min(plan.remaining, _MOST))
            # A call that was injected here may have trapped in the middle of what it had counted.
            for instance in self.state.instances:
                instance._count_each()
        self.edits.retry |= command.retry
        self.expire()
        self.arming.plan_changed()

    def count(self, what: str) -> None:
        """One more event of this kind, for the statistics."""
        self.counts[what] = self.counts.get(what, 0) + 1

    # ── what can be looked at ──────────────────────────────────────────────────────────────────

    def show(self, call: CallRecord, *, unpushed: RawFrame | None = None, **how: Any) -> None:
        """Make the innermost activation's frames visible, for the pause that follows.

        :param unpushed: the innermost one, where it is not on the shadow stack.
        """
        self._paused_in = None
        where = self.state.current.get(), self.state.sp.get(), call.base_sp
        self._shown = Stack(self, *where, unpushed=unpushed, **how)
        self._show_again = partial(self.show, call, unpushed=unpushed, **how)

    def show_check(self, instance: GuestInstance, fp: int, head: int, resume_point: int) -> None:
        """The same, of a guest that is at a check, in the frame at *fp*, which has this first word."""
        self._shown = None
        self.asked_at = (instance, fp, head, resume_point)
        self._paused_in = frame_at_check(self, instance, fp, head, resume_point)

    def look(self) -> Frame:
        """The innermost frame while the debug callback runs, for a condition or a message.

        It is good until the next pause or look.
        """
        self.generation += 1
        assert self.asked_at is not None
        instance, fp, head, resume_point = self.asked_at
        return frame_at_check(self, instance, fp, head, resume_point)

    def stack_of(self, frame: Frame) -> Stack:
        """The stack below the innermost frame of a guest that is at a check."""
        return Stack.at_check(self, frame, self.calls.base_sp)

    @property
    def shown_stack(self) -> Stack | None:
        """The innermost activation's frames, at a pause."""
        return self._shown if self._paused_in is None else self._paused_in._stack

    def expire(self) -> None:
        """The guest goes on: frame handles become stale."""
        self.generation += 1
        self._shown = None
        self._paused_in = None
        self._show_again = None

    def here(self) -> tuple[events.Location | None, Frame | None]:
        """Where the guest is, and its innermost frame."""
        frame = self._paused_in
        if frame is None and self._shown is not None:
            frame = self._shown.first()
        if frame is None:
            return None, None
        return frame._location, frame

    def first_frames(self, count: int) -> Iterator[Frame]:
        """The innermost activation's first frames."""
        shown = self.shown_stack
        return itertools.islice(shown.frames(), count) if shown is not None else iter(())

    def activations(self) -> list[Activation]:
        """All calls from the host into the guest, innermost first."""
        shown = self.shown_stack
        return [] if shown is None else activations_of(self, shown, self.calls.records)

    def stepped_from(self) -> Frame | None:
        """The frame that a step begins in: the innermost one, or that which is to be left first of all."""
        leave = self.edits.leave
        if leave is None:
            return next(self.first_frames(1), None)
        frames = (frame for activation in self.activations() for frame in activation.frames)
        return next(frame for frame in frames if frame.address == leave.fp)

    def _catchers(self, caller: Frame | None) -> Iterator[Frame]:
        """Frames beyond the caller's to which an exception may lead; none where there are no tags."""
        if any(instance.module.original.tags for instance in self.state.instances):
            for _ in range(MAX_CATCHERS):
                caller = None if caller is None else caller.parent
                if caller is None:
                    return
                yield caller

    def _caller_of(self, frame: Frame) -> Frame | None:
        parent = frame.parent
        if parent is not None:
            return parent
        # The first frame of a nested activation returns to a host function, and that in turn to
        # the guest frame below.
        for activation in self.activations():
            below = activation.exit_frame
            if below is not None and below.address > frame.address:
                return below
        return None

    def describe(self, func: wasmtime.Func) -> tuple[str, bool]:
        """A name for what is called, and whether it is opaque (no bytecode of ours)."""
        known = self.state.known(func)
        return (known[0], False) if known is not None else ("an uninstrumented function", True)

    # ── changes ────────────────────────────────────────────────────────────────────────────────

    def set_teller(self, kind: type[Teller], teller: Teller | None, where: Where | None) -> None:
        """Let this teller take the place of the one of its kind."""
        decider = self.arming.decider
        old = self.tellers.pop(kind, None)
        if old is not None:
            decider.breakpoints.remove(old)
            assert old.teller is not None
            decider.expected.forget(old.teller)
        if teller is not None and where is not None:
            self.tellers[kind] = decider.breakpoints.add(where, teller=teller)

    def set_single_step(self, on: bool) -> None:
        self.arming.decider.single_step = on
        self.arming.rearm()

    async def renew_slow_twins(self) -> None:
        """Conditions have changed: let slow twins evaluate the new ones; a checkpoint if there are any.

        The guest must be suspended.  An activation in an older twin goes on in that, and asks the host.
        """
        self.arming.conditions_changed = False
        for instance in self.state.instances:
            for function, conditions in self.arming.outdated_twins(instance):
                await instance._make_slow_twin(function, conditions)
        self.arming.rearm()

    async def instance_created(self, instance: GuestInstance) -> None:
        """Bind pending breakpoints in a new instance's module, arm it, maybe pause; a checkpoint."""
        self.calls.polls.slices.changed()
        # Cancelled here: the instance is in the store, without breakpoints and unused.
        table = self.arming.decider.breakpoints
        if any(breakpoint.where.needs_search for breakpoint in table):
            await compute(lambda tick: table.module_loaded(instance.module))
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
            table.module_loaded(instance.module)
        self.arming.rearm()
        if self.stop_on_instances and not self.arming.decider.ignoring:
            # Cancelled here: the event is in its channel; the instance as above.
            await self.pause(events.InstanceCreated(None, None, instance))
            await trio.lowlevel.checkpoint_if_cancelled()


def _without_ended_calls(error: BaseException) -> BaseException | None:
    """What is left of an error without those of calls that were ended with their debuggee."""
    if isinstance(error, BaseExceptionGroup):
        # The body's own nursery may have wrapped them.
        return error.split(CallEnded)[1]
    return None if isinstance(error, CallEnded) else error
