"""The inside of a debuggee: its task, its pauses, its calls into the guest.

Theory of operation.  Three parties meet here:

* the **holder** of the handle, in any task, who sends commands and receives responses;
* the **body**'s task, which calls into the guest (and host functions, which run in the same task,
  while the guest is suspended);
* the **debug callback**, which runs on the guest's fiber inside a poll, on whichever thread polls.
  It records one request in ``self.request`` and suspends; everything else happens after the poll
  has returned.

A call into the guest is a loop: poll; if the guest suspended, see what it wants (a pause, a host
function); answer; poll again.  Whatever ends the loop early, a cancellation above all, deletes the
call future: the fiber unwinds through the suspended debug callback, and the shadow stack pointer
goes back to where it was when the call began.

What can be armed while a worker thread polls the guest is armed under ``self.lock``, because
:meth:`interrupt` may come from any thread.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import outcome
import trio
import wasmtime
from attrs import define, evolve, field

from .. import capi
from ..engine import (
    Decider,
    Kind,
    Reason,
    Verdict,
    events,
    make_plan,
    walk_frames,
)
from ..errors import InternalError, ReentryError, StoreClosedError, UsageError
from ..instrument import SLOW
from ._capacity import check_room
from ._frames import Activation, Frame, Stack, is_call
from ._messages import Answer, Command, Completed, Continue, PausedAt, Query, Response
from ._stores import StoreState
from ._threads import poll_in_thread
from ._view import StoreView

if TYPE_CHECKING:
    from ._guest import Guest
    from ._host import HostFunction
    from ._instances import GuestInstance

__all__ = ["Core", "HostCall", "HookStop"]

logger = logging.getLogger("trio_wasmdbg.debuggee")

_host_call: contextvars.ContextVar[object | None] = contextvars.ContextVar(
    "trio_wasmdbg host call", default=None
)


@define
class HookStop:
    """The debug callback has suspended the guest at a check."""

    instance: int
    kind: int
    fp: int
    function: int
    resume_point: int
    verdict: Verdict | None


@define
class HostCall:
    """The guest has called a host function of ours and is suspended in it."""

    pending: capi.Pending
    function: HostFunction


@define(eq=False)
class Call:
    """One call from the host into the guest, while it lasts."""

    name: str
    opaque: bool
    base_sp: int
    base_instance: int
    depth: int
    done: trio.Event = field(factory=trio.Event)
    host_token: object | None = None
    """Set while the guest is suspended in a host function: who may call in from there."""
    announced: BaseException | None = None
    """A host function's exception that the holder has been told of before the guest unwinds."""
    trap_announced: bool = False


