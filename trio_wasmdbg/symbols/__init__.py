"""Symbols: what the bytes mean to a person.

It may import `wasm`, `errors` and `addresses`.  For now it names functions and
writes values; lines and variables (DWARF, source maps) come on top of it.

Start reading at ``_functions``.
"""

from ._functions import function_label, local_label, tag_names
from ._values import float_bits, format_value, format_values

__all__ = ["float_bits", "format_value", "format_values", "function_label", "local_label", "tag_names"]
