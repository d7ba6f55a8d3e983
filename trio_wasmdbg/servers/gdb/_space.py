"""The client's one address space: which number stands for which module and which memory.

Memory 0 is special: LLDB 22 reads the variables of every module through it (its DWARF addresses
carry no memory number), so it stands for "memory 0 of the instance of the frame that is being
looked at".  Every memory has a number of its own as well, from 1.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen

from ...abc import TargetModule, TargetView
from ...errors import NotFoundError
from ...gdbremote import MemoryRegion, WasmAddress

__all__ = ["AddressSpace", "MemoryPlace"]


@frozen
class MemoryPlace:
    """One memory of one instance of one thread."""

    thread: int
    instance: int
    memory: int


@define
class AddressSpace:
    """Numbers given out in one session; they last as long as it does."""

    modules: list[TargetModule] = field(factory=list)
    """By number."""
    memories: list[MemoryPlace] = field(factory=list)
    """By number, less one."""
    changed: bool = False
    """A module has appeared that the client has not been told of."""

    def note(self, thread: int, view: TargetView) -> None:
        """Give numbers to what is new in a thread."""
        for instance in view.instances:
            if not any(known is instance.module for known in self.modules):
                self.modules.append(instance.module)
                self.changed = True
            for index in range(instance.memory_count):
                place = MemoryPlace(thread, instance.id, index)
                if place not in self.memories:
                    self.memories.append(place)

    def module(self, number: int) -> TargetModule:
        """:raises NotFoundError: no module has this number."""
        if number >= len(self.modules):
            raise NotFoundError(f"no module {number}")
        return self.modules[number]

    def number(self, module: TargetModule) -> int:
        """The module's number; it must have been noted."""
        return next(number for number, known in enumerate(self.modules) if known is module)

    def memory(self, number: int) -> MemoryPlace:
        """:raises NotFoundError: no memory has this number (0 is none, here)."""
        if not 1 <= number <= len(self.memories):
            raise NotFoundError(f"no memory {number}")
        return self.memories[number - 1]

    def libraries(self) -> list[tuple[str, int]]:
        """(name, address) of each module.  LLDB keeps one module a name, so they are made to differ."""
        taken: set[str] = set()
        found = []
        for number, module in enumerate(self.modules):
            name = module.name or f"module-{number}"
            while name in taken:
                name += f"#{number}"
            taken.add(name)
            found.append((name, WasmAddress.code(number, 0).raw))
        return found

    def regions(self, memories: Iterable[tuple[int, int, str]]) -> list[MemoryRegion]:
        """The map of everything; *memories* are (number, size, name)."""
        found = [
            MemoryRegion(WasmAddress.memory(number).raw, size, "rw", name)
            for number, size, name in memories
            if size
        ]
        for (name, address), module in zip(self.libraries(), self.modules, strict=True):
            found.append(MemoryRegion(address, len(module.bytecode), "rx", name))
        return sorted(found, key=lambda region: region.start)
