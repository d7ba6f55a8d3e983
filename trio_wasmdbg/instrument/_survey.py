"""What the fast twin must know of a construct before it is entered.

One pass over a body answers, for each block, loop and if: which locals are assigned somewhere
inside, is there a call inside, and can the function leave for its slow twin from inside.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..wasm import BY_NAME, Flow, Instruction, TypedBody

__all__ = ["DIVISIONS", "Facts", "division_can_trap", "survey"]


class Facts(NamedTuple):
    """About one construct, everything inside it included.

    :ivar assigned: bit mask of the locals that are assigned.
    :ivar calls: a call is inside.
    :ivar leaves: a place is inside at which the function may leave, or must have its operands stored.
    """

    assigned: int
    calls: bool
    leaves: bool


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


def survey(typed: TypedBody) -> dict[int, Facts]:
    """Facts by the ordinal of the construct's opening instruction."""
    instructions, reachable = typed.instructions, typed.reachable
    facts: dict[int, Facts] = {}
    open_: list[int] = []
    assigned, calls, leaves = 0, False, False
    outer: list[tuple[int, bool, bool]] = []
    for k, instruction in enumerate(instructions):
        op = instruction.op
        flow = op.flow
        if flow is Flow.NEXT:
            code = op.code
            if code in _ASSIGNMENTS:
                assigned |= 1 << instruction.imm
            elif code in DIVISIONS and reachable[k] and division_can_trap(instructions, k):
                leaves = True
        elif flow is Flow.CALL:
            if reachable[k]:
                calls = leaves = True
        elif flow is Flow.UNREACHABLE:
            if reachable[k]:
                leaves = True
        elif flow in (Flow.BLOCK, Flow.LOOP, Flow.IF, Flow.TRY_TABLE):
            open_.append(k)
            outer.append((assigned, calls, leaves))
            assigned, calls, leaves = 0, False, flow is Flow.LOOP
        elif flow is Flow.END and open_:
            facts[open_.pop()] = Facts(assigned, calls, leaves)
            assigned_, calls_, leaves_ = outer.pop()
            assigned |= assigned_
            calls |= calls_
            leaves |= leaves_
    return facts
