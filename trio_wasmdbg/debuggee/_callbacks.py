"""Callbacks of the breakpoints at which a guest pauses."""

from __future__ import annotations

import inspect

from ..engine import Decider, Verdict, events

__all__ = ["called_back"]


async def called_back(decider: Decider, verdict: Verdict, event: events.Event) -> bool:
    """Run the callbacks of the breakpoints; True if they have all said to go on."""
    go_on = bool(verdict.breakpoints)
    for breakpoint in verdict.breakpoints:
        if breakpoint.callback is None:
            go_on = False
            continue
        try:
            # Cancelled in here: the guest is deleted, the event was told to nobody.
            result = breakpoint.callback(event)
            if inspect.isawaitable(result):
                result = await result
        except Exception as exc:
            breakpoint.error = f"{type(exc).__name__}: {exc}"
            go_on = False
        else:
            go_on = go_on and result is True
    go_on = go_on and not verdict.watch
    for breakpoint in verdict.breakpoints:
        if breakpoint.once and not go_on:
            decider.breakpoints.remove(breakpoint)
    for hit in verdict.watch:
        if hit.watchpoint.once:
            decider.watches.remove(hit.watchpoint)
    return go_on
