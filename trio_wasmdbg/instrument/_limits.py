"""The engine's limits, checked before it meets the rewritten module.

The engine would refuse what exceeds them with a message about things that the user never wrote.
The numbers are those of the ``wasmparser`` crate's ``limits.rs``, which is what wasmtime validates with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import UnsupportedFeatureError
from ..wasm import ExternKind, FuncType, Module

__all__ = ["check_limits", "size_of_type", "size_of_types"]

_LIMITS: Final = {
    "types": 1_000_000,
    "functions": 1_000_000,
    "imports": 1_000_000,
    "globals": 1_000_000,
    "exports": 1_000_000,
    "tables": 100,
    "memories": 100,
    "element segments": 100_000,
    "bytes": 1 << 30,
    "units of size in the types of imports and exports": 999_999,
}


def check_limits(counts: Mapping[str, tuple[int, int]]) -> None:
    """Makes sure that the rewritten module has not too much of anything.

    :param counts: by kind, how many the original has and how many the rewritten one (or a companion).
    :raises UnsupportedFeatureError: too many; the message says of what.
    """
    for kind, (before, after) in counts.items():
        limit = _LIMITS[kind]
        if after > limit:
            raise UnsupportedFeatureError(
                f"the module has {before:,} {kind}; to be made debuggable it needs {after:,}, "
                f"and the engine takes {limit:,}"
            )


def size_of_type(type: FuncType) -> int:
    """How the engine measures a function's or tag's type; a memory's, table's or global's has the size 1."""
    return 2 + len(type.params) + len(type.results)


def size_of_types(module: Module) -> tuple[int, int]:
    """The whole module's, by its imports and exports; and that of all its items, were each exported once."""
    functions = [size_of_type(function.type) for function in module.functions]
    tags = [size_of_type(tag.type.type) for tag in module.tags]
    sized = {ExternKind.FUNCTION: functions, ExternKind.TAG: tags}
    whole = 1 + sum(sized[e.kind][e.index] if e.kind in sized else 1 for e in module.exports)
    imported = sum(1 for tag in module.tags if tag.import_ is not None)
    whole += sum(functions[: module.imported_functions]) + sum(tags[:imported])
    whole += len(module.imports) - module.imported_functions - imported
    others = len(module.tables) + len(module.memories) + len(module.globals)
    return whole, sum(functions) + sum(tags) + others
