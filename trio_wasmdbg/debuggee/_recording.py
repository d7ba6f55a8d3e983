"""What was recorded: the last instructions, how often each was executed, how many there were.

The notes lie in the guest's debug memory and are made without the host, by flavours and by slow twins; they
outlive a trap.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from ..addresses import ModuleOffset
from ..instrument import Notes, Recorded
from ..wasm import disassemble

if TYPE_CHECKING:
    from .. import capi
    from ._instances import GuestInstance
    from ._modules import GuestModule

__all__ = [
    "Branch",
    "Coverage",
    "Executed",
    "coverage_of",
    "cut",
    "last_branches",
    "last_instructions",
    "notes_of",
    "settle",
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
    """By resume point.  Instructions that control came to, that is: one that trapped is counted.  What slow
    twins execute is counted modulo 2 to the power of 32."""
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


def notes_of(instance: GuestInstance) -> Notes:
    """What was recorded in an instance."""
    instrumented = instance.module._instrumented
    return Notes(instrumented, instance._debug_memory, instance._flavours.recorded())


def _executed(module: GuestModule, function: int, k: int) -> Executed:
    instruction = module.plan(function).typed().instructions[k]
    return Executed(
        function,
        module.function_name(function),
        module.module_offset(function, k),
        disassemble(module.original, instruction, function),
    )


def last_instructions(instance: GuestInstance, count: int) -> Iterator[Executed]:
    """The last *count* instructions noted in an instance, oldest first; at most 65,535 are kept."""
    for function, k in notes_of(instance).last(count):
        yield _executed(instance.module, function, k)


def last_branches(instance: GuestInstance, count: int) -> list[Branch]:
    """The last *count* transfers of control among the notes, oldest first."""
    module = instance.module
    ends: dict[int, list[int]] = {}
    found: list[Branch] = []
    notes = notes_of(instance).last(1 << 16)
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


def coverage_of(instance: GuestInstance) -> Iterator[Coverage]:
    """The functions of an instance of which something was noted, by index."""
    module, notes = instance.module, notes_of(instance)
    for function in module.original.functions:
        if not module.is_instrumented(function.index):
            continue
        plan = module.plan(function.index)
        counts = notes.counts(plan)
        if any(counts):
            offsets = tuple(ModuleOffset(offset) for offset in plan.offsets)
            yield Coverage(function.index, module.function_name(function.index), tuple(counts), offsets)


def settle(instances: Iterable[GuestInstance]) -> None:
    """The guest has trapped: let the notes be what they would be if each block had been noted in memory."""
    for instance in instances:
        notes_of(instance).settle()


def cut(instance: GuestInstance, trace: Sequence[capi.RawFrame], function: int, k: int) -> None:
    """The guest has trapped at *k*: let them be as if each instruction up to there had been noted.

    :param trace: the engine's backtrace.
    """
    for frame in trace[:2]:
        member = instance.module._batches.member(frame.module_name, function)
        if member is not None:
            if member.key.records is not None:
                notes_of(instance).cut(Recorded(function, member.key.records, member.counters), k)
            return
