"""What a query sees of the paused store: the argument of ``with_store(fn)``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

import wasmtime

from ._frames import Frame
from ._instances import GuestInstance
from ._modules import GuestModule
from ._stack import Activation
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["StoreView"]


@final
class StoreView(metaclass=NoPublicConstructor):
    """The store of a paused (or complete) debuggee, and the stack of its guest.

    Valid while the function that it was given to runs.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def store(self) -> wasmtime.Store:
        """The user's own store; memories, globals and tables of it may be read and written."""
        return self._core.store

    @property
    def instances(self) -> tuple[GuestInstance, ...]:
        """The instrumented instances of the store, oldest first."""
        return tuple(self._core.state.instances)

    @property
    def modules(self) -> tuple[GuestModule, ...]:
        """The modules of these instances, each once."""
        return tuple(dict.fromkeys(instance.module for instance in self.instances))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The calls from the host into the guest that are under way, innermost first."""
        return tuple(self._core.activations())

    def exit_frames(self) -> tuple[Frame, ...]:
        """The innermost frame of each activation, innermost activation first."""
        frames = (activation.exit_frame for activation in self.activations)
        return tuple(frame for frame in frames if frame is not None)

    def frames(self) -> Iterator[Frame]:
        """All frames of all activations, innermost first."""
        for activation in self.activations:
            yield from activation.frames

    @property
    def single_step(self) -> bool:
        """Whether every instruction pauses."""
        return self._core.arming.decider.single_step

    @single_step.setter
    def single_step(self, on: bool) -> None:
        self._core.set_single_step(on)
