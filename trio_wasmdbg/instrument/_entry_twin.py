"""What a function gets in place of a fast twin that would exceed the engine's limits: a way to its slow twin.

A fast twin has some locals more than the original, and more code; a function that has 50,000 locals, or
nearly 7,654,321 bytes, already leaves no room for them.  It runs in its slow twin always: that has its state
in the frame, and its code in chunks.  What is left here pushes the frame, stores the parameters, and goes.
"""

from __future__ import annotations

from array import array
from typing import Final

from ..wasm import I32, TypedBody
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._body import INSERTED
from ._frames import FrameLayout
from ._outline import Outline

__all__ = ["MAX_BODY", "MAX_LOCALS", "entry_code", "entry_ranges"]

MAX_BODY: Final = 7_654_321
"""The engine's limit of a function's size in bytes."""

MAX_LOCALS: Final = 50_000
"""The engine's limit of a function's locals."""


def entry_code(
    typed: TypedBody | Outline, frame: FrameLayout, additions: Additions, escapable: bool
) -> bytes:
    """The body: local declarations and code, without the size."""
    type = typed.function.type
    fp = len(type.params)
    access = FrameAccess(additions, fp)
    parts = [
        emit.local_groups([(1, I32)]),
        access.new_frame(frame.size),
        emit.local_set(fp),
        access.push(typed.function.index, escapable),
        *(access.store_local(valtype, frame.local(i), i) for i, valtype in enumerate(type.params)),
        access.fp,
        emit.i32_const(0),
        emit.return_call(additions.leave(type.results)),
        emit.END,
    ]
    return b"".join(parts)


def entry_ranges(typed: TypedBody | Outline) -> tuple[array[int], array[int]]:
    """For the code map: all of it was inserted before the function's first instruction."""
    body = typed.function.body
    assert body is not None
    return array("I", [0]), array("I", [body.code_start | INSERTED])
