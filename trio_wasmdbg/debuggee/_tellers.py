"""What is told of calls of the user's own host functions, and of growing memories.

Host functions in a ``wasmtime.Linker`` are called by the guest directly, past the debugger.  So the guest
is stopped at the call instruction, and at the one after it: its operands are the arguments, and then the
results.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import wasmtime
from attrs import frozen

from .. import capi
from ..engine import Told, Verdict, Where, events
from ._frames import Frame, callee_type
from ._modules import INDIRECT

if TYPE_CHECKING:
    from ._core import Core
    from ._instances import GuestInstance
    from ._requests import HookStop

__all__ = ["GROWS", "Growth", "HostCallPoint", "HostCalls", "callee_of", "expect_told", "told_event"]

GROWS = frozenset({"memory.grow"})


def callee_of(frame: Frame) -> wasmtime.Func | None:
    """What the call that comes next calls; None where it is going to trap."""
    instruction = frame.instruction
    if instruction.op.name in ("call", "return_call"):
        return frame.instance.func(instruction.imm)
    func = frame.operand_stack[-1]
    if instruction.op.name in INDIRECT:
        table = frame.instance.table(instruction.imm.table)
        mask = (1 << (64 if str(frame.operand_types[-1]) == "i64" else 32)) - 1
        try:
            func = capi.table_get(frame.instance.store, table, func & mask)
        except IndexError:
            return None
    return func if isinstance(func, wasmtime.Func) else None


@frozen
class HostCallPoint:
    """A call of a host function.

    :ivar first: height of the first argument, or result.
    :ivar count: how many arguments, or results.
    :ivar results: how many results.
    """

    name: str
    first: int
    count: int
    results: int


class HostCalls:
    """Satisfies ``engine.Teller``: calls of host functions that are not ours."""

    pauses_before = True

    def __init__(self, core: Core, pattern: re.Pattern[str]) -> None:
        self._core = core
        self.pattern = pattern
        self.where = Where(import_=pattern)

    def before(self, frame: Frame) -> HostCallPoint | None:
        func = callee_of(frame)
        name = None if func is None else self._name_of(func, frame.instance)
        if name is None or self.pattern.search(name) is None:
            return None
        instruction = frame.instruction
        kind = callee_type(frame.instance.module.original, instruction)
        indirect = instruction.op.name not in ("call", "return_call")
        first = len(frame.operand_types) - indirect - len(kind.params)
        return HostCallPoint(name, first, len(kind.params), len(kind.results))

    def after(self, frame: Frame, known: HostCallPoint) -> HostCallPoint:
        return HostCallPoint(known.name, known.first, known.results, known.results)

    def _name_of(self, func: wasmtime.Func, caller: GuestInstance) -> str | None:
        """``module.name`` of a function of the user's linker; None if it is ours, or debugged code."""
        for instance in [caller, *self._core.state.instances]:
            name = instance._import_of(func)
            if name is not None:
                return None if name in instance._own_imports else name
            if instance._defines(func):
                return None
        return None


@frozen
class Grown:
    """A memory that grows: its index, and how many bytes it had, and has."""

    memory: int
    old_size: int
    new_size: int = 0


class Growth:
    """Satisfies ``engine.Teller``: ``memory.grow`` that does something."""

    pauses_before = False
    where = Where(instructions=GROWS)

    def before(self, frame: Frame) -> Grown:
        memory = frame.instruction.imm
        return Grown(memory, _size(frame, memory))

    def after(self, frame: Frame, known: Grown) -> Grown | None:
        # Spec: "memory.grow" gives -1 where it has failed.  Of a shared memory, others may have grown it.
        new = _size(frame, known.memory)
        if frame.operand_stack[-1] == -1 or new == known.old_size:
            return None
        return Grown(known.memory, known.old_size, new)


def _size(frame: Frame, memory: int) -> int:
    return capi.MemoryView(frame.instance.store, frame.instance.memory(memory)).size


def expect_told(core: Core, stop: HookStop, verdict: Verdict) -> None:
    """The guest goes on with what it was stopped before: it is told of when it is done."""
    module = core.state.instance(stop.instance).module
    name = module.plan(stop.function).instruction(stop.resume_point).op.name
    for told in verdict.next:
        # A tail call does not come back here; and it may have been switched off at the pause.
        if not name.startswith("return_") and type(told.teller) in core.tellers:
            place = (stop.instance, stop.fp, stop.function, stop.resume_point)
            core.arming.decider.expect(place, told)


def told_event(told: Told, location: events.Location | None, frame: Frame, core: Core) -> events.Event:
    """The event for something that is told of; *frame* is the innermost one."""
    what: Any = told.what
    if isinstance(what, Grown):
        identity = capi.identity_of(frame.instance.memory(what.memory))
        sharing = tuple(
            instance
            for instance in core.state.instances
            if instance is not frame.instance and identity in instance._memory_identities()
        )
        return events.MemoryGrown(location, frame, what.memory, what.old_size, what.new_size, sharing)
    values = frame.operand_stack[what.first : what.first + what.count]
    kind = events.HostCallReturned if told.done else events.HostCallEntered
    return kind(location, frame, what.name, values)
