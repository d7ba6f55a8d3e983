"""A module that has been loaded: what is known of its functions, and their slow twins."""

from __future__ import annotations

import re
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final

import trio
import wasmtime

from .. import capi
from ..addresses import InstrumentedOffset, ModuleOffset
from ..engine import is_named
from ..engine.events import Location
from ..errors import NotFoundError
from ..instrument import (
    Companion,
    FrameMode,
    FunctionPlan,
    Instrumented,
    Part,
    Place,
    entered_from_outside,
    slow_twin,
    slow_twin_part,
)
from ..symbols import function_label
from ..wasm import ExternKind, FuncType, Instruction, Module, disassemble, read_body
from ._capacity import MODULE, check_room
from ._conditions import TwinKey, compile_conditions
from ._flavour_batches import Batches
from ._loop_copies import LoopCopies
from ._quick_locals import QuickLocals
from ._short_runs import Length
from ._threads import collections_held_back, compute
from ._twins import AT_ONCE, FARTHEST, Twin, TwinCache
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ..expressions import TypedExpression, TypedTemplate
    from ._expressions import Key

__all__ = ["INDIRECT", "LIVING", "GuestModule"]

INDIRECT = frozenset({"call_indirect", "return_call_indirect"})
_BY_REFERENCE = frozenset({"call_ref", "return_call_ref"})

_QUICK = 1_000
"""Instructions that are typed in about a millisecond."""
_CHUNK = 16
"""Instructions of such a chunk.  Each takes 50 µs to be compiled, and the companion that they are in 1 ms."""
_CHUNKED = AT_ONCE * _CHUNK
"""Instructions of a function from which on the chunks of its slow twin are made when they are come to."""
_TOGETHER = 256
"""Instructions of neighbouring chunks that are compiled as one."""
_FIRST = 96
"""Instructions to begin with, if not a few will do."""
_NEAREST = 8
"""Instructions at least that are made beyond the one where the guest goes on: more steps will follow."""


LIVING: Final[weakref.WeakSet[GuestModule]] = weakref.WeakSet()
"""All that are in use somewhere: for :func:`process_census`."""


