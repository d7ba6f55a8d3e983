"""What the fast twin must know of a construct before it is entered.

One pass over a body answers, for each block, loop and if: which locals are assigned somewhere
inside, is there a call inside, and can the function leave for its slow twin from inside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import compress, count
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

from attrs import define, frozen

from ..wasm import OPS, BrTable, Instruction, Module, TypedBody, ValType
from ._kinds import KINDS, TRAPS, Kind, division_can_trap

__all__ = ["WHOLE", "Facts", "Place", "Survey", "branch_depths", "call_signature", "survey"]

WHOLE: Final = -1
"""Key of the facts about the whole function."""

_UNBRANCHED: Final = 1 << 60

# Plain ints: comparing with a member of an enum would look it up each time.
_ASSIGN, _DIVISION, _CALL, _LOOP, _IF = (
    int(k) for k in (Kind.ASSIGN, Kind.DIVISION, Kind.CALL, Kind.LOOP, Kind.IF)
)
_BLOCK, _TRY_TABLE, _ELSE, _END = (int(k) for k in (Kind.BLOCK, Kind.TRY_TABLE, Kind.ELSE, Kind.END))
_BRANCH, _BRANCH_TABLE, _UNREACHABLE, _POINT = (
    int(k) for k in (Kind.BRANCH, Kind.BRANCH_TABLE, Kind.UNREACHABLE, Kind.POINT)
)


# Each opcode's class: its kind (counted from 1; 0: none), and whether it may trap.
_OP: Final = itemgetter(2)
_CODE: Final = attrgetter("code")
_CLASSES: Final = {
    op.code: KINDS.get(op.code, -1) + 1 | (0x80 if op.code in TRAPS else 0) for op in OPS.values()
}
_KIND_OF: Final = bytes(n & 0x7F for n in range(256))
_NUMBER_OF: Final = bytes(max(n & 0x7F, 1) - 1 for n in range(256))
_TRAP_OF: Final = bytes(n >> 7 for n in range(256))


class Facts(NamedTuple):
    """About one construct, everything inside it included.

    :ivar assigned: bit mask of the locals that are assigned.
    :ivar calls: a call is inside.
    :ivar leaves: a place is inside at which the function may leave, or must have its operands stored.
    :ivar traps: an instruction is inside that may trap in the fast twin.
    :ivar endless: for a loop: it can go round without coming by a call, after which there is a check site;
        so it needs one of its own.
    :ivar catches: an exception that is caught leads to its label.
    """

    assigned: int
    calls: bool
    leaves: bool
    traps: bool
    endless: bool = False
    catches: bool = False


Place = tuple[int, int, int, int]
"""An instruction that the fast twin must look at:

* its ordinal;
* its :class:`~._kinds.Kind`;
* mask of the locals that have been assigned since the place before, by instructions that can be reached and
  are no places themselves; those that are (``ASSIGN``) count as well;
