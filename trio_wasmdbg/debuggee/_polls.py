"""The polls of a debuggee's calls: which thread makes them.

The trio thread makes those that are sure to be short, and those that probably are (see ``_slices``); all
others are another thread's (see ``_brief_runs`` and ``_threads``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import outcome
import trio

from ._brief_runs import BriefRuns
from ._requests import Call
from ._slices import Place, Slices
from ._threads import poll_inline

if TYPE_CHECKING:
    from .. import capi
    from ._core import Core

__all__ = ["Polls"]


class Polls:
    """Polls the innermost call of one debuggee."""

    __slots__ = (
        "_arming", "_core", "brief_runs", "in_threads", "inline", "made", "paused_at", "slices", "under_way"
    )  # fmt: skip

    def __init__(self, core: Core) -> None:
        self._core = core
        self._arming = core.arming
        self.under_way = False
        """The guest computes right now, maybe in another thread."""
        self.inline = self.in_threads = 0
        """How many polls were made in the trio thread, and in others."""
        self.brief_runs = BriefRuns(core.limiter)
        self.slices = Slices(core.arming, core.state)
        self.made: outcome.Outcome[bool] | None = None
        """The next poll has been made by the holder's task, and this has come of it (see ``_short_cuts``)."""
        self.paused_at: Place | None = None
        """The check at which the guest was while other tasks have run, since the last poll."""

    async def poll(self, call: Call, inline: bool) -> bool:
        """Poll once; True when the call is complete.

        A cancellation during the poll arms everything, so that the guest suspends at its next
        check site; it is raised after the poll, unless the call has completed in it.

        :param inline: it is sure to be short.
        """
        future = call.future
        assert future is not None
        if self.made is not None:
            made, self.made, here = self.made, None, True
            done = made.unwrap()
        else:
            place, self.paused_at = self.paused_at, None
            here = inline or (place is not None and self.runs_here(call, place))
            if here:
                # In a single step, or a slice of time, no cancellation comes: the loop does not run.
                done = self.poll_here(call, None if inline else place)
            else:
                done = await self._poll_elsewhere(future, place)
        if future.interrupted is not None:
            raise future.interrupted
        if not done and not here:
            # Cancelled here: the guest is suspended, at a check or in a host call; Calls.run() deletes it.
            await trio.lowlevel.checkpoint_if_cancelled()
        return done

    def poll_here(self, call: Call, place: Place | None) -> bool:
        """Poll once, in the trio thread.

        :param place: from where it runs, for a slice of time at most; None: it is sure to be short.
        """
        future, arming = call.future, self._arming
        assert future is not None
        arming.guest_goes_on()
        self.under_way = True
        self.inline += 1
        try:
            return poll_inline(future.poll_inline) if place is None else self.slices.run(place, future.poll)
        finally:
            self._guest_stands(place)

    async def _poll_elsewhere(self, future: capi.CallFuture, place: Place | None) -> bool:
        """Poll once, in another thread.

        :param place: from where it runs, if other tasks have run since the last poll.
        """
        arming = self._arming
        arming.guest_goes_on()
        self.under_way = True
        self.in_threads += 1
        try:
            done = await self.brief_runs.run(future.poll, arming.stop, likely=place is not None)
            if place is not None:
                self.slices.note(place, self.brief_runs.probably)
            return done
        finally:
            self._guest_stands(place)

    def _guest_stands(self, place: Place | None) -> None:
        self.under_way = False
        if self._arming.guest_stands() and place is not None:
            self.slices.note(place, False)

    def runs_here(self, call: Call, place: Place) -> bool:
        """Whether the run from *place* is probably short, and one that a slice of time can end."""
        edits, decider = self._core.edits, self._arming.decider
        if call.opaque or decider.counting or edits.unwinding is not None or edits.throwing is not None:
            return False
        return decider.may_pause and self.slices.likely(place)
