"""Copies of loops: the way back to full speed for an activation in its slow twin (on-stack replacement).

A *loop copy* is a structured copy of a function that begins at one of its loops.  It is entered on an edge
into that loop, with the frame that the slow twin keeps whole: locals, and operands below the loop, are loaded
from there, and from then on it is like any flavour (see ``_flavour``), with frames, check sites and points.
The code before the loop is not there::

    block $out
      block                          ;; the function
        load the operands below
        block / try_table            ;; what the loop stands in, opened anew
          loop … end                 ;; as it was
          what comes after the loop  ;; as it was
        end
      end
    end
    go on in the slow twin

What a loop further out would do next, its code before this loop, is not there either.  So where control goes
back to the header of such a loop, the copy is left for good: for a copy that begins there if there is one,
else for the slow twin.  Outer loops are found to be hot like others, and their copies have the inner ones in
them.

Edges and entries
-----------------

A slow twin looks at a loop's *entry*, an i32 in the debug memory, where control goes into the loop, by
falling into it or by a branch back, and never where it is sent to the loop by the host: so a guest that
leaves a copy at an armed check site always executes something before it comes to an edge again.  A positive
entry is the slot of a copy.  A negative one is counted up, and when it comes to 0 the host is asked: it may
make a copy and answer with its slot.  One byte (``LOOPS``) switches all entries off, for whoever wants to see
each instruction.

A copy for a function in which nothing is to be done has the same bytes for its check sites as the fast twin
has: what arms the one arms the other.  Another has those of the flavour that does the same.

The frame of a copy has everything that its fast twin would leave out as certainly zero: somebody may have
changed it in the slow twin.  So it says of itself MATERIALISED during calls, and when it is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..wasm import (
    I32,
    ControlFrame,
    FuncType,
    Instruction,
    Operand,
    TypedBody,
    ValType,
    ref_type,
    sleb33,
    uleb,
)
from . import _emit as emit
from ._additions import Additions, FrameAccess
from ._check_sites import LOOP
from ._flavour import FlavourBuilder, FlavourOptions, NoFlavourError
from ._flow import ACTIVE, Flowing, Label
from ._frames import MATERIALISED, RESUME_OFFSET
from ._imports import CompanionImports
from ._kinds import KINDS, Kind
from ._layout import KIND_HOT, LOOPS, NO_DISPATCH
from ._plans import FunctionPlan
from ._stores import Copied, operand_below
from ._survey import Place, branch_depths
from ._zeros import bits, zeros

__all__ = ["LoopCopyBuilder", "copy_type", "edge_code", "edge_function", "loop_adapter"]

EDGE: Final = 1 << 29
"""Flag of a resume point: control goes back to the header of a loop further out.  Resume points are smaller.
"""

_BRANCHES: Final = (Kind.BRANCH, Kind.BRANCH_IF, Kind.BRANCH_TABLE)
_CONSTS: Final = {
    0x7F: b"\x41\x00",
    0x7E: b"\x42\x00",
    0x7D: b"\x43" + bytes(4),
    0x7C: b"\x44" + bytes(8),
    0x7B: b"\xfd\x0c" + bytes(16),
}


class LoopCopyBuilder(FlavourBuilder):
    """Makes one loop copy; use once."""

    def __init__(
        self,
        plan: FunctionPlan,
        imports: CompanionImports,
        options: FlavourOptions,
        *,
        loop: int,
        edge: int,
        block: int | None,
        inside: Mapping[int, int],
        tick: Callable[[], None],
    ) -> None:
        """
        :param loop: ordinal of the loop's opening instruction.
        :param edge: index of :func:`edge_function`.
        :param block: as for a flavour; None: its check sites have the fast twin's bytes.
        :param inside: as for a flavour.
        """
        self._loop = loop
        self._edge = edge
        typed = plan.typed()
        first = plan.site_addresses.start if block is None else block
        self._addresses: dict[tuple[int, int], list[int]] = {}
        for number, packed in enumerate(plan._sites):
            self._addresses.setdefault((packed >> 2, packed & 3), []).append(first + number)
        self._path = _around(typed, loop)
        self._outer = {scope.end: scope for scope in self._path if scope.kind == "loop"}
        """Loops further out, by their ``end``."""
        self._cut: dict[int, int] = {}
        """``else`` of each arm that can't be come to any more, and its ``end``."""
        for scope in self._path:
            if scope.kind == "if" and scope.else_ is not None and loop < scope.else_:
                self._cut[scope.else_] = scope.end
        self._cut_ends = set(self._cut.values())
        self._extras: list[int] = []
        """Positions of those open labels that the original does not have."""
        # It has a way out of its own.
        super().__init__(plan, imports, options, block=first, inside=inside, leave_by=-1, tick=tick)
        self._call_flag = MATERIALISED
        self._settable = unset_at(plan, loop)
        self._now = Flowing(0, self._settable, ACTIVE)
        self._loaded = loaded_locals(plan, loop)

    def _early_pops(self) -> None:
        """It has its frame all the time."""

    # ── labels: two of ours for a loop further out ─────────────────────────────────────────────

    def _position(self, depth: int) -> int:
        at = len(self._labels) - len(self._extras) - 1 - depth
        for extra in self._extras:
            at += at >= extra
        return at

    def _label(self, depth: int) -> Label:
        return self._labels[self._position(depth)]

    def _depth(self, depth: int) -> int:
        """What a branch of this depth in the original has here."""
        return len(self._labels) - 1 - self._position(depth)

    def _branch(self, kind: int, instruction: Instruction) -> None:
        if not self._extras or all(self._depth(depth) == depth for depth in branch_depths(instruction)):
            return
        op, imm = instruction.op, instruction.imm
        if kind == Kind.BRANCH_TABLE:
            code = emit.br_table([self._depth(depth) for depth in imm.targets], self._depth(imm.default))
        elif isinstance(imm, int):
            code = op.encoding + uleb(self._depth(imm))
        else:
            source, target = imm.source, imm.target
            flags = bytes((source.nullable | target.nullable << 1,))
            code = op.encoding + flags + uleb(self._depth(imm.label))
            code += sleb33(source.heap) + sleb33(target.heap)
        self._writer.replace(instruction, code)

    def _dead(self, kind: int, instruction: Instruction) -> None:
        if kind in _BRANCHES:
            self._branch(kind, instruction)
        else:
            super()._dead(kind, instruction)

    def _try_table(self, instruction: Instruction, params: tuple[ValType, ...]) -> bytes:
        """The opening of a ``try_table``, whose clauses lead where they did."""
        block, catches = instruction.imm
        out = [instruction.op.encoding, self._additions.block_type(block.results, params), uleb(len(catches))]
        for catch in catches:
            out.append(bytes((catch.kind,)) + (b"" if catch.tag is None else uleb(catch.tag)))
            out.append(uleb(self._depth(catch.label)))
        return b"".join(out)

    # ── the way in ─────────────────────────────────────────────────────────────────────────────

    def _places(self) -> list[Place]:
        # What is to be done before the loop has been done: control is on its way into it.
        here = self._loop, int(Kind.LOOP)
        places = [place for place in super()._places() if place[0] > self._loop or place[:2] == here]
        for other, end in self._cut.items():
            places = [place for place in places if not other < place[0] < end]
        return places

    def _prologue(self) -> None:
        out, access, frame = self._writer.out, self._access, self._frame
        out += emit.BLOCK_EMPTY  # what follows it is the way out
        out += access.sp + emit.local_set(self._fp)
        out += access.store_i32(0, emit.i32_const(self._typed.function.index))
        # Where exceptions are caught, the flag says that an exception has led there.
        word = 0 if self._survey.tries else self._loop | MATERIALISED
        out += access.store_i32(RESUME_OFFSET, emit.i32_const(word))
        for i in bits(self._loaded):
            if i >= len(self._type.params):
                out += access.load(frame.locals[i], frame.local(i)) + emit.local_set(i)
        self._note_activity(self._loop)
        out += b"\x02" + self._additions.block_type(self._type.results)
        self._labels.append(Label(False, None, settable=self._settable, catches=self._survey.whole.catches))
        self._open_path()

    def _open_path(self) -> None:
        """Opens what the loop stands in, and goes to the loop."""
        control = self._typed.controls[self._loop]
        stack = self._typed.stack(self._loop, control.height + len(control.params))
        operands: list[Operand] = []
        node = stack
        while node is not None:
            operands.append(node)
            node = node.below
        operands.reverse()
        high = 0
        for scope in self._path:
            self._load(operands[high : scope.height])
            high = scope.height
            self._open(scope, operand_below(stack, scope.height))
        self._load(operands[high:])
        self._stored = operand_below(stack, control.height)
        self._writer.skip_to(self._typed.instructions[self._loop].offset)

    def _load(self, operands: list[Operand]) -> None:
        for _, type, height in operands:
            self._writer.out += self._access.load(type, self._frame.operand(height))

    def _open(self, scope: ControlFrame, stored: Operand | None) -> None:
        """Opens a construct around the loop."""
        out, settable = self._writer.out, self._settable
        instruction, facts = self._typed.instructions[scope.start], self._survey.facts[scope.start]
        if scope.kind == "loop":
            out += b"\x02" + self._additions.block_type(scope.results)
            self._extras.append(len(self._labels))
            self._labels.append(Label(False, stored, settable=settable))
            out += b"\x02" + self._additions.block_type(scope.params)
            self._labels.append(Label(False, stored, settable=settable))
            return
        label = Label(False, stored, settable=settable, catches=facts.catches)
        if scope.kind == "try_table":
            out += self._try_table(instruction, ())
            label.targets = tuple(self._label(catch.label) for catch in instruction.imm.catches)
            self._tries.append(label)
        else:
            out += b"\x02" + self._additions.block_type(scope.results)
        self._labels.append(label)

    # ── what comes after the loop ──────────────────────────────────────────────────────────────

    def _enter(self, k: int, kind: int, height: int, live: bool) -> None:
        opening = None
        if kind == Kind.TRY_TABLE and self._extras:
            instruction = self._typed.instructions[k]
            opening = self._try_table(instruction, instruction.imm.block.params)
        super()._enter(k, kind, height, live)
        if opening is not None:
            self._writer.replace(self._typed.instructions[k], opening)

    def _else(self, k: int, live: bool) -> None:
        end = self._cut.get(k)
        if end is None:
            super()._else(k, live)
            return
        if live:
            self._labels[-1].branch(self._now)
        instructions = self._typed.instructions
        self._writer.copy_to(instructions[k].offset)
        self._writer.skip_to(instructions[end].offset)

    def _end(self, k: int, live: bool) -> None:
        scope = self._outer.get(k)
        if scope is None:
            super()._end(k, live and k not in self._cut_ends)
            return
        # What a branch to the loop comes to is the end of the inner one of our two blocks.
        end, writer = self._typed.instructions[k], self._writer
        after = self._labels[-2]
        if live:
            after.branch(self._now)
        writer.copy_to(end.offset)
        writer.out += emit.br(1)
        writer.copy_to(end.end)
        header = self._labels.pop()
        if header.at_end is None:
            writer.out += emit.UNREACHABLE
        else:
            self._now = header.at_end
            self._go_back_to(scope)
        writer.out += emit.END
        self._labels.pop()
        self._extras.pop()
        if after.at_end is not None:
            self._now = after.at_end
        self._stored = after.stored
        self._forget(after)
        if self._is_cut(k, after.at_end is not None):
            self._check_after_end(k)
        self._note_activity(k)

    def _is_cut(self, k: int, live: bool) -> bool:
        return live and (k + 1, LOOP) in self._addresses

    def _go_back_to(self, scope: ControlFrame) -> None:
        """Leaves for the header of a loop further out, whose parameters are on the operand stack."""
        out = self._writer.out
        stores = self._stores.locals(self._now.dirty & self._needed(scope.start))
        if self._survey.facts[scope.start].catches:
            # As in `_check_caught`.
            out += self._access.topmost()
            stores = self._stores.unless_materialised(stores)
        used: dict[ValType, int] = {}
        operands = []
        for height, type in enumerate(scope.params, scope.height):
            number = used[type] = used.get(type, -1) + 1
            operands.append(Copied(height, type, self._writer.temporary(type, number)))
        out += b"".join([emit.local_set(copied.local) for copied in reversed(operands)])
        out += self._stores.operands(operands) + stores + self._exit(scope.start + 1 | EDGE, 0)

    # ── frames ─────────────────────────────────────────────────────────────────────────────────

    def _site_address(self, resume_point: int, kind: int) -> int:
        addresses = self._addresses.get((resume_point, kind))
        if not addresses:
            raise NoFlavourError("it has no fast twin")
        return addresses.pop(0)

    def _copy_call(self, instruction: Instruction) -> None:
        super()._copy_call(instruction)
        if self._survey.tries:
            # No exception has come out of it.
            self._writer.out += self._access.store_i32(RESUME_OFFSET, emit.i32_const(0))

    def _way_out(self) -> bytes:
        access, additions = self._access, self._additions
        cold = emit.return_call_indirect(additions.cold_type(self._type.results), additions.slots_table)
        place = emit.local_get(self._resume_point) + emit.i32_const(EDGE - 1) + emit.I32_AND
        parts = [access.store_i32(RESUME_OFFSET, place + emit.i32_const(MATERIALISED) + b"\x72")]
        if self._outer:
            found = self._writer.temporary(I32, 1)
            entry = place + emit.i32_const(2) + b"\x74" + emit.i32_const(self._plan.entries) + emit.I32_ADD
            parts += [
                emit.local_get(self._resume_point) + emit.i32_const(EDGE) + emit.I32_AND + emit.IF_EMPTY,
                _switched_on(additions) + emit.IF_EMPTY,
                access.fp + place + entry + emit.call(self._edge) + emit.local_tee(found) + emit.IF_EMPTY,
                access.fp + place + emit.local_get(found) + cold,
                emit.END * 3,
            ]
        parts += [access.fp + place + emit.i32_const(NO_DISPATCH) + b"\x72", emit.i32_const(self._plan.slot)]
        return b"".join([*parts, cold])


