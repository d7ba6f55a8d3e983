"""What one life of a debuggee is made of: a guest, a body, host functions, and a script for the holder.

A scenario decides everything that an uncancelled run depends on.  So its *trace* (events, host
calls, results, printed text) can be recorded once, and every attacked run has to show the same, as
far as it gets.
"""

from __future__ import annotations

import hashlib
import os
import random
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import trio
import wasmtime
from attrs import define, field, frozen

from trio_wasmdbg import Guest, GuestInstance, GuestModule, events

from ._programs import ENDLESS, Call, Program

__all__ = [
    "BodyFailure",
    "HostFailure",
    "Op",
    "Own",
    "Scenario",
    "Stage",
    "Trace",
    "digest",
    "make_ops",
    "make_own_breakpoints",
    "signature",
]


class HostFailure(Exception):
    """Raised by the host function ``fail``."""


class BodyFailure(Exception):
    """Raised by a body at its end."""


# ── what is recorded ───────────────────────────────────────────────────────────────────────────


@define
class Trace:
    """What one run did, in order."""

    events: list[tuple[Any, ...]] = field(factory=list)
    host_calls: list[tuple[str, int]] = field(factory=list)
    results: list[Any] = field(factory=list)
    printed: bytes = b""
    memory: str = ""
    """Digest of the guest's memory and globals at the end."""
    complete: bool = False
    """Finished was received."""

    def difference(self, reference: Trace, *, prefix: bool) -> str | None:
        """The first thing in which this run is unlike *reference*, or None.

        :param prefix: either run may have ended early; then only what both have done counts.
        """
        for name in ("events", "host_calls", "results"):
            mine, other = getattr(self, name), getattr(reference, name)
            for i, (left, right) in enumerate(zip(mine, other, strict=False)):
                if not _alike(left, right):
                    return f"{name}[{i}]: {left!r} instead of {right!r}"
            if len(mine) != len(other) and not prefix:
                return f"{len(mine)} {name} instead of {len(other)}"
        shorter = min(len(self.printed), len(reference.printed)) if prefix else None
        if self.printed[:shorter] != reference.printed[:shorter]:
            return f"printed {self.printed!r} instead of {reference.printed!r}"
        if not prefix and self.memory != reference.memory:
            return "memory and globals differ at the end"
        return None


ANY = "(not exact)"
"""A value that depends on whether a function happened to run in its slow twin: never an exact one."""


def _alike(left: Any, right: Any) -> bool:
    if isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        return all(map(_alike, left, right))
    return bool(left == right) or left == ANY or right == ANY


def signature(event: events.Event, own: dict[int, int], *, displaced: bool = False) -> tuple[Any, ...]:
    """An event as plain data.

    :param own: the holder's own breakpoints: id to position; others are left out.
    :param displaced: it happened in a call that was injected where the guest had been unwound by a trap;
        how deep the shadow stack is there depends on the twin that has trapped.
    """
    kind = type(event).__name__
    if isinstance(event, events.Finished):
        return kind, event.result, repr(event.error), event.exit_code
    if isinstance(event, events.Trap) and not event.live:
        # Where a frame was not pushed yet, or the machine's own stack ended: depends on the twin.
        return kind, event.code, event.live
    frame = event.frame
    if isinstance(event, events.CallReturned) and frame is not None and not frame.resumable:
        # An injected call, at the pause after such a trap.
        return kind, event.result, repr(event.error)
    parts: list[Any] = [kind, event.location]
    for _ in range(3):
        if frame is None:
            break
        values = (frame.locals, frame.operand_stack) if frame.exact else ANY
        address = None if displaced else frame.address
        parts.append((frame.function_index, frame.module_offset, frame.depth, address, values))
        frame = frame.parent
    if isinstance(event, events.Breakpoint):
        parts.append(tuple((own[b.id], b.hit_count) for b in event.breakpoints if b.id in own))
    elif isinstance(event, events.Step):
        parts.append(event.returned)
    elif isinstance(event, events.Trap):
        parts += [event.code, event.message]
    elif isinstance(event, events.HostCallEntered):
        parts += [event.host_function, event.arguments]
    elif isinstance(event, events.HostCallReturned):
        parts += [event.host_function, event.results]
    elif isinstance(event, events.HostcallError):
        parts += [event.host_function, repr(event.error), event.live]
    elif isinstance(event, events.CallReturned):
        parts += [event.result, repr(event.error)]
    return tuple(parts)


