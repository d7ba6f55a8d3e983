"""Who holds a running guest: Ctrl-C pauses it, a second one cancels it, Enter or SIGCONT goes on.

::

    loading ── SIGINT ──> cancelled
    running ── SIGINT ──> asked to pause ── the guest's next check ──> paused
    asked to pause, paused ── SIGINT ──> cancelled ── SIGINT, or GRACE seconds ──> the process ends
    paused ── SIGCONT, or Enter on the terminal ──> running
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Final, NoReturn

import trio

from trio_wasmdbg import Debuggee, events
from trio_wasmdbg.cli._printing import Printer
from trio_wasmdbg.cli._recording import event_record, stack_records
from trio_wasmdbg.cli._records import EventRecord

__all__ = ["CANCELLED", "Control"]

CANCELLED: Final = 130
"""Exit code of a guest that was cancelled: 128 + SIGINT, as shells have it.  WASI's own exit codes
end at 125, so it can't be mistaken for one."""

GRACE: Final = 1.0
"""Seconds that a cancelled guest has to end.  One that computes needs next to nothing; one that waits
inside WASI (for standard input, say) can't be stopped, and then the process ends around it."""

PATIENCE: Final = 0.5
"""Seconds after Ctrl-C in which a guest should have paused; else we say why it has not."""


class Control:
    """What signals mean, at any moment of a run."""

    def __init__(self, printer: Printer, *, before_event: Callable[[], None] | None = None) -> None:
        self._printer = printer
        self._before_event = before_event or (lambda: None)
        self._debuggee: Debuggee | None = None
        self._asked: trio.Event | None = None
        """Set once the guest has paused, or ended; None while nobody has asked."""
        self._go_on: trio.Event | None = None
        """What a pause waits for; None while the guest is not paused."""
        self.scope = trio.CancelScope()
        """Around loading and running: cancelled by the Ctrl-C that cancels."""

    async def watch(self, signals: AsyncIterator[int]) -> None:
        """Act on signals, for ever; a task of its own."""
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGCONT:
                    self._end_pause()
                elif self.scope.cancel_called:
                    self._leave()
                elif self._debuggee is None or self._asked is not None:
                    self.scope.cancel()
                    nursery.start_soon(self._leave_late)
                else:
                    self._asked = trio.Event()
                    self._debuggee.interrupt()
                    nursery.start_soon(self._explain, self._asked)

    async def _explain(self, asked: trio.Event) -> None:
        with trio.move_on_after(PATIENCE):
            await asked.wait()
            return
        self._printer.say(
            "The guest is inside a host function (does it wait for input?) and will pause when that "
            "returns.  Ctrl-C again cancels it."
        )

    def tell_of_cancellation(self, note: str = "") -> None:
        """The last thing that is said."""
        self._before_event()
        self._printer.event(EventRecord("cancelled", note=note, facts={"exit_code": CANCELLED}))

    async def _leave_late(self) -> None:
        await trio.sleep(GRACE)
        self._leave()

    def _leave(self) -> NoReturn:
        """End the process under a guest that can't be stopped; a normal exit would wait for its thread."""
        self.tell_of_cancellation("inside a host function, which has not returned")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(CANCELLED)

    async def run(self, debuggee: Debuggee) -> tuple[events.Finished, bool]:
        """Run a debuggee to its end, pausing where Ctrl-C wants it to.

        :returns: the last event, and whether a trap was shown on the way.
        """
        self._debuggee = debuggee
        trapped = False
        async for event in debuggee:
            self._before_event()
            if isinstance(event, events.Finished):
                if self._asked is not None:
                    self._asked.set()
                return event, trapped
            self._printer.event(event_record(event))
            self._printer.backtrace(stack_records(event.frame))
            if isinstance(event, events.Interrupted):
                await self._pause()
            trapped = trapped or isinstance(event, events.Trap | events.UncaughtException)
        raise AssertionError("the events of a debuggee end with Finished")

    async def _pause(self) -> None:
        if self._asked is not None:
            self._asked.set()
        terminal = sys.stdin is not None and sys.stdin.isatty()
        on = "Enter goes on" if terminal else f"`kill -CONT {os.getpid()}` goes on"
        self._go_on = go_on = trio.Event()
        self._printer.say(f"Paused: {on}, Ctrl-C again cancels.")
        async with trio.open_nursery() as nursery:
            if terminal:
                # The guest is paused, so nobody else reads.
                nursery.start_soon(self._wait_for_line, sys.stdin.fileno())
            await go_on.wait()
            nursery.cancel_scope.cancel()
        self._printer.say("The guest goes on.")

    async def _wait_for_line(self, terminal: int) -> None:
        await trio.lowlevel.wait_readable(terminal)
        os.read(terminal, 4096)  # at most what the user has typed: a terminal gives a line at a time
        self._end_pause()

    def _end_pause(self) -> None:
        if self._go_on is not None:
            # At once: a Ctrl-C that comes right after this is a first one again.
            self._go_on.set()
            self._go_on = self._asked = None