def _around(typed: TypedBody, loop: int) -> list[ControlFrame]:
    """The constructs that a loop stands in, outermost first, without the function."""
    found = []
    scope: ControlFrame | None = typed.scopes[loop]
    while scope is not None and scope.kind != "function":
        found.append(scope)
        scope = scope.parent
    return found[::-1]


def _scan(typed: TypedBody, unset: int, places: range, base: int) -> int:
    """Which of the locals *unset* have no value after these instructions, by the rules of validation.

    Spec, "Validation, Instructions, Instruction Sequences": what is set in a construct is set until its end.

    :param base: those that have none in the constructs which are open at the beginning.
    :raises NoFlavourError: one of them is read where it has none.
    """
    open_: list[int] = []
    for instruction in typed.instructions[places.start : places.stop if unset else places.start]:
        code = instruction.op.code
        kind = KINDS.get(code)
        if kind == Kind.ASSIGN:
            unset &= ~(1 << instruction.imm)
        elif kind in (Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.TRY_TABLE):
            open_.append(unset)
        elif kind == Kind.ELSE:
            unset = open_[-1] if open_ else base
        elif kind == Kind.END:
            unset = open_.pop() if open_ else base
        elif code == 0x20 and unset >> instruction.imm & 1:
            raise NoFlavourError("a local without a default value is dead at the loop, and has to be there")
    return unset


