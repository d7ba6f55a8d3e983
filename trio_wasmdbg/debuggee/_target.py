"""The adapter from a debuggee to ``abc.DebugTarget``: what debug servers drive.

It adds no behaviour of its own but one: a guest that *runs* and is in a host function, or has not
been called yet, can be looked at, since nothing of it executes then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePath
from typing import Any, TypeVar, cast

import attrs
import trio

from .. import capi
from ..abc import (
    BreakpointToken,
    ConditionTarget,
    ExceptionTarget,
    TargetFrame,
    TargetInstance,
    TargetMemory,
    TargetModule,
    TargetVariable,
    TargetView,
    WatchpointTarget,
)
from ..addresses import ModuleOffset
from ..engine import Breakpoint, Signal, State, StepKind, Watchpoint, decode_value, encode_value, events
from ..errors import InternalError, NotFoundError, UsageError, WrongStateError
from ..wasm import ValType
from ._debuggee import Debuggee
from ._frames import Frame
from ._instances import GuestInstance
from ._messages import Continue
from ._missing import OPTIMISED_OUT, UNAVAILABLE
from ._modules import GuestModule
from ._view import StoreView

__all__ = ["DebuggeeTarget"]

R = TypeVar("R")


def _encode(valtype: ValType, value: object) -> bytes:
    if value is UNAVAILABLE or value is OPTIMISED_OUT:
        raise UsageError(f"this value can't be had here: {value!r}")
    if valtype.is_ref:
        raise UsageError(f"a {valtype} has no bytes")
    return encode_value(valtype, value)


def _decode(valtype: ValType, data: bytes) -> object:
    if valtype.is_ref:
        raise UsageError(f"a {valtype} has no bytes")
    width = len(encode_value(valtype, decode_value(valtype, bytes(16))))
    if len(data) != width:
        raise UsageError(f"a {valtype} has {width} bytes, not {len(data)}")
    return decode_value(valtype, data)


class _Instance:
    """A ``TargetInstance``."""

    def __init__(self, instance: GuestInstance) -> None:
        self._instance = instance

    @property
    def id(self) -> int:
        return self._instance.id

    @property
    def module(self) -> TargetModule:
        return self._instance.module

    @property
    def memory_count(self) -> int:
        return len(self._instance.module.original.memories)

    def memory(self, index: int) -> TargetMemory:
        try:
            found = self._instance.memory(index)
        except InternalError as exc:
            raise NotFoundError(f"memory {index} can't be looked at: it is shared") from exc
        return capi.MemoryView(self._instance._store, found)

    def _global_type(self, index: int) -> ValType:
        types = self._instance.module.original.globals
        if not 0 <= index < len(types):
            raise NotFoundError(f"no global {index}: the module has {len(types)}")
        return types[index].type.valtype

    def read_global(self, index: int) -> bytes:
        return _encode(self._global_type(index), self._instance.global_value(index))

    def write_global(self, index: int, data: bytes) -> None:
        valtype = self._global_type(index)
        if not self._instance.module.original.globals[index].type.mutable:
            raise UsageError(f"global {index} is immutable")
        self._instance.set_global(index, _decode(valtype, data))


class _Frame:
    """A ``TargetFrame``."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def instance(self) -> TargetInstance:
        return _Instance(self._frame.instance)

    @property
    def function_name(self) -> str:
        return self._frame.function_name

    @property
    def module_offset(self) -> ModuleOffset:
        return self._frame.module_offset

    @property
    def return_offset(self) -> ModuleOffset:
        offsets = self._frame.instance.module.offsets(self._frame.function_index)
        following = min(self._frame.resume_point + 1, len(offsets) - 1)
        return ModuleOffset(offsets[following])

    @property
    def variables(self) -> Sequence[TargetVariable]:
        return [TargetVariable(v.index, v.name, str(v.type), v.value) for v in self._frame.variables]

    def read_local(self, index: int) -> bytes:
        value = self._frame.local(index)
        return _encode(self._frame.local_types[index], value)

    def write_local(self, index: int, data: bytes) -> None:
        types = self._frame.local_types
        if not 0 <= index < len(types):
            raise NotFoundError(f"no local {index}: the function has {len(types)}")
        self._frame.set_local(index, _decode(types[index], data))

    def read_operand(self, height: int) -> bytes:
        operands = self._frame.operand_stack
        if not 0 <= height < len(operands):
            raise NotFoundError(f"no operand {height}: the stack holds {len(operands)}")
        return _encode(self._frame.operand_types[height], operands[height])


class _View:
    """A ``TargetView``."""

    def __init__(self, view: StoreView, here: Sequence[BreakpointToken]) -> None:
        self._view = view
        self._here = here

    @property
    def instances(self) -> Sequence[TargetInstance]:
        return [_Instance(instance) for instance in self._view.instances]

    def frames(self) -> Iterator[TargetFrame]:
        return map(_Frame, self._view.frames())

    def breakpoints_here(self) -> Sequence[BreakpointToken]:
        return self._here


