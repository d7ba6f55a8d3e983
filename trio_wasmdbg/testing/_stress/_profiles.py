"""How often each kind of attack is made: one row for each profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

__all__ = ["PROFILES", "Profile"]


@frozen
class Profile:
    """Probabilities, per operation of the holder unless it says otherwise."""

    cancel: float = 0.5
    interrupt: float = 0.25
    """Per ``run()``."""
    noise: float = 0.15
    """Per ``run()``: a breakpoint is put somewhere and taken away again."""
    collect: float = 0.02
    """A garbage collection."""
    intrude: float = 0.1
    """Another task tries to use the debuggee."""
    query: float = 0.3
    """Per pause."""
    serve: float = 0.04
    """Per pause: a debug client connects, and is cut off."""
    drop: float = 0.6
    """Per life: it is dropped, instead of coming to its end."""
    teardown: float = 0.5
    """Per drop: more attacks while it is under way."""
    endless: float = 0.3
    """Per program."""


QUIET: Final = Profile(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

PROFILES: Final[Mapping[str, Profile]] = {
    "mixed": Profile(),
    "cancel": Profile(cancel=0.95, interrupt=0.05, noise=0.05, query=0.6, drop=0.3),
    "interrupt": Profile(cancel=0.3, interrupt=0.9, noise=0.5, drop=0.3, endless=0.6),
    "drop": Profile(cancel=0.2, interrupt=0.2, drop=1.0, teardown=0.5, endless=0.6),
    "teardown": Profile(cancel=0.5, drop=1.0, teardown=1.0, endless=0.5),
    "clients": Profile(cancel=0.3, serve=0.6, query=0.1),
    "quiet": QUIET,
}
"""What ``--profile`` takes."""
