"""Symbols: what the bytes mean to a person.

It may import `wasm`, `errors` and `addresses`.  For now it names functions; lines and variables
(DWARF, source maps) come on top of it.

Start reading at ``_functions``.
"""

from ._functions import function_label, local_label

__all__ = ["function_label", "local_label"]
