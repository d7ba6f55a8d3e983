"""Watchpoints on a guest: what an instruction is about to touch, and what it has done.

Reading happens in the debug callback, on the guest's fiber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wasmtime
from attrs import evolve

from .. import capi
from ..engine import (
    ACCESSES,
    GlobalWatch,
    LocalWatch,
    MemoryWatch,
    WatchHit,
    Watchpoint,
    WatchTable,
)
from ..instrument import READS, WRITES
from ..symbols import float_bits
from ..wasm import NaN
from ._accesses import memory_accesses
from ._frames import Frame

if TYPE_CHECKING:
    from ._core import Core
    from ._modules import GuestModule

__all__ = ["Watching", "global_uses", "local_uses"]


class Watching:
    """Satisfies ``engine.Watcher`` for one debuggee."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._table: WatchTable = core.arming.decider.watches
        self._table.watcher = self
        self._table.changed = self.refresh
        self._uses: dict[Watchpoint, frozenset[tuple[int, int]]] = {}

    def add_variable(
        self, what: GlobalWatch | LocalWatch, uses: list[tuple[int, int]], access: str, **how: Any
    ) -> Watchpoint:
        """Watch a global or local that these (function, resume point) use."""
        watchpoint = self._table.add(what, access, **how)
        self._uses[watchpoint] = frozenset(uses)
        self.refresh()
        return watchpoint

    def refresh(self) -> None:
        """What is watched has changed: arm accordingly."""
        variables: dict[int, frozenset[tuple[int, int]]] = {}
        for watchpoint in self._table:
            if watchpoint.enabled and isinstance(watchpoint.what, GlobalWatch | LocalWatch):
                instance = watchpoint.what.instance
                uses = self._uses.get(watchpoint, frozenset())
                variables[instance] = variables.get(instance, frozenset()) | uses
        self._core.arming.decider.variables = variables
        self._core.arming.rearm()

    # ── engine.Watcher ─────────────────────────────────────────────────────────────────────────

    def touched(self, instance: int, frame: Frame, watchpoints: list[Watchpoint]) -> tuple[WatchHit, ...]:
        """Which of these the instruction that comes next touches, with the old values."""
        hits: list[WatchHit] = []
        for watchpoint in watchpoints:
            what = watchpoint.what
            if isinstance(what, MemoryWatch):
                hits += self._touches_memory(frame, watchpoint, what)
            elif self._touches_variable(instance, frame, watchpoint, what):
                kind = "write" if _writes(frame) else "read"
                hits.append(WatchHit(watchpoint, kind, None, None, self._value(what, frame), None))
        return tuple(hits)

    def _touches_memory(self, frame: Frame, watchpoint: Watchpoint, what: MemoryWatch) -> list[WatchHit]:
        hits = []
        for memory, address, size, kind in memory_accesses(frame):
            if not kind & watchpoint.kinds or frame.instance._memory_identities()[memory] != what.memory:
                continue
            if address < what.address + what.size and what.address < address + size:
                written = "write" if kind & WRITES and watchpoint.kinds & WRITES else "read"
                hits.append(WatchHit(watchpoint, written, address, size, self._value(what, frame), None))
        return hits

    def _touches_variable(
        self, instance: int, frame: Frame, watchpoint: Watchpoint, what: GlobalWatch | LocalWatch
    ) -> bool:
        name, index = frame.instruction.op.name, frame.instruction.imm
        if what.instance != instance:
            return False
        if isinstance(what, LocalWatch):
            if frame.address != what.fp:
                return False
            if frame.at_end or name.startswith(_LEAVES):
                # The local goes with its frame; another activation may get the same place.
                self._table.remove(watchpoint)
                return False
        if index != what.index:
            return False
        uses = _GLOBAL if isinstance(what, GlobalWatch) else _LOCAL
        return bool(uses.get(name, 0) & watchpoint.kinds)

    def reports(self, hit: WatchHit, frame: Frame) -> WatchHit | None:
        """The hit with its new value, if it is one that pauses."""
        watchpoint = hit.watchpoint
        new = self._value(watchpoint.what, frame)
        if watchpoint.access == "change" and _alike(hit.old, new):
            return None
        try:
            condition = watchpoint.condition
            if condition is not None:
                holds = condition(frame) if callable(condition) else frame.evaluate(condition)
                if not holds:
                    return None
        except Exception as exc:
            watchpoint.error = f"{type(exc).__name__}: {exc}"
        watchpoint.hit_count += 1
        if watchpoint.hits is not None and not watchpoint.hits.pauses(watchpoint.hit_count):
            return None
        return evolve(hit, new=new)

    def _value(self, what: MemoryWatch | GlobalWatch | LocalWatch, frame: Frame) -> Any:
        if isinstance(what, LocalWatch):
            return frame.local(what.index)
        if isinstance(what, GlobalWatch):
            return self._core.state.instance(what.instance)._global_value(what.index)
        identities = frame.instance._memory_identities()
        memory = frame.instance.memory(identities.index(what.memory))
        data = capi.MemoryView(frame.instance.store, memory).read(what.address, what.size)
        return int.from_bytes(data, "little") if what.size in (1, 2, 4, 8) else data


def _alike(old: Any, new: Any) -> bool:
    """Whether two values have the same bits, or refer to the same thing.

    Python's own comparison takes a NaN for changed and a negative zero for zero, and may be the user's code.
    """
    match old, new:
        case NaN(), NaN():
            return old.bits == new.bits
        case float(), float():
            return float_bits("f64", old) == float_bits("f64", new)
        case wasmtime.Func(), wasmtime.Func():
            return capi.identity_of(old) == capi.identity_of(new)
        case (int(), int()) | (bytes(), bytes()) | (capi.OpaqueReference(), capi.OpaqueReference()):
            return bool(old == new)
    return old is new


def _writes(frame: Frame) -> bool:
    return not frame.instruction.op.name.endswith(".get")


_GLOBAL = {"global.set": WRITES, "global.get": READS}
_LEAVES = "return_call"
_LOCAL = {"local.set": WRITES, "local.tee": WRITES, "local.get": READS}


def global_uses(module: GuestModule, index: int, access: str) -> list[tuple[int, int]]:
    """(function, resume point) of the instructions that use a global so; reads the whole module."""
    names = frozenset(name for name, kind in _GLOBAL.items() if kind & ACCESSES.get(access, 0))
    return module.instructions_where(lambda each: each.op.name in names and each.imm == index)


def local_uses(frame: Frame, index: int, access: str) -> list[tuple[int, int]]:
    """(function, resume point) of the instructions of a frame's function that use a local so, or
    that leave the frame."""
    kinds, body = ACCESSES.get(access, 0), frame.body
    return [
        (frame.function_index, k)
        for k, each in enumerate(body)
        if (each.imm == index and _LOCAL.get(each.op.name, 0) & kinds)
        or each.op.name.startswith(_LEAVES)
        or k == len(body) - 1
    ]
