"""Where compiled code finds what an expression reads: in a shadow frame, or in WebAssembly locals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from attrs import define, field

from ..wasm import BY_NAME, MemArg, ValType, instruction

__all__ = ["FramePlaces", "LocalPlaces", "Places", "Scratch", "SlotLayout"]


class Places(Protocol):
    """What the compiler asks for: code that pushes a value, and indices in the module it is put into."""

    def local(self, index: int, type: ValType, /) -> bytes:
        """Code that pushes a local of the debugged function; a reference may be of a more general type."""

    def operand(self, height: int, type: ValType, /) -> bytes:
        """Code that pushes the operand that has *height* others below it."""

    def global_(self, index: int, /) -> int:
        """The index of a global of the original module."""

    def memory(self, index: int, /) -> int:
        """The index of a memory of the original module."""

    def scratch(self, type: ValType, number: int, /) -> int:
        """A local of *type* that is free while the expression is evaluated; *number* is 0 or 1.

        The same arguments give the same local.
        """


class SlotLayout(Protocol):
    """Byte offsets from the frame pointer, as :class:`trio_wasmdbg.instrument.FrameLayout` gives them."""

    def local(self, index: int, /) -> int: ...
    def operand(self, height: int, /) -> int: ...


@define
class Scratch:
    """Scratch locals, made when they are asked for.

    :ivar first: index of the first one.
    :ivar types: their types in order: to be declared once everything is compiled.
    """

    first: int
    types: list[ValType] = field(factory=list)
    _made: dict[tuple[ValType, int], int] = field(factory=dict)

    def __call__(self, type: ValType, number: int) -> int:
        """The index of scratch local *number* of this type."""
        if (type, number) not in self._made:
            self._made[type, number] = self.first + len(self.types)
            self.types.append(type)
        return self._made[type, number]


def _same(index: int) -> int:
    return index


_LOADS: Final = {name: BY_NAME[f"{name}.load"] for name in ("i32", "i64", "f32", "f64", "v128")}


@define
class FramePlaces:
    """Locals and operands are in the shadow frame (slow twins).

    :ivar layout: the frame's layout.
    :ivar fp: index of the local that holds the frame pointer.
    :ivar debug_memory: index of the memory that the frame lies in.
    :ivar scratch: gives scratch locals, see :meth:`Places.scratch`.
    :ivar reference: code that pushes the reference of the slot that begins so many bytes from the frame
        pointer; references are not in that memory.
    :ivar global_: original index to index here; likewise ``memory``.
    """

    layout: SlotLayout
    fp: int
    debug_memory: int
    scratch: Callable[[ValType, int], int]
    reference: Callable[[ValType, int], bytes]
    global_: Callable[[int], int] = _same
    memory: Callable[[int], int] = _same

    def local(self, index: int, type: ValType) -> bytes:
        """See :meth:`Places.local`."""
        return self._load(type, self.layout.local(index))

    def operand(self, height: int, type: ValType) -> bytes:
        """See :meth:`Places.operand`."""
        return self._load(type, self.layout.operand(height))

    def _load(self, type: ValType, offset: int) -> bytes:
        if type.is_ref:
            return self.reference(type, offset)
        address = instruction(BY_NAME["local.get"], self.fp)
        align = 2 if str(type).endswith("32") else 3
        return address + instruction(_LOADS[str(type)], MemArg(align, offset, self.debug_memory))


@define
class LocalPlaces:
    """Locals and operands are in WebAssembly locals (code that keeps its structure).

    :ivar locals: the debugged function's local to the local here; those that are missing have the same index.
    :ivar operands: height of an operand to the local here that it has been saved in.
    :ivar scratch: gives scratch locals, see :meth:`Places.scratch`.
    :ivar global_: original index to index here; likewise ``memory``.
    """

    scratch: Callable[[ValType, int], int]
    locals: Mapping[int, int] = field(factory=dict)
    operands: Mapping[int, int] = field(factory=dict)
    global_: Callable[[int], int] = _same
    memory: Callable[[int], int] = _same

    def local(self, index: int, type: ValType) -> bytes:
        """See :meth:`Places.local`."""
        return instruction(BY_NAME["local.get"], self.locals.get(index, index))

    def operand(self, height: int, type: ValType) -> bytes:
        """See :meth:`Places.operand`."""
        return instruction(BY_NAME["local.get"], self.operands[height])
