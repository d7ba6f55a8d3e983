"""Rewriting a module in shares, each by a process of its own.

What is made of a function depends on the others in three ways, and each is put right when the shares come
together (:func:`accepted`), so that the module becomes what one process would have made of it, byte for byte:

* the address of a check site's byte is in the code, and counts the sites of all functions before.  In a share
  each function counts from 0, and says where the addresses are;
* what is appended to the module has indices in the order in which functions ask for it.  In a share, each
  function's questions are written down; they are asked again, in the order of functions, and where an answer
  is another one, the code is not what it should be, and is made again;
* functions that are tail-called from certain others are made again, by whoever knows them all.

A function that can't be rewritten is left to whoever puts the shares together, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from typing import Any, Final, NamedTuple

from attrs import define, evolve, field

from ..errors import ModuleError
from ..wasm import Function, FuncType, Module, ValType, uleb
from ._additions import Additions
from ._body import FastTwin
from ._check_sites import ADDRESS_SIZE, MOST_SITES
from ._frames import FrameLayout
from ._layout import SITES_BASE
from ._modes import FrameMode
from ._outside import entered_from_outside
from ._plans import no_tick
from ._rewrite_function import FunctionRewriter, Rewritten

__all__ = ["Made", "Share", "accepted", "batches"]

BATCH: Final = 1 << 16
"""Bytes of function bodies that are handed out at a time: a tenth of a second's work."""

_Question = tuple[Any, ...]


class Made(NamedTuple):
    """What a share has made of a function; it can be pickled.

    :ivar instructions: number of its instructions.
    :ivar frame: its frames' size and that of their slots.
    :ivar twin: with check sites that count from 0.
    :ivar tail_called: functions that it has a ``return_call`` of.
    :ivar asked: what it has asked for, in order, and the answers.
    """

    instructions: int
    frame: tuple[int, int]
    twin: FastTwin
    tail_called: set[int]
    asked: dict[_Question, int]


class Share:
    """Rewrites any functions of a module, in any order, without knowing of the others."""

    def __init__(self, module: Module, frames: FrameMode, tick: Callable[[], None] = no_tick) -> None:
        """:param tick: called about every 2,000 instructions."""
        self._module = module
        self._additions = _Asked(module)
        self._additions.anticipate()
        self._rewriter = FunctionRewriter(
            module, frames, self._additions, entered_from_outside(module), tick
        )

    def make(self, index: int) -> Made | None:
        """What becomes of a function; None if it has to be left to :func:`instrument`."""
        asked = self._additions.asked = {}
        try:
            made = self._rewriter.rewrite(self._module.functions[index], 0)
        except ModuleError:
            return None
        frame = made.frame
        return Made(made.instructions, (frame.size, frame.slot_size), made.twin, made.tail_called, asked)


def batches(module: Module, size: int = BATCH) -> list[range]:
    """The defined functions in ranges of about *size* bytes, largest first."""
    found: list[tuple[int, range]] = []
    first, end, held = module.imported_functions, len(module.functions), 0
    for function in module.functions[first:]:
        assert function.body is not None
        held += function.body.end - function.body.start
        if held >= size:
            found.append((held, range(first, function.index + 1)))
            first, held = function.index + 1, 0
    if first < end:
        found.append((held, range(first, end)))
    found.sort(key=lambda batch: -batch[0])
    return [functions for _, functions in found]


def accepted(made: Made, additions: Additions, function: Function, first_site: int) -> Rewritten | None:
    """What a share has made, as a part of the whole module; None if it does not fit there.

    :param additions: of the module, with what all functions before have asked for.
    """
    for question, answer in made.asked.items():
        if not _answers(additions, question, answer):
            return None
    if first_site + len(made.twin.sites) > MOST_SITES:
        return None
    body = function.body
    assert body is not None
    locals_ = (*function.type.params, *chain.from_iterable((type,) * n for n, type in body.local_groups))
    frame = FrameLayout(*made.frame, locals_)
    return Rewritten(made.instructions, frame, _moved(made.twin, first_site), made.tail_called)


def _moved(twin: FastTwin, first_site: int) -> FastTwin:
    """With check sites that count from *first_site*."""
    body = bytearray(twin.body)
    first = SITES_BASE + first_site
    for at, address in zip(twin.addresses, chain((first,), count(first)), strict=False):
        body[at : at + ADDRESS_SIZE] = uleb(address)
    return evolve(twin, body=bytes(body))


# ── what functions ask for ─────────────────────────────────────────────────────────────────────


@define
class _Asked(Additions):
    """Additions that write down what they are asked for."""

    asked: dict[_Question, int] = field(factory=dict)

    def type_index(self, type: FuncType) -> int:
        answer = self.asked["type", type] = Additions.type_index(self, type)
        return answer

    def enter(self, type_index: int) -> int:
        answer = self.asked["enter", type_index] = Additions.enter(self, type_index)
        return answer

    def reference_table(self, type: ValType) -> int:
        answer = Additions.reference_table(self, type)
        self.asked["references", type] = answer
        return answer

    def helper(self, name: str, first: int, second: int = 0) -> int:
        answer = Additions.helper(self, name, first, second)
        if name != "execute":
            self.asked["helper", name, first, second] = answer
        return answer

    def executing(self, code: bytes, type: FuncType) -> int:
        answer = self.asked["execute", code, type] = Additions.executing(self, code, type)
        return answer

    # What these keep may have come from another function's question.

    def store(self, type: ValType, offset: int) -> bytes:
        if type.is_ref:
            self.reference_table(type)
        return Additions.store(self, type, offset)

    def load(self, type: ValType, offset: int) -> bytes:
        if type.is_ref:
            self.reference_table(type)
        return Additions.load(self, type, offset)


def _answers(additions: Additions, question: _Question, answer: int) -> bool:
    """Ask again: is the answer the same, as far as it is in the code?"""
    what, *about = question
    if what == "type":
        return additions.type_index(*about) == answer
    if what == "enter":
        return additions.enter(*about) == answer
    if what == "references":
        return additions.reference_table(*about) == answer
    # These are called by companions only, which come later.
    if what == "helper":
        additions.helper(*about)
    else:
        assert what == "execute"
        additions.executing(*about)
    return True
