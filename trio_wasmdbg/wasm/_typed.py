"""The records that :func:`type_body` answers with: operand stacks and control constructs.

Spec: "Appendix, Validation Algorithm, Data Structures".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from attrs import define, field

from ._instructions import Instruction
from ._module import Function
from ._types import ValType

__all__ = ["ControlFrame", "Operand", "TypedBody", "TypedPart", "operand_types"]


class Operand(NamedTuple):
    """The top of an operand stack: a linked list that shares everything below with its neighbours.

    Compared and hashed by identity, since a stack may be 100,000 operands deep.

    :ivar below: the operand under this one; None: this is the bottom.
    :ivar height: how many operands lie below.
    """

    below: Operand | None
    type: ValType
    height: int

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Operand {self.type} at height {self.height}>"


@define(eq=False)
class ControlFrame:
    """A construct: the function itself, a block, loop, if, or try_table.

    :ivar start: ordinal of its opening instruction; -1 for the function.
    :ivar else_: ordinal of its ``else``, if it has one.
    :ivar end: ordinal of its ``end``.
    :ivar height: operands that lie below its parameters.
    :ivar live: False if the whole construct stands in dead code; its ``height`` means nothing then.
    """

    kind: Literal["function", "block", "loop", "if", "try_table"]
    start: int
    else_: int | None
    end: int
    height: int
    params: tuple[ValType, ...]
    results: tuple[ValType, ...]
    parent: ControlFrame | None = field(repr=False)
    live: bool = True

    @property
    def label_types(self) -> tuple[ValType, ...]:
        """What a branch to this construct takes along: a loop's parameters, else the results."""
        return self.params if self.kind == "loop" else self.results


@define(eq=False)
class TypedBody:
    """A function body with the types of its operands; lists are indexed by instruction ordinal.

    :ivar stacks: operand stack before each instruction; None: empty, or unreachable.
    :ivar reachable: 1 if control can get to the instruction by the rules of validation, 0 in the dead
        code after an unconditional branch.  For ``end`` and ``else``: by falling through from the
        instruction before.  Constructs that stand in dead code are dead as a whole.
    :ivar scopes: innermost construct in which the instruction stands: for ``block`` the outer one, for
        ``end`` and ``else`` the one that they belong to.
    :ivar controls: the construct of each ``block``, ``loop``, ``if``, ``try_table``, ``else``, ``end``.
    :ivar locals: parameters first.
    :ivar max_height: the most operands there ever are, counted between instructions.
    """

    function: Function
    instructions: list[Instruction] = field(repr=False)
    stacks: list[Operand | None] = field(repr=False)
    reachable: bytearray = field(repr=False)
    scopes: list[ControlFrame] = field(repr=False)
    controls: dict[int, ControlFrame] = field(repr=False)
    locals: tuple[ValType, ...] = field(repr=False)
    max_height: int

    @property
    def count(self) -> int:
        """Number of instructions."""
        return len(self.instructions)

    def stack(self, k: int, height: int) -> Operand | None:
        """The operand stack before instruction *k*, which has so many operands."""
        return self.stacks[k]


@define(eq=False)
class TypedPart:
    """What :class:`TypedBody` has, for some instructions in a row; lists begin with the first of them.

    A construct that is not closed in here has an ``end`` (and ``else_``) that means nothing.

    :ivar first: ordinal of the first instruction.
    """

    first: int
    instructions: list[Instruction] = field(repr=False)
    stacks: list[Operand | None] = field(repr=False)
    reachable: bytearray = field(repr=False)
    scopes: list[ControlFrame] = field(repr=False)
    controls: dict[int, ControlFrame] = field(repr=False)


def operand_types(stack: Operand | None) -> tuple[ValType, ...]:
    """The types on a stack, bottom first."""
    types: list[ValType] = []
    while stack is not None:
        types.append(stack.type)
        stack = stack.below
    types.reverse()
    return tuple(types)
