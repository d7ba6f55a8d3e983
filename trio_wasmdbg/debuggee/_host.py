"""Host functions given to us: plain or ``async def``, run off the fiber, in the caller's task."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .. import capi

if TYPE_CHECKING:
    from ._core import Core

__all__ = ["HostFunction", "define_host_function"]

_keys = itertools.count()


@frozen
class HostFunction:
    """A Python function that a guest may call."""

    name: str
    fn: Callable[..., Any]
    params: tuple[str, ...]
    results: tuple[str, ...]
    """Types as text."""

    def results_of(self, value: Any) -> tuple[Any, ...]:
        """What the function returned, as the guest's results: None, one value, or a sequence."""
        if len(self.results) == 1:
            return (value,)
        if value is None:
            return ()
        return tuple(value)


def define_host_function(
    core: Core,
    linker: capi.RawLinker,
    module: str,
    name: str,
    params: Sequence[str],
    results: Sequence[str],
    fn: Callable[..., Any],
) -> None:
    """Define *fn* in a linker for the core's store; types as text (``"i32"``, …)."""
    state = core.state
    key = next(_keys)
    state.define(linker.linker, f"{module}.{name}")
    state.host_functions[key] = HostFunction(f"{module}.{name}", fn, tuple(params), tuple(results))
    # The C library keeps this closure for ever, so it refers to nothing strongly.
    owner = weakref.ref(state)

    def on_call(pending: capi.Pending) -> None:
        state = owner()
        if state is not None and state.core is not None:
            state.core.calls.on_host_call(state.host_functions[key], pending)

    capi.define_async(linker, core.store, module, name, tuple(params), tuple(results), on_call)
