"""Which instructions the rewriter has to look at; all others are copied unseen, in ranges.

Four in five instructions of compiled code are loads, constants, arithmetic: finding the rest by one
look into a table each is what makes rewriting fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final, Literal

from ..wasm import BY_NAME, OPS, Flow, Instruction, Op
from . import _emit as emit

__all__ = [
    "CONSTRUCTS",
    "CONVERSIONS",
    "DIVISIONS",
    "HELPED",
    "KINDS",
    "NUMERIC",
    "TRAPS",
    "Kind",
    "division_can_trap",
    "foreseen_trap",
]


class Kind(IntEnum):
    """What the fast twin has to do about an instruction."""

    ASSIGN = 0
    """``local.set``, ``local.tee``."""
    GLOBAL = 1
    """Has a global's index, which is shifted."""
    SELECT = 2
    """Its result stands where its first operand did."""
    DIVISION = 3
    """An integer division, or a conversion to an integer: whether it will trap is seen from the operands."""
    HELPED = 4
    """Slow twins need a helper function for it."""
    BLOCK = 5
    LOOP = 6
    IF = 7
    TRY_TABLE = 8
    ELSE = 9
    END = 10
    BRANCH = 11
    BRANCH_IF = 12
    BRANCH_TABLE = 13
    RETURN = 14
    UNREACHABLE = 15
    CALL = 16
    TAIL_CALL = 17
    THROW = 18
    POINT = 19
    """No instruction: a flavour has something to do before the one that follows."""
    RECORD = 20
    """No instruction: a flavour records that a basic block begins."""


CONSTRUCTS: Final[Mapping[int, Literal["block", "loop", "if"]]] = {
    int(Kind.BLOCK): "block", int(Kind.LOOP): "loop", int(Kind.IF): "if",
}  # fmt: skip
"""What begins a construct that has an outline, and what that is called."""

_LIMITS: Final = {
    # Spec, "Numerics, trunc_u, trunc_s": what matters is the truncated value.  The number just below
    # the lowest integer is no f32 (nor, for 64 bits, an f64), so that the lowest itself is the limit.
    (32, 32, "s"): (-(2.0**31), True, 2.0**31),
    (32, 32, "u"): (-1.0, False, 2.0**32),
    (32, 64, "s"): (-(2.0**31) - 1, False, 2.0**31),
    (32, 64, "u"): (-1.0, False, 2.0**32),
    (64, 32, "s"): (-(2.0**63), True, 2.0**63),
    (64, 32, "u"): (-1.0, False, 2.0**64),
    (64, 64, "s"): (-(2.0**63), True, 2.0**63),
    (64, 64, "u"): (-1.0, False, 2.0**64),
}

DIVISIONS: Final = {
    BY_NAME[f"{kind}.{name}"].code: (kind, name == "div_s")
    for kind in ("i32", "i64")
    for name in ("div_s", "div_u", "rem_s", "rem_u")
}
"""Integer divisions by ``Op.code``: the type, and whether the quotient can overflow."""

CONVERSIONS: Final = {
    BY_NAME[f"i{bits}.trunc_f{width}_{sign}"].code: (f"f{width}", *_LIMITS[bits, width, sign])
    for bits in (32, 64)
    for width in (32, 64)
    for sign in "su"
}
"""Trapping conversions by ``Op.code``: the operand's type, a number that it must exceed (or, with True,
may equal), and one that it must stay below."""

HELPED: Final = {
    BY_NAME[name].code: name
    for name in (
        "memory.init",
        "data.drop",
        "table.init",
        "elem.drop",
        "array.new_data",
        "array.new_elem",
        "array.init_data",
        "array.init_elem",
    )
}
"""Instructions that work on their own module's segments: slow twins call a helper function for them."""

_BY_NAME: Final = {
    "local.set": Kind.ASSIGN,
    "local.tee": Kind.ASSIGN,
    "global.get": Kind.GLOBAL,
    "global.set": Kind.GLOBAL,
    "select": Kind.SELECT,
    "select t": Kind.SELECT,
    "ref.func": Kind.HELPED,
}


def _kind(op: Op) -> Kind | None:
    if op.flow is not Flow.NEXT:
        return Kind[op.flow.name]
    if op.code in DIVISIONS or op.code in CONVERSIONS:
        return Kind.DIVISION
    if op.code in HELPED:
        return Kind.HELPED
    return _BY_NAME.get(op.name)


KINDS: Final[dict[int, int]] = {}
"""By ``Op.code``: a :class:`Kind`, as a plain int; what is not here needs no look."""

for _op in OPS.values():
    _found = _kind(_op)
    if _found is not None:
        KINDS[_op.code] = int(_found)

TRAPS: Final = frozenset(
    op.code
    for op in OPS.values()
    if op.traps and op.flow is Flow.NEXT and op.code not in DIVISIONS and op.code not in CONVERSIONS
)
"""Instructions that may trap in the fast twin by themselves.  Before the others the twin leaves."""

NUMERIC: Final = frozenset(
    op.code
    for op in OPS.values()
    if op.proposal in ("mvp", "sign-extension", "saturating-conversions", "bulk-memory", "tail-call")
)
"""Instructions that push numbers only, unless they get something else from a local, global or call."""

_CONSTANTS = (BY_NAME["i32.const"].code, BY_NAME["i64.const"].code)


def division_can_trap(instructions: Mapping[int, Instruction] | Sequence[Instruction], k: int) -> bool:
    """Whether the division or conversion *k* may trap: not by a constant divisor other than 0 and -1."""
    before = instructions[k - 1] if k else instructions[k]
    return not (before.op.code in _CONSTANTS and before.imm not in (0, -1))


def foreseen_trap(code: int, operands: list[bytes]) -> bytes:
    """Code that pushes whether a division or conversion traps; *operands* push what it works on."""
    if code in CONVERSIONS:
        return emit.conversion_traps(*CONVERSIONS[code], *operands)
    return emit.division_traps(*DIVISIONS[code], *operands)
