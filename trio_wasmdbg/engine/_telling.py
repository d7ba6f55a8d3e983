"""Instructions that the holder is told of, before or after they run: calls of host functions, growth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from attrs import define, field, frozen

__all__ = ["Expected", "Teller", "Told"]


class Teller(Protocol):
    """Looks at the instructions where a breakpoint of its own stands; runs in the debug callback."""

    pauses_before: bool
    """Whether the guest pauses before such an instruction, too, or only after it."""

    def before(self, frame: Any) -> Any:
        """What is to be known of the instruction that comes next; None: it is not to be told of."""
    def after(self, frame: Any, known: Any) -> Any:
        """What is to be told when it is done; None: nothing."""


@frozen
class Told:
    """Something to be told at a pause.

    :ivar what: of the teller's own making.
    :ivar done: the instruction has run.
    """

    teller: Teller
    what: Any
    done: bool


Place = tuple[int, int, int, int]
"""Instance, frame pointer, function index, resume point."""


@define
class Expected:
    """Instructions under way that are to be told of when they are done, by the place that comes next."""

    at: dict[Place, Told] = field(factory=dict)

    def add(self, place: Place, told: Told) -> None:
        """The frame of *place* runs the instruction now: frames that lay above it are gone."""
        self.at = {each: known for each, known in self.at.items() if each[1] > place[1]}
        self.at[place] = told

    def take(self, place: Place) -> Told | None:
        """What is to be told at this place, once."""
        return self.at.pop(place, None)

    def frames_gone(self, below: int) -> None:
        """Frames with addresses lower than *below* are gone."""
        self.at = {each: known for each, known in self.at.items() if each[1] >= below}

    def forget(self, teller: Teller) -> None:
        """Nothing of this teller's is expected any more."""
        self.at = {each: known for each, known in self.at.items() if known.teller is not teller}

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self.at))
