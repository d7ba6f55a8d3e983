"""Breakpoints: what the user asked for, and the places it is bound to.

A breakpoint is asked for by function, offset or kind of instruction, and stays *pending* until a
module is loaded in which it can be bound; it may be bound in many places at once.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, evolve, field, frozen

from ..addresses import ModuleOffset
from ..errors import UsageError
from ._telling import Teller

__all__ = ["Binding", "Breakpoint", "BreakpointTable", "HitRule", "ModuleView", "Where", "is_named"]


class OffsetsView(Protocol):
    """The module offset of each resume point, ascending."""

    def __len__(self) -> int: ...
    def __getitem__(self, k: int, /) -> int: ...


class ModuleView(Protocol):
    """What binding needs to know of a loaded module."""

    @property
    def name(self) -> str | None: ...
    def functions_named(self, name: str) -> list[int]:
        """Indices of the defined functions of that name (name section, export)."""
    def functions_matching(self, pattern: re.Pattern[str]) -> list[int]:
        """Indices of the defined functions in whose name the pattern is found."""
    def is_defined(self, function: int) -> bool: ...
    def offsets(self, function: int) -> OffsetsView: ...
    def function_at(self, offset: int) -> int | None:
        """The defined function whose body holds *offset*."""
    def instructions_named(self, names: frozenset[str]) -> list[tuple[int, int]]:
        """(function index, resume point) of every instruction with one of these names."""
    def calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        """(function index, resume point) of every direct call of an import ``module.name``."""
    def indirect_calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        """Likewise of every call through a table or reference that may lead to it."""


@frozen
class Where:
    """What a breakpoint was asked for."""

    function: str | int | re.Pattern[str] | None = None
    offset: ModuleOffset | None = None
    module: ModuleView | None = field(default=None, repr=False)
    """Only in this module; None for any."""
    instructions: frozenset[str] | None = None
    """Every instruction with one of these names."""
    import_: str | re.Pattern[str] | None = None
    """Every call of this import, ``module.name``, or of those in which the pattern is found."""
    at_end: bool = False
    """The function's final ``end``, before it returns, instead of its first instruction."""

    def __str__(self) -> str:
        places = []
        if self.function is not None:
            function = self.function
            named = function if isinstance(function, str) else f"function {function}"
            places.append(_shown(function) if isinstance(function, re.Pattern) else named)
        if self.offset is not None:
            places.append(f"{self.offset:#x}")
        if self.import_ is not None:
            places.append(f"calls of {_shown(self.import_)}")
        if self.instructions is not None:
            places.append(f"every {' and '.join(sorted(self.instructions))}")
        return ", ".join(places) + (", at its end" if self.at_end else "")

    @property
    def needs_search(self) -> bool:
        """Whether binding reads every function of a module."""
        return self.instructions is not None or self.import_ is not None

    def places(self, module: ModuleView) -> list[Binding]:
        """Where that is in *module*."""
        if self.module is not None and self.module is not module:
            return []
        if self.instructions is not None:
            return [_exactly(module, f, k) for f, k in module.instructions_named(self.instructions)]
        if self.import_ is not None:
            direct = [_exactly(module, f, k) for f, k in module.calls_of(self.import_)]
            others = module.indirect_calls_of(self.import_)
            return direct + [evolve(_exactly(module, f, k), indirect=True) for f, k in others]
        functions = self._functions(module)
        if self.offset is None:
            return [
                _exactly(module, function, len(module.offsets(function)) - 1 if self.at_end else 0)
                for function in functions
            ]
        within = module.function_at(self.offset)
        if within is None or (self.function is not None and within not in functions):
            return []
        offsets = module.offsets(within)
        k = bisect_left(offsets, self.offset)
        if k >= len(offsets):
            return []
        return [evolve(_exactly(module, within, k), slipped=offsets[k] != self.offset)]

    def _functions(self, module: ModuleView) -> list[int]:
        if isinstance(self.function, str):
            return module.functions_named(self.function)
        if isinstance(self.function, re.Pattern):
            return module.functions_matching(self.function)
        if self.function is not None and module.is_defined(self.function):
            return [self.function]
        return []


