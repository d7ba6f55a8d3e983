"""What this process holds for guests, counted: for leak tests, and for the curious."""

from __future__ import annotations

import threading

from .. import capi
from ._modules import LIVING
from ._threads import GUEST_THREAD

__all__ = ["process_census"]


def process_census() -> dict[str, int]:
    """How many of everything that the debugger has made are alive in this process, from any thread.

    ``"call futures"``
        calls into guests that have begun and not ended: 0 when no debuggee is in one;
    ``"host calls waiting"``
        of these, those in which the guest is suspended: paused, or in an asynchronous host function;
    ``"abandoned futures"``
        those whose store was closed under them: what they hold is lost until the process ends;
    ``"host functions"``
        functions that linkers and stores which are still open can call;
    ``"guest threads"``
        threads in which a guest computes;
    ``"companions"``
        compiled companion modules that are kept for further instances, by modules that are in use; there is
        a bound for each module;
    ``"functions in companions"``
        slow twins, flavours and copies of loops in these;
    ``"memory maps"``
        of the whole process; missing where the system does not say (it is Linux's to say).
    """
    found = {
        "call futures": capi.live_futures(),
        "host calls waiting": capi.live_pendings(),
        "abandoned futures": capi.abandoned_futures(),
        "host functions": capi.live_host_functions(),
        "guest threads": sum(thread.name == GUEST_THREAD for thread in threading.enumerate()),
    }
    kept = [module._kept() for module in list(LIVING)]
    found["companions"] = sum(companions for companions, _ in kept)
    found["functions in companions"] = sum(functions for _, functions in kept)
    maps = capi.memory_maps_in_use()
    if maps is not None:
        found["memory maps"] = maps
    return found
