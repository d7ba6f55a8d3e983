"""``monitor`` commands: what the protocol has no packets for.

Text from a client is split at spaces and looked up in a table; numbers are parsed as numbers.
Nothing is ever evaluated as Python.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ...abc import TargetView
from ...errors import UsageError
from ...gdbremote import OK, commands
from ._breakpoints import set_condition
from ._session import Handler, Session
from ._state import frame_at, wanted_thread

__all__ = ["MONITOR"]


@frozen
class Verb:
    """One monitor command."""

    usage: str
    help: str
    run: Callable[[Session, Sequence[str]], Awaitable[str]]


def _number(text: str, most: int = 1 << 31) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise UsageError(f"{text!r} is no number") from None
    if not 0 <= value < most:
        raise UsageError(f"{value} is out of range")
    return value


def _frame_number(session: Session, words: Sequence[str]) -> int:
    if len(words) > 1:
        raise UsageError("too many words")
    return _number(words[0]) if words else session.frame


async def locals_(session: Session, words: Sequence[str]) -> str:
    """Every local of a frame."""
    position = _frame_number(session, words)

    def look(view: TargetView) -> str:
        frame = frame_at(view, position)
        lines = [f"{v.index:4} {v.type:<9} {v.name} = {v.value!r}" for v in frame.variables]
        return f"frame {position}, {frame.function_name}:\n" + "\n".join(lines or ["no locals"]) + "\n"

    return await wanted_thread(session, None).target.inspect(look)


async def state(session: Session, words: Sequence[str]) -> str:
    """Threads, instances, breakpoints."""
    lines = []
    for thread in session.process.threads:
        target = thread.target
        if target.finished is not None:
            how = "has ended"
        elif thread.waiting:
            how = "computes" if target.computing else "is in a host function, or has not begun"
        else:
            how = f"is stopped ({type(thread.event).__name__ if thread.event is not None else 'no event'})"
        lines.append(f"thread {thread.tid} ({target.name}) {how}")
    space = session.process.space
    lines += [f"module {at:#x} {name}" for name, at in space.libraries()]
    lines += [
        f"memory {number << 32:#x} is memory {at.memory} of instance {at.instance}, thread {at.thread}"
        for number, at in enumerate(space.memories, 1)
    ]
    for address in sorted(set(session.breakpoints.values())):
        text = session.conditions.get(address)
        lines.append(f"breakpoint {address:#x}" + (f" if {text}" if text is not None else ""))
    lines += [f"watchpoint {each.address:#x}, {each.size} bytes" for each in session.watchpoints.values()]
    return "\n".join(lines) + "\n"


async def statistics(session: Session, words: Sequence[str]) -> str:
    """Counters of every thread."""
    parts = []
    for thread in session.process.threads:
        parts.append(f"thread {thread.tid}\n")
        parts += [f"  {name}: {value}\n" for name, value in thread.target.statistics().items()]
    return "".join(parts)


_FORMATS: Final = {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}


def _value(kind: str, text: str) -> bytes:
    """A number, as bytes of a type."""
    form = _FORMATS.get(kind)
    if form is None:
        raise UsageError(f"a type is wanted ({', '.join(_FORMATS)}), not {kind!r}")
    value: Any
    try:
        value = float(text) if kind.startswith("f") else int(text, 0)
        if kind.startswith("i"):
            bits = int(kind[1:])
            if not -(1 << bits - 1) <= value < 1 << bits:
                raise OverflowError
            value = (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
        return struct.pack(form, value)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no {kind}") from None


async def set_local(session: Session, words: Sequence[str]) -> str:
    """Change a local of the selected frame."""
    if len(words) != 3:
        raise UsageError("wanted: INDEX TYPE VALUE")
    index, data, position = _number(words[0]), _value(words[1], words[2]), session.frame
    target = wanted_thread(session, None).target
    await target.inspect(lambda view: frame_at(view, position).write_local(index, data))
    return f"local {index} of frame {position} = {words[2]}\n"


async def set_global(session: Session, words: Sequence[str]) -> str:
    """Change a global of the selected frame's instance."""
    if len(words) != 3:
        raise UsageError("wanted: INDEX TYPE VALUE")
    index, data, position = _number(words[0]), _value(words[1], words[2]), session.frame
    target = wanted_thread(session, None).target
    await target.inspect(lambda view: frame_at(view, position).instance.write_global(index, data))
    return f"global {index} = {words[2]}\n"


async def condition(session: Session, words: Sequence[str]) -> str:
    """Give a breakpoint a condition that is evaluated here, and not by the client at every hit."""
    if not words:
        raise UsageError("wanted: ADDRESS [EXPRESSION]")
    address, text = _number(words[0], 1 << 64), " ".join(words[1:]) or None
    there = set_condition(session, address, text)
    what = f"pauses only if {text}" if text is not None else "pauses always"
    return f"breakpoint {address:#x} {what}" + ("\n" if there else ", once it is set\n")


async def exceptions(session: Session, words: Sequence[str]) -> str:
    """Which WebAssembly exceptions stop the guest."""
    if len(words) > 1 or any(word not in ("all", "uncaught", "none") for word in words):
        raise UsageError("wanted: all, uncaught or none")
    if words:
        await session.stop_on_exceptions(words[0])
    return f"wasm exceptions that stop the guest: {session.exceptions}\n"


async def help_(session: Session, words: Sequence[str]) -> str:
    """This list."""
    width = max(len(verb.usage) for verb in VERBS.values())
    return "".join(f"{verb.usage:<{width}}  {verb.help}\n" for verb in VERBS.values())


VERBS: Final[Mapping[str, Verb]] = {
    "help": Verb("help", "this list", help_),
    "state": Verb("state", "threads, modules, memories and their addresses, breakpoints", state),
    "locals": Verb("locals [FRAME]", "every local of a frame: WebAssembly's, not the source's", locals_),
    "set-local": Verb("set-local INDEX TYPE VALUE", "change a local of the selected frame", set_local),
    "set-global": Verb("set-global INDEX TYPE VALUE", "change a global of its instance", set_global),
    "condition": Verb(
        "condition ADDRESS [EXPR]", "pause at this breakpoint only if it holds; evaluated here", condition
    ),
    "exceptions": Verb(
        "exceptions [all|uncaught|none]", "which WebAssembly exceptions stop the guest", exceptions
    ),
    "statistics": Verb("statistics", "counters of the debuggee", statistics),
}


async def monitor(session: Session, command: commands.Monitor) -> bytes:
    """Run one; its text goes out as output, then OK."""
    words = command.text.split()
    verb = VERBS.get(words[0]) if words else VERBS["help"]
    if verb is None:
        await session.print(f"no monitor command {words[0]!r}; there are: {', '.join(VERBS)}\n")
        return OK
    try:
        text = await verb.run(session, words[1:])
    except UsageError as exc:
        text = f"{exc}\n"
    await session.print(text)
    return OK


MONITOR: Final[dict[type[commands.Command], Handler]] = {commands.Monitor: monitor}
