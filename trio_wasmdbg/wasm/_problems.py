"""Errors about bytes, raised where the function that they are in is not known yet."""

from __future__ import annotations

from ..errors import MalformedModuleError, UnsupportedFeatureError

__all__ = ["BytesError", "UnsupportedBytesError"]


class BytesError(MalformedModuleError):
    """Malformed bytes at *offset*; whoever knows the function adds it.

    :ivar problem: the message without the place.
    """

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem, offset=offset)
        self.problem = problem


class UnsupportedBytesError(UnsupportedFeatureError):
    """Bytes at *offset* that belong to a feature which can't be read; see :class:`BytesError`."""

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem, offset=offset)
        self.problem = problem
