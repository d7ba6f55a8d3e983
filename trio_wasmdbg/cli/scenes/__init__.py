"""The demo's scenes: short programs that use the public interface, one a file.

What this layer is: each scene debugs a guest and shows what it sees; nothing it prints is known beforehand.
``SCENES`` lists them in the order in which the demo plays them.  A scene imports the package's face, and from
here ``HOST`` (what the guest imports) and ``Show`` (how to tell what happens).

Start reading at ``breakpoint.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from trio_wasmdbg.cli.scenes._show import Show
from trio_wasmdbg.cli.scenes.breakpoint import breakpoint
from trio_wasmdbg.cli.scenes.cancel import cancel
from trio_wasmdbg.cli.scenes.change import change
from trio_wasmdbg.cli.scenes.host_function import host_function
from trio_wasmdbg.cli.scenes.interrupt import interrupt
from trio_wasmdbg.cli.scenes.side_by_side import side_by_side
from trio_wasmdbg.cli.scenes.start import start
from trio_wasmdbg.cli.scenes.step import step
from trio_wasmdbg.cli.scenes.trap import trap

__all__ = ["SCENES", "Scene", "Show", "source", "summary"]

Scene: TypeAlias = Callable[[bytes, Show], Awaitable[None]]
"""A guest's wasm, and where to show."""

SCENES: Final[dict[str, Scene]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (start, breakpoint, step, change, interrupt, trap, side_by_side, host_function, cancel)
}


def summary(scene: Scene) -> str:
    """What a scene shows, in a line: its file's first."""
    text = inspect.getdoc(inspect.getmodule(scene)) or ""
    return text.partition("\n")[0]


def source(scene: Scene) -> str:
    """The scene's whole program."""
    module = inspect.getmodule(scene)
    assert module is not None
    return inspect.getsource(module)