# ── what the holder does ───────────────────────────────────────────────────────────────────────


@frozen
class Op:
    """One operation of the holder's, and what it does at the pause that follows."""

    kind: str = "run"
    count: int = 1
    edit: int | None = None
    """Set local 0 to this."""
    query: bool = False


@frozen
class Own:
    """One of the holder's own breakpoints."""

    function: str
    at_end: bool = False
    hits: str | None = None


_KINDS = ("run",) * 8 + ("step", "step", "step_over", "step_out", "run_to_return", "inject")


def make_ops(rng: random.Random, most: int) -> tuple[Op, ...]:
    """A script: up to *most* operations; then comes ``finish()``."""
    return tuple(
        Op(
            rng.choice(_KINDS),
            rng.choice((1, 1, 2, 5)),
            rng.randint(-5, 50) if rng.random() < 0.1 else None,
            rng.random() < 0.3,
        )
        for _ in range(rng.randint(0, most))
    )


def make_own_breakpoints(rng: random.Random, functions: tuple[str, ...]) -> tuple[Own, ...]:
    """Up to three breakpoints, some at ends, some counting."""
    return tuple(
        Own(rng.choice(functions), rng.random() < 0.3, rng.choice((None, None, "% 3", ">= 2")))
        for _ in range(rng.randint(0, 3))
    )


# ── the guest's side ───────────────────────────────────────────────────────────────────────────


class Watcher(Protocol):
    """Who wants to know what the guest is doing (a life under attack)."""

    def in_slice(self) -> None:
        """Guest code is computing; on the polling thread."""

    def in_host_function(self) -> None:
        """In the trio thread, before a host function waits."""

    def never_returns(self) -> None:
        """From now on; on the polling thread."""


@define
class Stage:
    """A store, with what a life needs to know of it; several lives may follow each other in it."""

    store: wasmtime.Store
    instance: GuestInstance | None = None
    """The latest one."""
    instances: list[GuestInstance] = field(factory=list)
    """All of them."""
    left: list[tuple[GuestInstance, str]] = field(factory=list)
    """Those whose body has come to its end, and their state then."""
    ready: bool = False
    """The body of the life that is under way has its instance."""
    keep_instance: bool = False
    """Lives share one instance; each one begins by setting its memory and globals back."""
    path: Path | None = None
    bodies: list[_Body] = field(factory=list)
    """The body that the instance's host functions belong to: one element."""

    @classmethod
    def make(cls, engine: wasmtime.Engine, *, keep_instance: bool = False) -> Stage:
        """A new store whose WASI prints into a temporary file."""
        store = wasmtime.Store(engine)
        handle, name = tempfile.mkstemp(prefix="trio_wasmdbg-stress-")
        os.close(handle)
        config = wasmtime.WasiConfig()
        config.stdout_file = name
        store.set_wasi(config)
        return cls(store, keep_instance=keep_instance, path=Path(name))

    def printed(self) -> bytes:
        return self.path.read_bytes() if self.path is not None else b""

    def close(self) -> None:
        self.store.close()
        self.instance = None
        self.instances.clear()
        self.left.clear()
        self.bodies.clear()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@frozen
class Scenario:
    """All that an uncancelled run depends on."""

    ops: tuple[Op, ...]
    own: tuple[Own, ...]
    style: str = "plain"
    stop_on_host_calls: bool = False
    module: GuestModule | None = None
    program: Program | None = None
    user_body: Callable[[Guest], Awaitable[Any]] | None = None
    comparable: bool = True

    @property
    def endless(self) -> bool:
        return self.program is not None and self.program.endless

    def body(self, stage: Stage, trace: Trace, watcher: Watcher) -> Callable[[Guest], Awaitable[Any]]:
        """The body of one life."""
        if self.user_body is not None:
            return self.user_body
        return _Body(self, stage, trace, watcher).run


STYLES = ("plain", "plain", "nursery", "impatient", "cleans up", "shielded", "raises")
"""How bodies call: in their task; in one of their own; under a scope that a host function cancels; with
clean-up that awaits; shielded from cancellation; and one that fails at its end."""

_RESET = b"\0" * 4096


