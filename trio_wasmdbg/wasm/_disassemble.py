"""Instructions as text."""

from __future__ import annotations

from ._instructions import Instruction
from ._module import Module

__all__ = ["disassemble"]


def disassemble(module: Module, instruction: Instruction) -> str:
    """An instruction in the text format."""
    raise NotImplementedError  # the next commits
