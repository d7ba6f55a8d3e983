"""How much of each frame a rewritten module keeps."""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["FRAME_MODES", "FrameMode"]

FrameMode = Literal["exact", "live"]
"""``"exact"``: every local of every frame; ``"live"``: those that the program still needs."""

FRAME_MODES: Final[tuple[FrameMode, ...]] = ("exact", "live")
