"""That a step leaves nothing behind: what is armed after it is what the debugger's user has asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from trio_wasmdbg import Debuggee, GuestInstance, events
from trio_wasmdbg.debuggee._messages import Continue

__all__ = ["checked_steps", "nothing_of_a_step_is_left"]


def nothing_of_a_step_is_left(debuggee: Debuggee) -> None:
    """The step is over, and the bytes in each debug memory are those of breakpoints and the like alone."""
    arming = debuggee._core.arming
    assert arming.decider.plan is None, "a step has ended, and is still under way"
    arming.rearm()
    for instance in debuggee._core.state.instances:
        _as_wanted(instance, arming.skipped)


def _as_wanted(instance: GuestInstance, skipped: Any) -> None:
    wanted, layout, memory = instance._armed._now, instance._layout, instance._debug_memory
    if wanted.everything:
        return
    sites = bytearray(memory.read(layout.sites_base, layout.sites))
    if wanted.all_sites:
        assert all(sites), "a check site is not armed"
    else:
        for function in wanted.functions:
            for address in instance.module.plan(function).site_addresses:
                assert sites[address - layout.sites_base], "a check site is not armed"
                sites[address - layout.sites_base] = 0
        assert not any(sites), "a step has left a check site armed"
    if wanted.always:
        return  # every instruction of a slow twin is noted
    stops = bytearray(memory.read(layout.stops_base, layout.stops))
    for (function, k), value in wanted.stops.items():
        plan = instance.module.plan(function)
        for at in range(plan.instructions) if k is None else (k,):
            assert stops[plan.stop_base + at - layout.stops_base], f"no stop byte is set: {value}"
            stops[plan.stop_base + at - layout.stops_base] = 0
    if skipped is not None and skipped[0] is instance:
        _, function, k, _ = skipped
        stops[instance.module.plan(function).stop_base + k - layout.stops_base] = 0
    assert not any(stops), "a step has left a stop byte set"


@contextmanager
def checked_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every step of every debuggee be checked when it has ended, whatever has ended it."""
    resume = Debuggee._resume_held

    async def checked(self: Debuggee, command: Any) -> events.Event:
        event = await resume(self, command)
        if isinstance(command, Continue) and command.step is not None:
            nothing_of_a_step_is_left(self)
        return event

    with monkeypatch.context() as patch:
        patch.setattr(Debuggee, "_resume_held", checked)
        yield