def is_named(name: str, wanted: str | re.Pattern[str]) -> bool:
    """Whether ``module.name`` of an import is the one asked for."""
    return name == wanted if isinstance(wanted, str) else wanted.search(name) is not None


def _shown(name: str | re.Pattern[str]) -> str:
    return f"/{name.pattern}/" if isinstance(name, re.Pattern) else name


@frozen
class Binding:
    """One place at which a breakpoint stands."""

    module: ModuleView = field(repr=False)
    function: int
    resume_point: int
    module_offset: ModuleOffset
    slipped: bool = False
    """The offset asked for is not an instruction boundary: this is the next one."""
    indirect: bool = False
    """A call through a table or reference, which counts where it leads to the import asked for."""


def _exactly(module: ModuleView, function: int, k: int) -> Binding:
    return Binding(module, function, k, ModuleOffset(module.offsets(function)[k]))


_RULES: dict[str, Callable[[int, int], bool]] = {
    "==": lambda hits, n: hits == n,
    ">=": lambda hits, n: hits >= n,
    "%": lambda hits, n: hits % n == 0,
}


@frozen
class HitRule:
    """At which hits a breakpoint pauses: ``== 3``, ``>= 3``, ``% 3`` (every third), or ``3``."""

    operator: str
    count: int

    @classmethod
    def parse(cls, text: str | int) -> HitRule:
        """:raises UsageError: it is none of these forms, or the count is not positive."""
        found = re.fullmatch(r"\s*(==|>=|%)?\s*([0-9]{1,18})\s*", str(text))
        if found is None or int(found[2]) == 0:
            raise UsageError(f"a hit count is written '== 3', '>= 3', '% 3' or '3', not {text!r}")
        return cls(found[1] or "==", int(found[2]))

    def pauses(self, hits: int) -> bool:
        return _RULES[self.operator](hits, self.count)

    def __str__(self) -> str:
        return f"{self.operator} {self.count}"