def unset_at(plan: FunctionPlan, loop: int) -> int:
    """Mask of the non-nullable locals that have no value when a copy of a loop is entered.

    These are those that have none in the original, and in live mode, those whose value is not kept.

    :raises NoFlavourError: the copy would not be valid without one of the latter.
    """
    typed, live = plan.typed(), plan.live()
    count = len(typed.function.type.params)
    bare = [i for i, type in enumerate(typed.locals) if type.is_ref and not type.nullable]
    unset = _scan(typed, sum(1 << i for i in bare if i >= count), range(loop), 0)
    if live is not None:
        unset |= sum(1 << i for i in bare) & ~live.at(loop)
        _scan(typed, unset, range(loop, plan.instructions), unset)
        for instruction in typed.instructions[loop:] if unset & (1 << count) - 1 else ():
            reads = instruction.op.code in (0x20, 0x22)  # local.get, local.tee
            if reads and instruction.imm < count and unset >> instruction.imm & 1:
                raise NoFlavourError("a parameter without a default value is dead at the loop, and used")
    return unset


def loaded_locals(plan: FunctionPlan, loop: int) -> int:
    """Mask of the locals that are loaded from the frame: in live mode, what is dead there may be anything."""
    live = plan.live()
    everything = (1 << len(plan.frame.locals)) - 1
    return everything & ~unset_at(plan, loop) & (everything if live is None else live.at(loop))


