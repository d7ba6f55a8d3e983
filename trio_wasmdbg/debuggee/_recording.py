"""What slow twins have noted: the last instructions, how often each was executed, how many there were.

The notes lie in the guest's debug memory and are made without the host; they outlive a trap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import field, frozen

from ..addresses import ModuleOffset
from ..instrument import TRACE_ENTRIES, TRACE_LENGTH
from ..wasm import disassemble

if TYPE_CHECKING:
    from ._instances import GuestInstance
    from ._modules import GuestModule

__all__ = [
    "Branch",
    "Coverage",
    "Executed",
    "coverage_of",
    "executed_instructions",
    "forget",
    "last_branches",
    "last_instructions",
]


@frozen
class Executed:
    """One instruction that was executed."""

    function_index: int
    function_name: str
    module_offset: ModuleOffset
    text: str
    """The instruction, disassembled."""

    def __str__(self) -> str:
        return f"{self.module_offset:#x} {self.function_name}: {self.text}"


@frozen
class Coverage:
    """How often the instructions of one function were executed."""

    function_index: int
    function_name: str
    counts: tuple[int, ...] = field(repr=False)
    """By resume point, modulo 2 to the power of 32.  Instructions that control came to, that is: one that
    trapped is counted."""
    offsets: tuple[ModuleOffset, ...] = field(repr=False)

    @property
    def calls(self) -> int:
        """How often the function was entered."""
        return self.counts[0]

    @property
    def executed(self) -> int:
        """How many different instructions were executed."""
        return sum(count > 0 for count in self.counts)


@frozen
class Branch:
    """Control that went otherwise than to the next instruction."""

    source: Executed
    target: Executed

    def __str__(self) -> str:
        return f"{self.source} -> {self.target.module_offset:#x} {self.target.function_name}"


def _notes(instance: GuestInstance, count: int) -> list[tuple[int, int]]:
    """(function, resume point) of the last *count* notes, oldest first; at most 65,536 are kept."""
    memory, base = instance._debug_memory, instance._layout.trace_base
    head = memory.u32(base)
    wrapped = memory.u64(base + 8) >= TRACE_LENGTH
    found = []
    for number in range(head - min(count, TRACE_LENGTH if wrapped else head), head):
        entry = base + TRACE_ENTRIES + number % TRACE_LENGTH * 8
        found.append((memory.u32(entry), memory.u32(entry + 4)))
    return found


def _executed(module: GuestModule, function: int, k: int) -> Executed:
    instruction = module.plan(function).typed().instructions[k]
    return Executed(
        function,
        module.function_name(function),
        module.module_offset(function, k),
        disassemble(module.original, instruction, function),
    )


def last_instructions(instance: GuestInstance, count: int) -> Iterator[Executed]:
    """The last *count* instructions noted in an instance, oldest first; at most 65,536 are kept."""
    for function, k in _notes(instance, count):
        yield _executed(instance.module, function, k)


def last_branches(instance: GuestInstance, count: int) -> list[Branch]:
    """The last *count* transfers of control among the notes, oldest first."""
    module = instance.module
    ends: dict[int, list[int]] = {}
    found: list[Branch] = []
    notes = _notes(instance, TRACE_LENGTH)
    for (function, k), (next_function, next_k) in zip(notes[-2::-1], notes[:0:-1], strict=True):
        if function not in ends:
            ends[function] = sorted(module.plan(function).leaders())
        leaders = ends[function]
        at = bisect_right(leaders, k)
        # From the instruction noted, control runs to the end of its block.
        last = (leaders[at] if at < len(leaders) else module.plan(function).instructions) - 1
        if function == next_function and k < next_k <= last + 1:
            continue
        found.append(Branch(_executed(module, function, last), _executed(module, next_function, next_k)))
        if len(found) == count:
            break
    return found[::-1]


def executed_instructions(instance: GuestInstance) -> int:
    """How many instructions were noted in an instance, exactly."""
    return instance._debug_memory.u64(instance._layout.trace_base + 8)


def coverage_of(instance: GuestInstance) -> Iterator[Coverage]:
    """The functions of an instance of which something was noted, by index."""
    module, layout = instance.module, instance._layout
    for function in module.original.functions:
        if not module.is_instrumented(function.index):
            continue
        plan = module.plan(function.index)
        first = layout.counts_base + 4 * (plan.stop_base - layout.stops_base)
        raw = instance._debug_memory.read(first, 4 * plan.instructions)
        if any(raw):
            counts = tuple(memoryview(raw).cast("I"))
            offsets = tuple(ModuleOffset(offset) for offset in plan.offsets)
            yield Coverage(function.index, module.function_name(function.index), counts, offsets)


def forget(instance: GuestInstance) -> None:
    """Begin anew."""
    layout = instance._layout
    instance._debug_memory.write(layout.trace_base, bytes(16))
    instance._debug_memory.fill(layout.counts_base, 4 * layout.stops, 0)
