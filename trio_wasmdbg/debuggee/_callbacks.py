"""Callbacks of the breakpoints and watchpoints at which a guest pauses."""

from __future__ import annotations

import inspect

from ..engine import Breakpoint, Decider, Verdict, Watchpoint, events

__all__ = ["called_back", "has_callbacks"]


def has_callbacks(verdict: Verdict) -> bool:
    """Whether :func:`called_back` has anything to do for what pauses the guest."""
    if verdict.watch:
        return True
    # Asked at each stop: any() takes three times as long.
    for each in verdict.breakpoints:  # noqa: SIM110
        if each.callback is not None or each.once:
            return True
    return False


async def called_back(decider: Decider, verdict: Verdict, event: events.Event) -> bool:
    """Run the callbacks of what pauses the guest; True if they have all said to go on."""
    watchpoints = dict.fromkeys(hit.watchpoint for hit in verdict.watch)
    paused_by: tuple[Breakpoint | Watchpoint, ...] = (*watchpoints, *verdict.breakpoints)
    go_on = bool(paused_by)
    for each in paused_by:
        if each.callback is None:
            go_on = False
            continue
        try:
            # Cancelled in here: the guest is deleted, the event was told to nobody.
            result = each.callback(event)
            if inspect.isawaitable(result):
                result = await result
        except Exception as exc:
            each.error = f"{type(exc).__name__}: {exc}"
            go_on = False
        else:
            go_on = go_on and result is True
    for each in () if go_on else paused_by:
        if each.once and isinstance(each, Breakpoint):
            decider.breakpoints.remove(each)
        elif each.once and isinstance(each, Watchpoint):
            decider.watches.remove(each)
    return go_on
