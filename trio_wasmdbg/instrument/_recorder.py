"""Flavours that record: each basic block is counted as a whole, and maybe noted in the ring.

Where a block begins, after all that the function may leave for there, its counter is incremented, eight bytes
in the debug memory; and its first instruction goes into the ring.  The place of the next entry in the ring is
kept in a local: it is written to memory before calls and wherever the function ends, and read again after
calls.  In small loops that call nothing, counters are kept in locals as well, and written each time: an
addition in memory would make each round wait for the one before.

So that every instruction is counted exactly, and once:

* a block ends with a call, and control that comes back begins another one;
* if the function leaves for its slow twin within a block (a condition, a watched access, a division that is
  going to trap), the block is *cut*: its first instructions are noted one by one, as the slow twin does with
  the rest;
* of a block in which the guest has trapped, the host does the same, since it knows where (see ``_notes``).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Final

from ..wasm import I32, I64, Instruction, Operand, ValType
from . import _emit as emit
from ._flavour import FlavourBuilder, FlavourOptions
from ._imports import CompanionImports
from ._kinds import KINDS, Kind, division_can_trap
from ._layout import TRACE_ENTRIES
from ._plans import FunctionPlan
from ._survey import Place
from ._trace import BLOCK, SHIFT, STEP

__all__ = ["RecordingBuilder"]

SMALL: Final = 4
"""Blocks of a loop whose counters are kept in locals: of these a machine has few."""

_DIVISION, _UNREACHABLE = int(Kind.DIVISION), int(Kind.UNREACHABLE)


class RecordingBuilder(FlavourBuilder):
    """Makes one flavour that records; use once."""

    def __init__(
        self,
        plan: FunctionPlan,
        imports: CompanionImports,
        options: FlavourOptions,
        *,
        block: int,
        inside: Mapping[int, int],
        leave_by: int,
        counters: int,
        cut: int,
        tick: Callable[[], None],
    ) -> None:
        """
        :param counters: address of the first counter; there is one for each of the function's leaders.
        :param cut: index of the function that cuts a block.
        """
        assert options.records is not None
        self._leaders: Final = sorted(plan.leaders())
        self._number: Final = {k: number for number, k in enumerate(self._leaders)}
        self._counters = counters
        self._cut = cut
        self._traced = options.records != "coverage"
        self._counted = options.records != "trace"
        self._whole = options.records != "branches"
        super().__init__(plan, imports, options, block=block, inside=inside, leave_by=leave_by, tick=tick)
        self._small = self._small_loops() if self._counted and not self._survey.tries else {}
        self._own: dict[int, int] = {}
        """By leader: the local that its counter is kept in."""
        self._locals_of_counters: list[int] = []
        self._head = self._writer.local(I32)
        self._save = self._load = b""
        if self._traced:
            zero, place = emit.i32_const(0), self._layout.trace_base
            memory = self._additions.memory_access
            self._save = zero + emit.local_get(self._head) + memory(0x36, place, 2)
            self._load = zero + memory(0x28, place, 2) + emit.local_set(self._head)

    # ── blocks ─────────────────────────────────────────────────────────────────────────────────

    def _places(self) -> list[Place]:
        reachable = self._typed.reachable
        # Nothing is done with operands there.
        added = [(k, int(Kind.RECORD), 0, 0) for k in self._leaders if k < self._last and reachable[k]]
        rank = {int(Kind.POINT): 0, int(Kind.RECORD): 1}
        places = [*super()._places(), *added]
        return sorted(places, key=lambda place: (place[0], rank.get(place[1], 2), place[1]))

    def _execute(self, k: int, kind: int, instruction: Instruction, height: int) -> None:
        if kind == Kind.RECORD:
            own = KINDS.get(instruction.op.code)
            # Before these the function may leave, for a twin that counts the block itself.
            leaves = own == _DIVISION and division_can_trap(self._typed.instructions, k)
            if not leaves and own != _UNREACHABLE:
                self._record(k, instruction.offset)
        else:
            super()._execute(k, kind, instruction, height)

    def _division(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        super()._division(k, instruction, stack)
        if k in self._number:
            self._record(k, instruction.offset)

    def _before_return(self) -> bytes | None:
        return None

    def _at_end(self) -> None:
        super()._at_end()
        # Wherever control came from.
        if self._last in self._number:
            self._writer.out += self._recorded(self._last)
        self._writer.out += self._save

    def _record(self, k: int, offset: int) -> None:
        self._writer.copy_to(offset)
        self._writer.out += self._recorded(k)

    def _small_loops(self) -> dict[int, list[int]]:
        """By opening instruction: the blocks of small loops that have no loops and no calls in them."""
        loops = [control for control in self._typed.controls.values() if control.kind == "loop"]
        outer = set()
        for control in loops:
            scope = control.parent
            while scope is not None and scope.start not in outer:
                outer.add(scope.start)
                scope = scope.parent
        found = {}
        for control in loops:
            facts = self._survey.facts.get(control.start)
            if control.start not in outer and facts is not None and not facts.calls:
                low = bisect_right(self._leaders, control.start)
                blocks = self._leaders[low : bisect_right(self._leaders, control.end)]
                if len(blocks) <= SMALL:
                    found[control.start] = blocks
        return found

    def _enter_loop(self, k: int) -> None:
        self._writer.copy_to(self._typed.instructions[k].offset)
        for number, leader in enumerate(self._small.get(k, ())):
            if number == len(self._locals_of_counters):
                self._locals_of_counters.append(self._writer.local(I64))
            own = self._own[leader] = self._locals_of_counters[number]
            load = self._additions.memory_access(0x29, self._counters + 8 * self._number[leader], 3)
            self._writer.out += emit.i32_const(0) + load + emit.local_set(own)
        super()._enter_loop(k)

    def _recorded(self, k: int) -> bytes:
        """Code that notes the block that begins with instruction *k*."""
        zero, access = emit.i32_const(0), self._additions.memory_access
        counter = self._counters + 8 * self._number[k]
        code = []
        if self._counted:
            own = self._own.get(k)
            before = zero + access(0x29, counter, 3) if own is None else emit.local_get(own)
            after = before + emit.i64_const(1) + b"\x7c" + (b"" if own is None else emit.local_tee(own))
            code.append(zero + after + access(0x37, counter, 3))
        if self._traced:
            head = emit.local_get(self._head)
            entry = self._plan.stop_base - self._layout.stops_base + k + 1 | (BLOCK if self._whole else 0)
            code += [
                head + emit.i32_const(SHIFT) + b"\x76" + emit.i64_const(entry),  # i32.shr_u
                access(0x37, self._layout.trace_base + TRACE_ENTRIES, 2),
                head + emit.i32_const(STEP) + emit.I32_ADD + emit.local_set(self._head),
                # Where an exception may lead, and other control as well, it has to be in memory.
                self._save if self._survey.tries else b"",
            ]
        return b"".join(code)

    def _cut_before(self, k: int) -> bytes:
        """Code that leaves in the counters and the ring what was executed of a block before *k*."""
        if not self._whole or k in self._number:
            return b""
        first = self._leaders[bisect_right(self._leaders, k) - 1]
        return b"".join(
            [
                self._save,
                emit.i32_const(self._counters + 8 * self._number[first]),
                emit.i32_const(self._plan.stop_base + first),
                emit.i32_const(k - first),
                emit.call(self._cut),
                self._load,
            ]
        )

    def _exit(self, resume_point: int, inside: int = 1, *, keep: bool = False) -> bytes:
        return self._cut_before(resume_point) + super()._exit(resume_point, inside, keep=keep)

    def _at_point(self, k: int) -> bytes:
        return self._cut_before(k)

    # ── the place in the ring ──────────────────────────────────────────────────────────────────

    def _prologue(self) -> None:
        self._writer.out += self._load
        super()._prologue()

    def _way_out(self) -> bytes:
        return self._save + super()._way_out()

    def _copy_call(self, instruction: Instruction) -> None:
        self._writer.copy_to(instruction.offset)
        self._writer.out += self._save
        super()._copy_call(instruction)
        self._writer.out += self._load

    def _tail_call(self, instruction: Instruction) -> None:
        self._writer.copy_to(instruction.offset)
        self._writer.out += self._save
        super()._tail_call(instruction)

    def _throw(self, k: int, instruction: Instruction) -> None:
        self._writer.copy_to(instruction.offset)
        self._writer.out += self._save
        super()._throw(k, instruction)

    def _check_caught(
        self, resume_point: int, types: tuple[ValType, ...], base: int, needed: int
    ) -> None:
        self._writer.out += self._load
        super()._check_caught(resume_point, types, base, needed)
