"""The fast twin: a function with its structure kept, a shadow frame, and ways out.

What is added to the original body:

* a shadow frame, pushed where it is first needed (before a call, or on the way out), and popped before a
  ``return`` and at the end, or earlier, where control from there meets some that has not pushed it (see
  ``_early_pops``); the body becomes one block, so that branch depths stay as they are;
* before each call: whatever the frame does not have yet.  *Dirty* locals may differ from their
  slot; locals that are *zero* have never been assigned, which is known statically, and are not
  stored at all (see ``_zeros``); the others are clean.  Operands that stay below the arguments are
  stored as well;
* check sites, where the function leaves for good if the site's byte is set: at its entry, in loops,
  after calls, and where exceptions are caught;
* before integer divisions that will trap, and in place of ``unreachable``: the same way out.

The state of the locals is found in one pass: control flow is structured, so every branch to a label
other than a loop's comes before the label; at a loop's header, everything that the loop assigns is
taken for dirty.  Operands stored are always the lowest ones; :attr:`FastTwinBuilder._stored` is the
topmost of them, as the typed stack shows it.

In *live* mode, only those locals are stored that the program still needs (see ``_liveness``); a local that
is dead stays dirty.  On entry everything is stored: it costs nothing there, and a frame that was left for
the slow twin at its entry has all locals for as long as it exists.

In *post-mortem* mode, the frame is whole before each instruction that may trap, but for operands that can
be worked out from it (see ``_recipes``).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import compress, count
from typing import Final

from ..wasm import I32, Instruction, Module, Operand, TypedBody, ValType, uleb
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._body import BodyWriter, FastTwin
from ._check_sites import ADDRESS_SIZE, AFTER_CALL, CATCH, ENTRY, LOOP, CheckSites, first_cut
from ._direct import enter_directly
from ._entry_twin import MAX_BODY, MAX_LOCALS, entry_code, entry_ranges
from ._flow import ACTIVE, INACTIVE, UNCERTAIN, Flowing, Label
from ._frames import RESUME_OFFSET, FrameLayout
from ._kinds import CONVERSIONS, HELPED, Kind, division_can_trap, foreseen_trap
from ._liveness import Liveness
from ._outline import Outline
from ._recipes import Recipes
from ._stores import MANY_OPERANDS, FrameStores, operand_below, still_stored
from ._survey import WHOLE, Facts, Place, Survey, branch_depths, call_signature, survey

__all__ = ["MAX_BODY", "FastTwinBuilder"]

MANY_CALLS: Final = 2_000
"""With more of them, each site has a way out of its own: one that many branches lead to takes the compiler
the square of their number."""

_ASSIGN, _GLOBAL, _SELECT, _DIVISION, _HELPED, _BLOCK, _LOOP, _IF, _TRY_TABLE, _ELSE, _END = range(11)
_BRANCH, _BRANCH_IF, _BRANCH_TABLE, _RETURN, _UNREACHABLE, _CALL, _TAIL_CALL, _THROW, _POINT = range(11, 20)
_TRAPPING = -1
assert len(Kind) == 21 and Kind.END == _END and Kind.POINT == _POINT


class FastTwinBuilder(CheckSites):
    """Rewrites one function; use once."""

    def __init__(
        self,
        module: Module,
        typed: TypedBody | Outline,
        frame: FrameLayout,
        additions: Additions,
        *,
        escapable: bool,
        first_site: int,
        live: Liveness | None,
        recipes: Recipes | None = None,
        tick: Callable[[], None],
    ) -> None:
        """
        :param live: what to store locals by; None: all of them are.
        :param recipes: if the frame is to be whole before each instruction that may trap.
        """
        self._module = module
        self._typed = typed
        self._frame = frame
        self._additions = additions
        self._escapable = escapable
        self._first_site = first_site
        self._tick = tick
        self._type = typed.function.type
        self._survey = self._look(typed)
        self._live = live
        self._recipes = recipes
        self._fp = len(typed.locals)
        self._access = FrameAccess(additions, self._fp)
        body = typed.function.body
        assert body is not None
        self._writer = BodyWriter(module.data, body, self._fp)
        self._resume_point = self._writer.temporary(I32, 0)
        self._stores = FrameStores(self._writer, frame, self._access, additions)
        self._sites = array("I")
        self._address_places = array("I")
        # i32.const 0, i32.load8_u without the offset, which differs
        self._load_byte = emit.i32_const(0) + additions.memory_access(0x2D, 0)[:-1]
        self._at_entry = enter_directly(
            module, typed.function, additions, self._load_byte, first_site, escapable=escapable
        )
        self._unassigned: dict[int, int] = {}
        count = len(self._type.params)
        parameters = (1 << count) - 1
        self._now = Flowing(parameters, (1 << len(typed.locals)) - 1 & ~parameters)
        self._activity: list[tuple[int, bool]] = []
        self._stored: Operand | None = None
        whole = self._survey.whole
        self._early = None if self._must_be_whole(whole) else self._early_pops()
        self._fp_needed = False  # where the frame is not pushed
        self._many = sum(place[1] == _CALL for place in self._survey.places) > MANY_CALLS
        self._cut_at = first_cut(typed.count)
        self._call_flag = 0  # of the second word of the frame during calls
        self._labels: list[Label] = []
        self._tries: list[Label] = []
        # Non-nullable locals that have no value yet at this point.
        self._settable = 0
        for i, type in enumerate(typed.locals[count:], count):
            if type.is_ref and not type.nullable:
                self._settable |= 1 << i
        self.tail_called: set[int] = set()
        """Functions that :meth:`build` has found a ``return_call`` of."""

    # ── what flavours do in their own way (see ``_flavour``) ───────────────────────────────────

    def _look(self, typed: TypedBody | Outline) -> Survey:
        return survey(typed) if isinstance(typed, TypedBody) else typed.survey

    def _global(self, index: int) -> int:
        """The index here of a global of the original."""
        return self._additions.global_(index)

    def _copy_call(self, instruction: Instruction) -> None:
        """Copies a call, the call only."""
        self._writer.copy_to(instruction.end)

    def _tail_call(self, instruction: Instruction) -> None:
        """The frame is popped, and the tail call comes next."""

    def _helped(self, instruction: Instruction) -> None:
        """An instruction that works on the module's own segments or functions."""
        self._note(_HELPED, instruction)

    def _branch(self, kind: int, instruction: Instruction) -> None:
        """A branch; the state has been given to its labels."""

    def _begin_loop(self, k: int) -> None:
        """The code of a loop begins."""

    def _point(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        """There is something to do before instruction *k*."""

    def _dead(self, kind: int, instruction: Instruction) -> None:
        """An instruction that can't be reached."""

    def _at_end(self) -> None:
        """The results are on the operand stack, and the frame is not popped yet."""

    # ── the pass ───────────────────────────────────────────────────────────────────────────────

    def build(self) -> FastTwin:
        """The rewritten body, or, if it would become larger than the engine allows, an entry twin."""
        typed, writer = self._typed, self._writer
        instructions, reachable = typed.instructions, typed.reachable
        self._prologue()
        since = previous = -1
        for k, kind, assigned, height in self._places():
            if self._now.active == UNCERTAIN:
                self._settle_before_trap(previous, k)
            previous = k
            if assigned:
                now = self._now
                now.dirty |= assigned
                now.zero &= ~assigned
                self._settable &= ~assigned
            if kind == _ASSIGN:
                continue
            if kind == _END:
                self._end(k, bool(reachable[k]))
                continue
            if kind == _TRAPPING:
                if reachable[k]:
                    self._before_trap(k, instructions[k], typed.stack(k, height))
                continue
            if k - since > 2000:
                since = k
                self._tick()
                if len(writer.out) > MAX_BODY:
                    break
            if _BLOCK <= kind <= _TRY_TABLE:
                self._enter(k, kind, height, bool(reachable[k]))
                continue
            if kind == _ELSE:
                self._else(k, bool(reachable[k]))
                self._note_activity(k)
                continue
            instruction = instructions[k]
            if kind == _GLOBAL:
                code = b"\x23" if instruction.op.code == 0x23 else b"\x24"
                writer.replace(instruction, code + uleb(self._global(instruction.imm)))
            elif kind == _RETURN:
                self._return(instruction, bool(reachable[k]))
            elif reachable[k]:
                self._execute(k, kind, instruction, height)
            else:
                self._dead(kind, instruction)
        assert typed.function.body is not None
        writer.copy_to(typed.function.body.end)
        self._at_end()
        writer.out += self._deactivation() + emit.RETURN + emit.END + self._way_out() + emit.END
        return self._finish()

    def _places(self) -> list[Place]:
        """What to look at: in order, and instructions that may trap before what else there is about them."""
        places = self._survey.places
        if self._recipes is None:
            return places
        # Then there is a typed body: it does not ask for heights, and its survey has no masks to be split.
        traps = compress(count(), self._survey.traps)
        return sorted([*places, *((k, _TRAPPING, 0, 0) for k in traps)])

    def _must_be_whole(self, facts: Facts) -> bool:
        """Whether the frame must be whole somewhere in a construct, besides at calls and on the way out."""
        return self._recipes is not None and facts.traps

    def _execute(self, k: int, kind: int, instruction: Instruction, height: int) -> None:
        """The rarer kinds."""
        if _BRANCH <= kind <= _BRANCH_TABLE:
            if self._early and self._now.active == ACTIVE:
                self._branch_popping(kind, instruction)
                return
            for depth in branch_depths(instruction):
                self._label(depth).branch(self._now)
            self._branch(kind, instruction)
        elif kind == _CALL:
            self._call(k, instruction, height)
        elif kind == _DIVISION:
            if division_can_trap(self._typed.instructions, k):
                self._division(k, instruction, self._typed.stack(k, height))
        elif kind == _UNREACHABLE:
            self._unreachable(k, instruction, self._typed.stack(k, height))
        elif kind == _SELECT:
            # The typed stack shows the first operand as the result: it may be another value now.
            if self._stored is not None:
                self._keep_stored(self._typed.stack(k, height), height - 3)
        elif kind == _HELPED:
            self._helped(instruction)
        elif kind == _TAIL_CALL:
            self._note(kind, instruction)
            self._writer.copy_to(instruction.offset)
            self._writer.out += self._deactivation()
            self._tail_call(instruction)
        elif kind == _THROW:
            self._throw(k, instruction)
        elif kind == _POINT:
            self._point(k, instruction, self._typed.stack(k, height))

    # ── what is stored ─────────────────────────────────────────────────────────────────────────

    def _keep_stored(self, stack: Operand | None, most: int) -> int:
        """How many operands are stored, at most *most*, given the stack as it is now; remembers it."""
        if self._stored is None:
            return 0
        stored = self._stored = still_stored(self._stored, stack, most)
        return stored.height + 1 if stored is not None else 0

    def _store_operands(self, stack: Operand | None, high: int) -> None:
        """Stores the operands below *high* that are not stored yet, and leaves the stack as it is."""
        low = self._keep_stored(stack, high)
        if low >= high:
            return
        self._fp_needed |= self._now.active == INACTIVE
        assert stack is not None
        self._stores.store_between(stack, low, high)
        self._stored = operand_below(stack, high)

    # ── ways out ───────────────────────────────────────────────────────────────────────────────

    def _check_caught(
        self, resume_point: int, types: tuple[ValType, ...], base: int, needed: int
    ) -> None:
        """Where an exception may have come to.

        Frames that were unwound are taken off the shadow stack.  There is a check site, because the one
        after the call was not come by; and if the host has changed the frame during that call, then the
        frame is right and the machine's registers are not.
        """
        self._writer.out += self._access.topmost()
        operands = self._stores.peek(types, base)
        parts = [self._stores.operands(operands), self._stores.unless_materialised(self._locals(needed))]
        self._check(resume_point, CATCH, b"".join([*parts, self._exit(resume_point, keep=True)]))

    # ── the pieces of a body ───────────────────────────────────────────────────────────────────

    def _prologue(self) -> None:
        out = self._writer.out
        out += emit.BLOCK_EMPTY  # what follows it is the way out
        if self._early is None:
            out += self._access.new_frame(self._frame.size) + emit.local_set(self._fp)
        self._check(0, ENTRY, self._at_entry + self._leave([], 0, -1))
        if self._at_entry:
            # It loads the same byte again.
            between = len(emit.IF_EMPTY) + len(self._load_byte)
            self._address_places.append(self._address_places[0] + ADDRESS_SIZE + between)
        if self._survey.tries:
            # What catches an exception puts the stack pointer back to this frame, so it must be there.
            out += self._activation() + self._access.store_i32(RESUME_OFFSET, emit.i32_const(0))
            self._now.active = ACTIVE
            self._note_activity(0)
        out += b"\x02" + self._additions.block_type(self._type.results)
        label = Label(False, None, settable=self._settable, catches=self._survey.whole.catches)
        label.pops = self._early is not None and WHOLE in self._early
        label.values = bool(self._type.results)
        self._labels.append(label)

    def _enter(self, k: int, kind: int, height: int, live: bool) -> None:
        """``block``, ``loop``, ``if``, ``try_table``."""
        loop = kind == _LOOP
        if not live:
            self._labels.append(Label(loop, None, settable=self._settable))
            return
        targets = None
        if kind == _TRY_TABLE:
            # Labels count from outside of the try_table.
            clauses = self._typed.instructions[k].imm.catches
            targets = tuple(self._label(catch.label) for catch in clauses)
        control = self._typed.controls[k]
        facts = self._survey.facts[k]
        base = control.height
        # Operands are looked for only where there are any.
        wanted = base and (self._stored is not None or facts.leaves or self._recipes is not None)
        stack = self._typed.stack(k, height) if wanted else None
        if base and (facts.leaves or self._must_be_whole(facts)):
            self._writer.copy_to(self._typed.instructions[k].offset)
            self._store_operands(stack, base)
        elif self._stored is not None:
            self._keep_stored(stack, base)
        caught = facts.catches and not loop
        label = Label(loop, self._stored, settable=self._settable, catches=caught, targets=targets)
        if kind == _IF:
            label.at_else = self._now.copy()
        if self._early and k in self._early:
            label.pops, label.values = True, bool(control.results)
        if targets is not None:
            self._tries.append(label)
        self._labels.append(label)
        if loop:
            self._enter_loop(k)

    def _enter_loop(self, k: int) -> None:
        instruction = self._typed.instructions[k]
        control, facts, now = self._typed.controls[k], self._survey.facts[k], self._now
        writer = self._writer
        whole = facts.calls or self._must_be_whole(facts)
        if whole or (facts.traps and now.active == UNCERTAIN):
            self._activate(k)
        if whole:
            before = now.dirty & ~facts.assigned & self._needed(k)
            if before:
                # Clean in the whole loop then: stored once instead of in each iteration.
                writer.copy_to(instruction.offset)
                writer.out += self._stores.locals(before)
                now.dirty &= ~before
        assigned = facts.assigned & ~self._settable
        now.dirty |= assigned
        now.zero &= ~assigned
        writer.copy_to(instruction.end)
        self._begin_loop(k)
        if facts.catches:
            self._check_caught(k + 1, control.params, control.height, self._needed(k))
        elif facts.endless:
            operands = self._stores.peek(control.params, control.height)
            self._check(k + 1, LOOP, self._leave(operands, k + 1, self._needed(k)))

    def _else(self, k: int, live: bool) -> None:
        """``else``: the other arm of an ``if``."""
        label = self._labels[-1]
        if live:
            self._come_to(label, self._typed.instructions[k].offset)
        if label.at_else is not None:
            self._now = label.at_else
            label.at_else = None
        self._stored = label.stored
        self._forget(label)

    def _end(self, k: int, live: bool) -> None:
        """``end`` of a construct, or of the function."""
        label = self._labels.pop()
        if label.targets is not None:
            self._tries.pop()
            if label.at_throw is not None:
                for target in label.targets:
                    target.branch(label.at_throw)
                if self._tries:
                    self._tries[-1].throw(label.at_throw)
        if label.at_else is not None:
            label.branch(label.at_else)
        if not label.loop:
            if live:
                self._come_to(label, self._typed.instructions[k].offset)
            if label.at_end is not None:
                self._now = label.at_end
        self._stored = label.stored
        self._forget(label)
        if label.catches:
            control = self._typed.controls[k]
            self._writer.copy_to(self._typed.instructions[k].end)
            after = min(k + 1, self._typed.count - 1)
            self._check_caught(after, control.results, control.height, self._needed(k))
        elif self._is_cut(k, live or label.at_end is not None):
            self._check_after_end(k)
        self._note_activity(k)

    def _forget(self, label: Label) -> None:
        """Non-nullable locals that were first assigned inside a construct have no value after it."""
        settable = label.settable
        if settable:
            self._settable = settable
            self._now.dirty &= ~settable
            self._now.zero |= settable

    def _call(self, k: int, instruction: Instruction, height: int) -> None:
        arguments, results = call_signature(self._module, instruction)
        high = height - arguments
        stack = self._typed.stack(k, height) if high or self._recipes is not None else None
        writer, stores, now = self._writer, self._stores, self._now
        self._activate(k)
        writer.copy_to(instruction.offset)
        if self._recipes is not None and instruction.op.code != 0x10:
            # It may trap itself.
            self._store_operands(stack, height)
        self._store_operands(stack, high)
        writer.out += self._access.store_i32(RESUME_OFFSET, emit.i32_const(k | self._call_flag))
        needed = self._needed(k)
        writer.out += stores.locals(now.dirty & needed)
        now.dirty &= ~needed
        if self._tries:
            self._tries[-1].throw(now)
        self._unassigned[k] = now.zero
        self._copy_call(instruction)
        # After the call: only the results are not in the frame.
        operands = stores.operands(stores.peek(results, high))
        self._check(k + 1, AFTER_CALL, operands + self._exit(k + 1, keep=True))

    def _before_trap(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        """Makes the frame whole, but for operands that can be worked out."""
        self._activate(k)
        writer, now, recipes = self._writer, self._now, self._recipes
        assert recipes is not None
        writer.copy_to(instruction.offset)
        low = self._keep_stored(stack, stack.height + 1 if stack is not None else 0)
        missing = recipes.missing(stack, low, k)
        if missing:
            assert stack is not None
            if stack.height - min(missing) >= MANY_OPERANDS:
                self._store_operands(stack, stack.height + 1)
            else:
                operands = self._stores.expose(stack, min(missing))
                writer.out += self._stores.operands([each for each in operands if each.height in missing])
                writer.out += b"".join([emit.local_get(each.local) for each in operands])
        writer.out += self._stores.locals(now.dirty)
        now.dirty = 0
        self._unassigned[k] = now.zero

    def _division(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        """Leaves if the division or conversion will trap, as its operands tell."""
        assert stack is not None
        self._writer.copy_to(instruction.offset)
        count = 1 if instruction.op.code in CONVERSIONS else 2
        # Those below may lie outside of the construct that this stands in.
        operands = self._stores.expose(stack, self._keep_stored(stack, stack.height + 1 - count))
        get = [emit.local_get(copied.local) for copied in operands]
        condition = foreseen_trap(instruction.op.code, get[-count:])
        leave = self._leave(operands, k, self._needed(k))
        parts = [*get[:-count], condition, emit.IF_EMPTY, leave, emit.END, *get[-count:]]
        self._writer.out += b"".join(parts)

    def _unreachable(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        self._writer.copy_to(instruction.offset)
        self._writer.out += self._activation()
        high = stack.height + 1 if stack is not None else 0
        self._stores.pop_into_frame(stack, self._keep_stored(stack, high))
        self._writer.out += self._locals(self._needed(k)) + self._exit(k, 0)

    def _throw(self, k: int, instruction: Instruction) -> None:
        if self._now.active == UNCERTAIN:
            self._activate(k)
        if self._tries:
            self._writer.copy_to(instruction.offset)
            self._writer.out += self._access.store_i32(RESUME_OFFSET, emit.i32_const(k))
            needed = self._needed(k)
            self._writer.out += self._stores.locals(self._now.dirty & needed)
            self._now.dirty &= ~needed
            self._tries[-1].throw(self._now)

    def _finish(self) -> FastTwin:
        writer = self._writer
        head = writer.head()
        if self._early is not None and self._fp_needed:
            head += self._access.new_frame(self._frame.size) + emit.local_set(self._fp)
        if writer.local_count > MAX_LOCALS or len(head) + len(writer.out) > MAX_BODY:
            return self._entry_only()
        size = len(head)
        new = array("I", [at + size for at in writer.new])
        return FastTwin(
            head + writer.out, new, writer.old, self._sites, self._unassigned, self._activity,
            array("I", [at + size for at in self._address_places]),
        )  # fmt: skip

    def _entry_only(self) -> FastTwin:
        """The function will always run in its slow twin."""
        instructions = self._typed.instructions
        for k, kind, _, _ in self._survey.places:
            # Where it got too large, building ended early.
            if kind in (_HELPED, _TAIL_CALL):
                self._note(kind, instructions[k])
        code = entry_code(self._typed, self._frame, self._additions, self._escapable)
        zeros = {0: (1 << len(self._typed.locals)) - (1 << len(self._type.params))}
        return FastTwin(code, *entry_ranges(self._typed), array("I", [ENTRY]), zeros, [(0, True)])

    def _note(self, kind: int, instruction: Instruction) -> None:
        """Remembers what has to be known of an instruction when the module is put together."""
        imm = instruction.imm
        if kind == _HELPED:
            first, second = imm if isinstance(imm, tuple) else (imm, 0)
            self._additions.helper(HELPED.get(instruction.op.code, "ref.func"), first, second)
        elif instruction.op.code == 0x12:
            self.tail_called.add(imm)
