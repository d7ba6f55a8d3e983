"""Two small guards used all over this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio

from ..errors import UsageError

__all__ = ["ConflictDetector", "NoPublicConstructor"]

T = TypeVar("T")


class ConflictDetector:
    """Turns overlapping use by two tasks into :exc:`trio.BusyResourceError`."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        if self._held:
            raise trio.BusyResourceError(self._message)
        self._held = True
        try:
            yield
        finally:
            self._held = False


class NoPublicConstructor(type):
    """Metaclass of classes that only this library may make: their objects belong to a scope."""

    def __call__(cls, *args: object, **kwargs: object) -> Any:
        raise UsageError(f"{cls.__module__}.{cls.__qualname__} has no public constructor")

    def _create(cls: type[T], *args: Any, **kwargs: Any) -> T:
        return super().__call__(*args, **kwargs)  # type: ignore[misc,no-any-return]
