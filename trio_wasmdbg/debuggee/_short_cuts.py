"""Runs that the holder's task makes itself: from one stop to the next without waking the debuggee's task.

Handing a command over to the debuggee's task, and an event back, takes two rounds of the trio loop, which
is half of what a short run costs.  Where the guest stands at a check, nothing but "go on" or "one
instruction" is wanted, and the run is one that the trio thread would make anyhow, it does not matter which
task polls: so the holder's does, after a checkpoint, and the debuggee's task sleeps on in its pause.

What comes of it that is not simply the next stop (the call has ended, a host function is called, a
callback is to run, a twin has to be made, …) is the debuggee's task's: it is woken up, finds the poll
already made, and goes on from there.  Nothing here awaits anything, so that nothing here can be cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import outcome
import trio
from attrs import frozen

from ..engine import Kind, Reason, StepKind, Verdict, events
from ._callbacks import has_callbacks
from ._messages import Command, Continue
from ._requests import Call, HookStop, event_at
from ._short_runs import is_short_step

if TYPE_CHECKING:
    from ._calls import Calls
    from ._instances import GuestInstance

__all__ = ["Standing", "may_run", "run", "standing_at"]

# Looked up once: CPython 3.11 takes a tenth of a microsecond to find a member of an enum.
_STOP: Final = Kind.STOP.value
_INSTRUCTION: Final = StepKind.INSTRUCTION

_REASONS: Final = frozenset(
    {Reason.BREAKPOINT, Reason.STEP, Reason.INTERRUPT, Reason.WATCH}
)


@frozen(eq=False)
class Standing:
    """Where the guest stands at a pause, and nothing is to be done but to go on.

    :ivar stop: each short cut brings it up to date; the debuggee's task goes on from there.
    """

    call: Call
    stop: HookStop
    instance: GuestInstance


def standing_at(call: Call, stop: HookStop, instance: GuestInstance) -> Standing | None:
    """The pause at a stop, if short cuts may lead on from it."""
    return Standing(call, stop, instance) if _is_plain(stop, stop.verdict) else None


def may_run(calls: Calls, command: Command) -> bool:
    """Whether *command*, at this pause, leads to a run that the holder's task can make itself."""
    standing, decider = calls.standing, calls.decider
    if standing is None or type(command) is not Continue or command.retry:
        return False
    core = calls.core
    if core.ending or decider.interrupt or decider.ignoring or core.arming.conditions_changed:
        return False
    if not core.commands.is_quiet or not core.edits.is_empty:
        return False
    if decider.single_step or command.step is _INSTRUCTION:
        one = command.step is None or command.count == 1
        return one and is_short_step(standing.instance, standing.call, standing.stop)
    return command.step is None and calls.polls.runs_here(standing.call, standing.stop.place)


@trio.lowlevel.enable_ki_protection
def run(calls: Calls, command: Continue) -> events.Event | None:
    """Carry out *command*, of which :func:`may_run` has just said that it can be.

    :returns: the next event; None where the debuggee's task has to be woken up, by :class:`Polled`.
    """
    standing = calls.standing
    assert standing is not None
    core, stop = calls.core, standing.stop
    inline = command.step is not None or calls.decider.single_step
    core._resume(command)
    standing.instance._resume(0)
    try:
        done = calls.polls.poll_here(standing.call, None if inline else stop.place)
    except BaseException as exc:
        calls.polls.made = outcome.Error(exc)
        return None
    found = calls.request
    if type(found) is not HookStop or not _leads_on(standing, found):
        calls.polls.made = outcome.Value(done)
        return None
    calls.request = None
    stop.become(found)
    core.show_check(standing.instance, stop.fp, stop.head, stop.resume_point)
    assert stop.verdict is not None
    event = event_at(core, stop, stop.verdict)
    core.note(event)
    return event


def _leads_on(standing: Standing, found: HookStop) -> bool:
    """Whether the guest stands at a stop that nobody but the holder has to do with."""
    verdict, future = found.verdict, standing.call.future
    if verdict is None or not _is_plain(found, verdict) or has_callbacks(verdict):
        return False
    if future is None or future.interrupted is not None:
        return False
    for each in verdict.breakpoints:
        if each.on_exception:
            return False
    return found.instance == standing.stop.instance and standing.instance._module.is_quick(found.function)


def _is_plain(stop: HookStop, verdict: Verdict | None) -> bool:
    """Whether nothing but the hook's answer is needed to go on from there."""
    if verdict is None or stop.kind != _STOP or stop.answer or verdict.done or verdict.next:
        return False
    return verdict.reason in _REASONS
