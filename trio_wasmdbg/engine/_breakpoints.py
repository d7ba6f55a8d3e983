"""Breakpoints: what the user asked for, and the places it is bound to.

A breakpoint is asked for by function, offset or kind of instruction, and stays *pending* until a
module is loaded in which it can be bound; it may be bound in many places at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import Attribute, define, field, frozen, setters

from ..addresses import ModuleOffset
from ..errors import UsageError
from ..expressions import parse, parse_template
from ._telling import Teller
from ._where import Binding, ModuleView, Where

__all__ = ["Breakpoint", "BreakpointTable", "HitRule", "as_hit_rule", "check_callable", "check_condition"]


# Past the validators of other attributes, which cost a microsecond.
_set = object.__setattr__

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


def as_hit_rule(rule: HitRule | str | int | None) -> HitRule | None:
    """A rule, maybe still as text; None for no rule.

    :raises UsageError: as :meth:`HitRule.parse`.
    """
    return rule if rule is None or isinstance(rule, HitRule) else HitRule.parse(rule)


def check_condition(owner: object, attribute: Attribute[Any], value: object) -> None:
    """:raises ExpressionError: a condition in text does not parse."""
    if isinstance(value, str):
        parse(value)
    else:
        check_callable(owner, attribute, value)


def check_callable(owner: object, attribute: Attribute[Any], value: object) -> None:
    """:raises TypeError: it is neither None nor can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"a {attribute.name.strip('_')} can't be {value!r}")


def _check_message(owner: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None:
        if not isinstance(value, str):
            raise TypeError(f"a log point's message is text, not {value!r}")
        parse_template(value)


@define(eq=False)
class Breakpoint:
    """A breakpoint, as :meth:`Debuggee.add_breakpoint` returns it.

    What it asks for may be changed at any time, like its being enabled; where it stands may not.
    """

    id: int = field(on_setattr=setters.frozen)
    where: Where = field(on_setattr=setters.frozen)
    _condition: Callable[[Any], object] | str | None = field(default=None, validator=check_condition)
    hits: HitRule | None = field(default=None, converter=as_hit_rule)
    """At which hits it pauses; set to ``"% 3"`` or the like, or None."""
    log: str | None = field(default=None, validator=_check_message)
    """A message with ``{expressions}``, written instead of pausing."""
    once: bool = False
    """Removed when it has paused the guest, or has written its message."""
    callback: Callable[[Any], Any] | None = field(default=None, validator=check_callable)
    """Called (and awaited) with the event; where it returns True, the guest goes on."""
    bindings: list[Binding] = field(factory=list)
    on_exception: bool = False
    """It stands where exceptions are thrown, and tells of them."""
    teller: Teller | None = None
    """It stands where something is told of, and is nobody's to see."""
    hit_count: int = 0
    """How often the guest has come here with the condition holding."""
    error: str | None = None
    """Why the condition or message could not be evaluated, or what the callback has raised, the last time."""
    removed: bool = field(default=False, init=False)
    """It is gone, and pauses nothing any more."""
    _enabled: bool = True
    _changed: Callable[[], None] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        notes = [
            "removed" if self.removed else "pending" if self.pending else "",
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
    def condition(self) -> Callable[[Any], object] | str | None:
        """Pauses only where this holds: text in the expression language, or a function of the frame.

        :raises ExpressionError: when it is set to text that does not parse.
        """
        return self._condition

    @condition.setter
    def condition(self, condition: Callable[[Any], object] | str | None) -> None:
        if condition != self._condition:
            self._condition = condition
            if self._changed is not None:
                self._changed()

    def hit(self) -> int:
        """The guest has come here with the condition holding: how often so far."""
        count = self.hit_count + 1
        _set(self, "hit_count", count)
        return count

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
    by_place: dict[Place, tuple[Breakpoint, ...]] = field(factory=dict)
    """What :meth:`at` looks up."""
    _by_function: dict[tuple[int, int], dict[int, None]] = field(factory=dict)
    """Resume points of :attr:`by_place`, by module and function."""
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
        breakpoint.removed = True
        for binding in breakpoint.bindings:
            place = (id(binding.module), binding.function, binding.resume_point)
            rest = tuple(other for other in self.by_place.get(place, ()) if other is not breakpoint)
            if rest:
                self.by_place[place] = rest
            else:
                self.by_place.pop(place, None)
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
            self.by_place[place] = (*self.by_place.get(place, ()), breakpoint)
            if binding.indirect:
                self._indirect.add(place)
            self._by_function.setdefault(place[:2], {})[binding.resume_point] = None

    def _notify(self) -> None:
        if self.changed is not None:
            self.changed()

    def at(self, module: ModuleView, function: int, resume_point: int) -> tuple[Breakpoint, ...]:
        """The breakpoints that stand at this place, disabled ones too."""
        return self.by_place.get((id(module), function, resume_point), ())

    def points(self, module: ModuleView) -> list[tuple[int, int, tuple[str, ...]]]:
        """Every place in *module* with an enabled breakpoint: function index, resume point, and, where
        nothing but the conditions of these texts makes it pause, those texts."""
        key = id(module)
        found: list[tuple[int, int, tuple[str, ...]]] = []
        for (owner, function, k), here in list(self.by_place.items()):
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
