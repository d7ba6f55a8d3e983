"""Calls into the guest: start a call future, poll it, do what the suspended guest wants, poll again.

Theory of operation.  Two parties meet here:

* the **caller**, a task: the body's, or a host function's further in.  It polls, in a worker
  thread or, where the run is sure to be short, itself (see `_polls`).  From one stop to the next,
  the holder's task may do that for it (see `_short_cuts`).
* the **debug callback**, which runs on the guest's fiber inside a poll, on whichever thread polls.
  It records one request in ``self.request`` and suspends the fiber; everything else happens
  after the poll has returned.

Calls nest: while the guest is suspended in a host function, that may call in again.  Wasmtime
wants call futures to end innermost first, so only the innermost call is ever polled or deleted.

Whatever ends a call early, a cancellation above all, deletes its future: the fiber unwinds through
the suspended debug callback, and the shadow stack pointer goes back to where the call began.
"""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import trio
import wasmtime

from .. import capi
from ..engine import Kind, Reason, Verdict, events
from ..errors import CallAbandonedError, InternalError, UsageError
from ..instrument import FUNCTION, KIND_CHUNK, KIND_SCALE, SLOW
from ._callbacks import called_back, has_callbacks
from ._capacity import check_room
from ._exceptions import GuestException
from ._failures import Failures
from ._leaving import Leaving
from ._loops import go_on_in_copy
from ._polls import Polls
from ._requests import Call, CallEnded, GuestTrapRequest, HookStop, HostCall, LeaveRequest, event_at
from ._short_cuts import Standing, standing_at
from ._short_runs import is_short_step
from ._tellers import expect_told
from ._traps import GuestTrap

if TYPE_CHECKING:
    from ._core import Core
    from ._host import HostFunction
    from ._instances import GuestInstance

__all__ = ["CallEnded", "Calls"]

# Looked up once: CPython 3.11 takes a tenth of a microsecond to find a member of an enum.
_SITE, _STOP, _THROW, _HOT = Kind.SITE.value, Kind.STOP.value, Kind.THROW.value, Kind.HOT.value
_SITES = (Kind.SITE.value, Kind.LEFT.value)
_TOLD = Reason.TOLD

_header_of: Final = Struct("<I").unpack_from

_host_call: contextvars.ContextVar[object | None] = contextvars.ContextVar(
    "trio_wasmdbg host call", default=None
)
"""In which host call this task runs: only there may it call into the suspended guest."""


