"""A debug target without any WebAssembly: debug servers are tested on it, fast and without surprises.

Its guest is a list of instructions, one byte each, in one function.  Held to the same rules as the
real one by :func:`check_debug_target`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, TypeVar

import trio
from attrs import define, field, frozen

from ..abc import BreakpointToken, DebugTarget, TargetModule, TargetVariable, TargetView
from ..addresses import ModuleOffset
from ..engine import events
from ..errors import NotFoundError, UsageError, WrongStateError

__all__ = ["FAKE_BODY", "FAKE_START", "FakeModule", "FakeTarget"]

R = TypeVar("R")

FAKE_BODY: Final = 0x10
"""Where the one function's body begins: a byte that is no instruction."""
FAKE_START: Final = FAKE_BODY + 1
"""The offset of its first instruction; the others follow, a byte each."""

_MEMORY: Final = 256


@define(eq=False)
class FakeModule:
    """A module of no meaning."""

    name: str | None = "fake.wasm"
    bytecode: bytes = bytes(range(256))


@define(eq=False)
class FakeMemory:
    """A small memory."""

    data: bytearray = field(factory=lambda: bytearray(_MEMORY))

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, address: int, size: int) -> bytes:
        self._check(address, size)
        return bytes(self.data[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.data[address : address + len(data)] = data

    def _check(self, address: int, size: int) -> None:
        if address < 0 or size < 0 or address + size > len(self.data):
            raise IndexError(f"{size} bytes at {address:#x} are outside of the memory")


def _replaced(values: list[bytes], what: str, index: int, data: bytes) -> None:
    if len(data) != len(_at(values, what, index)):
        raise UsageError(f"{what} {index} has {len(values[index])} bytes, not {len(data)}")
    values[index] = data


def _at(values: Sequence[bytes], what: str, index: int) -> bytes:
    if not 0 <= index < len(values):
        raise NotFoundError(f"no {what} {index}: there are {len(values)}")
    return values[index]


@define(eq=False)
class FakeInstance:
    """An instance with one memory and one global."""

    id: int
    module: FakeModule
    one_memory: FakeMemory = field(factory=FakeMemory)
    globals: list[bytes] = field(factory=lambda: [b"\x05\0\0\0"])
    memory_count: int = 1

    def memory(self, index: int) -> FakeMemory:
        if index != 0:
            raise NotFoundError(f"no memory {index}: there is 1")
        return self.one_memory

    def read_global(self, index: int) -> bytes:
        return _at(self.globals, "global", index)

    def write_global(self, index: int, data: bytes) -> None:
        _replaced(self.globals, "global", index, data)


@frozen(eq=False)
class FakeFrame:
    """The frame of the one function, or of a caller that there is not."""

    target: FakeTarget
    depth: int

    @property
    def instance(self) -> FakeInstance:
        return self.target.instances[0]

    @property
    def function_name(self) -> str:
        return "main" if self.depth == 0 else f"caller{self.depth}"

    @property
    def module_offset(self) -> ModuleOffset:
        return ModuleOffset(FAKE_START + self.target.position)

    @property
    def return_offset(self) -> ModuleOffset:
        return ModuleOffset(self.module_offset + 1)

    @property
    def variables(self) -> Sequence[TargetVariable]:
        return [
            TargetVariable(index, f"local[{index}]", "i32", int.from_bytes(data, "little", signed=True))
            for index, data in enumerate(self.target.locals)
        ]

    def read_local(self, index: int) -> bytes:
        return _at(self.target.locals, "local", index)

    def write_local(self, index: int, data: bytes) -> None:
        _replaced(self.target.locals, "local", index, data)

    def read_operand(self, height: int) -> bytes:
        return _at((), "operand", height)


@frozen(eq=False)
class FakeView:
    """The target, looked at."""

    target: FakeTarget

    @property
    def instances(self) -> Sequence[FakeInstance]:
        return tuple(self.target.instances)

    def frames(self) -> Iterator[FakeFrame]:
        if self.target.on_stack:
            yield from (FakeFrame(self.target, depth) for depth in range(self.target.depth))

    def breakpoints_here(self) -> Sequence[BreakpointToken]:
        return self.target.tokens_here()


@define(eq=False)
class Token:
    """A breakpoint."""

    position: int


class FakeTarget(DebugTarget):
    """A target whose guest is *program*, a list of these words:

    * ``nop``; ``exit N`` (a WASI program that ends so); the end of the list is a normal end;
    * ``spin``: computes for ever, until it is interrupted or :attr:`released` is set;
    * ``wait``: is in a host function, until :attr:`released` is set;
    * ``trap TEXT``; ``instance`` (a module is instantiated).

    Every call of :meth:`release` lets the guest past one ``spin`` or ``wait``.
    """

    def __init__(
        self,
        program: Sequence[str] = ("nop",) * 5,
        *,
        name: str = "fake",
        module: FakeModule | None = None,
        depth: int = 2,
    ) -> None:
        self._program = list(program)
        self._name = name
        self.depth = depth
        self.position = 0
        self.on_stack = False
        self.instances = [FakeInstance(1, module or FakeModule())]
        self.locals = [b"\x07\0\0\0", b"\x08\0\0\0"]
        self.tokens: list[Token] = []
        self.counts: Counter[str] = Counter()
        self._finished: events.Finished | None = None
        self._running = False
        self._held = False
        self._stepping = False
        self._stop_on_instances = False
        self._interrupt = False
        self._killed = False
        self._passed = -1
        """The position at which its breakpoints have been reported."""
        self._released = 0
        self._changed = trio.Event()

    # ── for tests ──────────────────────────────────────────────────────────────────────────────

    def release(self) -> None:
        """Let the guest past one ``spin`` or ``wait``."""
        self._released += 1
        self._wake()

    def tokens_here(self) -> tuple[Token, ...]:
        """The breakpoints at the instruction that comes next."""
        if not self.on_stack:
            return ()
        return tuple(token for token in self.tokens if token.position == self.position)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ── DebugTarget ────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        return self._name

    @property
    def finished(self) -> events.Finished | None:
        return self._finished

    @property
    def running(self) -> bool:
        return self._running

    @property
    def computing(self) -> bool:
        return self._running and self.on_stack and self._word() != "wait"

    @contextmanager
    def _attached(self) -> Iterator[None]:
        if self._held:
            raise trio.BusyResourceError("somebody else holds this target")
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def attach(self) -> AbstractContextManager[None]:
        return self._attached()

    async def run(self) -> events.Event:
        return await self._resume(False)

    async def step(self) -> events.Event:
        return await self._resume(True)

    def resume_nowait(self) -> None:
        if self._finished is None and not self._running:
            self._running, self._stepping = True, False

    def interrupt(self) -> None:
        self._interrupt = True
        self._wake()

    def clear_interrupt(self) -> None:
        self._interrupt = False

    def kill(self) -> None:
        self._killed = True
        self._wake()
        if self._finished is None:
            self._finished = events.Finished(error=trio.ClosedResourceError("killed"))
        self._running = False

    async def inspect(self, fn: Callable[[TargetView], R]) -> R:
        await trio.lowlevel.checkpoint()
        if self.computing:
            raise WrongStateError("the guest is computing", state="running")
        return fn(FakeView(self))

    def add_breakpoint(self, module: TargetModule, offset: ModuleOffset) -> BreakpointToken:
        if not FAKE_BODY <= offset < FAKE_START + len(self._program):
            raise NotFoundError(f"no code at offset {offset:#x}")
        token = Token(max(offset - FAKE_START, 0))
        self.tokens.append(token)
        return token

    def remove_breakpoint(self, token: BreakpointToken) -> None:
        if token in self.tokens:
            self.tokens.remove(token)

    @contextmanager
    def _stopping_on_instances(self) -> Iterator[None]:
        before, self._stop_on_instances = self._stop_on_instances, True
        try:
            yield
        finally:
            self._stop_on_instances = before

    def stop_on_instances(self) -> AbstractContextManager[None]:
        return self._stopping_on_instances()

    def statistics(self) -> Mapping[str, Any]:
        return dict(self.counts)

    # ── the machine ────────────────────────────────────────────────────────────────────────────

    def _word(self) -> str:
        return self._program[self.position].partition(" ")[0] if self.position < len(self._program) else "end"

    async def _resume(self, step: bool) -> events.Event:
        if self._finished is not None:
            raise WrongStateError("can't run it", state="complete")
        if not self._running:
            self._running, self._stepping = True, step
        await trio.lowlevel.checkpoint()
        while (event := self._advance()) is None:
            # Cancelled here: it runs on.
            await self._changed.wait()
            if self._killed:
                raise trio.ClosedResourceError("the target was killed")
        self._running = False
        self.counts[type(event).__name__] += 1
        return event

    def _advance(self) -> events.Event | None:
        """Execute up to the next event; None where it has to wait for something."""
        if not self.on_stack:
            self.on_stack = True
            if (event := self._check()) is not None:
                return event
        while self.position < len(self._program):
            word, _, rest = self._program[self.position].partition(" ")
            if word in ("spin", "wait"):
                if word == "spin" and self._interrupt:
                    self._interrupt = False
                    return events.Interrupted(None, None)
                if not self._released:
                    return None
                self._released -= 1
            elif word == "exit":
                return self._end(events.Finished(exit_code=int(rest)))
            elif word == "trap" and self._passed != self.position:
                self._passed = self.position
                return events.Trap(None, None, code="UNREACHABLE", message=rest, live=True)
            elif word == "trap":
                return self._end(events.Finished(error=RuntimeError(rest)))
            self.position += 1
            self._passed = -1
            if word == "instance":
                module = FakeModule(f"fake-{self.position}")
                self.instances.append(FakeInstance(len(self.instances) + 1, module))
                if self._stop_on_instances:
                    return events.InstanceCreated(None, None, self.instances[-1])
            if (event := self._check()) is not None:
                return event
        return self._end(events.Finished())

    def _check(self) -> events.Event | None:
        here = self.tokens_here()
        if self.position >= len(self._program):
            return None
        if here and self._passed != self.position:
            self._passed = self.position
            return events.Breakpoint(None, None, here)  # type: ignore[arg-type]
        if self._stepping:
            return events.Step(None, None)
        if self._interrupt:
            self._interrupt = False
            return events.Interrupted(None, None)
        return None

    def _end(self, finished: events.Finished) -> events.Finished:
        self.on_stack = False
        self._finished = finished
        return finished
