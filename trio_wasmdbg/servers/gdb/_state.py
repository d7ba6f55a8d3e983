"""Looking at the guest, and changing it: threads, registers, memory, WebAssembly values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ...abc import TargetFrame, TargetInstance, TargetMemory, TargetModule, TargetView
from ...errors import NotFoundError, UsageError, WrongStateError
from ...gdbremote import (
    MAX_PACKET,
    OK,
    AddressKind,
    WasmAddress,
    commands,
    escape,
    hex_text,
    memory_region,
    thread_list,
    u64_le,
)
from ._process import Thread
from ._session import Handler, Session

__all__ = ["STATE", "frame_at", "wanted_thread", "with_memory_place"]

R = TypeVar("R")

_MOST_FRAMES: Final = 2048
"""LLDB takes the whole stack at once; a reply has to fit a packet."""
_MOST_READ: Final = MAX_PACKET // 2 - 16


def wanted_thread(session: Session, tid: int | None) -> Thread:
    """The thread of this number; the selected one for None.

    :raises NotFoundError: there is none.
    """
    thread = session.process.thread(session.selected if tid is None else tid)
    if thread is None:
        raise NotFoundError("no such thread")
    session.selected = thread.tid
    return thread


def frame_at(view: TargetView, position: int) -> TargetFrame:
    """The frame of this number, 0 for the innermost.

    :raises NotFoundError: there is none.
    """
    for here, frame in enumerate(view.frames()):
        if here == position:
            return frame
    raise NotFoundError(f"no frame {position}")


# ── threads ────────────────────────────────────────────────────────────────────────────────────


async def threads(session: Session, command: commands.Threads) -> bytes:
    """All of them at once, then nothing more."""
    if not command.first:
        return b"l"
    return thread_list(thread.tid for thread in session.process.live) if session.process.live else b"l"


async def current_thread(session: Session, command: commands.CurrentThread) -> bytes:
    """The one that has stopped."""
    return b"QC%x" % session.stop_thread


async def set_thread(session: Session, command: commands.SetThread) -> bytes:
    """Choose the thread that the next commands mean."""
    if command.operation == "g":
        wanted_thread(session, command.thread)
    return OK


async def alive(session: Session, command: commands.ThreadAlive) -> bytes:
    """Whether a thread is still there."""
    return OK if session.process.thread(command.thread) is not None else session.error("it has ended")


async def thread_stop(session: Session, command: commands.ThreadStop) -> bytes:
    """Why one thread has stopped."""
    if session.process.thread(command.thread) is None:
        raise NotFoundError("no such thread")
    return await session.stop_reply(command.thread)


async def thread_name(session: Session, command: commands.ThreadName) -> bytes:
    """A text for people."""
    thread = session.process.thread(command.thread)
    return hex_text(thread.target.name).encode() if thread is not None else session.error("no such thread")


# ── registers ──────────────────────────────────────────────────────────────────────────────────


async def read_register(session: Session, command: commands.ReadRegister) -> bytes:
    """The pc."""
    if command.register != 0:
        return session.error("no such register", 0x45)
    return u64_le(await session.pc(wanted_thread(session, command.thread))).encode()


async def all_registers(session: Session, command: commands.AllRegisters) -> bytes:
    """The pc, which is all of them."""
    return u64_le(await session.pc(wanted_thread(session, command.thread))).encode()


async def write_register(session: Session, command: commands.WriteRegister) -> bytes:
    """Not offered: only the pc's own value may be written (LLDB restores registers so)."""
    thread = wanted_thread(session, command.thread)
    if command.register == 0 and command.value == (await session.pc(thread)).to_bytes(8, "little"):
        return OK
    return session.error("the pc can't be set")


# ── WebAssembly's own state ────────────────────────────────────────────────────────────────────


async def call_stack(session: Session, command: commands.WasmCallStack) -> bytes:
    """All frames of a thread."""
    thread = session.process.thread(command.thread)
    if thread is None:
        raise NotFoundError("no such thread")
    session.selected, session.frame = thread.tid, 0
    return "".join(map(u64_le, await session.call_stack(thread, _MOST_FRAMES))).encode()