class Core:
    """Everything about one debuggee except the handle."""

    def __init__(self, store: wasmtime.Store, state: StoreState, limiter: trio.CapacityLimiter) -> None:
        self.store = store
        self.state = state
        self.limiter = limiter
        self.commands_in, self.commands = trio.open_memory_channel[Command](1)
        self.responses_in, self.responses = trio.open_memory_channel[Response](1)
        self.decider = Decider()
        self.lock = threading.Lock()
        self.calls: list[Call] = []
        self.request: HookStop | HostCall | None = None
        self.generation = 0
        self.polling = False
        self.stopping = False
        """A cancellation is on its way: the next check suspends the guest, whatever it is."""
        self.closed = False
        self.scope = trio.CancelScope()
        self._pause_scopes: list[trio.CancelScope] = []
        self.stack: Stack | None = None
        self.edited: set[tuple[int, int, int]] = set()
        self.finished: events.Finished | None = None
        self.collected = trio.Event()
        """Somebody has received Finished."""
        self.ended = trio.Event()
        self._fatal: BaseException | None = None
        self.counts: Counter[str] = Counter()
        self.token = trio.lowlevel.current_trio_token()

    # ── the task ───────────────────────────────────────────────────────────────────────────────

    async def main(self, body: Callable[[Guest], Awaitable[Any]], guest: Guest) -> None:
        """The debuggee's task: start pause, body, Finished.  Ends when that has been collected."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
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
        try:
            finished = events.Finished(result=await body(guest))
        except wasmtime.ExitTrap as exc:
            finished = events.Finished(exit_code=exc.code)
        except Exception as exc:
            finished = events.Finished(error=exc)
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as exc:
            # Not the program's outcome but the process's: no event, the task just ends with it.
            self._fatal = exc
            return
        self.finished = finished
        self.generation += 1
        self.stack = None
        self._count("Finished")
        self.responses_in.send_nowait(Completed(finished))
        # Cancelled here: the response stays in the channel for whoever holds the handle.
        await self.collected.wait()

    def uncollected_error(self) -> BaseException | None:
        """What the body has raised, where no event has told anybody so far."""
        if self._fatal is not None:
            return self._fatal
        if self.finished is not None and not self.collected.is_set():
            return self.finished.error
        return None

    def drop(self) -> None:
        """Cancel the debuggee; idempotent, in the trio thread."""
        self.scope.cancel()

    async def _watch_for_cancel(self) -> None:
        # A pause is shielded from the body's own cancel scopes (see pause()); this task is outside
        # of those, so a cancellation that reaches it is meant for the whole debuggee.
        try:
            await trio.sleep_forever()
        finally:
            self.break_pauses()

    def break_pauses(self) -> None:
        for scope in self._pause_scopes:
            scope.cancel()

    def close(self) -> None:
        """The last thing that happens; idempotent."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            with contextlib.suppress(StoreClosedError):
                for instance in self.state.instances:
                    instance.arm(False, ())
        self.generation += 1
        if self.state.core is self:
            self.state.core = None
        self.responses_in.close()
        self.commands.close()

    # ── pauses ─────────────────────────────────────────────────────────────────────────────────

    async def pause(self, event: events.Event | None) -> None:
        """Tell the holder, answer queries, return when told to go on; a checkpoint.

        Shielded from cancel scopes inside the body: while the debugger holds the guest, a timeout
        of the program under debug waits, as it would in any debugger, and is delivered when the
        guest goes on.  A cancellation of the debuggee itself breaks the shield: the pause raises
        Cancelled, the response stays in its channel, and the call future is deleted on the way out.
        """
        self._tell(event)
        with trio.CancelScope(shield=True) as shield:
            self._pause_scopes.append(shield)
            try:
                while True:
                    command = await self.commands.receive()
                    if isinstance(command, Query):
                        answer = outcome.capture(command.fn, StoreView._create(self))
                        self.responses_in.send_nowait(Answer(answer))
                    elif self.decider.interrupt and not self.decider.ignoring:
                        # "While paused it stops the next run at once."
                        self.decider.interrupt = False
                        self._tell(events.Interrupted(*self._here()))
                    else:
                        self._resume(command)
                        return
            finally:
                self._pause_scopes.remove(shield)
        # Only the debuggee's own cancellation gets here.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise InternalError("a pause was broken without a cancellation")

    def _tell(self, event: events.Event | None) -> None:
        if event is not None:
            self._count(type(event).__name__)
            logger.debug("paused: %s", event)
        self.responses_in.send_nowait(PausedAt(event))

    def _here(self) -> tuple[events.Location | None, Frame | None]:
        frame = self.innermost_frame()
        if frame is None:
            return None, None
        module = frame.instance.module
        return (
            events.Location(frame.function_index, frame.function_name, frame.module_offset, module.name),
            frame,
        )

    def _resume(self, command: Continue) -> None:
        frame = self.innermost_frame()
        if command.step is not None:
            caller = self._caller_of(frame) if frame is not None else None
            self.decider.plan = make_plan(
                command.step,
                frame.place() if frame is not None else None,
                caller.place() if caller is not None else None,
            )
        else:
            self.decider.plan = None
        self.generation += 1
        self.stack = None
        self.rearm()

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    # ── frames ─────────────────────────────────────────────────────────────────────────────────

    def innermost_frame(self) -> Frame | None:
        return self.stack.first() if self.stack is not None else None

    def _caller_of(self, frame: Frame) -> Frame | None:
        parent = frame.parent
        if parent is not None:
            return parent
        # The first frame of a nested activation returns to a host function, and that in turn to
        # the guest frame below.
        for activation in self.activations()[1:]:
            below = activation.exit_frame
            if below is not None:
                return below
        return None

    def activations(self) -> list[Activation]:
        """All calls from the host into the guest, innermost first."""
        if self.stack is None:
            return []
        found = []
        stack: Stack = self.stack
        for position in range(len(self.calls) - 1, -1, -1):
            call = self.calls[position]
            found.append(Activation(call.depth, call.name, call.opaque, stack))
            if position:
                below = self.calls[position - 1]
                stack = self._walk(call.base_instance, call.base_sp, below.base_sp, at_call=True)
        return found

    def _walk(self, instance: int, sp: int, base: int, **how: Any) -> Stack:
        return Stack(self, walk_frames(self.state, instance, sp, base), **how)

    def _stack_of(self, call: Call, **how: Any) -> Stack:
        """The innermost activation's frames, from where the shadow stack pointer is now."""
        return self._walk(self.state.current.get(), self.state.sp.get(), call.base_sp, **how)

    def describe(self, func: wasmtime.Func) -> tuple[str, bool]:
        """A name for what is called, and whether it is opaque (no bytecode of ours)."""
        name = self.state.function_names.get(func)
        return (name, False) if name is not None else ("an uninstrumented function", True)

    def set_single_step(self, on: bool) -> None:
        self.decider.single_step = on
        self.rearm()

    def instance_created(self, instance: GuestInstance) -> None:
        """Bind pending breakpoints in a new instance's module, and arm it."""
        self.decider.breakpoints.module_loaded(instance.module)
        self.rearm()

    # ── arming ─────────────────────────────────────────────────────────────────────────────────

    def rearm(self) -> None:
        """Make all check sites what breakpoints, steps and modes ask for."""
        with self.lock:
            if not self.closed:
                self._rearm_locked()

    def _rearm_locked(self) -> None:
        everything = self.stopping or self.decider.everything
        for instance in self.state.instances:
            points: list[tuple[int, int | None]] = []
            if not everything:
                points = self.decider.points(instance.module, instance.id)
                # -1: no stop byte, but the function's sites, so that it reads its edited frame.
                points += [(function, -1) for owner, _, function in self.edited if owner == instance.id]
            instance.arm(everything, points)

    def frame_edited(self, instance: int, fp: int, function: int) -> None:
        """A fast caller's frame was changed: its function must leave for the slow twin."""
        self.edited.add((instance, fp, function))
        self.rearm()

    def interrupt(self) -> None:
        """Pause at the next check site; from any thread."""
        with self.lock:
            if self.closed or self.decider.interrupt:
                return
            self.decider.interrupt = True
            if self.polling:
                self._rearm_locked()

    def _stop_for_cancel(self) -> None:
        with self.lock:
            self.stopping = True
            if not self.closed:
                self._rearm_locked()

    # ── the debug callback ─────────────────────────────────────────────────────────────────────

    def on_hook(self, instance_id: int, kind: int, fp: int, resume_point: int) -> int | None:
        """On the fiber, on the polling thread: answer at once (0: go on) or record and suspend."""
        instance = self.state.instance(instance_id)
        function = instance.frame_function(fp)
        verdict = None
        if not self.stopping:
            verdict = self.decider.decide(
                kind, instance.module, instance_id, fp, function, resume_point
            )
            if verdict is None and (kind != Kind.SITE or instance.has_slow_twin(function)):
                return 0
        self.request = HookStop(instance_id, kind, fp, function, resume_point, verdict)
        return None

    def on_host_call(self, function: HostFunction, pending: capi.Pending) -> None:
        """On the fiber, on the polling thread: record and suspend."""
        self.request = HostCall(pending, function)

    # ── calls into the guest ───────────────────────────────────────────────────────────────────

    def check_may_call(self) -> None:
        """Only the body, or the host function in which the guest is suspended, may call in."""
        if self.closed:
            raise UsageError("this debuggee is gone: guest.call() works only while its body runs")
        if not self.calls:
            return
        token = self.calls[-1].host_token
        if token is None or _host_call.get() is not token:
            raise trio.BusyResourceError(
                "another task's guest.call() is under way in this store; only a host function that it "
                "is suspended in may call in"
            )

    async def run_future(
        self, name: str, start: Callable[[], capi.CallFuture], *, opaque: bool = False
    ) -> tuple[Any, ...]:
        """Drive one call future to its end; a checkpoint.

        Cancelled at any moment: the guest stops at its next check site, the future is deleted, the
        shadow stack pointer is restored, and Cancelled goes on to the caller.
        """
        # Cancelled here: nothing has been started.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_may_call()
        check_room()
        base_sp, base_instance = self.state.sp.get(), self.state.current.get()
        call = Call(name, opaque, base_sp, base_instance, len(self.calls))
        future = start()
        self.calls.append(call)
        try:
            result = await self._drive(call, future)
            return self._conclude_returned(result)
        finally:
            # No await in here: this is the teardown, and nothing can cut it short.
            future.delete()
            self.calls.remove(call)
            self.state.sp.set(base_sp)
            self.state.current.set(base_instance)
            self.request = None
            self.generation += 1
            self.stack = None
            self.edited = {edit for edit in self.edited if edit[1] >= base_sp}
            if self.stopping:
                self.stopping = False
                self.rearm()
            call.done.set()

    @staticmethod
    def _conclude_returned(result: capi.Outcome) -> tuple[Any, ...]:
        if isinstance(result, capi.Returned):
            return result.values
        raise InternalError(f"a failed call was not reported: {result}")

    async def _drive(self, call: Call, future: capi.CallFuture) -> capi.Outcome:
        inline = False
        while not await self._poll(future, inline):
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
        if not isinstance(result, capi.Returned):
            await self._on_failure(call, result)
        return result

    async def _poll(self, future: capi.CallFuture, inline: bool) -> bool:
        """Poll once; True when the call is complete.

        A cancellation during the poll arms everything, so that the guest suspends at its next
        check site; it is raised after the poll, unless the call has completed in it.
        """
        self._count("polls inline" if inline else "polls in a thread")
        self.polling = True
        try:
            if inline:
                done = self._poll_inline(future)
            else:
                done = await poll_in_thread(future.poll, self._stop_for_cancel, self.limiter)
        finally:
            self.polling = False
        if future.interrupted is not None:
            raise future.interrupted
        if not done and not inline:
            # Cancelled here: the guest is suspended at a check or in a host call; run_future()
            # deletes it.
            await trio.lowlevel.checkpoint_if_cancelled()
            if self.stopping:
                raise InternalError("stopped for a cancellation that never came")
        return done

    @staticmethod
    @trio.lowlevel.enable_ki_protection
    def _poll_inline(future: capi.CallFuture) -> bool:
        # A KeyboardInterrupt in the debug callback would be lost; trio raises it at the next
        # checkpoint instead.
        return future.poll_inline()

    # ── what a suspended guest wants ───────────────────────────────────────────────────────────

    async def _on_stop(self, call: Call, stop: HookStop) -> bool:
        """Deal with a check; True if the next poll is sure to be short."""
        instance = self.state.instance(stop.instance)
        if stop.verdict is not None:
            self.stack = self._stack_of(call, at_call=False, innermost_resume_point=stop.resume_point)
            # Cancelled here: the event is in its channel, the guest is deleted by run_future().
            await self.pause(self._event(call, stop, stop.verdict))
            # The body's own cancellations were held back by the pause.
            await trio.lowlevel.checkpoint_if_cancelled()
        if stop.kind == Kind.SITE:
            if not instance.has_slow_twin(stop.function):
                # Cancelled here: no slow twin, and the guest is deleted.
                await instance.make_slow_twin(stop.function)
                self.rearm()
            # The slow twin is entered at the check at which the holder has just been.
            if stop.verdict is not None:
                self.decider.skip = (stop.instance, stop.fp, stop.resume_point)
        else:
            self.decider.skip = None
        instance.hook.resume(0)
        return self._is_short(stop, instance)

    def _is_short(self, stop: HookStop, instance: GuestInstance) -> bool:
        """Whether the next instruction leads straight to another check, without blocking."""
        if not self.decider.everything:
            return False
        instruction = instance.module.plan(stop.function).typed().instructions[stop.resume_point]
        if not is_call(instruction):
            return instruction.op.name not in _MAY_BE_LONG
        # A direct call of a function with a body reaches that function's entry site.
        return instruction.op.name == "call" and instance.module.is_defined(instruction.imm)

    def _event(self, call: Call, stop: HookStop, verdict: Verdict) -> events.Event:
        location, frame = self._here()
        if verdict.reason is Reason.BREAKPOINT:
            return events.Breakpoint(location, frame, verdict.breakpoints)
        if verdict.reason is Reason.STEP:
            return events.Step(location, frame)
        if verdict.reason is Reason.INTERRUPT:
            return events.Interrupted(location, frame)
        call.trap_announced = True
        code, message = _live_trap(frame)
        return events.Trap(location, frame, code=code, message=message, live=True)

    async def _on_host_call(self, call: Call, request: HostCall) -> None:
        token = call.host_token = object()
        reset = _host_call.set(token)
        error: BaseException | None = None
        values: tuple[Any, ...] = ()
        try:
            # Cancelled in here: run_future() deletes the guest, which is suspended in this call.
            result = request.function.fn(*request.pending.args)
            if inspect.isawaitable(result):
                result = await result
            values = request.function.results_of(result)
        except wasmtime.ExitTrap as exc:
            call.announced = error = exc  # the guest ends itself: no error of the host's
        except Exception as exc:
            error = exc
        finally:
            _host_call.reset(reset)
            # A task that the host function left behind may still be in a call of its own; futures
            # must end innermost first.
            while self.calls[-1] is not call:
                nested = self.calls[-1]
                with trio.CancelScope(shield=True):
                    await nested.done.wait()
            call.host_token = None
        if error is None:
            try:
                request.pending.finish(values)
                return
            except (TypeError, ValueError, OverflowError) as exc:
                exc.add_note(f"the host function {request.function.name!r} returned {values!r}")
                error = exc
        if call.announced is not error:
            call.announced = error
            self.stack = self._stack_of(call, at_call=True)
            location, frame = self._here()
            if not self.decider.ignoring:
                # Cancelled here: as in _on_stop().
                await self.pause(
                    events.HostcallError(location, frame, error, request.function.name, live=True)
                )
                await trio.lowlevel.checkpoint_if_cancelled()
        request.pending.fail(error)

    async def _on_failure(self, call: Call, result: capi.Outcome) -> None:
        """Report a guest that has been unwound, then raise what the body is to see."""
        error: BaseException
        if isinstance(result, capi.Trapped):
            result = self._trap_of(result)
            error = result.trap
            if not call.trap_announced and not self.decider.ignoring:
                event = self._post_mortem(call, result)
                # Cancelled here: the event is in its channel; the guest is gone already.
                await self.pause(event)
                await trio.lowlevel.checkpoint_if_cancelled()
            raise error
        assert isinstance(result, capi.Failed)
        if result.exit_code is not None or result.exception is None:
            raise result.error
        error = _explain(result.exception)
        if error is not call.announced and not self.decider.ignoring:
            self.stack = self._stack_of(call, at_call=True, resumable=False)
            location, frame = self._here()
            # Cancelled here: as above.
            await self.pause(events.HostcallError(location, frame, error, "", live=False))
            await trio.lowlevel.checkpoint_if_cancelled()
        raise error

    def _post_mortem(self, call: Call, result: capi.Trapped) -> events.Trap:
        """The Trap event of a guest that Wasmtime has unwound, from what the shadow stack keeps."""
        how = self._where_trapped(call, result)
        self.stack = self._stack_of(call, resumable=False, **how)
        location, frame = self._here()
        return events.Trap(location, frame, code=result.code, message=result.message, live=False)

    def _where_trapped(self, call: Call, result: capi.Trapped) -> dict[str, Any]:
        """What is known of the innermost shadow frame: is it the trapped one, and where was it?"""
        sp = self.state.sp.get()
        if sp >= call.base_sp:
            return {"at_call": True}
        instance = self.state.instance(self.state.current.get())
        header = instance.debug_memory.u32(sp)
        function = header & ~SLOW
        if header & SLOW:
            # A slow twin notes its resume point before whatever may trap.
            return {"at_call": False}
        place = instance.module.origin(result.frames)
        if place is None or place.inserted or place.function != function:
            # The trapped function has no frame (yet): its caller, in a call, is on top.
            return {"at_call": True}
        resume_point = instance.module.plan(function).resume_point_at(place.offset)
        return {"at_call": False, "innermost_exact": False, "innermost_resume_point": resume_point}

    def _trap_of(self, result: capi.Trapped) -> capi.Trapped:
        """A frame that does not fit the shadow stack any more traps in a function's first store;
        to the user that is what it would have been a little later: an exhausted stack."""
        if result.code != "MEMORY_OUT_OF_BOUNDS" or not self.state.instances:
            return result
        place = self.state.instance(self.state.current.get()).module.origin(result.frames)
        if place is None or not place.inserted:
            return result
        trap = StackOverflow("wasm trap: call stack exhausted (the debugger's shadow stack is full)")
        return evolve(result, code="STACK_OVERFLOW", message=str(trap), trap=trap)


