"""The check sites from which control comes to an instruction without coming by another one.

To stop at an instruction, it is enough that the activation has left its fast twin at the check site before
it, wherever it came from.  In a function of a million instructions, that is the difference between the slow
twin's code for one chunk and for all that lies before the place.

Too many sites are no mistake: one that is armed needlessly only makes an activation slow.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define

from ..wasm import read_u32

__all__ = ["nearest_sites"]

_BLOCK, _LOOP, _IF, _ELSE, _END = 0x02, 0x03, 0x04, 0x05, 0x0B
_BR, _BR_IF, _BR_TABLE, _RETURN = 0x0C, 0x0D, 0x0E, 0x0F
_CALLS = frozenset({0x10, 0x11, 0x14})
_STOPS = frozenset({0x00, 0x08, 0x0A, 0x12, 0x13, 0x15})
"""unreachable, throw, throw_ref and the tail calls: nothing follows them."""
_TRY_TABLE = 0x1F
_CONTROL = re.compile(rb"[\x00\x02-\x05\x08\x0a-\x15\xd5\xd6\xfb]")
"""First bytes of instructions after which control may go elsewhere, or that begin or end a construct.

0xfb has the casts that branch, among others."""
_NESTING = re.compile(rb"[\x02-\x04\x0b]")

_PIECE: Final = 500
"""Instructions that are looked at together."""

_ENTRY = 0
"""Number of the site at a function's entry."""


@define
class _Open:
    """A construct that the walk has come into by its end.

    :ivar wanted: control that leaves it at its end comes to the place.
    :ivar at_else: control that enters its other arm does.
    :ivar end: its ``end``.
    """

    wanted: bool
    end: int
    at_else: bool | None = None


def nearest_sites(
    data: bytes, offsets: Sequence[int], sites: Sequence[int], k: int, *, may_catch: bool = True
) -> frozenset[int] | None:
    """The check sites to arm so that every activation that comes to instruction *k* has left at one of them.

    The specification's structured control has branches forward out of constructs, and backward to loops only.
    So the instructions are looked at from *k* backwards, and each once.

    :param data: the module.
    :param offsets: of the function's instructions.
    :param sites: resume point and kind of each site, as in :attr:`FastTwin.sites
        <trio_wasmdbg.instrument._body.FastTwin>`; these are in order.
    :param may_catch: there may be a ``try_table``.
    :returns: their numbers in the function; None: all of them.
    """
    if may_catch and any(_TRY_TABLE in firsts for _, firsts in _pieces(data, offsets, 0)):
        # Control comes from anywhere in a construct to its clauses.
        return None
    found: set[int] = set()

    def site_at(point: int) -> bool:
        """Whether control comes by a site when it falls through, or goes round, to a resume point."""
        at = bisect_left(sites, point << 2)
        here = at < len(sites) and sites[at] >> 2 == point
        if here:
            found.add(at)
        return here

    # The end of the function is where its label leads, and ``return``.
    at_end = k == len(offsets) - 1
    stack = [_Open(True, k)] if at_end else list[_Open]()
    reach = True  # whether control comes to the place from the instruction that was looked at last
    for j, code in _backwards(data, offsets, k):
        if not reach and not any(each.wanted or each.at_else for each in stack):
            return frozenset(found)
        if code in _CALLS:
            if reach and site_at(j + 1):
                reach = False
        elif code == _END:
            # Whoever comes to the end comes by the site that may be behind it.
            reach = reach and not site_at(j + 1)
            stack.append(_Open(reach, j))
        elif code == _ELSE:
            if not stack:
                # The place is in the other arm.
                stack.append(_Open(False, j))
            stack[-1].at_else = reach
            reach = stack[-1].wanted
        elif code == _IF:
            if stack:
                arm = stack.pop()
                reach = reach or (arm.wanted if arm.at_else is None else arm.at_else)
            # else the place is in the first arm
        elif code == _LOOP:
            inner = stack.pop() if stack else None
            if not reach:
                continue
            if site_at(j + 1):
                reach = False
            else:
                # What goes round comes by a call's site instead, wherever in the loop that is.
                end = _end_of(data, offsets, j) if inner is None else inner.end
                found.update(range(bisect_left(sites, j << 2), bisect_right(sites, end << 2 | 3)))
        elif code == _BLOCK:
            if stack:
                stack.pop()
        elif code in (_BR, _BR_IF):
            depth, _ = read_u32(data, offsets[j] + 1, len(data))
            branches = depth < len(stack) and stack[-1 - depth].wanted
            reach = branches or (code == _BR_IF and reach)
        elif code == _RETURN:
            reach = at_end
        elif code in _STOPS:
            reach = False
        else:
            branches = any(each.wanted for each in stack)
            reach = branches or (code != _BR_TABLE and reach)
    if reach:
        found.add(_ENTRY)
    return frozenset(found)


def _pieces(data: bytes, offsets: Sequence[int], start: int) -> Iterator[tuple[int, bytes]]:
    """The first bytes of the instructions from *start* on: many together, and which is the first of them."""
    for low in range(start, len(offsets), _PIECE):
        yield low, bytes(map(data.__getitem__, offsets[low : low + _PIECE]))


def _backwards(data: bytes, offsets: Sequence[int], k: int) -> Iterator[tuple[int, int]]:
    """The control instructions before *k*, the last one first, and their first bytes."""
    for high in range(k, 0, -_PIECE):
        low = max(high - _PIECE, 0)
        firsts = bytes(map(data.__getitem__, offsets[low:high]))
        for match in reversed(list(_CONTROL.finditer(firsts))):
            yield low + match.start(), firsts[match.start()]


def _end_of(data: bytes, offsets: Sequence[int], start: int) -> int:
    """The ``end`` of the construct that begins at instruction *start*."""
    depth = 0
    for low, firsts in _pieces(data, offsets, start):
        for match in _NESTING.finditer(firsts):
            depth += -1 if firsts[match.start()] == _END else 1
            if not depth:
                return low + match.start()
    return len(offsets) - 1
