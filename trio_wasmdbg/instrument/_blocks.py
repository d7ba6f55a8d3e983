"""Basic blocks: the instructions that are always executed one after the other."""

from __future__ import annotations

from typing import Final

from ..wasm import ControlFrame, Flow, TypedBody
from ._survey import branch_depths

__all__ = ["leaders"]

_BRANCHES: Final = frozenset({Flow.BRANCH, Flow.BRANCH_IF, Flow.BRANCH_TABLE})
_GOES_ON: Final = frozenset({Flow.NEXT, Flow.BLOCK, Flow.TRY_TABLE, Flow.LOOP, Flow.END})
"""What follows one of these is in the same block, unless something else leads there."""


def leaders(typed: TypedBody) -> frozenset[int]:
    """Resume points that begin a basic block: control comes there otherwise than from the one before, or that
    calls, or leads elsewhere."""
    found = {0}
    last = len(typed.instructions) - 1

    def led_to(scope: ControlFrame | None, depth: int) -> None:
        for _ in range(depth):
            scope = scope.parent if scope is not None else None
        assert scope is not None
        found.add({"loop": scope.start + 1, "function": last}.get(scope.kind, scope.end + 1))

    for k, instruction in enumerate(typed.instructions):
        flow = instruction.op.flow
        if flow not in _GOES_ON and k < last:
            found.add(k + 1)
        if flow is Flow.IF:
            # The end of either arm, or the condition.
            found.add(typed.controls[k].end + 1)
        elif flow is Flow.RETURN:
            found.add(last)
        elif flow in _BRANCHES:
            for depth in branch_depths(instruction):
                led_to(typed.scopes[k], depth)
        elif flow is Flow.TRY_TABLE:
            for catch in instruction.imm.catches:
                # Labels count from outside of the construct.
                led_to(typed.scopes[k], catch.label)
    return frozenset(found)
