"""The four kinds of code offset, as types that don't mix.

A bare ``int`` never crosses a layer: a :data:`ModuleOffset` is what people and Wasmtime see, a
:data:`CodeOffset` is what DWARF counts in, and an :data:`InstrumentedOffset` is a place in the
rewritten module, which no user ever sees.
"""

from __future__ import annotations

from typing import NewType

__all__ = ["CodeOffset", "InstrumentedOffset", "ModuleOffset", "code_to_module", "module_to_code"]

ModuleOffset = NewType("ModuleOffset", int)
"""Byte offset from the start of the original ``.wasm`` file."""

CodeOffset = NewType("CodeOffset", int)
"""Byte offset from the start of the code section's contents, as DWARF for WebAssembly counts."""

InstrumentedOffset = NewType("InstrumentedOffset", int)
"""Byte offset from the start of the rewritten module."""


def module_to_code(offset: ModuleOffset, code_section_start: int) -> CodeOffset:
    """The DWARF offset of a file offset; *code_section_start* is the payload's file offset."""
    return CodeOffset(offset - code_section_start)


def code_to_module(offset: CodeOffset, code_section_start: int) -> ModuleOffset:
    """The file offset of a DWARF offset; the inverse of :func:`module_to_code`."""
    return ModuleOffset(offset + code_section_start)
