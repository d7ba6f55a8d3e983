"""The guest's stack as it can be looked at: activations, and their frames, walked lazily."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from ..engine import RawFrame, count_frames, walk_frames
from ._frames import Frame

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["Activation", "CallRecord", "Stack", "activations_of"]


@define(eq=False)
class CallRecord:
    """What the stack needs to know of a call from the host into the guest."""

    name: str
    opaque: bool
    base_sp: int
    """The shadow stack pointer when the call began: where its frames end."""
    base_instance: int
    """The instance that was current then."""


@frozen(eq=False)
class Activation:
    """One call from the host into the guest, and its frames."""

    depth: int
    """0 for the outermost."""
    function: str
    """What was called."""
    opaque: bool
    """An ordinary ``wasmtime.Module`` runs here: it has no frames to look at."""
    _stack: Stack = field(repr=False)

    @property
    def exit_frame(self) -> Frame | None:
        """The innermost frame: the guest leaves from here to the host."""
        return self._stack.first()

    @property
    def frames(self) -> Iterator[Frame]:
        """All frames, innermost first."""
        return self._stack.frames()


class Stack:
    """The frames of one activation, walked as far as somebody looks.

    :param instance: the current one, whose debug memory has the innermost frame.
    :param sp: the shadow stack pointer.
    :param base: what that was when the activation began.
    :param unpushed: the innermost frame, where it is not on the shadow stack.
    :param at_call: the innermost frame is in a call, too (of a host function).
    :param resumable: the guest is suspended here; else it has been unwound.
    :param innermost_exact: the innermost frame's locals and operands are in memory.
    :param innermost_resume_point: where it is, if its header does not say.
    :param innermost_whole: it has its zeros, too.
    """

    def __init__(
        self,
        core: Core,
        instance: int,
        sp: int,
        base: int,
        *,
        unpushed: RawFrame | None = None,
        at_call: bool,
        resumable: bool = True,
        innermost_exact: bool = True,
        innermost_resume_point: int | None = None,
        innermost_whole: bool = False,
    ) -> None:
        self._core = core
        self._extent = instance, sp, base
        self._unpushed = [] if unpushed is None else [unpushed]
        self._raws = chain(self._unpushed, walk_frames(core.state, *self._extent))
        self._count: int | None = None
        self._frames: list[Frame] = []
        self._at_call = at_call
        self.resumable = resumable
        self._innermost_exact = innermost_exact
        self._innermost_resume_point = innermost_resume_point
        self.innermost_whole = innermost_whole

    def _get(self, position: int) -> Frame | None:
        while len(self._frames) <= position:
            raw = next(self._raws, None)
            if raw is None:
                return None
            innermost = not self._frames
            resume_point = raw.resume_point
            if innermost and self._innermost_resume_point is not None:
                resume_point = self._innermost_resume_point
            self._frames.append(
                Frame._create(
                    self._core,
                    self,
                    len(self._frames),
                    raw,
                    self._core.state.instance(raw.instance),
                    self._at_call or not innermost,
                    self._innermost_exact or not innermost,
                    resume_point,
                )
            )
        return self._frames[position]

    @classmethod
    def at_check(cls, core: Core, frame: Frame, base: int) -> Stack:
        """The stack of a guest that is at a check, in *frame*, which is exact."""
        stack = cls(core, frame.instance.id, frame.address, base, at_call=False)
        next(stack._raws)
        stack._frames.append(frame)
        return stack

    @property
    def innermost_at_call(self) -> bool:
        """Whether the innermost frame is in a call of a host function."""
        return self._at_call

    def first(self) -> Frame | None:
        return self._get(0)

    def below(self, position: int) -> int:
        """How many frames are below the one at a position; they are not walked for it."""
        if self._count is None:
            self._count = len(self._unpushed) + count_frames(self._core.state, *self._extent)
        return self._count - position - 1

    def parent(self, position: int) -> Frame | None:
        return self._get(position + 1)

    def frames(self) -> Iterator[Frame]:
        position = 0
        while (frame := self._get(position)) is not None:
            yield frame
            position += 1


def activations_of(core: Core, innermost: Stack, calls: Sequence[CallRecord]) -> list[Activation]:
    """All activations, innermost first; *calls* outermost first."""
    found: list[Activation] = []
    stack = innermost
    for depth in range(len(calls) - 1, -1, -1):
        call = calls[depth]
        found.append(Activation(depth, call.name, call.opaque, stack))
        if depth:
            # The outer call is suspended in a host function, from where this one was made.
            stack = Stack(core, call.base_instance, call.base_sp, calls[depth - 1].base_sp, at_call=True)
    return found
