"""Two small guards used all over this folder."""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from ..errors import UsageError

__all__ = ["ConflictDetector", "NoPublicConstructor"]

T = TypeVar("T")


class ConflictDetector:
    """Turns overlapping use by two tasks into :exc:`trio.BusyResourceError`: hold it in a ``with``."""

    __slots__ = ("_held", "_message")

    def __init__(self, message: str) -> None:
        self._message = message
        self._held = False

    def __enter__(self) -> None:
        if self._held:
            raise trio.BusyResourceError(self._message)
        self._held = True

    def __exit__(self, *exc: object) -> None:
        self._held = False


class NoPublicConstructor(type):
    """Metaclass of classes that only this library may make: their objects belong to a scope."""

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        raise UsageError(f"{cls.__module__}.{cls.__qualname__} has no public constructor")

    def _create(cls: type[T], *args: Any, **kwargs: Any) -> T:
        return type.__call__(cls, *args, **kwargs)  # type: ignore[no-any-return]
