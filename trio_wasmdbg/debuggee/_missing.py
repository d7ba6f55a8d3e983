"""What stands for values that a frame does not have."""

from __future__ import annotations

from typing import final

__all__ = ["OPTIMISED_OUT", "UNAVAILABLE", "OptimisedOut", "Unavailable"]


@final
class Unavailable:
    """The value of a local or operand that can't be known (see :attr:`Frame.exact`)."""

    def __repr__(self) -> str:
        return "<unavailable>"


UNAVAILABLE = Unavailable()


@final
class OptimisedOut:
    """The value of a local that was not kept: the module was loaded with ``frames="live"``, and the program
    does not need the local any more at this place."""

    def __repr__(self) -> str:
        return "<optimised out>"


OPTIMISED_OUT = OptimisedOut()