class Calls:
    """The calls under way in one debuggee, outermost first."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._state = core.state
        self._arming = core.arming
        self.decider = core.arming.decider
        self._look = core.look
        self._stack: list[Call] = []
        self.leaving = Leaving(core)
        self.failures = Failures(core)
        self.request: HookStop | HostCall | None = None
        self.polls = Polls(core)
        self.standing: Standing | None = None
        """The pause, while short cuts may lead on from it."""

    def __len__(self) -> int:
        return len(self._stack)

    @property
    def base_sp(self) -> int:
        """Where the innermost call's frames end."""
        return self._stack[-1].base_sp

    @property
    def records(self) -> list[Call]:
        return list(self._stack)

    # ── the debug callback ─────────────────────────────────────────────────────────────────────

    def on_hook(self, instance_id: int, kind: int, fp: int, resume_point: int) -> int | None:
        """On the fiber, on the polling thread: answer at once (0: go on) or record and suspend."""
        core, arming = self.core, self._arming
        instance = self._state.instances[instance_id - 1]
        head: int = _header_of(instance._debug_bytes, fp)[0]
        function = head & FUNCTION
        if kind == _HOT:
            return self._on_hot_loop(instance, fp, head, resume_point)
        if kind >= KIND_SCALE:
            # A chunk is missing.  This is no check: nothing is decided.
            number, kind = divmod(kind, KIND_SCALE)
            self.request = HookStop(instance_id, kind, fp, head, function, resume_point, None, number)
            return None
        verdict, answer = None, 0
        if core.edits.unwinding is not None or kind == _THROW:
            through = None
            if kind != _THROW:
                through = self.leaving.pass_through(instance, fp, function, resume_point)
            if through is None:
                self.request = HookStop(instance_id, kind, fp, head, function, resume_point, None)
                return None
            answer = through
        elif not arming.stopping:
            flavour = instance._flavours.at(function, resume_point) if kind == _SITE else None
            if flavour is not None:
                if flavour:
                    return -flavour
                # It has to be made.  What stands at this instruction, it tests itself.
                self.request = HookStop(
                    instance_id, kind, fp, head, function, resume_point, None, flavoured=True
                )
                return None
            core.asked_at = (instance, fp, head, resume_point)
            verdict = self.decider.decide(
                kind, instance._module, instance_id, fp, function, resume_point, self._look
            )
            if arming.skipped is not None:
                arming.passed()
        site = kind != _STOP and kind in _SITES
        suspends = arming.stopping or (arming.sliced and (site or kind == _STOP))
        if verdict is None and not suspends and (not site or instance._has_slow_twin(function)):
            if site and answer == 0:
                # The slow twin begins with the check that has just been decided.
                arming.skip(instance, function, fp, resume_point, counted=True)
            return answer
        self.request = HookStop(instance_id, kind, fp, head, function, resume_point, verdict, answer)
        return None

    def _on_hot_loop(self, instance: GuestInstance, fp: int, head: int, resume_point: int) -> int | None:
        """A loop has gone round often: the slot of a copy to go on in, or 0, or suspend."""
        function, loop = head & FUNCTION, resume_point - 1
        if head & SLOW:
            self.core.arming.frame_is_slow(instance.id, fp, function)
        slot = instance._loops.at(function, loop)
        if slot == 0 or self.core.arming.stopping:
            self.request = HookStop(
                instance.id, _HOT, fp, head, function, resume_point, None, hot=True
            )  # fmt: skip
            return None
        if slot is None:
            instance._loops.count_again(function, loop)
        return slot or 0

    def on_host_call(self, function: HostFunction, pending: capi.Pending) -> None:
        """On the fiber, on the polling thread: record and suspend."""
        self.request = HostCall(pending, function)

    # ── one call, from beginning to end ────────────────────────────────────────────────────────

    def check_may_call(self) -> None:
        """Only the body, or the host function in which the guest is suspended, may call in."""
        if self.core.closed:
            raise UsageError("this debuggee is gone: its guest can be called only while its body runs")
        if self.core.ending:
            raise CallEnded("the debuggee was cancelled, or its body has ended")
        if self.core.edits.beyond is not None:
            raise CallAbandonedError("the debugger has made a frame of the guest outside return or throw")
        if not self._stack:
            return
        token = self._stack[-1].host_token
        if token is None or _host_call.get() is not token:
            raise trio.BusyResourceError(
                "another task's guest.call() is under way in this store; only a host function that it "
                "is suspended in may call in"
            )

    async def run(
        self,
        name: str,
        start: Callable[[], capi.CallFuture],
        *,
        opaque: bool = False,
        instance: int | None = None,
        injected: bool = False,
    ) -> tuple[Any, ...]:
        """Drive one call future to its end and return its values; a checkpoint.

        :param instance: to be current, where the function does not see to that itself.
        :param injected: the debugger calls.

        Cancelled at any moment: the guest stops at its next check site, the future is deleted, the
        shadow stack pointer is restored, and Cancelled goes on to the caller.
        """
        # Cancelled here: nothing has been started.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_may_call()
        check_room()
        state = self._state
        call = Call(name, opaque, state.sp.get(), state.current.get(), injected=injected)
        with call.scope:
            try:
                return await self._drive(call, self._begin(call, start, instance))
            finally:
                self._end(call)  # the teardown, also where it was cancelled
        # No cancellation of the caller's explains it: it is in a task outside, or shielded by the body.
        raise CallEnded("the call was ended, with the debuggee or the host function it was in")

    @trio.lowlevel.enable_ki_protection
    def _begin(
        self, call: Call, start: Callable[[], capi.CallFuture], instance: int | None
    ) -> capi.CallFuture:
        """No KeyboardInterrupt between making the future and knowing of it: nobody would delete it."""
        future = call.future = start()
        self._stack.append(call)
        if instance is not None:
            self._state.current.set(instance)
        return future

    @trio.lowlevel.enable_ki_protection
    def _end(self, call: Call) -> None:
        """The teardown.  No await, and no KeyboardInterrupt: nothing can cut this short."""
        future = call.future
        if future is None:
            return  # it has not begun
        future.delete()
        self._stack.remove(call)
        self._state.sp.set(call.base_sp)
        self._state.current.set(call.base_instance)
        call.future = self.request = self.polls.made = None
        self.core.expire()
        self.leaving.call_ended(call)
        self.core.arming.call_ended(call.base_sp)
        call.ended()

    def cancel_all(self, outer: Call | None = None) -> None:
        """End the calls inside *outer*, or all of them; each takes until the guest's next check."""
        for call in reversed(self._stack):
            if call is outer:
                break
            call.scope.cancel()

    async def end_all(self) -> None:
        """Cancel what is under way and wait until it has ended; not cancellable."""
        self.cancel_all()
        with trio.CancelScope(shield=True):
            while self._stack:
                await self._stack[-1].wait_done()

    async def _drive(self, call: Call, future: capi.CallFuture) -> tuple[Any, ...]:
        inline = False
        while not await self.polls.poll(call, inline):
            request, self.request = self.request, None
            if isinstance(request, HookStop):
                inline = await self._on_stop(call, request)
            elif isinstance(request, HostCall):
                await self._on_host_call(call, request)
                inline = False
            elif future.waiting is None:
                # The engine's epoch or fuel yield: nothing for us to do.  Cancelled here: deleted.
                await trio.lowlevel.checkpoint()
            else:
                raise InternalError("the guest is suspended, but the debug callback has left no request")
        result = future.outcome()
        if isinstance(result, capi.Returned):
            return result.values
        # Cancelled in here: the event is in its channel; the guest is gone already.
        raise await self.failures.told(call, result)

    # ── checks ─────────────────────────────────────────────────────────────────────────────────

    async def _on_stop(self, call: Call, stop: HookStop) -> bool:
        """Deal with a check; True if the next poll is sure to be short."""
        core = self.core
        instance = self._state.instance(stop.instance)
        if stop.flavoured:
            # Cancelled here: no flavour, and the guest is deleted.
            await instance._go_on_flavoured(stop.function, stop.resume_point, core.arming.rearm)
            return False
        if stop.hot:
            await go_on_in_copy(core, instance, stop.function, stop.resume_point - 1)
            return False
        if stop.kind == KIND_CHUNK:
            # Cancelled here: it is not there, and the guest is deleted.
            await instance._make_chunks(stop.answer, stop.resume_point)
            instance._resume(0)
            return False
        redirect: int | None = None
        if stop.verdict is not None:
            if not instance._module.is_quick(stop.function):
                # Cancelled here: no event yet, the guest is deleted by run().
                await instance._module.prepare(stop.function, stop.resume_point)
            # Cancelled in here: the event is in its channel, the guest is deleted by run().
            redirect = await self._tell(call, stop, stop.verdict, instance)
            if self.polls.made is not None:
                return False  # the guest has gone on already
        elif core.edits.leave is not None:
            # It is the frame on the way to which others were left, and it throws.
            redirect = self._leave(stop)
        if core.edits.throwing is not None and (redirect is None or stop.kind == _THROW):
            instance._throw(core.edits.throwing)
            core.edits.throwing = None
            return False
        if redirect is not None:
            stop.answer = redirect + 1
        site = stop.kind in _SITES
        if site and not instance._has_slow_twin(stop.function):
            # Cancelled here: no slow twin, and the guest is deleted.
            conditions = core.arming.conditions_of(instance, stop.function)
            at = stop.answer - 1 if stop.answer else stop.resume_point
            until = core.arming.next_stop(instance, stop.function, at)
            await instance._make_slow_twin(stop.function, conditions, at, until)
            evaluates = all(instance._evaluates(stop.function, k, texts) for k, texts in conditions)
            if not evaluates or core.arming.is_behind(instance, stop.function):
                # Else what is armed is right already: it was armed for a twin that does.
                core.arming.rearm()
        if core.arming.conditions_changed:
            # Cancelled here: the twins that are in place stay, and leave their conditions to the host.
            await core.renew_slow_twins()
        if stop.answer and core.edits.throwing is not None:
            pass  # no instruction is there, and no check
        elif stop.answer and core.edits.unwinding is None:
            # It asks again at the place that it is sent to.
            core.arming.skip(instance, stop.function, stop.fp, stop.answer - 1)
        elif site:
            # It begins with the check at which we are.
            counted = stop.verdict is None
            core.arming.skip(instance, stop.function, stop.fp, stop.resume_point, counted=counted)
        instance._resume(stop.answer)
        plan = self.decider.plan
        if redirect is not None or not self.decider.everything or (plan is not None and plan.remaining > 1):
            # In a step of several instructions, nobody asks how long the second one takes.
            return False
        return is_short_step(instance, call, stop)

    async def _tell(
        self, call: Call, stop: HookStop, verdict: Verdict, instance: GuestInstance
    ) -> int | None:
        """Pause for each thing that there is to tell at a check; where to go on, if that is elsewhere.

        What the last instruction has done comes first, and what the next one is going to do last.
        """
        core = self.core
        main = () if verdict.reason is _TOLD else (None,)
        for told in (*verdict.done, *main, *verdict.next):
            why: Verdict | None = verdict
            while why is not None:
                core.show_check(instance, stop.fp, stop.head, stop.resume_point)
                event = event_at(core, stop, why, told)
                if isinstance(event, events.ExceptionThrown):
                    call.thrown_at = (stop.fp, stop.resume_point)
                # A step has no breakpoint to ask.
                asked = told is None and has_callbacks(why)
                # Cancelled in here: the guest is deleted, the event was told to nobody.
                goes_on = asked and await self._called_back(why, event)
                if not goes_on:
                    core.told = told
                    self.standing = standing_at(call, stop, instance)
                    try:
                        # Cancelled here: the event is in its channel, the guest is deleted by run().
                        await core.pause(event, edited=asked)
                    finally:
                        core.told = self.standing = None
                    if self.polls.made is not None:
                        return None
                    self.polls.paused_at = stop.place
                # The body's own cancellations were held back by the pause.
                await trio.lowlevel.checkpoint_if_cancelled()
                redirect = self._take_edits(stop, event)
                if redirect is not None or core.edits.throwing is not None:
                    # The next instruction is another one.
                    self.decider.nothing_touched()
                    if goes_on:
                        self.decider.plan = why.plan
                    return redirect
                # A step may end here all the same.
                place = stop.instance, stop.fp, stop.function, stop.resume_point
                why = self.decider.go_on(why, stop.kind, *place) if goes_on else None
        if verdict.next:
            expect_told(core, stop, verdict)
        return None

    async def _called_back(self, verdict: Verdict, event: events.Event) -> bool:
        """See :func:`called_back`.  Callbacks may edit where the guest goes on."""
        core = self.core
        core.edits.clear()
        core.calling_back = True
        try:
            return await called_back(self.decider, verdict, event)
        finally:
            core.calling_back = False

    def _leave(self, stop: HookStop) -> int | None:
        """Leave a frame, as it was asked for; the resume point to go on at, None if it throws at once."""
        edits = self.core.edits
        leave, edits.leave = edits.leave, None
        assert leave is not None
        if leave.fp == stop.fp:
            return self.leaving.here(leave, stop)
        self.leaving.begin(leave)
        return self._state.instance(stop.instance).module.plan(stop.function).instructions - 1

    def _take_edits(self, stop: HookStop, event: events.Event) -> int | None:
        """Carry out what was asked for at the pause; the resume point to go on at, if another one."""
        edits = self.core.edits
        redirect, leave = edits.redirect, edits.leave
        retry, trap = edits.retry, edits.trap
        edits.clear()
        if trap is not None:
            raise GuestTrap(trap, None, ())
        if leave is not None:
            edits.leave = leave
            return self._leave(stop)
        if redirect is not None:
            return redirect
        if isinstance(event, events.Trap):
            if retry:
                return stop.resume_point
            # "run() after a Trap lets it unwind": also where the operands would not trap any more.
            code = wasmtime.TrapCode[event.code] if event.code is not None else None
            raise GuestTrap(event.message, code, event.backtrace)
        return None

    # ── host functions ─────────────────────────────────────────────────────────────────────────

    async def _on_host_call(self, call: Call, request: HostCall) -> None:
        """Run a host function in this task, and give the guest its answer."""
        core, pending, name = self.core, request.pending, request.function.name
        watched = core.stop_on_host_calls is not None and core.stop_on_host_calls.search(name) is not None
        arguments = tuple(pending.args)
        error: Exception | None = None
        try:
            if watched:
                arguments = await self._at_host_call(
                    call, events.HostCallEntered, request.function, arguments
                )
            # Cancelled in here: run() deletes the guest, which is suspended in this host call.
            values = await self._run_host_function(call, request.function, arguments)
            if watched and core.edits.beyond is None:
                values = await self._at_host_call(
                    call, events.HostCallReturned, request.function, values
                )
            if core.edits.beyond is None:
                pending.finish(values)
                return
        except LeaveRequest:
            pass
        except wasmtime.ExitTrap as exc:
            # The guest ends itself, from a call further in: no error of the host's.
            call.announced = error = exc
        except GuestTrapRequest as exc:
            raise exc.trap from None
        except Exception as exc:
            error = exc
            if not self.decider.ignoring and core.edits.beyond is None:
                core.show(call, at_call=True)
                location, frame = core.here()
                # Cancelled here: as in _on_stop().
                with core.at_host_call(name, request.function.results):
                    await core.pause(events.HostcallError(location, frame, exc, name, live=True))
                await trio.lowlevel.checkpoint_if_cancelled()
                instead, trap, leave = core.edits.host_values, core.edits.trap, core.edits.leave
                core.edits.clear()
                if trap is not None:
                    raise GuestTrap(trap, None, ()) from None
                if leave is not None:
                    core.edits.beyond = leave
                elif instead is not None:
                    pending.finish(instead)
                    return
            call.announced = exc
        if core.edits.beyond is not None:
            self.leaving.host_call(core.edits.beyond, pending)
        elif isinstance(error, GuestException):
            pending.throw(error.exception)
        else:
            assert error is not None
            pending.fail(error)

    async def _at_host_call(
        self, call: Call, kind: type[Any], function: HostFunction, values: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Pause before or after a host function; its arguments or results, maybe changed."""
        if self.decider.ignoring:
            return values
        core = self.core
        core.show(call, at_call=True)
        location, frame = core.here()
        types = function.params if kind is events.HostCallEntered else function.results
        # Cancelled here: as in _on_stop().
        with core.at_host_call(function.name, types):
            await core.pause(kind(location, frame, function.name, values))
        await trio.lowlevel.checkpoint_if_cancelled()
        changed, trap, leave = core.edits.host_values, core.edits.trap, core.edits.leave
        core.edits.clear()
        if leave is not None:
            core.edits.beyond = leave
            raise LeaveRequest
        if trap is not None:
            raise GuestTrapRequest(GuestTrap(trap, None, ()))
        return values if changed is None else changed

    async def _run_host_function(
        self, call: Call, function: HostFunction, arguments: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        with self._may_call_in(call):
            try:
                result = function.fn(*arguments)
                if inspect.isawaitable(result):
                    result = await result
                return function.results_of(result)
            finally:
                call.host_token = None
                await self._inner_calls_ended(call)

    async def inject(self, func: wasmtime.Func, args: tuple[object, ...]) -> Any:
        """Call a function of the guest from where it is paused; a checkpoint.

        Cancelled: as :meth:`run`, for the injected call alone.
        """
        name, opaque = self.core.describe(func)
        _, instance = self._state.known(func) or (name, None)

        def start() -> capi.CallFuture:
            return capi.start_call(self.core.store, func, args)

        if not self._stack:
            values = await self.run(name, start, opaque=opaque, instance=instance, injected=True)
        else:
            with self._may_call_in(self._stack[-1]):
                values = await self.run(name, start, opaque=opaque, instance=instance, injected=True)
        return values if len(values) > 1 else (values[0] if values else None)

    @contextmanager
    def _may_call_in(self, call: Call) -> Iterator[None]:
        """This task, and those that it starts, may call into the guest that is suspended here."""
        before = call.host_token
        token = call.host_token = object()
        reset = _host_call.set(token)
        try:
            yield
        finally:
            _host_call.reset(reset)
            call.host_token = before

    async def _inner_calls_ended(self, call: Call) -> None:
        """Wait until *call* is the innermost one; no checkpoint if it is.

        A task that a host function left behind may still be in a call of its own, and futures must
        end innermost first.
        """
        try:
            while self._stack[-1] is not call:
                # Cancelled here: the inner calls go first.
                await self._stack[-1].wait_done()
        finally:
            if self._stack[-1] is not call:
                self.cancel_all(outer=call)
                with trio.CancelScope(shield=True):
                    while self._stack[-1] is not call:
                        await self._stack[-1].wait_done()
