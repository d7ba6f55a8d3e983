"""Flavours: structured copies of a function that do more than its fast twin, and keep its speed.

A flavour is made like the fast twin, in a companion module, with check sites of its own (a block of bytes
in the debug memory, so that it can be left while another flavour of the function is not).  Besides, it has
*points*: before the instruction that a point stands at, a test is made on the values as they are in the
machine's registers, and where it holds the function leaves for its slow twin, which stops there as ever.
Tests are a condition of a breakpoint, or the stop byte of the instruction where a breakpoint has none, and
where memory is watched, the comparison of an access with it.

It is entered through the function's slot (see ``_rewrite`` for the stub, ``_slow_twin`` for its entry), with
a frame that its fast twin has pushed at an armed entry site.  A small adapter takes the parameters from that
frame, pops it, and goes on in the copy, whose frames look like the fast twin's from then on.

It leaves with NO_DISPATCH, for its slow twin: it would be entered again at once otherwise.  Only at its entry
it leaves as the fast twin does, for whatever the function is to run in.

The flavours of functions that call each other are best made together: then they do it directly, and come by
no fast twin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from attrs import field, frozen

from ..wasm import Instruction, Operand, TypedBody, ValType, ref_type
from . import _emit as emit
from ._additions import KEEP, FrameAccess
from ._body import FastTwin
from ._check_sites import LARGE
from ._cover import covered, is_covered
from ._fast_twin import FastTwinBuilder
from ._flow import INACTIVE, UNCERTAIN
from ._frames import MATERIALISED, RESUME_OFFSET
from ._imports import CompanionImports
from ._kinds import HELPED, TRAPS, Kind
from ._layout import NO_DISPATCH, SITES_BASE
from ._outline import Outline
from ._plans import FunctionPlan
from ._stores import Copied
from ._survey import Place, Survey, survey
from ._watch import Condition, ConditionPlaces
from ._zeros import bits, zeros

__all__ = [
    "MOST_OF_A_FLAVOUR",
    "FlavourBuilder",
    "FlavourOptions",
    "NoFlavourError",
    "Recording",
    "adapter",
    "leave_function",
]

Recording = Literal["coverage", "trace", "branches", "instructions"]
"""What is recorded: how often each instruction is executed; the last ones, in the ring; both of the first
ones of blocks; or both of all."""

MOST_OF_A_FLAVOUR: Final = LARGE
"""Functions with more of them have no flavours: the engine's compile time grows faster than a function."""

_DISPATCH: Final = NO_DISPATCH >> 2
"""Flag of the resume point, on the way out: without NO_DISPATCH.  It lies below MATERIALISED and KEEP."""
assert _DISPATCH == KEEP >> 1

_MISSING: Final = frozenset({Kind.CALL, Kind.TAIL_CALL, Kind.HELPED, Kind.THROW})
"""Kinds of instructions whose immediates are not there in a companion, if they can't be reached."""


class NoFlavourError(Exception):
    """Why a function can't have a flavour; it runs in its slow twin instead."""


@frozen
class FlavourOptions:
    """What a flavour does besides what the fast twin does.

    :ivar points: by resume point: the condition that makes it leave, or None where the stop byte does.
    :ivar watched: kinds of access to memory that it compares with what is watched: :data:`READS`,
        :data:`WRITES`, or both.
    :ivar records: see ``_recorder``; None: nothing.
    """

    points: Mapping[int, Condition | None] = field(factory=dict)
    watched: int = 0
    records: Recording | None = None


