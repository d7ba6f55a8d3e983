"""Instructions of one kind in constant expressions, of which nearly all have none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..wasm import Instruction, Module, Range, read_expression

__all__ = ["in_constants"]


def in_constants(module: Module, expressions: Iterable[Range | None], code: int) -> Iterator[Instruction]:
    """The instructions with this opcode, of one byte, in constant expressions."""
    for expression in expressions:
        if expression is None or module.data.find(code, expression.start, expression.end) < 0:
            continue
        for instruction in read_expression(module, expression):
            if instruction.op.code == code:
                yield instruction
