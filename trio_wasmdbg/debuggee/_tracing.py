"""Call traces: entries and exits of functions, with arguments and results, without pausing.

Built on breakpoints whose condition notes what it sees and never holds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import trio
from attrs import define, field, frozen

from ..engine import Breakpoint, Where
from ..symbols import format_values
from ..wasm import ValType
from ._frames import Frame
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["CallTrace", "Called", "Returned", "trace_calls"]

logger = logging.getLogger("trio_wasmdbg.trace")


@frozen
class Called:
    """A function was entered."""

    depth: int
    """How many frames are on the shadow stack below it, in its activation."""
    function_index: int
    function: str
    arguments: tuple[Any, ...]
    types: tuple[ValType, ...] = field(repr=False)
    """Of the arguments."""

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.function}({format_values(self.types, self.arguments)})"


@frozen
class Returned:
    """A function returned.  One that is left by a trap, or by a tail call, does not."""

    depth: int
    function_index: int
    function: str
    results: tuple[Any, ...]
    types: tuple[ValType, ...] = field(repr=False)
    """Of the results."""

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.function} -> ({format_values(self.types, self.results)})"


@final
@define(eq=False)
class CallTrace(metaclass=NoPublicConstructor):
    """A trace under way; end it with :meth:`stop` or by leaving a ``with`` block."""

    _core: Core
    _breakpoints: tuple[Breakpoint, ...]

    def stop(self) -> None:
        """Trace no more; idempotent."""
        for breakpoint in self._breakpoints:
            self._core.arming.decider.breakpoints.remove(breakpoint)

    def __enter__(self) -> CallTrace:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def trace_calls(
    core: Core, pattern: re.Pattern[str], sink: Callable[[Called | Returned], None]
) -> CallTrace:
    """See :meth:`Debuggee.trace_calls`."""

    def tell(record: Called | Returned) -> None:
        try:
            sink(record)
        except Exception:
            logger.exception("the sink of a call trace has failed")

    def deliver(record: Called | Returned) -> bool:
        try:
            # In the trio thread and off the fiber, in order.
            core.token.run_sync_soon(tell, record)
        except trio.RunFinishedError:
            pass  # nobody is left to read it
        return False

    def entered(frame: Frame) -> bool:
        types = frame.function_type.params
        arguments = frame.locals[: len(types)]
        return deliver(Called(frame.depth, frame.function_index, frame.function_name, arguments, types))

    def left(frame: Frame) -> bool:
        types, results = frame.operand_types, frame.operand_stack
        return deliver(Returned(frame.depth, frame.function_index, frame.function_name, results, types))

    table = core.arming.decider.breakpoints
    return CallTrace._create(
        core,
        (
            table.add(Where(pattern), condition=entered),
            table.add(Where(pattern, at_end=True), condition=left),
        ),
    )
