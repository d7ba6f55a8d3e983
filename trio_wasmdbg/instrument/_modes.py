"""How much of each frame a rewritten module keeps."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["FRAME_MODES", "FrameMode"]

FrameMode = Literal["exact", "live", "post-mortem"]
"""``"exact"``: every local of every frame; ``"live"``: those that the program still needs;
``"post-mortem"``: those of the innermost frame also after a trap that has unwound the guest."""

FRAME_MODES: Final[tuple[FrameMode, ...]] = ("exact", "live", "post-mortem")
