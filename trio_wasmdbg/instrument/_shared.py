"""Shared memories, which a companion must not import.

The engine ends the process at an access out of bounds of a shared memory that two instances of one store
know: its defining instance and, behind the scenes, one that it makes wherever the memory is imported.
So the slow twins of a module that has one work on it by helper functions in the main instance, one for
each different instruction; the place of the memory in a companion's index space is taken by the debug
memory.  Calls of imported functions go by helpers as well: a host function may ask its caller for the
memory.
"""

from __future__ import annotations

from ..wasm import Flow, FuncType, Imm, Instruction, Module, Operand, TypedBody, ValType, uleb
from ._additions import Additions
from ._skeleton import PartlyTyped
from ._watch import accesses

__all__ = ["collect", "has_shared_memory", "helper_number", "shared_accesses", "size_helper", "top_types"]


def has_shared_memory(module: Module) -> bool:
    """Whether any memory is shared."""
    return any(memory.type.limits.shared for memory in module.memories)


def _is_concerned(module: Module, instruction: Instruction) -> bool:
    op, imm = instruction.op, instruction.imm
    kind = op.imm
    if kind is Imm.MEMARG:
        used = (imm.memory,)
    elif kind is Imm.MEMARG_LANE:
        used = (imm[0].memory,)
    elif kind is Imm.MEMORY:
        used = (imm,)
    elif kind is Imm.MEMORY_MEMORY:
        used = imm
    elif kind is Imm.FUNCTION and (op.flow is Flow.CALL or op.flow is Flow.TAIL_CALL):
        return module.functions[imm].body is None
    else:
        return False
    return any(module.memories[index].type.limits.shared for index in used)


def helper_number(additions: Additions, typed: TypedBody | PartlyTyped, k: int) -> int | None:
    """Number of the helper function that executes instruction *k*; None if it needs none.

    To be asked for modules with a shared memory only.
    """
    module, instruction = additions.module, typed.instructions[k]
    if not typed.reachable[k] or not _is_concerned(module, instruction):
        return None
    op = instruction.op
    if op.imm is Imm.FUNCTION:
        type = module.functions[instruction.imm].type
    else:
        before, after = typed.stacks[k], typed.stacks[k + 1]
        below = (before.height + 1 if before is not None else 0) - op.pop_count
        results = (after.height + 1 if after is not None else 0) - below
        type = FuncType(top_types(before, op.pop_count), top_types(after, results))
    code = module.data[instruction.offset : instruction.end]
    return additions.executing(code, type)


def size_helper(additions: Additions, memory: int) -> int:
    """Number of the helper function that executes ``memory.size``."""
    address = additions.module.memories[memory].type.address_type
    return additions.executing(b"\x3f" + uleb(memory), FuncType((), (address,)))


def shared_accesses(module: Module, instruction: Instruction) -> list[int]:
    """The shared memories that an instruction accesses."""
    used = (access.memory for access in accesses(instruction))
    return [memory for memory in used if module.memories[memory].type.limits.shared]


def collect(additions: Additions, typed: TypedBody) -> None:
    """Appends the helper functions that the slow twin of this function will need."""
    for k, instruction in enumerate(typed.instructions):
        helper_number(additions, typed, k)
        if typed.reachable[k]:
            for memory in shared_accesses(additions.module, instruction):
                size_helper(additions, memory)


def top_types(stack: Operand | None, count: int) -> tuple[ValType, ...]:
    """Types of the topmost *count* operands, lowest first."""
    types: list[ValType] = []
    while len(types) < count:
        assert stack is not None
        types.append(stack.type)
        stack = stack.below
    types.reverse()
    return tuple(types)