* operands on the stack before it; of no meaning where it can't be reached.
"""


@frozen
class Survey:
    """What the pass has found.

    :ivar places: of the instructions that the fast twin must look at.
    :ivar traps: a byte for each instruction, not 0 if it may trap by itself.
    :ivar facts: by the ordinal of the construct's opening instruction, and by :data:`WHOLE`.
    :ivar tries: an exception is caught somewhere.
    """

    places: list[Place]
    traps: bytes
    facts: dict[int, Facts]
    tries: bool

    def trap_between(self, low: int, high: int) -> int:
        """The first instruction of ``[low, high)`` that may trap by itself; -1 if there is none."""
        return self.traps.find(1, low, high)

    @property
    def whole(self) -> Facts:
        """About the whole function."""
        return self.facts[WHOLE]


@define
class _Scope:
    """An open construct during the survey; ``assigned``, ``calls``, ``leaves``, ``traps`` are of that around.

    :ivar loops: number of loops that are open around its end, or for a loop, itself included.
    :ivar at_end: the least ``passed`` of the branches to its end.
    :ivar at_else: ``passed`` at the beginning of an ``if``.
    """

    opened: int
    loop: bool
    loops: int
    assigned: int
    calls: bool
    leaves: bool
    traps: bool
    at_end: int = _UNBRANCHED
    at_else: int = _UNBRANCHED
    endless: bool = False
    catches: bool = False


def survey(typed: TypedBody, points: Iterable[int] = ()) -> Survey:
    """Look through a body once.

    :param points: ordinals of instructions before which the function may leave as well.
    """
    instructions, reachable = typed.instructions, typed.reachable
    # Nothing here is executed by Python for each instruction, but by the iterators: four times as fast.
    classes = bytes(map(_CLASSES.__getitem__, map(_CODE, map(_OP, instructions))))
    kinds = classes.translate(_KIND_OF)
    seen = list(compress(zip(count(), classes.translate(_NUMBER_OF)), kinds))
    extra = [(k, _POINT) for k in points if reachable[k]]
    if extra:
        seen = sorted(seen + extra, key=lambda place: (place[0], place[1] != _POINT))
    traps = classes.translate(_TRAP_OF)
    last, trapping = -1, False
    places: list[Place] = []

    facts: dict[int, Facts] = {}
    assigned, calls, leaves = 0, False, False
    # Of the open loops, the outermost `passed` ones have certainly come by a call since their header.
    loops, passed = 0, 0
    tries = False
    open_ = [_Scope(WHOLE, False, 0, 0, False, False, False)]
    for k, kind in seen:
        stack = typed.stacks[k]
        bit = 1 << instructions[k][3] if kind == _ASSIGN else 0
        places.append((k, kind, bit if reachable[k] else 0, 0 if stack is None else stack.height + 1))
        if not trapping:
            trapping = traps.find(1, last + 1, k + 1) >= 0
        last = k
        if kind == _ASSIGN:
            assigned |= bit
        elif _BLOCK <= kind <= _TRY_TABLE:
            loop = kind == _LOOP
            loops += loop
            if kind == _TRY_TABLE and reachable[k]:
                for catch in instructions[k].imm.catches:
                    # Labels count from outside of the try_table.
                    open_[-1 - catch.label].catches = tries = True
            scope = _Scope(k, loop, loops, assigned, calls, leaves, trapping)
            open_.append(scope)
            if kind == _IF:
                scope.at_else = passed
            assigned, calls, leaves, trapping = 0, False, loop, False
        elif kind == _END:
            scope = open_.pop()
            leaves = leaves or scope.catches
            facts[scope.opened] = Facts(assigned, calls, leaves, trapping, scope.endless, scope.catches)
            assigned |= scope.assigned
            calls |= scope.calls
            leaves |= scope.leaves
            trapping |= scope.traps
            passed = min(passed if reachable[k] else _UNBRANCHED, scope.at_end, scope.at_else)
            loops -= scope.loop
            passed = min(passed, loops)
        elif kind == _ELSE:
            scope = open_[-1]
            if reachable[k]:
                scope.at_end = min(scope.at_end, passed)
            passed, scope.at_else = scope.at_else, _UNBRANCHED
        elif reachable[k]:
            if kind == _CALL:
                calls = leaves = True
                passed = loops
            elif kind == _UNREACHABLE:
                leaves = True
            elif kind == _DIVISION:
                leaves = leaves or division_can_trap(instructions, k)
            elif kind == _POINT:
                leaves = True
            elif _BRANCH <= kind <= _BRANCH_TABLE:
                for depth in branch_depths(instructions[k]):
                    scope = open_[-1 - depth]
                    if not scope.loop:
                        scope.at_end = min(scope.at_end, passed)
                    elif passed < scope.loops:
                        scope.endless = True
    return Survey(places, traps, facts, tries)


def branch_depths(instruction: Instruction) -> Collection[int]:
    """The labels that a branch instruction may go to, each once."""
    imm = instruction.imm
    if isinstance(imm, int):
        return (imm,)
    if isinstance(imm, BrTable):
        return {*imm.targets, imm.default}
    return (imm.label,)


def call_signature(module: Module, instruction: Instruction) -> tuple[int, tuple[ValType, ...]]:
    """Operands popped by a call (the callee's index among them), and its results."""
    imm, code = instruction.imm, instruction.op.code
    if code == 0x10:
        called = module.functions[imm].type
        return len(called.params), called.results
    called = module.func_type(imm.type_index if code == 0x11 else imm)
    return len(called.params) + 1, called.results
