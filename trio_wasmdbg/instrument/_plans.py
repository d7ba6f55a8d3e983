"""What is remembered of each rewritten function, and of the whole module.

Modules have ten thousand functions and ten million instructions, so a plan keeps compact arrays, and
works out the rest again when it is asked (only functions that somebody looks at are).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import define, field

from ..addresses import ModuleOffset
from ..errors import UnsupportedFeatureError
from ..wasm import (
    ControlFrame,
    Flow,
    Instruction,
    Module,
    TypedBody,
    ValType,
    operand_types,
)
from ._additions import Additions
from ._body import FastTwin
from ._code_map import CodeMap
from ._details import Details, details_of, no_tick
from ._fast_twin import FastTwinBuilder
from ._frames import FrameLayout
from ._kinds import TRAPS
from ._layout import SITES_BASE, Layout, Reserved
from ._liveness import Liveness
from ._modes import FrameMode
from ._near import nearest_sites
from ._recipes import Recipe, Recipes
from ._skeleton import PartlyTyped
from ._stack_owner import importing
from ._zeros import bits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SITE_KINDS", "FunctionPlan", "Instrumented", "Site", "no_tick"]

SITE_KINDS: Final = ("entry", "loop", "after_call", "catch")

KEPT: Final = 64
"""Typed bodies kept by a module (they are large)."""


class Site(NamedTuple):
    """A check site of a fast twin.

    :ivar id: its number in the module.
    :ivar address: of its byte in the debug memory; a value other than 0 arms it.
    :ivar resume_point: where the slow twin goes on.
    :ivar kind: ``"entry"``, ``"loop"``, ``"after_call"``, or ``"catch"`` where a caught exception leads.
    """

    id: int
    address: int
    resume_point: int
    kind: str


@define(eq=False)
class FunctionPlan:
    """How one function was rewritten.

    :ivar index: function index.
    :ivar slot: its index in the slots table.
    :ivar frame: layout of its shadow frames.
    :ivar escapable: it can be entered from another instance or the host, so its frames save the
        instance that was current before.
    :ivar instructions: number of its instructions, which are its resume points.
    :ivar first_site: id of its first check site.
    :ivar stop_base: address of the stop byte of resume point 0; that of ``k`` is at ``stop_base + k``.
    """

    index: int
    slot: int
    frame: FrameLayout
    escapable: bool
    instructions: int
    first_site: int
    stop_base: int
    _sites: array[int] = field(repr=False)
    _owner: Instrumented = field(repr=False)

    @property
    def sites(self) -> tuple[Site, ...]:
        """Its check sites, in the order of the code; the first is the function's entry."""
        first = self.first_site
        return tuple(
            Site(id, SITES_BASE + id, packed >> 2, SITE_KINDS[packed & 3])
            for id, packed in enumerate(self._sites, first)
        )

    @property
    def site_addresses(self) -> range:
        """Addresses of the sites' bytes: they lie together."""
        base = SITES_BASE + self.first_site
        return range(base, base + len(self._sites))

    def site_point(self, address: int) -> int:
        """Resume point of the site with this byte."""
        return self._sites[address - self.site_addresses.start] >> 2

    @property
    def stop_addresses(self) -> range:
        """Addresses of the stop bytes."""
        return range(self.stop_base, self.stop_base + self.instructions)

    @property
    def entries(self) -> int:
        """Address of the u32 of resume point 0 that says which flavour is to be entered there (see
        :class:`Layout <trio_wasmdbg.instrument.Layout>`); that of ``k`` is ``4 * k`` further on."""
        layout = self._owner.layout
        return layout.entries_base + 4 * (self.stop_base - layout.stops_base)

    @property
    def head(self) -> int:
        """Address of the u32 that leads stubs to :attr:`entries`."""
        return self._owner.layout.heads_base + 4 * (self.slot - self._owner.layout.first_function_slot)

    @property
    def direct_slot(self) -> int:
        """Slot of a flavour, of the function's own type, that its fast twin may go on in at its entry."""
        return self.slot + self._owner.layout.functions

    @property
    def stub_slot(self) -> int:
        """Slot of a stub of its type."""
        return self._owner.stub_slot(self.index)

    @property
    def offsets(self) -> array[int]:
        """:data:`~trio_wasmdbg.addresses.ModuleOffset` of each instruction, by resume point."""
        return self._owner._details(self.index).offsets

    def resume_point_at(self, offset: ModuleOffset) -> int | None:
        """The instruction that covers *offset*; None if it lies outside the function's code."""
        details = self._owner._details(self.index)
        offsets = details.offsets
        if not offsets or not offsets[0] <= offset < details.end:
            return None
        return bisect_right(offsets, offset) - 1

    @property
    def is_prepared(self) -> bool:
        """Whether :attr:`offsets`, :meth:`operand_types` and :meth:`unassigned` answer without much work."""
        details = self._owner._cache.get(self.index)
        return details is not None and details.is_prepared

    def typed_part(self, wanted: range, tick: Callable[[], None] = no_tick) -> TypedBody | PartlyTyped:
        """The body with the operand types before these instructions (and maybe others).

        In a large function, that is much less work than :meth:`typed`.

        :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
        """
        return self._owner._details(self.index, tick).typed_part(wanted, tick)

    def typed(self, tick: Callable[[], None] = no_tick) -> TypedBody:
        """The body with its operand types (kept for a while, else worked out again).

        :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
        """
        return self._owner._details(self.index, tick).typed(tick)

    def locate(self, tick: Callable[[], None] = no_tick) -> None:
        """Sees to it that :attr:`offsets` answers without working.

        :param tick: called now and then, as by :func:`~trio_wasmdbg.instrument.instrument`.
        """
        self._owner._details(self.index, tick)

    def instruction(self, k: int) -> Instruction:
        """Instruction *k*.  For one of them, the body need not be typed."""
        return self._owner._details(self.index).instruction(k)

    def operand_types(self, k: int) -> tuple[ValType, ...]:
        """Types of the operands in the frame at resume point *k*, bottom first.

        At the final ``end``, these are the results, however control came there.
        """
        if k == self.instructions - 1:
            return self._owner.original.functions[self.index].type.results
        return operand_types(self.typed_part(range(k, k + 1)).stacks[k]) if k else ()

    def landings(self, k: int) -> tuple[int, ...]:
        """Resume points at which this function goes on if instruction *k* throws, or its callee does."""
        if not self._owner._details(self.index).may_catch:
            return ()
        typed = self.typed()
        found: dict[int, None] = {}
        scope: ControlFrame | None = typed.scopes[k]
        while scope is not None:
            outside = scope.parent
            if scope.kind == "try_table":
                for catch in typed.instructions[scope.start].imm.catches:
                    target = outside
                    for _ in range(catch.label):
                        target = target.parent if target is not None else None
                    assert target is not None
                    last = self.instructions - 1
                    at = {"loop": target.start + 1, "function": last}.get(target.kind, target.end + 1)
                    found[at] = None
            scope = outside
        return tuple(found)

    def throw_point(self, k: int) -> int | None:
        """Where the slow twin has to be for the host to throw as if instruction *k* did.

        The clauses of ``try_table`` constructs only see what is thrown inside of them.  So a slow twin has
        one more resume point for each of these constructs, after those of the instructions: there it calls
        the hook inside all clauses that are in force in the construct.

        :returns: that resume point; None if no clause of this function is in force at *k*: the hook may
            then throw wherever it is called.
        """
        if not self._owner._details(self.index).may_catch:
            return None
        typed = self.typed()
        scope: ControlFrame | None = typed.scopes[k]
        while scope is not None:
            if scope.kind == "try_table" and typed.instructions[scope.start].imm.catches:
                return self.instructions + self.catching().index(scope.start)
            scope = scope.parent
        return None

    def leaders(self) -> frozenset[int]:
        """Resume points that begin a basic block: control comes there otherwise than from the one before.

        These are the function's first instruction, what branches, clauses and ``else`` lead to, and what
        follows an instruction that calls or may branch (where it does not, control goes on there).
        """
        return self._owner._details(self.index).leaders()

    def loops(self) -> tuple[int, ...]:
        """The ``loop`` instructions that can be reached, in order."""
        return self._owner._details(self.index).loops()

    def catching(self) -> list[int]:
        """The ``try_table`` instructions that have clauses and can be reached, in order."""
        if not self._owner._details(self.index).may_catch:
            return []
        instructions = self.typed().instructions
        tries = self._owner._details(self.index).opened_by("try_table")
        return [k for k in tries if instructions[k].imm.catches]

    def nearest_sites(self, k: int) -> frozenset[int] | None:
        """Addresses of the check sites from which control comes to instruction *k* without coming by another.

        :returns: None: it may come from any of them.
        """
        if not k:
            return frozenset(self.site_addresses[:1])
        details = self._owner._details(self.index)
        if k not in details.nearest:
            data = self._owner.original.data
            may_catch = details.may_catch
            found = nearest_sites(data, details.offsets, self._sites, k, may_catch=may_catch)
            first = self.site_addresses.start
            details.nearest[k] = None if found is None else frozenset(first + number for number in found)
        return details.nearest[k]

    def unassigned(self, k: int) -> frozenset[int]:
        """Locals that a fast frame in the call at *k*, or one that was left at *k*, does not have.

        They have certainly never been assigned, so they are zero (null).
        """
        if not k:
            # The place that is asked for most: nothing has to be worked out for it.
            parameters = len(self._owner.original.functions[self.index].type.params)
            return frozenset(range(parameters, len(self.frame.locals)))
        return frozenset(bits(self.zeros().get(k, 0)))

    def zeros(self) -> Mapping[int, int]:
        """The masks of :meth:`unassigned`, for each call and each place where the fast twin may be left.

        Nothing, where there are only parameters.
        """
        return self._owner._details(self.index).zeros([packed >> 2 for packed in self._sites])

    def live(self) -> Liveness | None:
        """What its fast twin stores locals by; None if it stores them all."""
        return self._owner._details(self.index).live()

    def all_recipes(self) -> Recipes | None:
        """What its fast twin leaves to be worked out; None where the frame need not be whole."""
        return self._owner._details(self.index).recipes()

    def kept(self, k: int) -> int:
        """Mask of the locals that any frame of this function has at instruction *k*.

        That are all, but in live mode those that are live there.  A fast frame in a call also knows its
        :meth:`unassigned` ones.
        """
        everything = (1 << len(self.frame.locals)) - 1
        live = self._owner._details(self.index).live()
        return everything if live is None else live.before(k)

    def is_whole(self, k: int, *, copied: bool = False) -> bool:
        """Whether the fast twin's frame has everything when instruction *k* traps (see :meth:`recipes`).

        :param copied: it is the frame of a copy of a loop, which has one all the time.
        """
        if self._owner.mode != "post-mortem":
            return False
        op = self.typed().instructions[k].op
        return (op.code in TRAPS or op.flow is Flow.CALL) and (copied or self.has_frame(k))

    def recipes(self, k: int) -> Mapping[int, Recipe]:
        """By height, how to work out the operands that a frame may not have when instruction *k* traps."""
        recipes = self._owner._details(self.index).recipes()
        found: dict[int, Recipe] = {}
        operand = self.typed().stacks[k]
        while operand is not None and recipes is not None:
            recipe = recipes.of(operand, k)
            if recipe is not None:
                found[operand.height] = recipe
            operand = operand.below
        return found

    def trapping(self, k: int) -> int:
        """The instruction to blame for a trap that the engine has put before *k*.

        Where it sees that an access can never succeed, it says of the trap that follows a check of ours that
        it belonged to the check.
        """
        for at in range(k, self.instructions):
            op = self.typed().instructions[at].op
            if op.traps:
                return at
            if op.flow is not Flow.NEXT:
                break
        return k

    def has_frame(self, k: int) -> bool:
        """Whether the fast twin has its frame pushed at instruction *k*, one that calls or may trap.

        The frame is pushed where it is first needed, mostly before a call; a function that has not come to
        one when it traps is known from the engine's backtrace only, and the innermost frame on the shadow
        stack is its caller's.  The same holds for traps in inserted code (no room on a stack).
        """
        activity = self._owner._details(self.index).analysis().activity
        at = bisect_right(activity, k, key=lambda change: change[0]) - 1
        return at >= 0 and activity[at][1]