class _Body:
    """A body for random programs."""

    def __init__(self, scenario: Scenario, stage: Stage, trace: Trace, watcher: Watcher) -> None:
        self._scenario = scenario
        self._stage = stage
        self._trace = trace
        self._watcher = watcher
        self._scope = trio.CancelScope()
        self._guest: Guest

    async def run(self, guest: Guest) -> Any:
        self._guest = guest
        instance = await self._instance()
        program = self._scenario.program
        assert program is not None
        try:
            for call in program.calls:
                self._trace.results.append(await self._styled(instance, call))
        finally:
            if self._scenario.style == "cleans up":
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
        if self._scenario.style == "raises":
            raise BodyFailure("at the end")
        self._trace.memory = digest(instance)
        if not self._stage.keep_instance:
            self._stage.left.append((instance, self._trace.memory))
        return len(self._trace.results)

    async def _instance(self) -> GuestInstance:
        stage, scenario = self._stage, self._scenario
        assert scenario.module is not None
        stage.bodies[:] = [self]
        if stage.keep_instance and stage.instance is not None:
            stage.instance.write_memory(0, _RESET)
            for index, value in enumerate((1, -7)):
                stage.instance.set_global(index, value)
            stage.ready = True
            return stage.instance
        linker = wasmtime.Linker(stage.store.engine)
        linker.define_wasi()
        i32 = wasmtime.ValType.i32()
        unary, silent = wasmtime.FuncType([i32], [i32]), wasmtime.FuncType([i32], [])
        bodies = stage.bodies

        def host() -> _Body:
            return bodies[0]

        linker.define_func("linker", "mark", silent, lambda x: host().mark(x))
        define = self._guest.define
        define(linker, "host", "plain", unary, lambda x: host().plain(x))
        define(linker, "host", "wait", unary, lambda x: host().wait(x))
        define(linker, "host", "again", unary, lambda x: host().again(x))
        define(linker, "host", "fail", silent, lambda x: host().fail(x))
        instance: GuestInstance = await self._guest.instantiate(linker, scenario.module)
        stage.instance, stage.ready = instance, True
        stage.instances.append(instance)
        return instance

    async def _styled(self, instance: GuestInstance, call: Call) -> Any:
        match self._scenario.style:
            case "nursery":
                results: list[Any] = []

                async def child() -> None:
                    results.append(await self._call(instance, call))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)
                return results[0]
            case "impatient":
                with trio.CancelScope() as self._scope:
                    return await self._call(instance, call)
                return "given up"
            case "shielded":
                with trio.CancelScope(shield=True):
                    return await self._call(instance, call)
            case _:
                return await self._call(instance, call)

    async def _call(self, instance: GuestInstance, call: Call) -> Any:
        try:
            return await self._guest.call(instance.func(call.export), *call.arguments)
        except wasmtime.Trap as trap:
            code = trap.trap_code
            return "trap", code.name if code is not None else None
        except HostFailure as failure:
            return "host", str(failure)

    # ── host functions ─────────────────────────────────────────────────────────────────────────

    def _note(self, name: str, x: int) -> int:
        calls = self._trace.host_calls
        if len(calls) < 100_000:
            calls.append((name, x))
        return (x * 31 + len(calls) * 7) % 1_000

    def mark(self, x: int) -> None:
        """On the guest's own stack, on the polling thread."""
        if x == ENDLESS:
            self._watcher.never_returns()
        else:
            self._note("mark", x)
            self._watcher.in_slice()

    def plain(self, x: int) -> int:
        self._watcher.in_host_function()
        answer = self._note("plain", x)
        if self._scenario.style == "impatient" and answer % 11 == 0:
            self._scope.cancel()
        return answer

    async def wait(self, x: int) -> int:
        answer = self._note("wait", x)
        self._watcher.in_host_function()
        if answer % 3 == 0:
            await trio.sleep(answer / 1e6)
        for _ in range(answer % 3):
            await trio.lowlevel.checkpoint()
        return answer

    async def again(self, x: int) -> int:
        answer = self._note("again", x)
        assert self._stage.instance is not None
        result: int = await self._guest.call(self._stage.instance.func("quick"), answer)
        return result & 0xFF

    def fail(self, x: int) -> None:
        self._note("fail", x)
        raise HostFailure(x)


def digest(instance: GuestInstance) -> str:
    """The state of a program's instance (memory and globals) in a few characters."""
    whole = hashlib.blake2b(digest_size=8)
    memory = instance.memory()
    assert isinstance(memory, wasmtime.Memory)  # and not a shared one
    whole.update(memory.data_len(instance.store).to_bytes(8, "little"))
    whole.update(instance.read_memory(0, 4096))
    for index in range(2):
        whole.update(repr(instance.global_value(index)).encode())
    return whole.hexdigest()
