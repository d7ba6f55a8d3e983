"""What the printing side needs to know about a paused guest, as plain records.

They hold values, not handles: a record taken while the guest was paused stays good after it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

__all__ = ["EventRecord", "FrameRecord", "LocalRecord", "Reference", "Value"]


@frozen
class Reference:
    """What a reference stands for, in words; no handle, so it keeps nothing alive."""

    text: str


@frozen
class Value:
    """One WebAssembly value with its type."""

    type: str
    """``"i32"``, ``"f64"``, ``"v128"``, ``"funcref"``, ``"(ref null 3)"``, …"""
    value: object
    """An int (signed or not), a float, 16 bytes for ``v128``, or what a reference stands for:
    None for null, a host's object itself, else a :class:`Reference`."""
    known: bool = True
    """False where the debugger can't know: ``value`` may say in words why."""


@frozen
class LocalRecord:
    """One local of a frame."""

    index: int
    name: str | None
    """None where the module has no name for it."""
    value: Value


@frozen
class FrameRecord:
    """One frame of a backtrace."""

    depth: int
    """0 for the innermost."""
    function_index: int
    function_name: str
    module_offset: int | None
    """File offset of the next instruction (in a caller: of the call); None for an opaque frame."""
    instruction: str | None = None
    """That instruction, disassembled."""
    locals: tuple[LocalRecord, ...] = ()
    operand_stack: tuple[Value, ...] = ()
    """Bottom first."""
    exact: bool = True
    """False where the guest has been unwound, and locals and operands with it."""


@frozen
class EventRecord:
    """One event, told in words."""

    kind: str
    """``"breakpoint"``, ``"step"``, ``"interrupted"``, ``"trap"``, ``"host error"``, ``"finished"``, …"""
    detail: str = ""
    """What distinguishes it: a breakpoint's number, the trap's code, the exception, the result."""
    function_name: str | None = None
    module_offset: int | None = None
    note: str = ""
    """A remark for people: ``"the division has not happened yet"``."""
    facts: Mapping[str, object] = Factory(dict)
    """More for scripts, under names of their own: ``breakpoints``, ``code``, ``exit_code``, …"""
