"""Jumps between the instructions of a slow twin, whose control flow is flattened.

A chunk is ``block $redirect { loop $dispatch { block $bad { block ... } } }`` with one block inside for each
instruction that has code: a branch to the block of instruction ``k`` goes on at ``k``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define

from ..wasm import I32, ControlFrame, Flow, TypedBody, ValType
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._frames import FrameLayout
from ._skeleton import PartlyTyped

__all__ = ["FP", "RP", "Jumps", "Place"]

FP: Final = 0
"""Local with the frame pointer: the first parameter."""

RP: Final = 1
"""Local with the resume point: the second parameter."""


@define
class Place:
    """Where code is being emitted: which blocks are open.

    :ivar count: blocks in the chunk's loop: one for each instruction that has code, and ``$bad``.
    :ivar numbers: by ordinal, the number of each instruction that has code.
    :ivar index: number of the instruction whose code is being emitted.
    :ivar inside: blocks opened by that code.
    """

    count: int
    numbers: dict[int, int]
    index: int = 0
    inside: int = 0

    @property
    def dispatch(self) -> int:
        """Branch depth of the loop's head."""
        return self.count - 1 - self.index + self.inside

    @property
    def redirect(self) -> int:
        """Branch depth of the place that goes on at resume point ``rp - 1``."""
        return self.count - self.index + self.inside


class Jumps:
    """Code that goes elsewhere in one function.

    :ivar place: where code is being emitted.
    :ivar path: the open constructs there, outermost first.
    """

    def __init__(
        self,
        typed: TypedBody | PartlyTyped,
        frame: FrameLayout,
        access: FrameAccess,
        additions: Additions,
        first_chunk: int,
        chunk: int,
        chunk_table: int | None,
        into_loop: Callable[[int], bytes],
    ) -> None:
        """
        :param first_chunk: function index of the first chunk.
        :param chunk: instructions in a chunk.
        :param chunk_table: where chunks are to be looked up, if they are made later.
        :param into_loop: code for where control goes into the loop that begins with an instruction.
        """
        self._typed = typed
        self._frame = frame
        self._access = access
        self._additions = additions
        self._first_chunk = first_chunk
        self._chunk = chunk
        self._into_loop = into_loop
        self._chunk_table = chunk_table
        self._count = typed.count
        self.place = Place(0, {})
        self.path: list[ControlFrame] = []
        self._at = -1  # where the path is that of

    def goto(self, k: int) -> bytes:
        """Goes on at instruction *k* (does not fall through)."""
        place = self.place
        number = place.numbers.get(k)
        edge = b""
        if self._typed.instructions[k - 1].op.flow is Flow.LOOP:
            edge = self._into_loop(k - 1)
        if number is None:
            go = [edge, emit.local_get(FP), emit.i32_const(k)]
            if self._chunk_table is None:
                go.append(emit.return_call(self._first_chunk + k // self._chunk))
            else:
                cold = self._additions.cold_type(self._typed.function.type.results)
                go += [emit.i32_const(k // self._chunk)]
                go += [emit.return_call_indirect(cold, self._chunk_table)]
            return b"".join(go)
        if number > place.index:
            return emit.br(number - place.index - 1 + place.inside)
        return b"".join([edge, emit.i32_const(k), emit.local_set(RP), emit.br(place.dispatch)])

    def goto_if(self, k: int, moves: bytes = b"") -> bytes:
        """Pops a condition and goes to *k*, after *moves*, if it is not zero."""
        place = self.place
        number = place.numbers.get(k)
        if not moves and number is not None and number > place.index:
            return emit.br_if(number - place.index - 1 + place.inside)
        place.inside += 1
        code = b"".join([emit.IF_EMPTY, moves, self.goto(k), emit.END])
        place.inside -= 1
        return code

    def begin(self, k: int) -> None:
        """Code begins to be emitted at instruction *k*."""
        if k == self._at:
            return
        self._at = k
        self.path = []
        scope: ControlFrame | None = self._typed.scopes[min(k, self._count - 1)]
        while scope is not None:
            self.path.append(scope)
            scope = scope.parent
        self.path.reverse()

    def follow(self, k: int) -> None:
        """Keeps account of the open constructs; walking outwards would be slow in deep nests."""
        self._at = k + 1
        flow = self._typed.instructions[k].op.flow
        if flow in (Flow.BLOCK, Flow.LOOP, Flow.IF, Flow.TRY_TABLE):
            self.path.append(self._typed.controls[k])
        elif flow is Flow.END:
            self.path.pop()

    def scope(self, depth: int) -> ControlFrame:
        """What a branch of this depth leads to."""
        return self.path[-1 - depth]

    def target(self, scope: ControlFrame) -> int:
        """Where a branch to *scope* goes."""
        if scope.kind == "loop":
            return scope.start + 1
        if scope.kind == "function":
            return self._count - 1
        return scope.end + 1

    def moves(self, scope: ControlFrame, height: int) -> bytes:
        """Moves the operands that a branch to *scope* takes, the topmost of *height*, to where they belong.

        They only ever move down, so going upwards is safe where the ranges overlap.
        """
        types = scope.label_types
        source, target = height - len(types), scope.height
        if source == target or not types:
            return b""
        return b"".join(
            [self.copy(type, self._frame.operand(source + i), self._frame.operand(target + i))
             for i, type in enumerate(types)]
        )  # fmt: skip

    def copy(self, type: ValType, source: int, target: int) -> bytes:
        access = self._access
        return b"".join(
            [
                access.address(type, target),
                access.load(type, source),
                self._additions.store(type, target),
            ]
        )

    def branch_table(self, imm_targets: tuple[int, ...], default: int, height: int) -> bytes:
        """One landing pad for each distinct label that needs moves or can't be branched to directly."""
        place = self.place
        index = self._access.load(I32, self._frame.operand(height - 1))
        depths = sorted({*imm_targets, default})
        scopes = {depth: self.scope(depth) for depth in depths}
        moves = {depth: self.moves(scopes[depth], height - 1) for depth in depths}
        pads = []
        for depth in depths:
            number = place.numbers.get(self.target(scopes[depth]))
            if moves[depth] or number is None or number <= place.index:
                pads.append(depth)
        labels: dict[int, int] = {depth: i for i, depth in enumerate(pads)}
        for depth in depths:
            if depth not in labels:
                number = place.numbers[self.target(scopes[depth])]
                labels[depth] = number - place.index - 1 + place.inside + len(pads)
        out = [emit.BLOCK_EMPTY * len(pads), index]
        out.append(emit.br_table([labels[depth] for depth in imm_targets], labels[default]))
        for i, depth in enumerate(pads):
            place.inside = len(pads) - 1 - i
            out += [emit.END, moves[depth], self.goto(self.target(scopes[depth]))]
        place.inside = 0
        return b"".join(out)