def copy_type(plan: FunctionPlan, loop: int) -> FuncType:
    """The type of a copy: the function's own, but that parameters which have no value there may be null."""
    type, unset = plan.typed().function.type, unset_at(plan, loop)
    params = [
        ref_type(True, param.heap) if unset >> i & 1 and param.heap is not None else param
        for i, param in enumerate(type.params)
    ]
    return FuncType(tuple(params), type.results)


def loop_adapter(plan: FunctionPlan, imports: CompanionImports, loop: int, target: int) -> bytes:
    """The body of (frame pointer, resume point) -> results that enters a copy of a loop.

    :param target: function index of the copy.
    """
    access, frame = FrameAccess(imports.additions, 0), plan.frame
    loaded = loaded_locals(plan, loop)
    parts = [emit.local_groups([])]
    unassigned = plan.zeros().get(loop + 1, 0)
    if unassigned:
        # The fast twin has just left there, and no slow twin has made the frame whole.
        fast = access.load_i32(0) + emit.i32_const(0) + b"\x4e"  # i32.ge_s
        there = access.load_i32(RESUME_OFFSET) + emit.i32_const(loop + 1) + b"\x46"
        parts += [fast, there, emit.I32_AND, emit.IF_EMPTY, zeros(bits(unassigned), frame, access), emit.END]
    for i, type in enumerate(plan.typed().function.type.params):
        parts.append(access.load(type, frame.local(i)) if loaded >> i & 1 else _default(type))
    return b"".join([*parts, emit.return_call(target), emit.END])