class StackOverflow(wasmtime.Trap):
    """The shadow stack is full; reads as Wasmtime's own trap of that name."""

    @property
    def trap_code(self) -> wasmtime.TrapCode:
        return wasmtime.TrapCode.STACK_OVERFLOW


_MAY_BE_LONG = frozenset(
    {
        "memory.fill", "memory.copy", "memory.init", "memory.grow",
        "table.fill", "table.copy", "table.init", "table.grow",
        "memory.atomic.wait32", "memory.atomic.wait64",
    }
)  # fmt: skip


def _live_trap(frame: Frame | None) -> tuple[str, str]:
    """Code and text of the trap that the next instruction is going to raise."""
    assert frame is not None
    name = frame.instruction.op.name
    if name == "unreachable":
        return "UNREACHABLE", "wasm `unreachable` instruction"
    operands = frame.operand_stack
    if name.startswith("i") and operands and operands[-1] == 0:
        return "INTEGER_DIVISION_BY_ZERO", f"integer divide by zero: {operands[-2]} {name} 0"
    if name.startswith("i"):
        return "INTEGER_OVERFLOW", f"integer overflow: {operands[-2]} {name} {operands[-1]}"
    return "UNKNOWN", name


def _explain(error: BaseException) -> BaseException:
    """Wasmtime refuses a synchronous call from a plain host function; say what to do instead."""
    if isinstance(error, wasmtime.WasmtimeError) and "*_async" in str(error):
        better = ReentryError(
            "a plain host function can't call back into the guest that it was called from; define it "
            "with guest.define() as an 'async def' function and use 'await guest.call(...)' in it"
        )
        better.__cause__ = error
        return better
    return error