class DebuggeeTarget(WatchpointTarget, ConditionTarget, ExceptionTarget):
    """A :class:`Debuggee`, as a debug server sees it."""

    def __init__(self, debuggee: Debuggee) -> None:
        self._debuggee = debuggee
        self._core = debuggee._core

    @property
    def name(self) -> str:
        instances = self._core.state.instances
        # A module may be named by its path.
        return PurePath((instances[0].module.name if instances else None) or "guest").name

    @property
    def finished(self) -> events.Finished | None:
        if self._debuggee._finished is None and self._debuggee.state is State.CLOSED:
            return events.Finished(error=trio.ClosedResourceError("the debuggee was cancelled"))
        return self._debuggee._finished

    @property
    def running(self) -> bool:
        return self._debuggee.state is State.RUNNING

    @property
    def computing(self) -> bool:
        if not self.running:
            return False
        calls = self._core.calls.records
        return bool(calls) and calls[-1].host_token is None

    def attach(self) -> AbstractContextManager[None]:
        return self._debuggee._conflict

    async def run(self) -> events.Event:
        return await self._debuggee._resume_held(Continue())

    async def step(self) -> events.Event:
        return await self._debuggee._resume_held(Continue(StepKind.INSTRUCTION))

    def resume_nowait(self) -> None:
        lifecycle = self._debuggee._lifecycle
        if lifecycle.allows(Signal.CONTINUE):
            self._core.commands.send_nowait(Continue())
            lifecycle.move(Signal.CONTINUE)

    def interrupt(self) -> None:
        self._debuggee.interrupt()

    def clear_interrupt(self) -> None:
        self._core.arming.decider.interrupt = False
        self._core.arming.rearm()

    def kill(self) -> None:
        self._debuggee.cancel()

    async def inspect(self, fn: Callable[[TargetView], R]) -> R:
        def look(view: StoreView) -> R:
            return fn(_View(view, self._breakpoints_here()))

        if not self.running:
            return await self._debuggee._query_held(look)
        await trio.lowlevel.checkpoint()
        if self.computing:
            raise WrongStateError("the guest is computing", state="running")
        calls = self._core.calls.records
        if not calls or not self.running:
            return fn(_View(StoreView._create(self._core), ()))
        # The guest is suspended in a host function, and stays so while this function runs.
        self._core.show(calls[-1], at_call=True)
        try:
            return fn(_View(StoreView._create(self._core), ()))
        finally:
            self._core.expire()

    def _breakpoints_here(self) -> tuple[Breakpoint, ...]:
        frame = next(self._core.first_frames(1), None)
        if frame is None:
            return ()
        table = self._core.arming.decider.breakpoints
        here = table.at(frame.instance.module, frame.function_index, frame.resume_point)
        return tuple(each for each in here if each.teller is None)

    def add_breakpoint(self, module: TargetModule, offset: ModuleOffset) -> BreakpointToken:
        return self._debuggee.add_breakpoint(offset=offset, module=_with_code(module, offset))

    def add_conditional_breakpoint(
        self, module: TargetModule, offset: ModuleOffset, condition: str
    ) -> BreakpointToken:
        return self._debuggee.add_breakpoint(
            offset=offset, module=_with_code(module, offset), condition=condition
        )

    def add_watchpoint(
        self, instance: TargetInstance, memory: int, address: int, size: int, access: str
    ) -> BreakpointToken:
        assert isinstance(instance, _Instance)
        return self._debuggee.watch_memory(instance._instance, address, size, memory=memory, access=access)

    def stop_on_exceptions(self, which: str) -> BreakpointToken | None:
        # Throws are searched for; where there are no tags, there is nothing to be found.
        if not any(instance.module.original.tags for instance in self._core.state.instances):
            return None
        return self._debuggee.stop_on_exceptions(which)

    def remove_breakpoint(self, token: BreakpointToken) -> None:
        if isinstance(token, Watchpoint):
            self._debuggee.remove_watchpoint(token)
        else:
            self._debuggee.remove_breakpoint(token)

    @contextmanager
    def stop_on_instances(self) -> Iterator[None]:
        before = self._core.stop_on_instances
        self._core.stop_on_instances = True
        try:
            yield
        finally:
            self._core.stop_on_instances = before

    def statistics(self) -> Mapping[str, Any]:
        return attrs.asdict(self._debuggee.statistics())


def _with_code(module: TargetModule, offset: ModuleOffset) -> GuestModule:
    guest_module = cast(GuestModule, module)
    if guest_module.function_at(offset) is None:
        raise NotFoundError(f"no code at offset {offset:#x}")
    return guest_module
