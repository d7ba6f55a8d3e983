"""What the fast twin must know of a construct before it is entered.

One pass over a body answers, for each block, loop and if: which locals are assigned somewhere
inside, is there a call inside, and can the function leave for its slow twin from inside.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from attrs import define

from ..wasm import BY_NAME, BrTable, Flow, Instruction, TypedBody

__all__ = ["DIVISIONS", "WHOLE", "Facts", "branch_depths", "division_can_trap", "survey"]


class Facts(NamedTuple):
    """About one construct, everything inside it included.

    :ivar assigned: bit mask of the locals that are assigned.
    :ivar calls: a call is inside.
    :ivar leaves: a place is inside at which the function may leave, or must have its operands stored.
    :ivar traps: an instruction is inside that may trap in the fast twin.
    :ivar endless: for a loop: it can go round without coming by a call, after which there is a check site;
        so it needs one of its own.
    :ivar catches: an exception that is caught leads to its label.
    :ivar tries: known of the whole function only: an exception is caught somewhere.
    """

    assigned: int
    calls: bool
    leaves: bool
    traps: bool
    endless: bool
    catches: bool = False
    tries: bool = False


DIVISIONS: Final = {
    BY_NAME[f"{kind}.{name}"].code: (kind, name == "div_s")
    for kind in ("i32", "i64")
    for name in ("div_s", "div_u", "rem_s", "rem_u")
}
"""Integer divisions by ``Op.code``: the type, and whether the quotient can overflow."""

_CONSTANTS = (BY_NAME["i32.const"].code, BY_NAME["i64.const"].code)
_ASSIGNMENTS = (BY_NAME["local.set"].code, BY_NAME["local.tee"].code)


def division_can_trap(instructions: list[Instruction], k: int) -> bool:
    """Whether the division *k* may trap: not if the divisor is a constant other than 0 and -1."""
    before = instructions[k - 1] if k else instructions[k]
    return not (before.op.code in _CONSTANTS and before.imm not in (0, -1))


_UNBRANCHED: Final = 1 << 60

WHOLE: Final = -1
"""Key of the facts about the whole function."""


@define
class _Scope:
    """An open construct during the survey.

    :ivar loops: number of loops that are open around its end, or for a loop, itself included.
    :ivar at_end: the least ``passed`` of the branches to its end.
    :ivar at_else: ``passed`` at the beginning of an ``if``.
    """

    opened: int
    loop: bool
    loops: int
    outer: Facts
    at_end: int = _UNBRANCHED
    at_else: int = _UNBRANCHED
    endless: bool = False
    catches: bool = False


def survey(typed: TypedBody) -> dict[int, Facts]:
    """Facts by the ordinal of the construct's opening instruction, and by :data:`WHOLE`."""
    instructions, reachable = typed.instructions, typed.reachable
    facts: dict[int, Facts] = {}
    assigned, calls, leaves, traps = 0, False, False, False
    # Of the open loops, the outermost `passed` ones have certainly come by a call since their header.
    loops, passed = 0, 0
    caught = False
    open_ = [_Scope(WHOLE, False, 0, Facts(0, False, False, False, False))]
    next_flow = Flow.NEXT
    for k, instruction in enumerate(instructions):
        op = instruction.op
        flow = op.flow
        if flow is next_flow:
            code = op.code
            if code in _ASSIGNMENTS:
                assigned |= 1 << instruction.imm
            elif op.traps and reachable[k]:
                if code not in DIVISIONS:
                    traps = True
                elif division_can_trap(instructions, k):
                    leaves = True
        elif flow in (Flow.BLOCK, Flow.LOOP, Flow.IF, Flow.TRY_TABLE):
            loop = flow is Flow.LOOP
            loops += loop
            if flow is Flow.TRY_TABLE and reachable[k]:
                for catch in instruction.imm.catches:
                    # labels count from outside of the try_table
                    open_[-1 - catch.label].catches = caught = True
            open_.append(_Scope(k, loop, loops, Facts(assigned, calls, leaves, traps, False)))
            if flow is Flow.IF:
                open_[-1].at_else = passed
            assigned, calls, leaves, traps = 0, False, loop, False
        elif flow is Flow.END:
            scope = open_.pop()
            leaves = leaves or scope.catches
            facts[scope.opened] = Facts(assigned, calls, leaves, traps, scope.endless, scope.catches)
            around = scope.outer
            assigned |= around.assigned
            calls |= around.calls
            leaves |= around.leaves
            traps |= around.traps
            passed = min(passed if reachable[k] else _UNBRANCHED, scope.at_end, scope.at_else)
            loops -= scope.loop
            passed = min(passed, loops)
        elif flow is Flow.ELSE:
            scope = open_[-1]
            if reachable[k]:
                scope.at_end = min(scope.at_end, passed)
            passed, scope.at_else = scope.at_else, _UNBRANCHED
        elif reachable[k]:
            if flow is Flow.CALL:
                calls = leaves = True
                passed = loops
            elif flow is Flow.UNREACHABLE:
                leaves = True
            elif flow is Flow.THROW:
                traps = True
            elif flow in (Flow.BRANCH, Flow.BRANCH_IF, Flow.BRANCH_TABLE):
                for depth in branch_depths(instruction):
                    scope = open_[-1 - depth]
                    if not scope.loop:
                        scope.at_end = min(scope.at_end, passed)
                    elif passed < scope.loops:
                        scope.endless = True
    if caught:
        facts[WHOLE] = facts[WHOLE]._replace(tries=True)
    return facts


def branch_depths(instruction: Instruction) -> Collection[int]:
    """The labels that a branch instruction may go to, each once."""
    imm = instruction.imm
    if isinstance(imm, int):
        return (imm,)
    if isinstance(imm, BrTable):
        return {*imm.targets, imm.default}
    return (imm.label,)
