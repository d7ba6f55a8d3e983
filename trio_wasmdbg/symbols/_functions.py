"""Names for functions, locals and tags."""

from __future__ import annotations

from ..wasm import ExternKind, Module

__all__ = ["function_label", "local_label", "tag_names"]


def function_label(module: Module, function: int) -> str:
    """The name section's name, else an export's, else the import's, else ``func[12]``."""
    return module.function_name(function) or f"func[{function}]"


def local_label(module: Module, function: int, local: int) -> str:
    """The name section's name of a local, else ``local[3]``."""
    return module.names.locals.get(function, {}).get(local) or f"local[{local}]"


def tag_names(module: Module, tag: int) -> list[str]:
    """What a tag is called: in the name section, as an export, and as an import (``module.name``)."""
    found = [module.names.tags[tag]] if tag in module.names.tags else []
    found += [each.name for each in module.exports if each.kind is ExternKind.TAG and each.index == tag]
    imported = module.tags[tag].import_
    return found if imported is None else [*found, f"{imported.module}.{imported.name}"]
