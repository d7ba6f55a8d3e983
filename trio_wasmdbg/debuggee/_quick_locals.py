"""Locals that a condition can read at once.

A condition in Python gets a frame of its own at each evaluation, hundreds of thousands of times a second,
and mostly reads a number.  Where a function is left for a check, it is always the same which of its locals
lie in the frame; so that is worked out once for each place.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

from ..engine import SLOT_LAYOUTS
from ..instrument import HEADER_SIZE, FrameMode, FunctionPlan
from ..wasm import F32, F64, I32, I64

__all__ = ["QuickLocals"]

_NUMBERS: Final = (I32, I64, F32, F64)


class QuickLocals(dict[int, Mapping[int, tuple[Struct, int]]]):
    """What can be read at once, in one module: by place, then by local, how it lies in a frame that was left
    there, and how far from the frame's beginning.

    A place is that of the stop byte; of slow twins, whose frames are whole, the function index, inverted.
    There are as many as conditions have looked at.
    """

    def __init__(self, frames: FrameMode) -> None:
        """:param frames: what the module keeps of them."""
        super().__init__()
        self._frames = frames

    def at(self, place: int, plan: FunctionPlan) -> Mapping[int, tuple[Struct, int]]:
        """Work it out.

        Locals that were never assigned lie only in frames that are materialised, and those that were
        optimised out nowhere.
        """
        gone = frozenset() if place < 0 else plan.unassigned(place - plan.stop_base)
        found = self[place] = {
            index: (SLOT_LAYOUTS[type.code], HEADER_SIZE + plan.frame.slot_size * index)
            for index, type in enumerate(plan.frame.locals)
            if self._frames != "live" and type in _NUMBERS and index not in gone
        }
        return found
