"""What travels through the two memory channels: commands in, responses out.

As in the Rust crate's queues, each channel holds one message, and the protocol is strict: after
Continue comes exactly one Paused or Finished, after Query exactly one Answer.  So a send never
has to wait, and a receive that is cancelled leaves its message in the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import outcome
import wasmtime
from attrs import define, frozen

from ..addresses import ModuleOffset
from ..engine import StepKind
from ..engine.events import Event, Finished

if TYPE_CHECKING:
    from ._view import StoreView

__all__ = ["Answer", "Command", "Completed", "Continue", "Inject", "PausedAt", "Polled", "Query", "Response"]


@frozen
class Continue:
    """Go on, to the next event; with a step, to its end at the latest."""

    step: StepKind | None = None
    count: int = 1
    """Of instructions, for a step."""
    offset: ModuleOffset | None = None
    """Where to, for a step to a place in the function."""
    retry: bool = False
    """Execute a trapping instruction again, instead of letting the guest unwind."""


@frozen
class Inject:
    """Call a function of the guest from where it is paused."""

    func: wasmtime.Func
    args: tuple[object, ...]


@frozen
class Query:
    """Run a function on the paused store, in the debuggee's task."""

    fn: Callable[[StoreView], Any]


@frozen
class Polled:
    """The guest has gone on already: see what has come of it (``_short_cuts``)."""


Command: TypeAlias = Continue | Inject | Query | Polled


@define
class PausedAt:
    """The guest has paused; None for the start pause, which is no event.

    (Not frozen: one is made at each stop, and that takes twice as long.)
    """

    event: Event | None


@frozen
class Answer:
    """What a query's function returned or raised."""

    outcome: outcome.Outcome[Any]


@frozen
class Completed:
    """The body has ended."""

    event: Finished


Response: TypeAlias = PausedAt | Answer | Completed