async def wasm_value(session: Session, command: commands.WasmValue) -> bytes:
    """A local, a global of the frame's instance, or an operand, in little-endian bytes."""

    def read(view: TargetView) -> bytes:
        frame = frame_at(view, command.frame)
        if command.space == "local":
            return frame.read_local(command.index)
        if command.space == "global":
            return frame.instance.read_global(command.index)
        return frame.read_operand(command.index)

    thread = wanted_thread(session, None)
    data = await thread.target.inspect(read)
    session.frame = command.frame
    return data.hex().encode()


# ── memory ─────────────────────────────────────────────────────────────────────────────────────


async def with_memory_place(
    session: Session, number: int, fn: Callable[[Thread, TargetInstance, int], R]
) -> R:
    """Do something with (thread, instance, index) of a memory, while the guest is looked at.

    0 is memory 0 of the frame being looked at.

    :raises NotFoundError: no memory has this number.
    """
    if number == 0:
        thread = wanted_thread(session, None)

        def default(view: TargetView) -> R:
            try:
                instance = frame_at(view, session.frame).instance
            except NotFoundError:
                # No guest code on the stack: the first instance that has a memory.
                found = [each for each in view.instances if each.memory_count]
                if not found:
                    raise
                instance = found[0]
            return fn(thread, instance, 0)

        return await thread.target.inspect(default)
    place = session.process.space.memory(number)
    owner = session.process.threads[place.thread - 1]

    def numbered(view: TargetView) -> R:
        instance = next(each for each in view.instances if each.id == place.instance)
        return fn(owner, instance, place.memory)

    return await owner.target.inspect(numbered)


async def _with_memory(session: Session, number: int, fn: Callable[[TargetMemory], R]) -> R:
    return await with_memory_place(session, number, lambda _, instance, index: fn(instance.memory(index)))


def _code(module: TargetModule, offset: int, length: int) -> bytes:
    data = module.bytecode[offset : offset + length]
    if not data and length:
        raise NotFoundError("past the end of the module")
    return data


async def read_memory(session: Session, command: commands.ReadMemory) -> bytes:
    """Bytes of a memory or of a module; fewer where it ends."""
    address, length = WasmAddress.from_raw(command.address), min(command.length, _MOST_READ)
    if address.kind is AddressKind.CODE:
        data = _code(session.process.space.module(address.id), address.offset, length)
    elif address.kind is AddressKind.MEMORY:

        def read(memory: TargetMemory) -> bytes:
            there = min(length, memory.size - address.offset)
            if there <= 0 < length:
                raise NotFoundError(f"{address} is outside of the memory")
            return memory.read(address.offset, max(there, 0))

        data = await _with_memory(session, address.id, read)
    else:
        raise NotFoundError(f"nothing can be read at {address}")
    return b"b" + escape(data) if command.binary else data.hex().encode()


async def write_memory(session: Session, command: commands.WriteMemory) -> bytes:
    """Bytes into a memory, all or none."""
    address = WasmAddress.from_raw(command.address)
    if address.kind is not AddressKind.MEMORY:
        raise UsageError("code can't be written")
    await _with_memory(session, address.id, lambda memory: memory.write(address.offset, command.data))
    return OK


async def region(session: Session, command: commands.QueryMemoryRegion) -> bytes:
    """The range of addresses around one, and what may be done there."""
    if command.address is None:
        return OK
    space = session.process.space
    sizes: list[tuple[int, int, str]] = []
    for number in range(len(space.memories) + 1):
        try:
            size = await _with_memory(session, number, lambda memory: memory.size)
        except (NotFoundError, WrongStateError):
            continue
        name = "memory 0 of the selected frame"
        if number:
            place = space.memory(number)
            name = f"memory {place.memory} of instance {place.instance} of thread {place.thread}"
        sizes.append((number, size, name))
    return memory_region(space.regions(sizes), command.address)


STATE: Final[dict[type[commands.Command], Handler]] = {
    commands.Threads: threads,
    commands.CurrentThread: current_thread,
    commands.SetThread: set_thread,
    commands.ThreadAlive: alive,
    commands.ThreadStop: thread_stop,
    commands.ThreadName: thread_name,
    commands.ReadRegister: read_register,
    commands.WriteRegister: write_register,
    commands.AllRegisters: all_registers,
    commands.WasmCallStack: call_stack,
    commands.WasmValue: wasm_value,
    commands.ReadMemory: read_memory,
    commands.WriteMemory: write_memory,
    commands.QueryMemoryRegion: region,
}

