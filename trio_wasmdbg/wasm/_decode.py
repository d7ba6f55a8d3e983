"""Reading a module."""

from __future__ import annotations

from ._module import Module

__all__ = ["decode_module"]


def decode_module(data: bytes) -> Module:
    """Decode a module."""
    raise NotImplementedError  # the next commit
