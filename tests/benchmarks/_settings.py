"""What is a run asked for: how many programs, rounds and seconds, and which peers?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from attrs import define, field

from tests.benchmarks._measure import NotMeasured
from tests.benchmarks._native import Native, native, native_version
from tests.benchmarks._programs import PROGRAMS, SAMPLE, Program

__all__ = ["Settings", "settings"]


@define
class Settings:
    """The same for all rows.

    :ivar quick: a look: less of everything.
    :ivar seconds: that the plain run of a program should take.
    :ivar rounds: of each comparison.
    :ivar peers: whether to measure the native peer and gdb, too.
    """

    quick: bool = False
    programs: tuple[Program, ...] = PROGRAMS
    seconds: float = 0.02
    rounds: int = 9
    peers: bool = True
    large: bool = True
    peer_reasons: dict[str, str] = field(factory=dict)
    _stack: ExitStack = field(factory=ExitStack)
    _native: Native | None = None

    def native(self) -> Native:
        """The native peer, built and started when it is wanted first.

        :raises NotMeasured: it can't be had.
        """
        if not self.peers:
            raise NotMeasured("without peers")
        if "native" in self.peer_reasons:
            raise NotMeasured(self.peer_reasons["native"])
        if self._native is None:
            try:
                self._native = self._stack.enter_context(native())
            except NotMeasured as exc:
                self.peer_reasons["native"] = str(exc)
                raise
        return self._native

    def say(self, text: str) -> None:
        """What is being done, for those who wait."""
        print(f"… {text}", file=sys.stderr, flush=True)

    @property
    def peer_versions(self) -> dict[str, str]:
        """For the head of the report."""
        if not self.peers:
            return {}
        reason = self.peer_reasons.get("native")
        return {"native peer": reason or f"Rust crate wasmtime {native_version()}, guest_debug(true)"}


@contextmanager
def settings(*, quick: bool, peers: bool = True, large: bool = True) -> Iterator[Settings]:
    """Settings for a block; peers end with it."""
    with ExitStack() as stack:
        if quick:
            yield Settings(True, SAMPLE, 0.005, 3, peers, large=False, stack=stack)
        else:
            yield Settings(peers=peers, large=large, stack=stack)
