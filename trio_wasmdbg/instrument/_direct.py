"""From a fast twin's armed entry to a flavour: one tail call, where a slot holds the one that is wanted."""

from __future__ import annotations

from ..wasm import Function, Module, uleb
from . import _emit as emit
from ._additions import Additions
from ._layout import DIRECT, HOOK_SLOT, SITES_BASE

__all__ = ["enter_directly"]


def enter_directly(
    module: Module, function: Function, additions: Additions, load_byte: bytes, site: int
) -> bytes:
    """Code that goes on in that flavour, if the site's byte says so.

    Nothing has been done before it that a flavour, of the same type, does not do again.

    :param load_byte: pushes the byte of a check site, but for its address.
    :param site: the number of that at the entry.
    """
    defined = len(module.functions) - module.imported_functions
    slot = HOOK_SLOT + 1 + defined + function.index - module.imported_functions
    parameters = b"".join([emit.local_get(i) for i in range(len(function.type.params))])
    entered = emit.return_call_indirect(function.type_index, additions.slots_table)
    wanted = load_byte + uleb(SITES_BASE + site) + emit.i32_const(DIRECT) + b"\x46"  # i32.eq
    return b"".join([wanted, emit.IF_EMPTY, parameters, emit.i32_const(slot), entered, emit.END])
