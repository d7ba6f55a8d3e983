"""Breakpoints: what the user asked for, and the places it is bound to.

A breakpoint is asked for by function or by offset and stays *pending* until a module is loaded in
which it can be bound; it may be bound in several modules at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Protocol

from attrs import define, field

from ..addresses import ModuleOffset

__all__ = ["Binding", "Breakpoint", "BreakpointTable", "ModuleView"]


class ModuleView(Protocol):
    """What binding needs to know of a loaded module."""

    @property
    def name(self) -> str | None: ...
    def functions_named(self, name: str) -> list[int]:
        """Indices of the defined functions of that name (name section, export)."""
    def is_defined(self, function: int) -> bool: ...
    def offsets(self, function: int) -> OffsetsView:
        """Module offset of each resume point, ascending."""
    def function_at(self, offset: int) -> int | None:
        """The defined function whose body holds *offset*."""


class OffsetsView(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, k: int, /) -> int: ...


@define(frozen=True)
class Binding:
    """One place at which a breakpoint stands."""

    module: ModuleView = field(repr=False)
    function: int
    resume_point: int
    module_offset: ModuleOffset
    slipped: bool
    """The offset asked for is not an instruction boundary: this is the next one."""


@define(eq=False)
class Breakpoint:
    """A breakpoint, as :meth:`Debuggee.add_breakpoint` returns it."""

    id: int
    function: str | int | None
    offset: ModuleOffset | None
    module: ModuleView | None = field(default=None, repr=False)
    """Only in this module; None for any."""
    bindings: list[Binding] = field(factory=list)
    hit_count: int = 0

    @property
    def pending(self) -> bool:
        """Whether it is bound nowhere (yet)."""
        return not self.bindings

    def bind(self, module: ModuleView) -> Binding | None:
        """The place this breakpoint means in *module*, or None."""
        if self.module is not None and self.module is not module:
            return None
        if self.offset is not None and self.function is None:
            function = module.function_at(self.offset)
            if function is None:
                return None
        else:
            found = _functions(self.function, module)
            if not found:
                return None
            function = found[0]
        offsets = module.offsets(function)
        wanted = offsets[0] if self.offset is None else self.offset
        k = bisect_left(offsets, wanted)
        if k >= len(offsets):
            return None
        place = offsets[k]
        return Binding(module, function, k, ModuleOffset(place), place != wanted)


def _functions(function: str | int | None, module: ModuleView) -> list[int]:
    if isinstance(function, str):
        return module.functions_named(function)
    if function is not None and module.is_defined(function):
        return [function]
    return []


@define
class BreakpointTable:
    """All breakpoints of one debuggee, and an index by place."""

    _by_id: dict[int, Breakpoint] = field(factory=dict)
    _by_place: dict[tuple[int, int, int], list[Breakpoint]] = field(factory=dict)
    _modules: list[ModuleView] = field(factory=list)
    _next_id: int = 1

    def add(
        self, function: str | int | None, offset: ModuleOffset | None, module: ModuleView | None
    ) -> Breakpoint:
        """Make a breakpoint and bind it in every module known so far."""
        breakpoint = Breakpoint(self._next_id, function, offset, module)
        self._next_id += 1
        self._by_id[breakpoint.id] = breakpoint
        for known in self._modules:
            self._bind(breakpoint, known)
        return breakpoint

    def remove(self, breakpoint: Breakpoint) -> bool:
        """Take it away; False if it was not there."""
        if self._by_id.pop(breakpoint.id, None) is None:
            return False
        for place, here in list(self._by_place.items()):
            if breakpoint in here:
                here.remove(breakpoint)
                if not here:
                    del self._by_place[place]
        breakpoint.bindings.clear()
        return True

    def module_loaded(self, module: ModuleView) -> None:
        """Bind what was pending, once for each module."""
        if any(known is module for known in self._modules):
            return
        self._modules.append(module)
        for breakpoint in self._by_id.values():
            self._bind(breakpoint, module)

    def _bind(self, breakpoint: Breakpoint, module: ModuleView) -> None:
        binding = breakpoint.bind(module)
        if binding is not None:
            breakpoint.bindings.append(binding)
            place = (id(module), binding.function, binding.resume_point)
            self._by_place.setdefault(place, []).append(breakpoint)

    def at(self, module: ModuleView, function: int, resume_point: int) -> tuple[Breakpoint, ...]:
        """The breakpoints that stand at this place."""
        return tuple(self._by_place.get((id(module), function, resume_point), ()))

    def points(self, module: ModuleView) -> list[tuple[int, int]]:
        """(function index, resume point) of every armed place in *module*."""
        key = id(module)
        return [(function, k) for owner, function, k in list(self._by_place) if owner == key]

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)
