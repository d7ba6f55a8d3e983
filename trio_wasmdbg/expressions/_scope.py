"""What an expression's names and indices stand for at one resume point of one function."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from ..wasm import ExternKind, MemoryType, Module, TypedBody, ValType, operand_types

__all__ = ["Scope"]

_NO_NAMES: Mapping[int, str] = MappingProxyType({})


@frozen
class Scope:
    """The types and names that :func:`~trio_wasmdbg.expressions.check` goes by.

    :ivar locals: types of all locals, parameters first; their names by index.
    :ivar operands: types on the operand stack, bottom first.
    :ivar globals: types of the original module's globals; their names by index.
    :ivar memories: types of the original module's memories.
    """

    locals: tuple[ValType, ...] = ()
    local_names: Mapping[int, str] = field(default=_NO_NAMES, repr=False)
    operands: tuple[ValType, ...] = ()
    globals: tuple[ValType, ...] = ()
    global_names: Mapping[int, str] = field(default=_NO_NAMES, repr=False)
    memories: tuple[MemoryType, ...] = ()

    @classmethod
    def of(cls, module: Module, body: TypedBody, resume_point: int) -> Scope:
        """The scope before instruction *resume_point* of a function of *module*."""
        return cls.at(module, body.function.index, body.locals, operand_types(body.stacks[resume_point]))

    @classmethod
    def at(
        cls, module: Module, function: int, locals: tuple[ValType, ...], operands: tuple[ValType, ...]
    ) -> Scope:
        """The scope of a function where the operand stack holds *operands*.

        Names come from the name section; globals that have none there go by their export or import.
        """
        global_names: dict[int, str] = {}
        for one in module.globals:
            if one.import_ is not None:
                global_names[one.index] = one.import_.name
        for export in module.exports:
            if export.kind is ExternKind.GLOBAL:
                global_names[export.index] = export.name
        return cls(
            locals=locals,
            local_names=module.names.locals.get(function, _NO_NAMES),
            operands=operands,
            globals=tuple(one.type.valtype for one in module.globals),
            global_names=global_names | module.names.globals,
            memories=tuple(memory.type for memory in module.memories),
        )
