"""Clauses of ``try_table`` constructs, in the order in which an exception meets them."""

from __future__ import annotations

from typing import NamedTuple

from ..wasm import Catch, ControlFrame

__all__ = ["Clause", "first_matches"]


class Clause(NamedTuple):
    """A clause of a ``try_table``, with the construct that it leads to."""

    catch: Catch
    scope: ControlFrame


def first_matches(clauses: list[Clause]) -> tuple[Clause, ...]:
    """Without the clauses that come too late, because an earlier one catches the same."""
    kept: list[Clause] = []
    tags: set[int] = set()
    for clause in clauses:
        tag = clause.catch.tag
        if tag is None:
            kept.append(clause)
            break
        if tag not in tags:
            tags.add(tag)
            kept.append(clause)
    return tuple(kept)
