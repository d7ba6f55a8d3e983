"""Where frames are popped early, so that at each point either every path has pushed the frame or none has.

A function pushes its frame where it first calls.  Where control from there meets control that has not called,
the frame is popped on the way: then paths that never call have nothing to do with the stack pointer, not even
read it.  In recursions these are half of all activations.
"""

from __future__ import annotations

from attrs import define

from ..wasm import TypedBody
from ._kinds import Kind
from ._outline import Outline
from ._survey import WHOLE, Survey, branch_depths

__all__ = ["can_pop_before", "early_pops"]

_NEITHER, _BARE, _PUSHED, _BOTH = range(4)
_BR, _BR_IF = 0x0C, 0x0D
_BLOCK, _LOOP, _IF, _TRY_TABLE, _ELSE, _END, _BRANCH, _BRANCH_TABLE, _RETURN, _CALL = (
    int(kind)
    for kind in (
        Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.TRY_TABLE, Kind.ELSE, Kind.END, Kind.BRANCH, Kind.BRANCH_TABLE,
        Kind.RETURN, Kind.CALL,
    )
)  # fmt: skip


@define
class _Scope:
    """An open construct: which states come to its end, and the state at the beginning of an ``if``."""

    opened: int
    loop: bool
    at_end: int = _NEITHER
    at_else: int = _NEITHER
    fixed: bool = False  # a branch comes there that nothing can be put before


def can_pop_before(code: int, values: bool) -> bool:
    """Whether a branch is one that something can be put before, on its way only.

    :param values: it takes some to its label.
    """
    return code == _BR or (code == _BR_IF and not values)


def early_pops(typed: TypedBody | Outline, survey: Survey, *, returns: bool) -> frozenset[int] | None:
    """The constructs to whose ends some paths come with the frame pushed, and some without.

    They are given by their opening instructions, and :data:`WHOLE` for the function.  Popped on the way to
    these, the frame is never there on some paths only.

    :param returns: ``return`` leads to the end of the function, instead of being executed itself.
    :returns: None if the frame can't be popped on one of the ways.
    """
    if survey.tries or not survey.whole.calls:
        return frozenset()
    instructions, reachable, facts = typed.instructions, typed.reachable, survey.facts
    found = set()
    now = _BARE
    open_ = [_Scope(WHOLE, False)]
    for k, kind, _, _ in survey.places:
        if kind < _BLOCK:
            continue  # most of them
        if kind <= _TRY_TABLE:
            if kind == _LOOP and reachable[k] and facts[k].calls:
                now = _PUSHED  # before the loop
            open_.append(_Scope(k, kind == _LOOP, at_else=now if kind == _IF and reachable[k] else _NEITHER))
        elif kind == _END:
            scope = open_.pop()
            if scope.loop:
                continue
            scope.at_end |= scope.at_else | (now if reachable[k] else _NEITHER)
            if scope.at_end == _BOTH:
                if scope.fixed:
                    return None
                found.add(scope.opened)
                now = _BARE
            elif scope.at_end:
                now = scope.at_end
            if now == _PUSHED and _all_pushed(open_):
                break
        elif kind == _ELSE:
            scope = open_[-1]
            if reachable[k]:
                scope.at_end |= now
            if scope.at_else:
                now = scope.at_else
            scope.at_else = _NEITHER
        elif not reachable[k]:
            continue
        elif kind == _CALL:
            if now != _PUSHED:
                now = _PUSHED
                if _all_pushed(open_):
                    break
        elif kind == _RETURN:
            if returns:
                open_[0].at_end |= now
        elif _BRANCH <= kind <= _BRANCH_TABLE:
            code = instructions[k].op.code
            for depth in branch_depths(instructions[k]):
                scope = open_[-1 - depth]
                if not scope.loop:
                    scope.at_end |= now
                    if now == _PUSHED and not can_pop_before(code, _takes_values(typed, scope.opened)):
                        scope.fixed = True
    return frozenset(found)


def _all_pushed(open_: list[_Scope]) -> bool:
    """Whether no path without the frame leads anywhere any more."""
    return not any((scope.at_end | scope.at_else) & _BARE for scope in open_)


def _takes_values(typed: TypedBody | Outline, opened: int) -> bool:
    """Whether a branch to the end of a construct takes values there."""
    return bool(typed.function.type.results if opened == WHOLE else typed.controls[opened].results)
