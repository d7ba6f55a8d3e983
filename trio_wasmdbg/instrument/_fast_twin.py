"""The fast twin: a function with its structure kept, a shadow frame, and ways out.

What is added to the original body:

* a prologue that pushes the shadow frame, an epilogue that pops it (the body becomes one block, so
  that branch depths stay as they are, and ``return`` becomes a branch to that block);
* before each call: whatever the frame does not have yet.  *Dirty* locals may differ from their
  slot; locals that are *zero* have never been assigned, which is known statically, and are not
  stored at all; the others are clean.  Operands that stay below the arguments are stored as well;
* check sites, where the function leaves for good if the site's byte is set;
* before integer divisions that will trap, and in place of ``unreachable``: the same way out.

The state of the locals is found in one pass: control flow is structured, so every branch to a label
other than a loop's comes before the label; at a loop's header, everything that the loop assigns is
taken for dirty.  Operands stored are always the lowest ones, so their number says it all.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final

from attrs import frozen

from ..errors import UnsupportedFeatureError, UnsupportedInstructionError
from ..wasm import I32, Flow, FuncType, Instruction, Module, Operand, TypedBody, ValType, uleb
from . import _emit as emit
from ._additions import FIRST_GLOBAL, INSTANCE, SP, Additions, FrameAccess
from ._flow import ACTIVE, INACTIVE, UNCERTAIN, Flowing, Label
from ._frames import INSTANCE_OFFSET, RESUME_OFFSET, FrameLayout
from ._layout import INSTANCE_ID, SITES_BASE
from ._survey import DIVISIONS, WHOLE, Facts, branch_depths, division_can_trap, survey

__all__ = ["AFTER_CALL", "ENTRY", "HELPED", "INSERTED", "LOOP", "MAX_BODY", "FastTwin", "FastTwinBuilder"]

ENTRY, LOOP, AFTER_CALL, CATCH = 0, 1, 2, 3

INSERTED: Final = 0x8000_0000
"""Flag in :attr:`FastTwin.old`: the bytes from here on were inserted before that place."""

MAX_BODY: Final = 7_654_321
"""The engine's limit of a function's size in bytes."""

MAX_LOCALS: Final = 50_000
MANY_OPERANDS: Final = 64

_GLOBAL_GET, _GLOBAL_SET, _LOCAL_SET, _LOCAL_TEE, _REF_FUNC = 0x23, 0x24, 0x21, 0x22, 0xD2
_CALL_INDIRECT = 0x11
HELPED: Final = {
    0xFC0008: "memory.init",
    0xFC0009: "data.drop",
    0xFC000C: "table.init",
    0xFC000D: "elem.drop",
    0xFB0009: "array.new_data",
    0xFB000A: "array.new_elem",
    0xFB0012: "array.init_data",
    0xFB0013: "array.init_elem",
}
"""Instructions that work on their own module's segments: slow twins call a helper function for them."""


@frozen
class FastTwin:
    """A rewritten body.

    :ivar body: local declarations and code, without the size.
    :ivar new: offsets in ``body`` at which ranges begin, ascending.
    :ivar old: for each of ``new``, the file offset in the original module; with :data:`INSERTED` set, the
        range was inserted before that place, else it was copied from there.
    :ivar sites: for each check site its resume point and kind, as ``resume_point << 2 | kind``.
    :ivar unassigned: for each call, the mask of locals that are zero and not in the frame.
    :ivar activity: from which instructions on the frame is pushed or not, ascending; of interest only for
        those that call or may trap.
    """

    body: bytes
    new: array[int]
    old: array[int]
    sites: array[int]
    unassigned: dict[int, int]
    activity: list[tuple[int, bool]]


