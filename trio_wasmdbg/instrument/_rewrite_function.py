"""One function, rewritten: looked through, given a frame, given its fast twin.

A module is rewritten by one of these, or by one in each of several processes (see ``_shares``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple

from attrs import evolve

from ..errors import UnsupportedFeatureError
from ..wasm import Flow, Function, FuncType, Module, TypedBody, ValType, type_body
from ._additions import Additions
from ._body import FastTwin
from ._fast_twin import FastTwinBuilder
from ._frames import MAX_FRAME, FrameLayout
from ._kinds import NUMERIC
from ._liveness import liveness
from ._modes import FrameMode
from ._outline import NoOutlineError, Outline, outline
from ._recipes import Recipes
from ._shared import collect, has_shared_memory
from ._words import Words

__all__ = ["FunctionRewriter", "Rewritten"]

_OP: Final = itemgetter(2)
_CODE: Final = attrgetter("code")


class Rewritten(NamedTuple):
    """What is left of a function when it has been rewritten.

    :ivar instructions: number of its instructions.
    :ivar tail_called: functions that it has a ``return_call`` of.
    """

    instructions: int
    frame: FrameLayout
    twin: FastTwin
    tail_called: set[int]


class FunctionRewriter:
    """Rewrites functions of one module, one after another."""

    def __init__(
        self,
        module: Module,
        frames: FrameMode,
        additions: Additions,
        escapable: set[int],
        tick: Callable[[], None],
    ) -> None:
        """
        :param additions: what functions ask for is appended to.
        :param escapable: indices of the functions that another instance or the host may enter.
        """
        self._module = module
        self._mode: FrameMode = frames
        self._additions = additions
        self._escapable = escapable
        self._tick = tick
        self._words = Words(module)
        self._shared = has_shared_memory(module)
        self._outlined = frames != "post-mortem" and not self._shared
        self._numeric = all(g.type.valtype.is_num for g in module.globals) and all(
            type.is_num
            for entry in module.types
            if isinstance(entry, FuncType)
            for type in entry.params + entry.results
        )

    def rewrite(self, function: Function, first_site: int) -> Rewritten:
        """Rewrite one of them.

        :param first_site: number of its first check site.
        :raises ModuleError: it can't be done.
        """
        if self._outlined:
            try:
                return self._rewritten(outline(self._module, self._words, function, self._tick), first_site)
            except NoOutlineError:
                pass
        typed = type_body(self._module, function, self._tick)
        rewritten = self._rewritten(typed, first_site)
        if self._shared:
            collect(self._additions, typed)
        return rewritten

    def _rewritten(self, typed: TypedBody | Outline, first_site: int) -> Rewritten:
        frame = self._frame(typed)
        builder = FastTwinBuilder(
            self._module, typed, frame, self._additions,
            escapable=typed.function.index in self._escapable,
            first_site=first_site, live=liveness(typed) if self._mode == "live" else None,
            recipes=Recipes(typed) if isinstance(typed, TypedBody) and self._mode == "post-mortem" else None,
            tick=self._tick,
        )  # fmt: skip
        twin = builder.build()
        # What only a function that is looked at needs is worked out again then.
        twin = evolve(twin, unassigned={}, activity=[])
        return Rewritten(typed.count, frame, twin, builder.tail_called)

    def _frame(self, typed: TypedBody | Outline) -> FrameLayout:
        """The frame's layout; appends the tables for its references."""
        # Outlines have numbers only.
        types = self._slot_types(typed) if isinstance(typed, TypedBody) else ()
        wide = False
        for type in types:
            if type.is_ref:
                self._additions.reference_table(type)
            elif type.is_vec:
                wide = True
        operands = max(typed.max_height, len(typed.function.type.results))
        frame = FrameLayout.of(typed.locals, operands, wide)
        if frame.size > MAX_FRAME:
            body = typed.function.body
            raise UnsupportedFeatureError(
                "too many locals and operands to be made debuggable",
                offset=body.start if body is not None else None,
                function=typed.function.index,
                function_name=self._module.function_name(typed.function.index),
            )
        return frame

    def _slot_types(self, typed: TypedBody) -> Collection[ValType]:
        """The types of everything that its frames may have to hold; of numbers not all."""
        module = self._module
        types = {id(type): type for type in typed.locals}
        if self._numeric and NUMERIC.issuperset(map(_CODE, map(_OP, typed.instructions))):
            return types.values()
        for stack in typed.stacks:
            if stack is not None:
                type = stack[1]
                types[id(type)] = type
        for instruction in typed.instructions:
            if instruction.op.flow is Flow.CALL:
                imm = instruction.imm
                called = (
                    module.functions[imm].type
                    if instruction.op.code == 0x10
                    else module.func_type(imm if isinstance(imm, int) else imm.type_index)
                )
                if len(called.results) > 1:
                    types.update((id(type), type) for type in called.results)
        for control in typed.controls.values():
            types.update((id(type), type) for type in control.params + control.results)
        return types.values()

