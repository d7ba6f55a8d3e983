"""Operands that need not be stored, since they can be worked out again from the locals.

In post-mortem mode, the operand stack must be in the frame before each instruction that may trap.  Most
operands there are addresses: a local, or a sum of locals and constants.  Where the locals have not been
assigned since, the debugger works the operand out when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from ..wasm import BY_NAME, Operand, TypedBody

__all__ = ["Recipe", "Recipes", "evaluate"]

MOST: Final = 12
"""Instructions of a recipe."""


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


_BINARY: Final[dict[str, Callable[[int, int, int], int]]] = {
    # Spec, "Numerics": the two operands, and the width; the result is taken modulo that.
    "add": lambda a, b, n: a + b,
    "sub": lambda a, b, n: a - b,
    "mul": lambda a, b, n: a * b,
    "and": lambda a, b, n: a & b,
    "or": lambda a, b, n: a | b,
    "xor": lambda a, b, n: a ^ b,
    "shl": lambda a, b, n: a << b % n,
    "shr_u": lambda a, b, n: (a & (1 << n) - 1) >> b % n,
    "shr_s": lambda a, b, n: a >> b % n,
}
_PURE: Final = {
    BY_NAME[f"i{bits}.{name}"].code: (bits, function)
    for name, function in _BINARY.items()
    for bits in (32, 64)
}
_CONSTANTS: Final = frozenset(BY_NAME[name].code for name in ("i32.const", "i64.const"))
_WRAP, _EXTEND_S, _EXTEND_U = (
    BY_NAME[name].code for name in ("i32.wrap_i64", "i64.extend_i32_s", "i64.extend_i32_u")
)
_UNARY: Final = {_WRAP, _EXTEND_S, _EXTEND_U}
_LOCAL_GET: Final = BY_NAME["local.get"].code
_KNOWN: Final = {_LOCAL_GET, *_PURE, *_CONSTANTS, *_UNARY}
_ASSIGNING: Final = {BY_NAME["local.set"].code, BY_NAME["local.tee"].code}
_SELECTS: Final = {BY_NAME["select"].code, BY_NAME["select t"].code}


class Recipe(NamedTuple):
    """How to work an operand out.

    :ivar code: opcode of the instruction that has pushed it.
    :ivar imm: its immediate: the local's index, or the constant.
    :ivar operands: how to work its operands out.
    """

    code: int
    imm: int | None
    operands: tuple[Recipe, ...]


def evaluate(recipe: Recipe, local: Callable[[int], object]) -> object:
    """The operand's value (integers signed); *local* gives that of a local."""
    code = recipe.code
    if code == _LOCAL_GET:
        assert recipe.imm is not None
        return local(recipe.imm)
    if code in _CONSTANTS:
        return recipe.imm
    values = []
    for each in recipe.operands:
        value = evaluate(each, local)
        if not isinstance(value, int):
            return value  # not available
        values.append(value)
    if code in _PURE:
        bits, function = _PURE[code]
        return _signed(function(values[0], values[1], bits), bits)
    if code == _EXTEND_U:
        return values[0] & 0xFFFF_FFFF
    return _signed(values[0], 32 if code == _WRAP else 64)


class Recipes:
    """What is known of the operands of one function."""

    def __init__(self, typed: TypedBody) -> None:
        self._typed = typed
        # By the identity of operands, which all live as long as the typed body.
        self._producers: dict[int, int] = {}
        self._selected: dict[int, int] = {}
        self._assigned: dict[int, list[int]] = {}
        stacks, reachable = typed.stacks, typed.reachable
        for k, instruction in enumerate(typed.instructions):
            code = instruction[2].code
            if code in _KNOWN:
                if reachable[k]:
                    self._producers[id(stacks[k + 1])] = k
            elif code in _ASSIGNING:
                self._assigned.setdefault(instruction[3], []).append(k)
            elif code in _SELECTS and reachable[k]:
                # The typed stack shows the first operand as the result: it may be another value now.
                first = stacks[k]
                for _ in range(2):
                    assert first is not None
                    first = first.below
                self._selected.setdefault(id(first), k)

    def missing(self, stack: Operand | None, low: int, k: int) -> set[int]:
        """Heights, from *low* up, of the operands that can't be worked out before instruction *k*."""
        found = set()
        while stack is not None and stack.height >= low:
            if self.of(stack, k) is None:
                found.add(stack.height)
            stack = stack.below
        return found

    def of(self, operand: Operand, k: int) -> Recipe | None:
        """How to work out *operand*, which is on the stack before instruction *k*; None if it can't be."""
        found, _ = self._of(operand, k, k, MOST)
        return found

    def _of(self, operand: Operand, at: int, k: int, most: int) -> tuple[Recipe | None, int]:
        """:param at: where it is on the stack; *k* is where the locals are read."""
        j = self._producers.get(id(operand))
        if j is None or not most or self._selected.get(id(operand), at) < at:
            return None, most
        most -= 1
        instruction = self._typed.instructions[j]
        code = instruction.op.code
        if code == _LOCAL_GET:
            assigned = self._assigned.get(instruction.imm)
            if assigned is not None:
                # The code between is executed in order only within one construct.
                same = self._typed.scopes[j] is self._typed.scopes[k]
                if not same or bisect_right(assigned, k - 1) > bisect_right(assigned, j):
                    return None, most
            return Recipe(code, instruction.imm, ()), most
        if code in _CONSTANTS:
            return Recipe(code, instruction.imm, ()), most
        operands: list[Recipe] = []
        node = self._typed.stacks[j]
        for _ in range(1 if code in _UNARY else 2):
            assert node is not None
            found, most = self._of(node, j, k, most)
            if found is None:
                return None, most
            operands.append(found)
            node = node.below
        return Recipe(code, None, tuple(reversed(operands))), most