@define(eq=False)
class Breakpoint:
    """A breakpoint, as :meth:`Debuggee.add_breakpoint` returns it."""

    id: int
    where: Where
    condition: Callable[[Any], object] | str | None = None
    """Pauses only where this holds: text in the expression language, or a function of the frame."""
    hits: HitRule | None = None
    log: str | None = None
    """A message with ``{expressions}``, written instead of pausing."""
    once: bool = False
    """Removed when it has paused the guest."""
    callback: Callable[[Any], Any] | None = None
    """Called (and awaited) with the event; where it returns True, the guest goes on."""
    bindings: list[Binding] = field(factory=list)
    on_exception: bool = False
    """It stands where exceptions are thrown, and tells of them."""
    teller: Teller | None = None
    """It stands where something is told of, and is nobody's to see."""
    hit_count: int = 0
    """How often the guest has come here with the condition holding."""
    error: str | None = None
    """Why the condition or message could not be evaluated, the last time that happened."""
    _enabled: bool = True
    _changed: Callable[[], None] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        notes = [
            "pending" if self.pending else "",
            "" if self.enabled else "disabled",
            f"hit {self.hit_count} time{'s' if self.hit_count > 1 else ''}" if self.hit_count else "",
        ]
        return f"<Breakpoint {self.id} at {', '.join(filter(None, [str(self.where), *notes]))}>"

    @property
    def function(self) -> str | int | re.Pattern[str] | None:
        return self.where.function

    @property
    def offset(self) -> ModuleOffset | None:
        return self.where.offset

    @property
    def pending(self) -> bool:
        """Whether it is bound nowhere (yet)."""
        return not self.bindings

    @property
    def enabled(self) -> bool:
        """A disabled breakpoint keeps its place and its counts, and costs nothing."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        if on != self._enabled:
            self._enabled = on
            if self._changed is not None:
                self._changed()


def _texts(here: tuple[Breakpoint, ...]) -> tuple[str, ...]:
    """The conditions at a place, if they alone decide whether it pauses."""
    conditions = {breakpoint.condition for breakpoint in here if breakpoint.enabled}
    texts = [each for each in conditions if isinstance(each, str)]
    return tuple(sorted(texts)) if len(texts) == len(conditions) else ()


Place = tuple[int, int, int]
"""Identity of the module, function index, resume point."""


@define
class BreakpointTable:
    """All breakpoints of one debuggee, and an index by place."""

    changed: Callable[[], None] | None = field(default=None, repr=False)
    """Called when what has to be armed may have changed."""
    _by_id: dict[int, Breakpoint] = field(factory=dict)
    _by_place: dict[Place, tuple[Breakpoint, ...]] = field(factory=dict)
    _by_function: dict[tuple[int, int], dict[int, None]] = field(factory=dict)
    """Resume points of ``_by_place``, by module and function."""
    _indirect: set[Place] = field(factory=set)
    """Places of calls that may lead to an import that a breakpoint asks for."""
    _modules: list[ModuleView] = field(factory=list)
    _next_id: int = 1

    def add(self, where: Where, **how: Any) -> Breakpoint:
        """Make a breakpoint and bind it in every module known so far."""
        breakpoint = Breakpoint(self._next_id, where, changed=self.changed, **how)
        self._next_id += 1
        for known in self._modules:
            self._bind(breakpoint, known)
        self._by_id[breakpoint.id] = breakpoint
        self._notify()
        return breakpoint

    def remove(self, breakpoint: Breakpoint) -> bool:
        """Take it away; False if it was not there."""
        if self._by_id.pop(breakpoint.id, None) is None:
            return False
        for binding in breakpoint.bindings:
            place = (id(binding.module), binding.function, binding.resume_point)
            rest = tuple(other for other in self._by_place.get(place, ()) if other is not breakpoint)
            if rest:
                self._by_place[place] = rest
            else:
                self._by_place.pop(place, None)
                points = self._by_function.get(place[:2], {})
                points.pop(binding.resume_point, None)
                if not points:
                    self._by_function.pop(place[:2], None)
        breakpoint.bindings.clear()
        self._notify()
        return True

    def module_loaded(self, module: ModuleView) -> None:
        """Bind what was pending, once for each module."""
        if any(known is module for known in self._modules):
            return
        self._modules.append(module)
        for breakpoint in list(self._by_id.values()):
            self._bind(breakpoint, module)

    def _bind(self, breakpoint: Breakpoint, module: ModuleView) -> None:
        for binding in breakpoint.where.places(module):
            breakpoint.bindings.append(binding)
            place = (id(module), binding.function, binding.resume_point)
            self._by_place[place] = (*self._by_place.get(place, ()), breakpoint)
            if binding.indirect:
                self._indirect.add(place)
            self._by_function.setdefault(place[:2], {})[binding.resume_point] = None

    def _notify(self) -> None:
        if self.changed is not None:
            self.changed()

    def at(self, module: ModuleView, function: int, resume_point: int) -> tuple[Breakpoint, ...]:
        """The breakpoints that stand at this place, disabled ones too."""
        return self._by_place.get((id(module), function, resume_point), ())

    def points(self, module: ModuleView) -> list[tuple[int, int, tuple[str, ...]]]:
        """Every place in *module* with an enabled breakpoint: function index, resume point, and, where
        nothing but the conditions of these texts makes it pause, those texts."""
        key = id(module)
        found: list[tuple[int, int, tuple[str, ...]]] = []
        for (owner, function, k), here in list(self._by_place.items()):
            if owner == key and any(breakpoint.enabled for breakpoint in here):
                found.append((function, k, self.texts_at(module, function, k)))
        return found

    def texts_at(self, module: ModuleView, function: int, resume_point: int) -> tuple[str, ...]:
        """What :meth:`points` says of one place; empty, too, where no breakpoint stands."""
        if (id(module), function, resume_point) in self._indirect:
            return ()  # where the call leads decides, too
        return _texts(self.at(module, function, resume_point))

    def points_in(self, module: ModuleView, function: int) -> list[tuple[int, tuple[str, ...]]]:
        """What :meth:`points` says of one function: resume point and texts."""
        places = self._by_function.get((id(module), function), {})
        return [
            (k, self.texts_at(module, function, k))
            for k in list(places)
            if any(breakpoint.enabled for breakpoint in self.at(module, function, k))
        ]

    def __iter__(self) -> Iterator[Breakpoint]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)