@final
class GuestModule(metaclass=NoPublicConstructor):
    """A module made debuggable, as :func:`load_module` returns it.

    It can be instantiated any number of times, in any number of stores of its engine.
    """

    def __init__(
        self,
        engine: wasmtime.Engine,
        name: str | None,
        instrumented: Instrumented,
        compiled: wasmtime.Module,
    ) -> None:
        self._engine = engine
        self._name = name
        self._instrumented = instrumented
        self._compiled = compiled
        """For the first instance of a store."""
        self._compiled_importing: wasmtime.Module | None = None
        """For all others, once there has been one."""
        self._slow = TwinCache()
        self._quick_locals = QuickLocals(instrumented.mode)
        self._batches = Batches(engine, instrumented)
        self._copies = LoopCopies(engine, instrumented, self._batches)
        self._slow_numbers = 0
        """Numbers given to slow twins whose chunks are made when they are come to."""
        self._bodies = [
            (function.body.start, function.body.end, function.index)
            for function in self.original.functions
            if function.body is not None
        ]
        self._by_name: dict[str, list[int]] | None = None
        self._locations: dict[tuple[int, int], Location] = {}
        self._lengths: dict[tuple[int, int], Length] = {}
        """By function and resume point: how long a step may take (see ``_short_runs``)."""
        self._checked: OrderedDict[Key, TypedExpression] = OrderedDict()
        self._checked_templates: OrderedDict[Key, TypedTemplate] = OrderedDict()
        """See ``_expressions``."""
        LIVING.add(self)

    def __del__(self) -> None:
        # Plans and what they belong to are a cycle: with a large function's body in it, the collection that
        # finds it would stall the trio loop.  May run when __init__ has failed.
        instrumented = getattr(self, "_instrumented", None)
        if instrumented is not None:
            instrumented.forget_details()

    def __repr__(self) -> str:
        count = len(self._bodies)
        return f"<GuestModule {self._name or 'unnamed'}, {count} function{'s' if count != 1 else ''}>"

    def _kept(self) -> tuple[int, int]:
        """How many companions are kept for further instances, and how many twins and flavours are in them."""
        slow, flavours, copies = self._slow, self._batches, self._copies
        functions = slow.functions + flavours.functions + copies.functions
        return len(slow) + len(flavours) + len(copies), functions

    @property
    def engine(self) -> wasmtime.Engine:
        return self._engine

    @property
    def name(self) -> str | None:
        """From the name section, else the file's name, else None."""
        return self._name

    @property
    def frames(self) -> FrameMode:
        """How much of each frame is kept, as :func:`load_module` was told."""
        return self._instrumented.mode

    @property
    def original(self) -> Module:
        """The module as it was given, decoded."""
        return self._instrumented.original

    @property
    def bytecode(self) -> bytes:
        """The module's bytes, as they were given."""
        return self.original.data

    def function_type(self, function: int) -> FuncType:
        """Parameters and results of a function, imported or not.

        :raises NotFoundError: there is none of this index.
        """
        found: FuncType = _item("function", self.original.functions, function).type
        return found

    def tag_type(self, tag: int) -> FuncType:
        """What exceptions of a tag carry: its ``params``.

        :raises NotFoundError: there is none of this index.
        """
        found: FuncType = _item("tag", self.original.tags, tag).type.type
        return found

    # ── functions ──────────────────────────────────────────────────────────────────────────────

    def disassembly(self, function: int) -> tuple[tuple[ModuleOffset, str], ...]:
        """The instructions of a function that has a body: module offset and text.

        :raises NotFoundError: there is no such function.
        """
        if not self.is_defined(function):
            raise NotFoundError(f"no function {function} with a body in {self!r}")
        instructions = self.plan(function).typed().instructions
        texts = (disassemble(self.original, each, function) for each in instructions)
        return tuple(zip(map(ModuleOffset, self.offsets(function)), texts, strict=True))

    def function_name(self, function: int) -> str:
        """What to call a function: name section, else export, else import, else ``func[12]``."""
        return function_label(self.original, function)

    def functions_named(self, name: str) -> list[int]:
        """Indices of the defined functions with this name (name section or export)."""
        if self._by_name is None:
            table: dict[str, list[int]] = {}
            for index, known in self.original.names.functions.items():
                table.setdefault(known, []).append(index)
            for export in self.original.exports:
                if export.kind is ExternKind.FUNCTION and export.index not in table.get(export.name, ()):
                    table.setdefault(export.name, []).append(export.index)
            self._by_name = table
        return [index for index in self._by_name.get(name, ()) if self.is_defined(index)]

    def functions_matching(self, pattern: re.Pattern[str]) -> list[int]:
        """Indices of the defined functions in whose name *pattern* is found."""
        return [index for _, _, index in self._bodies if pattern.search(self.function_name(index))]

    def instructions_named(self, names: frozenset[str]) -> list[tuple[int, int]]:
        """(function, resume point) of every instruction with one of these names."""
        return self.instructions_where(lambda instruction: instruction.op.name in names)

    def calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        """(function, resume point) of every direct call of the import ``module.name``."""
        targets = {
            index
            for index, each in enumerate(self.original.functions)
            if each.import_ is not None and is_named(f"{each.import_.module}.{each.import_.name}", function)
        }
        if not targets:
            return []
        return self.instructions_where(
            lambda instruction: instruction.op.name in ("call", "return_call") and instruction.imm in targets
        )

    def indirect_calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        """(function, resume point) of every call through a table or reference that may lead to an import.

        There is none where this module makes no reference to the import and does not export it.
        """
        original = self.original
        targets = {
            each.index
            for each in original.functions
            if each.import_ is not None and is_named(f"{each.import_.module}.{each.import_.name}", function)
        }
        if not targets & entered_from_outside(original):
            return []
        types = {(each.params, each.results) for each in map(self.function_type, targets)}

        def may_lead_there(instruction: Instruction) -> bool:
            name, imm = instruction.op.name, instruction.imm
            if name not in INDIRECT and name not in _BY_REFERENCE:
                return False
            called = original.func_type(imm.type_index if name in INDIRECT else imm)
            return (called.params, called.results) in types

        return self.instructions_where(may_lead_there)

    def instructions_where(self, wanted: Callable[[Instruction], bool]) -> list[tuple[int, int]]:
        """(function, resume point) of every instruction that is *wanted*; reads the whole module."""
        return [
            (index, k)
            for _, _, index in self._bodies
            for k, instruction in enumerate(self._body(index))
            if wanted(instruction)
        ]

    def _body(self, function: int) -> list[Instruction]:
        return read_body(self.original, self.original.functions[function])

    def is_defined(self, function: int) -> bool:
        """Whether there is a function of this index with a body (imports have none)."""
        functions = self.original.functions
        return 0 <= function < len(functions) and functions[function].body is not None

    def is_instrumented(self, function: int) -> bool:
        """Whether it is defined, and could be made debuggable (see :meth:`plan`)."""
        return self.is_defined(function) and function not in self._instrumented.opaque

    def function_at(self, offset: int) -> int | None:
        """The function whose body contains this module offset, or None."""
        position = bisect_right(self._bodies, offset, key=lambda body: body[0]) - 1
        if position < 0 or offset >= self._bodies[position][1]:
            return None
        return self._bodies[position][2]

    def plan(self, function: int) -> FunctionPlan:
        """How a defined function was instrumented.

        :raises NotFoundError: there is no such function, or it is an import, or could not be instrumented.
        """
        plans = self._instrumented.plans
        plan = plans[function] if 0 <= function < len(plans) else None
        if plan is not None:
            return plan
        why = self._instrumented.opaque.get(function)
        if why is not None:
            raise NotFoundError(f"function {function} can't be debugged: {why}")
        raise NotFoundError(f"function {function} has no body in this module")

    def offsets(self, function: int) -> Any:
        """The module offset of each instruction of a function's body, in order."""
        return self.plan(function).offsets

    def module_offset(self, function: int, resume_point: int) -> ModuleOffset:
        """Where the instruction at a resume point lies in the original file."""
        return ModuleOffset(self.plan(function).offsets[resume_point])

    def location(self, function: int, resume_point: int) -> Location:
        """The place of a resume point, as events tell it."""
        known = self._locations.get((function, resume_point))
        if known is None:
            offset = self.module_offset(function, resume_point)
            known = Location(function, self.function_name(function), offset, self._name)
            self._locations[function, resume_point] = known
        return known

    def origin(self, frames: Sequence[capi.RawFrame]) -> Place | None:
        """Where Wasmtime's innermost frame is in the original; None if it is no code of this module."""
        if not frames or frames[0].module_offset is None:
            return None
        if frames[0].module_name == self.companion_name:
            return None
        # A helper executes one instruction of a flavour that calls it.
        for frame in frames[: 2 if self._is_helper(frames[0]) else 1]:
            code_map = self._batches.maps.get(frame.module_name or "")
            if code_map is not None and frame.module_offset is not None:
                return code_map.to_original(InstrumentedOffset(frame.module_offset))
        place = self._instrumented.code_map.to_original(InstrumentedOffset(frames[0].module_offset))
        return place if place is not None and place.function == frames[0].func_index else None

    def _is_helper(self, frame: capi.RawFrame) -> bool:
        """Whether it may be in a function that was added to the module."""
        added = frame.func_index >= len(self.original.functions)
        return added and frame.module_name == self.original.names.module

    @property
    def companion_name(self) -> str:
        """What the engine's backtraces call the modules of this one's slow twins."""
        return self._instrumented.names.companion

    def is_quick(self, function: int) -> bool:
        """Whether a frame of this function can be shown without much work."""
        plan = self._instrumented.plans[function]
        assert plan is not None
        return plan.instructions < _QUICK or plan.is_prepared

    async def prepare(self, function: int, resume_point: int) -> None:
        """Make sure that a frame at this place can be shown without much work; a checkpoint.

        Of a large body, what is needed is found off the trio thread; at its beginning, that is nothing.
        Cancelled: nothing is kept.
        """
        plan = self.plan(function)

        def work(tick: Callable[[], None]) -> None:
            plan.locate(tick)
            if resume_point:
                plan.typed_part(range(resume_point, resume_point + 1), tick)
                plan.unassigned(resume_point)
            plan.kept(resume_point)

        await compute(work)

    async def _importing(self) -> wasmtime.Module:
        """The compiled module for an instance that is not the first one of its store.

        Made at the first call, off the trio thread; not always a checkpoint.  Cancelled: nothing is kept.
        Raises :exc:`TooManyGuests` where the process has no room for compiled code.
        Two tasks that ask at the same time may both make it; either is as good.
        """
        if self._compiled_importing is None:
            check_room(MODULE, lasting=True)
            self._compiled_importing = await compute(
                lambda tick: capi.compile(self._engine, self._instrumented.importing())
            )
        return self._compiled_importing

    # ── slow twins ─────────────────────────────────────────────────────────────────────────────

    async def slow_twin(
        self,
        function: int,
        conditions: TwinKey = (),
        others: Sequence[int] = (),
        resume_point: int | None = None,
        until: int | None = None,
    ) -> Twin:
        """The compiled companion that holds a function's slow twin, and where it has to be made, *others*'.

        Of a large function, it holds the instructions from *resume_point* on, if that is told, and not all of
        them: see :meth:`chunks`.

        :param until: the guest is likely to go to this instruction, and stop there.  Then no more is made, of
            a small function either.

        Made at the first call, off the trio thread, and kept for a while (:class:`TwinCache`).
        Cancelled: nothing is kept.
        Raises :exc:`TooManyGuests` where the process has no room for compiled code.
        Two tasks that ask at the same time may both make it; either is as good.
        """
        known = self._slow.get(function, conditions)
        if known is not None:
            await trio.lowlevel.checkpoint()
            return known

        plan = self.plan(function)
        brief = resume_point is not None and until is not None
        if plan.instructions > (2 * _CHUNK if brief else _CHUNKED) and not others:
            self._slow_numbers += 1
            chunks = _first_chunks(resume_point, until)
            made = await self._part(function, conditions, self._slow_numbers, chunks, entry=True)
            self._slow.add(function, conditions, made)
            return made

        def work(tick: Callable[[], None]) -> Twin:
            with collections_held_back():
                compiled_conditions = compile_conditions(self.original, plan, conditions)
                companion: Companion = slow_twin(
                    self._instrumented, [function, *others], tick=tick,
                    conditions={function: compiled_conditions}, casts=capi.has_casts(self._engine),
                )  # fmt: skip
            return self._compiled_twin(
                companion, companion.entries[function],
                others={other: companion.entries[other] for other in others},
                loops={each: self.plan(each).loops() for each in (function, *others)},
            )  # fmt: skip

        check_room(MODULE, lasting=True)
        made = await compute(work)
        self._slow.add(function, conditions, made)
        return made

    async def chunks(self, function: int, conditions: TwinKey, number: int, chunks: range) -> Twin:
        """Some chunks of slow twin *number*, which is of this function and with these conditions.

        As :meth:`slow_twin`, and kept like it.
        """
        key = number, chunks
        known = self._slow.get(function, key)
        if known is not None:
            await trio.lowlevel.checkpoint()
            return known
        made = await self._part(function, conditions, number, chunks, entry=False)
        self._slow.add(function, key, made)
        return made

    async def _part(
        self, function: int, conditions: TwinKey, number: int, chunks: range, *, entry: bool
    ) -> Twin:
        """Cancelled: nothing is made."""
        size = _CHUNK

        def work(tick: Callable[[], None]) -> Twin:
            with collections_held_back():
                compiled_conditions = compile_conditions(self.original, self.plan(function), conditions)
                part = slow_twin_part(
                    self._instrumented, function, chunks, number, tick, compiled_conditions,
                    size=size, most=_TOGETHER, entry=entry, casts=capi.has_casts(self._engine),
                )  # fmt: skip
            return self._compiled_twin(
                part, part.entry, number=number, table=part.table,
                chunks=part.chunks, total=part.total, chunk_size=size,
                loops={function: self.plan(function).loops()} if entry else {},
            )  # fmt: skip

        check_room(MODULE, lasting=True)
        return await compute(work)

    def _compiled_twin(self, made: Companion | Part, export: str, **more: Any) -> Twin:
        return Twin(capi.compile(self._engine, made.wasm), export, made.imports, len(made.wasm), **more)

    def has_slow_twin(self, function: int) -> bool:
        """Whether :meth:`slow_twin` will answer without working."""
        return self._slow.get(function, ()) is not None


def _first_chunks(resume_point: int | None, until: int | None) -> range:
    """Which chunks of a function's slow twin are made first."""
    if resume_point is None:
        return range(0)
    if until is None or not resume_point <= until < resume_point + FARTHEST:
        until = resume_point + _FIRST - _CHUNK
    last = max(until, resume_point + _NEAREST) // _CHUNK
    return range(resume_point // _CHUNK, last + 1)


def _item(what: str, items: Sequence[Any], index: int) -> Any:
    if not 0 <= index < len(items):
        raise NotFoundError(f"no {what} {index}: the module has {len(items)}")
    return items[index]