def _default(type: ValType) -> bytes:
    """Spec, "Execution, Runtime, Values": the default value."""
    return _CONSTS[type.code] if type.heap is None else b"\xd0" + sleb33(type.heap)


def _switched_on(additions: Additions) -> bytes:
    return emit.i32_const(0) + additions.memory_access(0x2D, LOOPS)


def edge_code(
    plan: FunctionPlan,
    additions: Additions,
    results: tuple[ValType, ...],
    loop: int,
    edge: int,
    fp: int,
    found: int,
) -> bytes:
    """What a slow twin executes where control goes into a loop.

    :param loop: ordinal of the loop's opening instruction.
    :param edge: index of :func:`edge_function`.
    :param fp: local with the frame pointer; *found* is one that nobody needs there.
    """
    place = emit.local_get(fp) + emit.i32_const(loop + 1)
    return b"".join(
        [
            _switched_on(additions) + emit.IF_EMPTY,
            place + emit.i32_const(plan.entries + 4 * (loop + 1)) + emit.call(edge),
            emit.local_tee(found) + emit.IF_EMPTY,
            place + emit.local_get(found),
            emit.return_call_indirect(additions.cold_type(results), additions.slots_table),
            emit.END * 2,
        ]
    )


def edge_function(additions: Additions, hook: int) -> bytes:
    """The body of (frame pointer, resume point, address of the entry) -> i32: the slot of a copy to go on in,
    or 0.  Counts, and asks the host when that is over."""
    fp, rp, at, entry = range(4)
    get, access = emit.local_get, additions.memory_access
    frame = FrameAccess(additions, fp)
    flag = frame.load_i32(RESUME_OFFSET) + emit.i32_const(MATERIALISED)
    return b"".join(
        [
            emit.local_groups([(1, I32)]),
            get(at) + access(0x28, 0, 2) + emit.local_tee(entry) + emit.i32_const(0) + b"\x4e",  # i32.ge_s
            emit.IF_EMPTY,
            get(entry) + emit.RETURN,
            emit.END,
            get(at) + get(entry) + emit.i32_const(1) + emit.I32_ADD + emit.local_tee(entry),
            access(0x36, 0, 2),
            get(entry),
            emit.IF_EMPTY,
            emit.i32_const(0) + emit.RETURN,
            emit.END,
            # A copy that goes back to a loop further out has made its frame whole.
            flag + emit.I32_AND + get(rp) + b"\x72" + emit.local_set(entry),
            frame.store_i32(RESUME_OFFSET, get(entry)),
            emit.i32_const(KIND_HOT) + get(fp) + get(rp) + emit.call(hook),
            emit.END,
        ]
    )
