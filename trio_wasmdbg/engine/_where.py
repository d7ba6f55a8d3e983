"""Where a breakpoint is asked for, and the places in a module that this is."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Collection
from typing import Protocol

from attrs import evolve, field, frozen

from ..addresses import ModuleOffset
from ..errors import UsageError
from ..wasm import BY_NAME

__all__ = ["Binding", "ModuleView", "Where", "is_named"]


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

    def __attrs_post_init__(self) -> None:
        """
        :raises TypeError: a part of it is of another type, or there is none.
        :raises UsageError: it is nowhere in any module: its parts exclude each other, or a name is none.
        """
        _check_kind("a function is a name, an index", self.function, str, int)
        _check_kind("an import is 'module.name'", self.import_, str)
        if all(each is None for each in (self.function, self.offset, self.instructions, self.import_)):
            raise TypeError("a breakpoint needs a place: a function, offset, instructions or import_")
        parts = {
            "offset": self.offset is not None,
            "instructions": self.instructions is not None,
            "import_": self.import_ is not None,
            "at_end": self.at_end,
        }
        asked_for = [name for name, there in parts.items() if there]
        if len(asked_for) > 1:
            raise UsageError(f"a breakpoint can't be at {' and '.join(asked_for)} at the same time")
        if isinstance(self.function, int) and self.function < 0:
            raise UsageError(f"no function has the index {self.function}")
        if self.offset is not None and self.offset < 0:
            raise UsageError(f"no module has the offset {self.offset}")
        if isinstance(self.import_, str) and "." not in self.import_:
            raise UsageError(f"an import is written 'module.name', not {self.import_!r}")
        for name in self.instructions or ():
            if name not in BY_NAME:
                near = difflib.get_close_matches(str(name), BY_NAME, 3)
                meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
                raise UsageError(f"no instruction is called {name!r}{meant}")

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
        functions = self._functions(module)
        if self.instructions is not None:
            return self._within(functions, module, module.instructions_named(self.instructions))
        if self.import_ is not None:
            direct = self._within(functions, module, module.calls_of(self.import_))
            others = self._within(functions, module, module.indirect_calls_of(self.import_))
            return direct + [evolve(each, indirect=True) for each in others]
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

    def _within(
        self, functions: Collection[int], module: ModuleView, found: list[tuple[int, int]]
    ) -> list[Binding]:
        """Those of *found* that are in the functions asked for; all, if none were."""
        wanted = None if self.function is None else set(functions)
        return [_exactly(module, f, k) for f, k in found if wanted is None or f in wanted]

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


def _check_kind(what: str, value: object, *kinds: type[object]) -> None:
    if value is None or (isinstance(value, (re.Pattern, *kinds)) and not isinstance(value, bool)):
        return
    raise TypeError(f"{what} or a compiled pattern, not {value!r}")
