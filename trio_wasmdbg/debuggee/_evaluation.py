"""Conditions and messages of breakpoints, evaluated where the guest stands.

This runs in the debug callback, on the guest's fiber: a false condition must not cost a
suspension.  Text is in the expression language and never Python; a function is the user's own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..engine import Breakpoint, is_named
from ._frames import Frame
from ._tellers import callee_of

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["Evaluation"]

messages = logging.getLogger("trio_wasmdbg.logpoint")


class Evaluation:
    """Satisfies ``engine.Evaluator`` for one debuggee."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.sink: Callable[[str, Breakpoint], None] | None = None

    def holds(self, breakpoint: Breakpoint, frame: Frame) -> bool:
        """Whether the condition holds.  One that can't be evaluated pauses, and says why."""
        condition = breakpoint._condition
        try:
            if callable(condition):
                return bool(condition(frame))
            # None: it was taken away just now, in another thread.
            return condition is None or bool(frame.evaluate(condition))
        except Exception as exc:
            breakpoint.error = f"{type(exc).__name__}: {exc}"
            return True

    def calls(self, import_: str | re.Pattern[str], frame: Frame) -> bool:
        """Whether the call that comes next leads to this import; one that is bound traps otherwise."""
        if frame.instruction.op.name in ("call", "return_call"):
            return True
        func = callee_of(frame)
        if func is None:
            return False
        # A table may be another instance's, and its functions that one's imports.
        names = (instance._import_of(func) for instance in self._core.state.instances)
        return any(name is not None and is_named(name, import_) for name in names)

    def write(self, breakpoint: Breakpoint, frame: Frame) -> None:
        """Write a log point's message, in the trio thread and off the fiber."""
        assert breakpoint.log is not None
        try:
            text = frame.format(breakpoint.log)
        except Exception as exc:
            breakpoint.error = f"{type(exc).__name__}: {exc}"
            text = f"{breakpoint.log} [{breakpoint.error}]"
        try:
            self._core.token.run_sync_soon(self._deliver, text, breakpoint)
        except trio.RunFinishedError:
            pass  # nobody is left to read it

    def _deliver(self, text: str, breakpoint: Breakpoint) -> None:
        if self.sink is None:
            messages.info("%s", text)
            return
        try:
            self.sink(text, breakpoint)
        except Exception:
            messages.exception("a log point's sink has failed")
