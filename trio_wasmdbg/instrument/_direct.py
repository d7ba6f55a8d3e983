"""From a fast twin's armed entry to a flavour: where a slot holds the one that is wanted.

The jump through the slots table may call the engine, for an element that has not been made yet, and a
function with a call in it, on whatever path, saves and restores registers whenever it is entered: that would
be most of what a small function costs.  So the jump is in one function for all functions of a type.  Only
those that can be called from outside, or through tables, make it themselves: that is how flavours call them.
"""

from __future__ import annotations

from ..wasm import Function, FuncType, Module, uleb
from . import _emit as emit
from ._additions import Additions
from ._layout import DIRECT, ENTERED, HOOK_SLOT, SITES_BASE

__all__ = ["enter_directly", "entering"]


def enter_directly(
    module: Module, function: Function, additions: Additions, load_byte: bytes, site: int, *, escapable: bool
) -> bytes:
    """Code that goes on in that flavour, if the site's byte says so.

    Nothing has been done before it that a flavour, of the same type, does not do again.  To the function that
    makes the jump the slot is handed over in memory, so that the parameters can stay where they are.

    :param load_byte: pushes the byte of a check site, but for its address.
    :param site: the number of that at the entry.
    """
    defined = len(module.functions) - module.imported_functions
    slot = HOOK_SLOT + 1 + defined + function.index - module.imported_functions
    wanted = load_byte + uleb(SITES_BASE + site) + emit.i32_const(DIRECT) + b"\x46"  # i32.eq
    if escapable:
        parts = [_parameters(function.type), emit.i32_const(slot)]
        parts.append(emit.return_call_indirect(function.type_index, additions.slots_table))
    else:
        parts = [emit.i32_const(0), emit.i32_const(slot), additions.memory_access(0x36, ENTERED, 2)]
        parts += [_parameters(function.type), emit.return_call(additions.enter(function.type_index))]
    return b"".join([wanted, emit.IF_EMPTY, *parts, emit.END])


def entering(additions: Additions, type_index: int) -> bytes:
    """The body of what goes on in the flavour: of this type, as both of them are."""
    type = additions.module.types[type_index]
    assert isinstance(type, FuncType)
    slot = emit.i32_const(0) + additions.memory_access(0x28, ENTERED, 2)
    entered = emit.return_call_indirect(type_index, additions.slots_table)
    return emit.local_groups([]) + _parameters(type) + slot + entered + emit.END


def _parameters(type: FuncType) -> bytes:
    return b"".join([emit.local_get(i) for i in range(len(type.params))])