@define(eq=False)
class Instrumented:
    """A rewritten module and what is known of it.

    :ivar original: the module as it was.
    :ivar mode: how much of each frame is kept.
    :ivar wasm: the rewritten module's bytes, as the first instance of a store has it.
    :ivar plans: by function index; None for imported and for opaque functions.
    :ivar opaque: by function index, why a function could not be made debuggable: it was copied as it is,
        and runs without frames, sites and a slow twin.
    :ivar layout: places in the debug memory and the slots table.
    :ivar code_map: from offsets in ``wasm`` to offsets in the original.
    :ivar names: names of the added imports and exports.
    :ivar additions: what was appended to the index spaces.
    """

    original: Module
    mode: FrameMode
    names: Reserved
    additions: Additions = field(repr=False)
    wasm: bytes = field(default=b"", repr=False)
    layout: Layout = field(default=Layout.of(0, 0))
    plans: list[FunctionPlan | None] = field(factory=list, repr=False)
    code_map: CodeMap = field(factory=CodeMap, repr=False)
    opaque: dict[int, UnsupportedFeatureError] = field(factory=dict, repr=False)
    _cache: dict[int, Details] = field(factory=dict, repr=False)
    _stub_slots: dict[tuple[ValType, ...], int] = field(factory=dict, repr=False)

    def importing(self) -> bytes:
        """:attr:`wasm` as any further instance of a store has it: it imports the shadow stack pointer, and
        the id of the current instance, from the first one."""
        return importing(self.wasm, self.names)

    def plan(self, index: int) -> FunctionPlan:
        """The plan of a defined function.

        :raises LookupError: there is no such function, or it is imported, or opaque.
        """
        plan = self.plans[index] if 0 <= index < len(self.plans) else None
        if plan is None:
            if index in self.opaque:
                raise LookupError(f"function {index} can't be debugged: {self.opaque[index]}")
            raise LookupError(f"no function {index} is defined here")
        return plan

    def stub_slot(self, index: int) -> int:
        """Slot of a stub with the results of this function."""
        if not self._stub_slots:
            defined = (function for function in self.original.functions if function.body is not None)
            kinds = dict.fromkeys(function.type.results for function in defined)
            first = self.layout.first_stub_slot
            self._stub_slots.update((results, first + number) for number, results in enumerate(kinds))
        return self._stub_slots[self.original.functions[index].type.results]

    def defined(self) -> Iterator[FunctionPlan]:
        """Plans of all defined functions that are not opaque."""
        return (plan for plan in self.plans if plan is not None)

    def _details(self, index: int, tick: Callable[[], None] = no_tick) -> Details:
        # Slow twins are made in worker threads while another thread asks for offsets: each step here is
        # atomic, and at worst something is worked out twice.
        details = self._cache.pop(index, None)
        if details is not None:
            self._cache[index] = details
            return details
        function = self.original.functions[index]
        details = details_of(self.original, function, self._analyse, self.mode, tick)
        self._cache[index] = details
        for oldest in list(self._cache)[:-KEPT]:
            self._cache.pop(oldest, None)
        return details

    def forget_details(self) -> None:
        """Free what is kept of single functions for a while, and can be worked out again."""
        self._cache.clear()

    def _analyse(self, typed: TypedBody) -> FastTwin:
        plan = self.plan(typed.function.index)
        builder = FastTwinBuilder(
            self.original, typed, plan.frame, self.additions,
            escapable=plan.escapable, first_site=plan.first_site,
            live=self._details(plan.index).live(), recipes=self._details(plan.index).recipes(), tick=no_tick,
        )  # fmt: skip
        return builder.build()
