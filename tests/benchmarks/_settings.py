"""What is a run asked for: how many programs, rounds and seconds, and which peers?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from attrs import define, field

from tests.benchmarks._gdb import Gdb, gdb
from tests.benchmarks._measure import NotMeasured
from tests.benchmarks._native import Native, native, native_version
from tests.benchmarks._programs import PROGRAMS, SAMPLE, Program

__all__ = ["Settings", "settings"]

P = TypeVar("P")


@define
class Settings:
    """The same for all rows.

    :ivar quick: a look: less of everything.
    :ivar seconds: that the plain run of a program should take.
    :ivar rounds: of each comparison.
    :ivar loads: how often a program is loaded anew in each way, for a part of the rounds: where its code and
        memory come to lie is chance, and makes a tenth of its time.
    :ivar peers: whether to measure the native peer and gdb, too.
    """

    quick: bool = False
    programs: tuple[Program, ...] = PROGRAMS
    seconds: float = 0.04
    rounds: int = 9
    loads: int = 3
    peers: bool = True
    large: bool = True
    _reasons: dict[str, str] = field(factory=dict)
    _stack: ExitStack = field(factory=ExitStack)
    _native: Native | None = None
    _gdb: Gdb | None = None

    def native(self) -> Native:
        """The native peer, built and started when it is wanted first.

        :raises NotMeasured: it can't be had.
        """
        if self._native is None:
            self._native = self._enter("native", native)
        return self._native

    def gdb(self) -> Gdb:
        """gdb, with a program for it.

        :raises NotMeasured: it can't be had.
        """
        if self._gdb is None:
            self._gdb = self._enter("gdb", gdb)
        return self._gdb

    @property
    def gdb_version(self) -> str:
        """Or just gdb, where there is none."""
        return "gdb" if self._gdb is None else self._gdb.version

    def _enter(self, name: str, peer: Callable[[], AbstractContextManager[P]]) -> P:
        if not self.peers:
            raise NotMeasured("without peers")
        if name in self._reasons:
            raise NotMeasured(self._reasons[name])
        try:
            return self._stack.enter_context(peer())
        except NotMeasured as exc:
            self._reasons[name] = str(exc)
            raise

    def say(self, text: str) -> None:
        """What is being done, for those who wait."""
        print(f"… {text}", file=sys.stderr, flush=True)

    @property
    def peer_versions(self) -> dict[str, str]:
        """For the head of the report: of those that were asked for."""
        told = dict(self._reasons)
        if self._native is not None:
            told["native"] = f"the Rust crates wasmtime and wasmtime-internal-debugger {native_version()}"
        if self._gdb is not None:
            told["gdb"] = f"{self._gdb.version}, and gcc -O1 -g"
        return told


@contextmanager
def settings(*, quick: bool, peers: bool = True, large: bool = True) -> Iterator[Settings]:
    """Settings for a block; peers end with it."""
    with ExitStack() as stack:
        if quick:
            yield Settings(True, SAMPLE, 0.01, 3, 1, peers, large=False, stack=stack)
        else:
            yield Settings(peers=peers, large=large, stack=stack)