class FastTwinBuilder:
    """Rewrites one function; use once."""

    def __init__(
        self,
        module: Module,
        typed: TypedBody,
        frame: FrameLayout,
        additions: Additions,
        *,
        slot: int,
        escapable: bool,
        first_site: int,
        tick: Callable[[], None],
    ) -> None:
        self._module = module
        self._typed = typed
        self._frame = frame
        self._additions = additions
        self._slot = slot
        self._escapable = escapable
        self._first_site = first_site
        self._tick = tick
        self._type = typed.function.type
        self._fp = len(typed.locals)
        self._access = FrameAccess(additions, self._fp)
        self._new_locals: list[ValType] = [I32]
        self._temporaries: dict[ValType, list[int]] = {}
        self._cold_type = additions.cold_type(self._type.results)
        self._local_stores: dict[int, bytes] = {}
        self._mask_stores: dict[int, bytes] = {}
        self._zero_stores: dict[int, bytes] = {}
        self._out = bytearray()
        self._new = array("I")
        self._old = array("I")
        self._sites = array("I")
        self._unassigned: dict[int, int] = {}
        body = typed.function.body
        assert body is not None
        self._position = body.code_start  # of what is to be copied next
        parameters = (1 << len(self._type.params)) - 1
        self._now = Flowing(parameters, (1 << len(typed.locals)) - 1 & ~parameters)
        self._activity: list[tuple[int, bool]] = []
        self._stored = 0
        self._leaf = False
        self._fp_needed = False
        self._facts: dict[int, Facts] = {}
        self._labels: list[Label] = []
        self._tries: list[Label] = []
        # Non-nullable locals that have no value yet at this point.
        self._settable = 0
        for i, type in enumerate(typed.locals[len(self._type.params) :], len(self._type.params)):
            if type.is_ref and not type.nullable:
                self._settable |= 1 << i
        self.tail_called: set[int] = set()
        """Functions that :meth:`build` has found a ``return_call`` of."""

    # ── output ─────────────────────────────────────────────────────────────────────────────────

    def _mark(self, old: int) -> None:
        new, at = self._new, len(self._out)
        if new and new[-1] == at:
            self._old[-1] = old
        else:
            new.append(at)
            self._old.append(old)

    def _copy_to(self, offset: int) -> None:
        """Copies the original bytes up to *offset*; what is inserted next comes before that place."""
        position = self._position
        if position < offset:
            self._mark(position)
            self._out += self._module.data[position:offset]
            self._position = offset
            self._mark(offset | INSERTED)

    def _replace(self, instruction: Instruction, code: bytes) -> None:
        """Puts *code* in place of an instruction (and maps it to that instruction's offset)."""
        self._copy_to(instruction.offset)
        self._mark(instruction.offset | INSERTED)
        self._out += code
        self._position = instruction.end
        self._mark(instruction.end | INSERTED)

    def _temporary(self, type: ValType, number: int) -> int:
        pool = self._temporaries.setdefault(type, [])
        while len(pool) <= number:
            pool.append(self._fp + len(self._new_locals))
            self._new_locals.append(type)
        return pool[number]

    # ── what is stored ─────────────────────────────────────────────────────────────────────────

    def _store_mask(self, mask: int) -> bytes:
        """Stores the locals of *mask*."""
        if not mask:
            return b""
        code = self._mask_stores.get(mask)
        if code is None:
            frame, stores, parts = self._frame, self._local_stores, []
            for i in _bits(mask):
                store = stores.get(i)
                if store is None:
                    store = self._access.store_local(frame.locals[i], frame.local(i), i)
                    stores[i] = store
                parts.append(store)
            code = b"".join(parts)
            self._mask_stores[mask] = code
        return code

    def _store_zeros(self, mask: int) -> bytes:
        """Writes the zeros (nulls) of the locals of *mask*."""
        if not mask:
            return b""
        code = self._zero_stores.get(mask)
        if code is None:
            frame, access, parts = self._frame, self._access, []
            slot, start, length = frame.slot_size, 0, 0
            for i in _bits(mask):
                type = frame.locals[i]
                if type.is_ref:
                    parts.append(access.store_null(type, frame.local(i)))
                elif length and start + length == i:
                    length += 1
                else:
                    if length:
                        parts.append(access.zero(frame.local(start), length * slot))
                    start, length = i, 1
            if length:
                parts.append(access.zero(frame.local(start), length * slot))
            code = b"".join(parts)
            self._zero_stores[mask] = code
        return code

    def _expose(self, stack: Operand | None, low: int) -> list[tuple[int, ValType, int]]:
        """Moves the operands from height *low* up into temporaries: (height, type, local), bottom first."""
        moved: list[tuple[int, ValType, int]] = []
        used: dict[ValType, int] = {}
        while stack is not None and stack.height >= low:
            type = stack.type
            number = used.get(type, 0)
            used[type] = number + 1
            moved.append((stack.height, type, self._temporary(type, number)))
            stack = stack.below
        self._out += b"".join([emit.local_set(local) for _, _, local in moved])
        moved.reverse()
        return moved

    def _peek(self, types: tuple[ValType, ...], base: int) -> list[tuple[int, ValType, int]]:
        """Copies the topmost operands, of these types, into temporaries; the lowest is at *base*."""
        used: dict[ValType, int] = {}
        operands: list[tuple[int, ValType, int]] = []
        for height, type in enumerate(types, base):
            number = used.get(type, 0)
            used[type] = number + 1
            operands.append((height, type, self._temporary(type, number)))
        if len(operands) == 1:
            self._out += emit.local_tee(operands[0][2])
        else:
            self._out += b"".join([emit.local_set(local) for _, _, local in reversed(operands)])
            self._out += b"".join([emit.local_get(local) for _, _, local in operands])
        return operands

    def _store_operands(self, stack: Operand | None, high: int) -> None:
        """Stores the operands below *high* that are not stored yet, and leaves the stack as it is."""
        low = self._stored
        if low >= high:
            return
        self._fp_needed = True
        assert stack is not None
        frame, access, additions = self._frame, self._access, self._additions
        if stack.height + 1 - low <= MANY_OPERANDS:
            parts = []
            for height, type, local in self._expose(stack, low):
                if height < high:
                    parts.append(access.store_local(type, frame.operand(height), local))
                parts.append(emit.local_get(local))
            self._out += b"".join(parts)
        else:
            back = []
            node: Operand | None = stack
            while node is not None and node.height >= low:
                local, offset = self._temporary(node.type, 0), frame.operand(node.height)
                self._out += emit.local_set(local) + access.store_local(node.type, offset, local)
                back.append(access.address(node.type, offset) + additions.load(node.type, offset))
                node = node.below
            self._out += b"".join(reversed(back))
        self._stored = high

    # ── ways out ───────────────────────────────────────────────────────────────────────────────

    def _exit(self, resume_point: int) -> bytes:
        """Goes on in the slow twin (or the stub) and never comes back."""
        return b"".join(
            [
                self._access.fp,
                emit.i32_const(resume_point),
                emit.i32_const(self._slot),
                emit.return_call_indirect(self._cold_type, self._additions.slots_table),
            ]
        )

    def _leave(self, operands: list[tuple[int, ValType, int]], resume_point: int) -> bytes:
        """Stores everything that the frame lacks, and goes."""
        frame, access = self._frame, self._access
        parts = [self._activation()]
        parts += [access.store_local(type, frame.operand(height), local) for height, type, local in operands]
        parts += [self._store_mask(self._now.dirty), self._store_zeros(self._now.zero)]
        parts.append(self._exit(resume_point))
        return b"".join(parts)

    def _check(self, resume_point: int, kind: int, cold: bytes) -> None:
        """A check site.  Each has its own address: of two checks of one byte, Cranelift would delete
        the second if the first dominates it, and a loop could not be interrupted any more."""
        address = SITES_BASE + self._first_site + len(self._sites)
        self._sites.append(resume_point << 2 | kind)
        self._out += b"".join(
            [
                emit.i32_const(0),
                self._additions.memory_access(0x2D, address),  # i32.load8_u
                emit.IF_EMPTY,
                cold,
                emit.END,
            ]
        )

    # ── the pieces of a body ───────────────────────────────────────────────────────────────────

    def _frame_address(self) -> bytes:
        """Where the frame is, or would be if it is not pushed."""
        return b"".join([emit.global_get(SP), emit.i32_const(self._frame.size), emit.I32_SUB])

    def _activation(self) -> bytes:
        """Pushes the frame, if it may be missing."""
        if self._now.active == ACTIVE:
            return b""
        access, additions = self._access, self._additions
        parts = []
        if self._leaf:
            parts += [self._frame_address(), emit.local_set(self._fp)]
        uncertain = self._escapable and self._now.active == UNCERTAIN
        if uncertain:
            # Doing it twice would lose the instance that was current before.
            parts += [emit.global_get(SP), access.fp, b"\x47", emit.IF_EMPTY]  # i32.ne
        # Without room on the shadow stack, the address is huge and this store traps, with sp as it was.
        parts.append(access.store_i32(0, emit.i32_const(self._typed.function.index)))
        if self._escapable:
            parts += [
                access.store_i32(INSTANCE_OFFSET, emit.global_get(INSTANCE)),
                emit.i32_const(0),
                additions.memory_access(0x28, INSTANCE_ID, 2),
                emit.global_set(INSTANCE),
            ]
        parts += [access.fp, emit.global_set(SP)]
        if uncertain:
            parts.append(emit.END)
        return b"".join(parts)

    def _deactivation(self) -> bytes:
        """Pops the frame, if it is pushed."""
        active = self._now.active
        if active == INACTIVE:
            return b""
        pop = self._access.pop(self._frame.size, self._escapable)
        if active == UNCERTAIN and self._escapable:
            return b"".join([emit.global_get(SP), self._access.fp, b"\x46", emit.IF_EMPTY, pop, emit.END])
        return pop

    def _activate(self, instruction: Instruction) -> None:
        """Pushes the frame before *instruction*."""
        self._copy_to(instruction.offset)
        self._out += self._activation()
        self._now.active = ACTIVE

    def _prologue(self) -> None:
        self._mark(self._position | INSERTED)
        if not self._leaf:
            self._out += self._frame_address() + emit.local_set(self._fp)
        self._check(0, ENTRY, self._leave([], 0))
        if self._facts[WHOLE].tries:
            # What catches an exception puts the stack pointer back to this frame, so it must be there.
            self._out += self._activation() + self._access.store_i32(RESUME_OFFSET, emit.i32_const(0))
            self._now.active = ACTIVE
            self._note_activity(0)
        self._out += b"\x02" + self._additions.block_type(self._type.results)

    def _enter(self, k: int, instruction: Instruction, stack: Operand | None, live: bool) -> None:
        """``block``, ``loop``, ``if``."""
        flow = instruction.op.flow
        loop = flow is Flow.LOOP
        if not live:
            self._labels.append(Label(loop, 0, settable=self._settable))
            return
        targets = None
        if flow is Flow.TRY_TABLE:
            # labels count from outside of the try_table
            targets = tuple(self._labels[-1 - catch.label] for catch in instruction.imm.catches)
        control = self._typed.controls[k]
        facts = self._facts[k]
        base = control.height
        if facts.leaves:
            if self._stored < base:
                self._copy_to(instruction.offset)
                self._store_operands(stack, base)
        elif self._stored > base:
            self._stored = base
        label = Label(
            loop, self._stored, settable=self._settable, catches=facts.catches and not loop, targets=targets
        )
        self._labels.append(label)
        if targets is not None:
            self._tries.append(label)
        if flow is Flow.IF:
            label.at_else = self._now.copy()
        elif loop:
            uncertain = self._now.active == UNCERTAIN
            if (facts.calls and self._now.active != ACTIVE) or (facts.traps and uncertain):
                self._activate(instruction)
            if facts.calls:
                before = self._now.dirty & ~facts.assigned
                if before:
                    # Clean in the whole loop then: stored once instead of in each iteration.
                    self._copy_to(instruction.offset)
                    self._out += self._store_mask(before)
                    self._now.dirty &= ~before
            self._copy_to(instruction.end)
            assigned = facts.assigned & ~self._settable
            self._now.dirty |= assigned
            self._now.zero &= ~assigned
            if facts.catches:
                self._out += self._recover()
            if facts.endless or facts.catches:
                operands = self._peek(control.params, base)
                self._check(k + 1, LOOP, self._leave(operands, k + 1))

    def _call(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        arguments, results = self._signature(instruction)
        high = (stack.height + 1 if stack is not None else 0) - arguments
        access = self._access
        self._copy_to(instruction.offset)
        if self._now.active != ACTIVE:
            self._activate(instruction)
        self._note_activity(k)
        self._store_operands(stack, high)
        self._out += access.store_i32(RESUME_OFFSET, emit.i32_const(k))
        self._out += self._store_mask(self._now.dirty)
        self._now.dirty = 0
        if self._tries:
            self._tries[-1].throw(self._now)
        self._unassigned[k] = self._now.zero
        self._copy_to(instruction.end)
        self._stored = min(self._stored, high)
        # After the call: only the results are not in the frame.
        operands = self._peek(results, high)
        frame = self._frame
        parts = [access.store_local(type, frame.operand(height), local) for height, type, local in operands]
        if self._now.zero:
            # The host may have written these zeros already, and changed one since.
            parts += [
                access.load_i32(RESUME_OFFSET),
                emit.i32_const(0),
                b"\x4e",  # i32.ge_s: MATERIALISED is the sign bit
                emit.IF_EMPTY,
                self._store_zeros(self._now.zero),
                emit.END,
            ]
        parts.append(self._exit(k + 1))
        self._check(k + 1, AFTER_CALL, b"".join(parts))

    def _note_activity(self, k: int) -> None:
        active = self._now.active == ACTIVE
        activity = self._activity
        if not activity or activity[-1][1] is not active:
            activity.append((k, active))

    def _signature(self, instruction: Instruction) -> tuple[int, tuple[ValType, ...]]:
        """Operands popped by a call (the callee's index among them), and its results."""
        module, imm, code = self._module, instruction.imm, instruction.op.code
        type: FuncType
        if code in (0x10, 0x12):
            type = module.functions[imm].type
            return len(type.params), type.results
        if code in (0x11, 0x13):
            type = module.func_type(imm.type_index)
        else:
            type = module.func_type(imm)
        return len(type.params) + 1, type.results

    def _division(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        kind, overflows = DIVISIONS[instruction.op.code]
        self._copy_to(instruction.offset)
        assert stack is not None
        operands = self._expose(stack, min(self._stored, stack.height - 1))
        get = [emit.local_get(local) for _, _, local in operands]
        a, b = get[-2:]
        parts = get[:-2]
        if kind == "i32":
            parts += [b, b"\x45"]
            if overflows:
                parts += [b, b"\x41\x7f\x46", a, b"\x41\x80\x80\x80\x80\x78\x46\x71\x72"]
        else:
            parts += [b, b"\x50"]
            if overflows:
                minimum = b"\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"
                parts += [b, b"\x42\x7f\x51", a, minimum, b"\x51\x71\x72"]
        parts += [emit.IF_EMPTY, self._leave(operands, k), emit.END, a, b]
        self._out += b"".join(parts)

    def _unreachable(self, k: int, instruction: Instruction, stack: Operand | None) -> None:
        self._copy_to(instruction.offset)
        self._out += self._activation()
        frame, access = self._frame, self._access
        while stack is not None and stack.height >= self._stored:
            local = self._temporary(stack.type, 0)
            self._out += emit.local_set(local)
            self._out += access.store_local(stack.type, frame.operand(stack.height), local)
            stack = stack.below
        stores = [self._store_mask(self._now.dirty), self._store_zeros(self._now.zero), self._exit(k)]
        self._out += b"".join(stores)

    def _join_targets(self, instruction: Instruction) -> None:
        for depth in branch_depths(instruction):
            self._labels[-1 - depth].branch(self._now)

    def _recover(self) -> bytes:
        """After a catch: takes the frames that were unwound off the shadow stack."""
        parts = [self._access.fp, emit.global_set(SP), emit.i32_const(0)]
        parts += [self._additions.memory_access(0x28, INSTANCE_ID, 2), emit.global_set(INSTANCE)]
        return b"".join(parts)

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
                label.branch(self._now)
            if label.at_end is not None:
                self._now = label.at_end
        self._stored = label.stored
        self._forget(label)
        if label.catches:
            self._landing(k)

    def _forget(self, label: Label) -> None:
        """Non-nullable locals that were first assigned inside a construct have no value after it."""
        settable = label.settable
        if settable:
            self._settable = settable
            self._now.dirty &= ~settable
            self._now.zero |= settable

    def _landing(self, k: int) -> None:
        """After the ``end`` of a construct to which an exception may have led."""
        instructions = self._typed.instructions
        last = k == len(instructions) - 1
        self._copy_to(instructions[k].end)
        self._out += self._recover()
        control = self._typed.controls[k]
        # The callee may have been paused for long, and did not come back to the site after the call.
        operands = self._peek(control.results, control.height)
        resume_point = k if last else k + 1
        access, frame = self._access, self._frame
        parts = [access.store_local(type, frame.operand(height), local) for height, type, local in operands]
        if self._now.dirty or self._now.zero:
            # What the host has edited during the call that threw is true only in the frame.
            parts += [
                access.load_i32(RESUME_OFFSET),
                emit.i32_const(0),
                b"\x4e",  # i32.ge_s: MATERIALISED is the sign bit
                emit.IF_EMPTY,
                self._store_mask(self._now.dirty),
                self._store_zeros(self._now.zero),
                emit.END,
            ]
        parts.append(self._exit(resume_point))
        self._check(resume_point, CATCH, b"".join(parts))

    # ── the whole ──────────────────────────────────────────────────────────────────────────────

    def build(self) -> FastTwin:
        """The rewritten body.

        :raises UnsupportedInstructionError: the function can't be made debuggable.
        :raises UnsupportedFeatureError: it would become larger than the engine allows.
        """
        typed = self._typed
        self._facts = survey(typed)
        self._leaf = not (self._facts[WHOLE].calls or self._facts[WHOLE].tries)
        self._prologue()
        self._labels.append(Label(False, 0, settable=self._settable, catches=self._facts[WHOLE].catches))
        next_flow = Flow.NEXT
        stacks, reachable = typed.stacks, typed.reachable
        for k, instruction in enumerate(typed.instructions):
            op = instruction.op
            flow = op.flow
            if not k & 2047:
                self._tick()
            if flow is next_flow:
                self._plain(k, instruction, stacks[k], reachable[k])
                continue
            live = bool(reachable[k])
            if flow in _ENTERS:
                self._enter(k, instruction, stacks[k], live)
            elif flow is Flow.END:
                self._end(k, live)
            elif flow is Flow.ELSE:
                label = self._labels[-1]
                if live:
                    label.branch(self._now)
                if label.at_else is not None:
                    self._now = label.at_else
                    label.at_else = None
                self._stored = label.stored
                self._forget(label)
            elif flow is Flow.RETURN:
                self._replace(instruction, emit.br(len(self._labels) - 1))
                if live:
                    self._labels[0].branch(self._now)
            elif not live:
                pass
            elif flow is Flow.BRANCH or flow is Flow.BRANCH_TABLE:
                self._join_targets(instruction)
            elif flow is Flow.BRANCH_IF:
                top = stacks[k]
                assert top is not None
                self._stored = min(self._stored, top.height)
                self._join_targets(instruction)
            elif flow is Flow.CALL:
                self._call(k, instruction, stacks[k])
            elif flow is Flow.TAIL_CALL:
                if op.code == 0x12:
                    self.tail_called.add(instruction.imm)
                self._copy_to(instruction.offset)
                self._out += self._deactivation()
            elif flow is Flow.UNREACHABLE:
                self._unreachable(k, instruction, stacks[k])
            elif flow is Flow.THROW:
                if self._now.active == UNCERTAIN:
                    self._activate(instruction)
                self._note_activity(k)
                if self._tries:
                    self._copy_to(instruction.offset)
                    self._out += self._access.store_i32(RESUME_OFFSET, emit.i32_const(k))
                    self._out += self._store_mask(self._now.dirty)
                    self._now.dirty = 0
                    self._tries[-1].throw(self._now)
            else:
                raise self._unsupported(instruction)
            if len(self._out) > MAX_BODY:
                break
        self._copy_to(typed.instructions[-1].end)
        self._out += self._deactivation() + emit.END
        return self._finish()

    def _plain(self, k: int, instruction: Instruction, stack: Operand | None, live: int) -> None:
        code = instruction.op.code
        if code in (_GLOBAL_GET, _GLOBAL_SET):
            opcode = b"\x23" if code == _GLOBAL_GET else b"\x24"
            self._replace(instruction, opcode + uleb(instruction.imm + FIRST_GLOBAL))
        if not live:
            return
        if code in (_LOCAL_SET, _LOCAL_TEE):
            bit = 1 << instruction.imm
            self._now.dirty |= bit
            self._now.zero &= ~bit
            self._settable &= ~bit
        elif code in DIVISIONS:
            if division_can_trap(self._typed.instructions, k):
                self._division(k, instruction, stack)
        else:
            if instruction.op.traps:
                if self._now.active == UNCERTAIN:
                    self._activate(instruction)
                self._note_activity(k)
            if code == _REF_FUNC:
                self._additions.helper("ref.func", instruction.imm)
            elif code in HELPED:
                imm = instruction.imm
                first, second = imm if isinstance(imm, tuple) else (imm, 0)
                self._additions.helper(HELPED[code], first, second)
        if self._stored:
            height = stack.height + 1 if stack is not None else 0
            pops = instruction.op.pop_count
            if pops < 0:
                after = self._typed.stacks[k + 1]
                pops = height - (after.height if after is not None else 0)
            if self._stored > height - pops:
                self._stored = height - pops

    def _finish(self) -> FastTwin:
        body = self._typed.function.body
        assert body is not None
        if len(self._typed.locals) + len(self._new_locals) > MAX_LOCALS:
            raise self._refused("has too many locals to be made debuggable")
        groups = list(body.local_groups)
        for type in self._new_locals:
            if groups and groups[-1][1] == type:
                groups[-1] = (groups[-1][0] + 1, type)
            else:
                groups.append((1, type))
        head = emit.local_groups(groups)
        if self._leaf and self._fp_needed:
            head += self._frame_address() + emit.local_set(self._fp)
        if len(head) + len(self._out) > MAX_BODY:
            raise self._refused("gets too large when it is made debuggable")
        new = array("I", [at + len(head) for at in self._new])
        return FastTwin(head + self._out, new, self._old, self._sites, self._unassigned, self._activity)

    def _refused(self, why: str) -> UnsupportedFeatureError:
        function = self._typed.function
        name, body = self._module.function_name(function.index), function.body
        assert body is not None
        return UnsupportedFeatureError(
            f"a function {why}", offset=body.start, function=function.index, function_name=name
        )

    def _unsupported(self, instruction: Instruction) -> UnsupportedInstructionError:
        function = self._typed.function
        return UnsupportedInstructionError(
            f"{instruction.op.name} can't be made debuggable yet",
            offset=instruction.offset,
            function=function.index,
            function_name=self._module.function_name(function.index),
        )


_ENTERS = (Flow.BLOCK, Flow.LOOP, Flow.IF, Flow.TRY_TABLE)


def _bits(mask: int) -> list[int]:
    """Numbers of the set bits, ascending."""
    if mask < 1 << 64:
        found = []
        while mask:
            low = mask & -mask
            found.append(low.bit_length() - 1)
            mask ^= low
        return found
    return [i for i, digit in enumerate(reversed(bin(mask)[2:])) if digit == "1"]