class FlavourBuilder(FastTwinBuilder):
    """Makes one flavour; use once."""

    def __init__(
        self,
        plan: FunctionPlan,
        imports: CompanionImports,
        options: FlavourOptions,
        *,
        block: int,
        inside: Mapping[int, int],
        leave_by: int,
        tick: Callable[[], None],
    ) -> None:
        """
        :param block: address of the bytes of its check sites: as many as the fast twin has.
        :param inside: functions whose flavour is in the same companion, and its index there.
        :param leave_by: index of the :func:`leave_function` for its results.
        """
        self._plan = plan
        self._imports = imports
        self._inside = inside
        self._leave_by = leave_by
        self._options = options
        self._layout = imports.owner.layout
        self._last = plan.instructions - 1
        super().__init__(
            imports.additions.module, plan.typed(), plan.frame, imports.additions,
            escapable=plan.escapable, first_site=block - SITES_BASE,
            live=plan.live(), recipes=plan.all_recipes(), tick=tick,
        )  # fmt: skip
        self._at_entry = b""

    # ── indices of a companion ─────────────────────────────────────────────────────────────────

    def _look(self, typed: TypedBody | Outline) -> Survey:
        assert isinstance(typed, TypedBody)
        points = {k for k in self._options.points if k < self._last}
        if self._options.watched:
            for k, instruction in enumerate(typed.instructions):
                if covered(instruction, self._options.watched):
                    points.add(k)
        return survey(typed, points)

    def _places(self) -> list[Place]:
        return sorted(super()._places(), key=lambda place: (place[0], place[1] != Kind.POINT, place[1]))

    def _entry_only(self) -> FastTwin:
        raise NoFlavourError("it gets too large")

    def _global(self, index: int) -> int:
        return self._imports.global_(index)

    def _called(self, index: int) -> int:
        inside = self._inside.get(index)
        return self._imports.function(index) if inside is None else inside

    def _copy_call(self, instruction: Instruction) -> None:
        if instruction.op.code == 0x10:
            self._writer.replace(instruction, emit.call(self._called(instruction.imm)))
        else:
            super()._copy_call(instruction)

    def _tail_call(self, instruction: Instruction) -> None:
        if instruction.op.code == 0x12:
            self._writer.replace(instruction, emit.return_call(self._called(instruction.imm)))

    def _helped(self, instruction: Instruction) -> None:
        imm = instruction.imm
        first, second = imm if isinstance(imm, tuple) else (imm, 0)
        helped = HELPED.get(instruction.op.code, "ref.func")
        code = emit.call(self._imports.helper(helped, first, second))
        if helped == "ref.func":
            # The helper's result is a funcref; here it is known to be one of this type.
            heap = self._module.functions[first].type_index
            code += self._additions.cast(ref_type(False, heap))
        self._writer.replace(instruction, code)

    def _dead(self, kind: int, instruction: Instruction) -> None:
        if kind in _MISSING:
            # Fits everywhere in dead code.
            self._writer.replace(instruction, emit.UNREACHABLE)

    # ── points ─────────────────────────────────────────────────────────────────────────────────

    def _exit(self, resume_point: int, inside: int = 1, *, keep: bool = False) -> bytes:
        code = super()._exit(resume_point, inside, keep=keep)
        if resume_point == 0 and not self._sites:
            # At the entry, and nowhere else: what tests stand there have not been made yet.
            place = emit.i32_const(_DISPATCH) + emit.local_set(self._resume_point)
            return place + emit.br(len(self._labels) + inside)
        return code

    def _way_out(self) -> bytes:
        """By a function, as fast twins do: the flavour itself must call nothing on its way out."""
        return self._access.fp + emit.local_get(self._resume_point) + emit.return_call(self._leave_by)

    def _needed_at(self, k: int) -> int:
        return -1 if self._live is None else self._live.before(k)

    def _point(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        if self._now.active == UNCERTAIN and instruction.op.code in TRAPS:
            self._activate(k)
        self._writer.copy_to(instruction.offset)
        height = stack.height + 1 if stack is not None else 0
        # The instruction's own operands in any case: a test may want them.
        own = covered(instruction, self._options.watched) and instruction.op.pop_count
        operands = self._stores.expose(stack, self._keep_stored(stack, height - (own or 0)))
        self._writer.out += b"".join([emit.local_get(copied.local) for copied in operands])
        self._test(k, operands)

    def _before_return(self) -> bytes | None:
        return None if self._last in self._options.points else super()._before_return()

    def _at_end(self) -> None:
        if self._last in self._options.points:
            # Wherever control came from, the results are on the stack now.
            self._test(self._last, self._stores.peek(self._type.results, 0))

    def _test(self, k: int, operands: list[Copied]) -> None:
        """Leaves at *k* if the test there holds; *operands* are those that are not in the frame."""
        needed = self._needed_at(k)
        # Where fast twins can't leave, the slow twin does not know which zeros to write.
        whole = zeros(bits(self._now.zero & needed), self._frame, self._access)
        place = emit.i32_const(k | MATERIALISED) + emit.local_set(self._resume_point)
        leave = [self._activation(), self._stores.operands(operands), self._locals(needed), whole, place]
        leave.append(self._at_point(k))
        for test in self._tests(k, operands):
            # Out of the construct here, and all others.
            out = emit.br(len(self._labels) + 1)
            self._writer.out += b"".join([test, emit.IF_EMPTY, *leave, out, emit.END])

    def _at_point(self, k: int) -> bytes:
        """What more there is to do when the function leaves at a point."""
        return b""

    def _tests(self, k: int, operands: list[Copied]) -> Sequence[bytes]:
        """Code that pushes an i32, not 0 where the function is to leave."""
        tests = []
        if k in self._options.points:
            tests.append(self._point_test(k, operands))
        instruction = self._typed.instructions[k]
        own = dict(enumerate(operands[len(operands) - max(instruction.op.pop_count, 0) :]))
        base = self._imports.owner.layout.cover_base
        for access in covered(instruction, self._options.watched):
            tests.append(is_covered(self._additions, base, access, self._options.watched, own))
        return tests

    def _point_test(self, k: int, operands: list[Copied]) -> bytes:
        condition = self._options.points[k]
        if condition is None:
            address = self._plan.stop_base + k
            return emit.i32_const(0) + self._additions.memory_access(0x2D, address)
        self._fp_needed |= self._now.active == INACTIVE

        def scratch(type: ValType, number: int) -> int:
            used = sum(copied.type == type for copied in operands)
            return self._writer.temporary(type, used + number)

        places = ConditionPlaces(
            self._frame,
            self._fp,
            self._additions.debug_memory,
            scratch,
            self._access.reference,
            self._global,
            {copied.height: copied.local for copied in operands},
        )
        return condition.code(places)


def leave_function(imports: CompanionImports, results: tuple[ValType, ...]) -> bytes:
    """The body of (frame pointer, resume point) -> results by which flavours leave.

    It writes the header's second word, as the function that fast twins leave by does it, and goes on in the
    slow twin.  The flag of MATERIALISED may also come with the resume point.
    """
    additions = imports.additions
    access, place = FrameAccess(additions, 0), emit.local_get(1)
    dispatch = emit.i32_const(_DISPATCH)
    kept = access.load_i32(RESUME_OFFSET) + emit.i32_const(MATERIALISED) + emit.I32_AND
    first_slot = imports.owner.layout.first_function_slot - imports.owner.original.imported_functions
    return b"".join(
        [
            emit.local_groups([]),
            access.fp,
            place + emit.i32_const(~(KEEP | _DISPATCH)) + emit.I32_AND,
            kept + emit.i32_const(0) + place + emit.i32_const(KEEP) + emit.I32_AND,
            b"\x1b\x72",  # select, i32.or
            additions.memory_access(0x36, RESUME_OFFSET, 2),
            access.fp,
            place + emit.i32_const(_DISPATCH - 1) + emit.I32_AND,
            # NO_DISPATCH, if there is no _DISPATCH: i32.xor, i32.shl, i32.or
            place + dispatch + emit.I32_AND + dispatch + b"\x73" + emit.i32_const(2) + b"\x74\x72",
            access.load_i32(0) + emit.i32_const(first_slot) + emit.I32_ADD,
            emit.return_call_indirect(additions.cold_type(results), additions.slots_table),
            emit.END,
        ]
    )


def adapter(plan: FunctionPlan, imports: CompanionImports, target: int) -> bytes:
    """The body of (frame pointer, resume point) -> results that enters a flavour at its beginning.

    :param target: function index of the flavour.
    """
    access, frame = FrameAccess(imports.additions, 0), plan.frame
    count = len(plan.typed().function.type.params)
    loads = [access.load(type, frame.local(i)) for i, type in enumerate(frame.locals[:count])]
    pop = access.pop(frame.size, plan.escapable)
    return b"".join([emit.local_groups([]), *loads, pop, emit.return_call(target), emit.END])
