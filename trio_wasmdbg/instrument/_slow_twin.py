"""The slow twin: a function as a memory machine that can be entered before any instruction.

Locals and operands live in the shadow frame.  Each instruction tests its stop byte, loads its
operands from the frame, is executed, and stores its results.  Control flow is flattened: a chunk of
instructions is ``loop { br_table resume point }`` around nested blocks, one for each instruction, so
a forward jump is one branch, a backward jump goes through the loop's head, and a jump to another
chunk is a tail call.  Chunks keep compile time linear: it grows faster than a function's size.

Every function made here has the type ``(frame pointer, resume point) -> results``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ..wasm import (
    I32,
    ControlFrame,
    Flow,
    Instruction,
    Module,
    Operand,
    TypedBody,
    ValType,
    sleb33,
    uleb,
)
from . import _emit as emit
from ._additions import FrameAccess
from ._clauses import Clause, first_matches
from ._foresee import Foresight
from ._frames import RESUME_OFFSET
from ._imports import CompanionImports
from ._jumps import FP, RP, Jumps, Place
from ._kinds import CONVERSIONS, DIVISIONS, HELPED, division_can_trap, foreseen_trap
from ._layout import KIND_THROW
from ._loop_copy import edge_code
from ._paying import Runs
from ._plans import FunctionPlan
from ._shared import top_types
from ._skeleton import PartlyTyped
from ._slow_entry import entry, missing
from ._trace import ASKS, RECORDS
from ._watch import Access, Condition, ConditionPlaces, accesses, arguments, bounds, is_precise, is_watched

__all__ = ["SlowTwinBuilder"]

CHUNK: Final = 300
"""Instructions in a chunk of a slow twin that is made as a whole."""

_FP, _RP, _SCRATCH = FP, RP, 2


def _loop_entries(
    plan: FunctionPlan, imports: CompanionImports, results: tuple[ValType, ...], edge: int
) -> Callable[[int], bytes]:
    """Code for where control goes into the loop that begins with an instruction: maybe on in a copy of it.

    No method of the builder's: in a cycle, its body of a large function would wait for a full collection.

    :param edge: index of the function that counts rounds.
    """

    def into_loop(k: int) -> bytes:
        if imports.shared_memory:
            return b""
        return edge_code(plan, imports.additions, results, k, edge, _FP, _RP)

    return into_loop


class SlowTwinBuilder:
    """Makes the functions of one slow twin."""

    def __init__(
        self,
        plan: FunctionPlan,
        imports: CompanionImports,
        *,
        first: int,
        stop: int,
        casts: bool,
        first_chunk: int,
        conditions: Mapping[int, Condition],
        tick: Callable[[], None],
        number: int | None = None,
        chunk_size: int | None = None,
        typed: TypedBody | PartlyTyped | None = None,
    ) -> None:
        """
        :param first: index of the function that :meth:`build` returns first.
        :param stop: index of the function for a stop byte that is set; after it are the one that notes the
            instruction, the one that asks the host before a trap, the one before an access to memory,
            :func:`outside_function`, :func:`~._loop_copy.edge_function`, and
            :func:`~._paying.begin_function`.
        :param casts: see :class:`~._foresee.Foresight`.
        :param first_chunk: index of its first chunk in the companion's table (if it has several chunks).
        :param conditions: by resume point, for stop bytes of value 2.
        :param number: that of its table of chunks, if they are made one after another.
        :param chunk_size: instructions in a chunk; None: of one that is made as a whole.
        :param typed: what there is to know of the chunks that are to be made; default: all.
        """
        self._module: Module = imports.additions.module
        self._plan = plan
        self._imports = imports
        self._first = first
        self._stop = stop
        self._note, self._trap, self._watch = range(stop + 1, stop + 4)
        self._outside = emit.call(stop + 4)
        self._foresight = Foresight(self._module, self._outside, casts)
        self._conditions = conditions
        self._first_chunk = first_chunk
        self._tick = tick
        self._typed = plan.typed() if typed is None else typed
        self._frame = plan.frame
        self._access = FrameAccess(imports.additions, _FP)
        self._count = self._typed.count
        self._throwing = plan.catching()
        """By resume point after the instructions': the ``try_table`` in which the host may throw there."""
        self._total = self._count + len(self._throwing)
        self._results = self._typed.function.type.results
        self._locals: list[ValType] = []
        self._pools: dict[ValType, list[int]] = {}
        self._into_loop = _loop_entries(plan, imports, self._results, stop + 5)
        self._number = number
        self._chunk_size = CHUNK if chunk_size is None else chunk_size
        self._jumps = Jumps(
            self._typed, self._frame, self._access, imports.additions, first + 1, self._chunk_size,
            None if number is None else imports.chunk_table, self._into_loop,
        )  # fmt: skip
        self._begin = stop + 6
        self._runs: Runs  # of the chunk that is being made
        self._clauses: dict[int, tuple[Clause, ...]] = {}

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self._total // self._chunk_size)

    def build(self) -> list[bytes]:
        """The entry function and the chunks: bodies without their size."""
        return [self._entry(), *self.build_chunks(range(n, n + 1) for n in range(self.chunks))]

    def build_entry(self) -> list[bytes]:
        """The entry function, and what stands for chunks that are not there yet."""
        return [self._entry(), missing(self._number or 0, self._access, self._dispatch())]

    def build_chunks(self, groups: Iterable[range]) -> list[bytes]:
        """Some of the chunks, each group of neighbours in one function."""
        return [self._chunk(group) for group in groups]

    # ── functions ──────────────────────────────────────────────────────────────────────────────

    def _entry(self) -> bytes:
        return entry(self._plan, self._imports.additions, self._dispatch())

    def _dispatch(self) -> bytes:
        """Goes on at resume point ``rp``, in whatever chunk it is."""
        get = [emit.local_get(_FP), emit.local_get(_RP)]
        if self.chunks == 1 and self._number is None:
            return b"".join([*get, emit.return_call(self._first + 1)])
        number = [emit.local_get(_RP), emit.i32_const(self._chunk_size), b"\x6e"]  # i32.div_u
        number += [emit.i32_const(self._first_chunk), emit.I32_ADD]
        cold = self._imports.additions.cold_type(self._results)
        return b"".join([*get, *number, emit.return_call_indirect(cold, self._imports.chunk_table)])

    def _has_code(self, k: int) -> bool:
        return k >= self._count - 1 or bool(self._typed.reachable[k])

    def _chunk(self, group: range) -> bytes:
        low = group.start * self._chunk_size
        high = min(group.stop * self._chunk_size, self._total)
        present = [k for k in range(low, high) if self._has_code(k)]
        place = Place(len(present) + 1, {k: i for i, k in enumerate(present)})
        self._jumps.place = place
        self._jumps.begin(low)
        self._locals, self._pools = [], {}
        self._runs = Runs(self._imports.additions, self._typed, low, min(high, self._count))
        # block $redirect / loop $dispatch / block $bad / block of the last instruction / ... / of the first
        bad = len(present)  # where resume points go that have no code: the host's mistake, so a trap
        out = [emit.BLOCK_EMPTY, emit.LOOP_EMPTY, emit.BLOCK_EMPTY, emit.BLOCK_EMPTY * len(present)]
        targets = [place.numbers.get(k, bad) for k in range(low, high)]
        out += [self._runs.unpaid(), emit.local_get(_RP), emit.i32_const(low), emit.I32_SUB]
        out.append(emit.br_table(targets, bad))
        for k in range(low, high):
            index = place.numbers.get(k)
            if index is not None:
                place.index, place.inside = index, 0
                out.append(emit.END)
                if k >= self._count:
                    out.append(self._thrown_by_host(k))
                    continue
                out.append(self._check(k))
                out.append(self._instruction(k))
                falls = self._falls_through(k)
                if falls and (index + 1 == len(present) or present[index + 1] != k + 1):
                    # The next chunk begins, or (impossible in valid code) dead code follows.
                    out.append(self._jumps.goto(k + 1) if k + 1 < self._count else emit.UNREACHABLE)
            if k < self._count:
                self._jumps.follow(k)
        self._tick()
        out += [emit.END, emit.UNREACHABLE, emit.END, emit.UNREACHABLE, emit.END]
        out += [
            emit.local_get(_RP),
            emit.i32_const(1),
            emit.I32_SUB,
            emit.local_set(_RP),
            self._dispatch(),
            emit.END,
        ]
        code = b"".join(out)
        groups = [(1, type) for type in self._locals]
        return emit.local_groups(groups) + code

    def _falls_through(self, k: int) -> bool:
        op = self._typed.instructions[k].op
        return not op.ends_flow and op.flow is not Flow.ELSE and k != self._count - 1

    # ── control ────────────────────────────────────────────────────────────────────────────────

    def _hook(self, function: int, place: int, more: bytes = b"") -> bytes:
        """Asks the host (:meth:`Runs.place`, and what *more* pushes), and goes where it says (0: on)."""
        return b"".join(
            [
                emit.local_get(_FP),
                emit.i32_const(place),
                more,
                emit.call(function),
                emit.local_tee(_RP),
                emit.br_if(self._jumps.place.redirect + 1),
            ]
        )

    def _check(self, k: int) -> bytes:
        """At a set stop byte: notes the instruction, asks the host, or both (see ``_trace``).

        Where there is a condition, a byte of value 2 asks only if it holds or has no value.
        """
        condition = self._conditions.get(k)
        at = self._plan.stop_base + k
        byte = emit.i32_const(0) + self._imports.additions.memory_access(0x2D, at)
        function = self._begin if self._runs.begins(k) else self._stop
        ask = self._hook(function, self._runs.place(k, checked=False), emit.i32_const(at))
        differing = self._runs.differs(k)
        if condition is None:
            return b"".join([byte, differing, emit.IF_EMPTY, ask, emit.END])
        places = ConditionPlaces(
            self._frame,
            _FP,
            self._imports.additions.debug_memory,
            lambda type, number: self._scratch((type,) * (number + 1))[number],
            self._access.reference,
            self._imports.global_,
        )
        note = emit.i32_const(at) + emit.call(self._note)
        return b"".join(
            [
                emit.BLOCK_EMPTY,
                byte + differing + emit.I32_EQZ + emit.br_if(0),
                byte + emit.i32_const(ASKS) + emit.I32_AND + emit.i32_const(2) + b"\x46",  # i32.eq
                emit.IF_EMPTY,
                condition.code(places) + emit.I32_EQZ,
                emit.IF_EMPTY,
                byte + emit.i32_const(RECORDS) + emit.I32_AND + emit.I32_EQZ + emit.br_if(2),
                note + emit.br(2),
                emit.END,
                emit.END,
                ask,
                emit.END,
            ]
        )

    # ── instructions ───────────────────────────────────────────────────────────────────────────

    def _store_resume_point(self, k: int) -> bytes:
        return self._access.store_i32(RESUME_OFFSET, emit.i32_const(k))

    def _operands(self, stack: Operand | None, count: int, skip: int = 0) -> list[bytes]:
        """Loads of the topmost *count* operands, those below the topmost *skip*; lowest first."""
        loads: list[bytes] = []
        node = stack
        for i in range(count + skip):
            assert node is not None
            if i >= skip:
                loads.append(self._access.load(node.type, self._frame.operand(node.height)))
            node = node.below
        loads.reverse()
        return loads

    def _scratch(self, types: tuple[ValType, ...]) -> list[int]:
        """A scratch local for each of *types*, the same ones for each instruction."""
        used: dict[ValType, int] = {}
        found = []
        for type in types:
            number = used.get(type, 0)
            used[type] = number + 1
            pool = self._pools.setdefault(type, [])
            if number == len(pool):
                pool.append(_SCRATCH + len(self._locals))
                self._locals.append(type)
            found.append(pool[number])
        return found

    def _execute(self, code: bytes, loads: list[bytes], results: tuple[ValType, ...], height: int) -> bytes:
        """Loads, executes, and stores the results at *height* and above."""
        access, frame, additions = self._access, self._frame, self._imports.additions
        if not results:
            return b"".join([*loads, code])
        if len(results) == 1:
            type, offset = results[0], frame.operand(height)
            return b"".join([access.address(type, offset), *loads, code, additions.store(type, offset)])
        out = [*loads, code]
        scratch = self._scratch(results)
        out += [emit.local_set(local) for local in reversed(scratch)]
        out += [
            access.store_local(type, frame.operand(height + i), local)
            for i, (type, local) in enumerate(zip(results, scratch, strict=True))
        ]
        return b"".join(out)

    def _instruction(self, k: int) -> bytes:
        instruction = self._typed.instructions[k]
        flow = instruction.op.flow
        stack = self._typed.stacks[k]
        height = stack.height + 1 if stack is not None else 0
        if flow is Flow.NEXT:
            return self._plain(k, instruction, stack, height)
        if flow is Flow.LOOP:
            return self._into_loop(k)
        if flow is Flow.BLOCK or flow is Flow.TRY_TABLE:
            return b""
        if flow is Flow.END:
            return self._return() if k == self._count - 1 else b""
        if flow is Flow.ELSE:
            return self._jumps.goto(self._typed.controls[k].end + 1)
        if flow is Flow.IF:
            control = self._typed.controls[k]
            target = (control.end if control.else_ is None else control.else_) + 1
            condition = self._access.load(I32, self._frame.operand(height - 1))
            return condition + emit.I32_EQZ + self._jumps.goto_if(target)
        if flow is Flow.BRANCH:
            scope = self._jumps.scope(instruction.imm)
            return self._jumps.moves(scope, height) + self._jumps.goto(self._jumps.target(scope))
        if flow is Flow.BRANCH_IF and instruction.op.code != 0x0D:
            return self._branch_on_reference(k, instruction, stack, height)
        if flow is Flow.BRANCH_IF:
            scope = self._jumps.scope(instruction.imm)
            condition = self._access.load(I32, self._frame.operand(height - 1))
            moves = self._jumps.moves(scope, height - 1)
            return condition + self._jumps.goto_if(self._jumps.target(scope), moves)
        if flow is Flow.BRANCH_TABLE:
            return self._jumps.branch_table(instruction.imm.targets, instruction.imm.default, height)
        if flow is Flow.RETURN:
            return self._jumps.moves(self._jumps.path[0], height) + self._jumps.goto(self._count - 1)
        if flow is Flow.UNREACHABLE:
            return b"".join([self._trap_hook(k, 0), emit.UNREACHABLE])
        if flow is Flow.CALL or flow is Flow.TAIL_CALL:
            return self._call(k, instruction, stack, height)
        assert flow is Flow.THROW
        return self._throw(k, instruction, stack, height)

    def _trap_hook(self, k: int, inside: int) -> bytes:
        self._jumps.place.inside = inside - 1  # _hook counts on one block around
        code = self._hook(self._trap, self._runs.place(k, checked=True))
        self._jumps.place.inside = 0
        return code

    def _return(self) -> bytes:
        frame = self._frame
        loads = [self._access.load(type, frame.operand(i)) for i, type in enumerate(self._results)]
        pop = self._access.pop(frame.size, self._plan.escapable)
        return b"".join([*loads, pop, emit.RETURN])

    def _call(self, k: int, instruction: Instruction, stack: Operand | None, height: int) -> bytes:
        imm, code = instruction.imm, instruction.op.code
        raw = self._module.data[instruction.offset : instruction.end]
        if code == 0x10 or code == 0x12:
            type = self._module.functions[imm].type
            count = len(type.params)
            executing = self._imports.executing(self._typed, k)
            target = self._imports.function(imm) if executing is None else executing
            execute = emit.call(target) if code == 0x10 else emit.return_call(target)
        else:
            type = self._module.func_type(imm if isinstance(imm, int) else imm.type_index)
            count = len(type.params) + 1
            execute = raw
        loads = self._operands(stack, count)
        foreseen = self._foresee(k, instruction, (), loads, top_types(stack, count))
        store = self._store_resume_point(k) + foreseen
        if instruction.op.flow is Flow.TAIL_CALL:
            pop = self._access.pop(self._frame.size, self._plan.escapable)
            return b"".join([store, *loads, pop, execute])
        return store + self._guarded(self._catching(k), execute, loads, type.results, height - count)

    def _throw(self, k: int, instruction: Instruction, stack: Operand | None, height: int) -> bytes:
        raw = self._module.data[instruction.offset : instruction.end]
        count = 1  # throw_ref
        if instruction.op.pop_count < 0:
            count = len(self._module.tags[instruction.imm].type.type.params)
        loads = self._operands(stack, count)
        foreseen = self._foresee(k, instruction, (), loads, top_types(stack, count))
        thrown = self._guarded(self._catching(k), raw, loads, (), height - count, returns=False)
        return self._store_resume_point(k) + foreseen + thrown

    def _branch_on_reference(
        self, k: int, instruction: Instruction, stack: Operand | None, height: int
    ) -> bytes:
        """``br_on_null`` and its kin.  The reference keeps its slot, whatever it is found to be."""
        name, imm = instruction.op.name, instruction.imm
        scope = self._jumps.scope(imm if isinstance(imm, int) else imm.label)
        assert stack is not None
        load = self._access.load(stack.type, self._frame.operand(height - 1))
        if name == "br_on_null":
            test, taken = b"\xd1", height - 1
        elif name == "br_on_non_null":
            test, taken = b"\xd1" + emit.I32_EQZ, height
        else:
            # ref.test with the target's type
            test = (b"\xfb\x15" if imm.target.nullable else b"\xfb\x14") + sleb33(imm.target.heap)
            taken = height
            if name == "br_on_cast_fail":
                test += emit.I32_EQZ
        return load + test + self._jumps.goto_if(self._jumps.target(scope), self._jumps.moves(scope, taken))

    def _thrown_by_host(self, k: int) -> bytes:
        """Calls the hook, which throws, inside the clauses of a ``try_table``."""
        scope = self._typed.controls[self._throwing[k - self._count]]
        code = [emit.i32_const(KIND_THROW), emit.local_get(_FP), emit.i32_const(k), emit.call(0), emit.DROP]
        return self._guarded(self._clauses_of(scope), b"".join(code), [], (), 0, returns=False)

    # ── exceptions ─────────────────────────────────────────────────────────────────────────────

    def _catching(self, k: int) -> tuple[Clause, ...]:
        """The clauses that an exception thrown by instruction *k* meets, in order."""
        return self._clauses_of(self._typed.scopes[k])

    def _clauses_of(self, innermost: ControlFrame) -> tuple[Clause, ...]:
        path = []
        scope: ControlFrame | None = innermost
        while scope is not None and id(scope) not in self._clauses:
            path.append(scope)
            scope = scope.parent
        found = self._clauses[id(scope)] if scope is not None else ()
        for scope in reversed(path):
            if scope.kind == "try_table":
                own = []
                outside = scope.parent
                assert outside is not None
                for catch in self._typed.instructions[scope.start].imm.catches:
                    target = outside
                    for _ in range(catch.label):
                        assert target.parent is not None
                        target = target.parent
                    own.append(Clause(catch, target))
                found = first_matches([*own, *found])
            self._clauses[id(scope)] = found
        return found

    def _guarded(
        self,
        clauses: tuple[Clause, ...],
        code: bytes,
        loads: list[bytes],
        results: tuple[ValType, ...],
        height: int,
        *,
        returns: bool = True,
    ) -> bytes:
        """Executes an instruction that may throw inside a ``try_table`` of its own.

        The structure of the original's is gone; so each such instruction is surrounded by all the clauses
        that are in force there.  Each leads to a block's end, where the caught values go to the frame::

            block $done
              block (result …)          ;; one for each clause, the last one's outermost
                try_table (result …) (catch …) …
                  the instruction
                end
                br $done
              end
              what the clause is for; go on where it leads
            end
        """
        if not clauses:
            executed = self._execute(code, loads, results, height)
            return executed if returns else executed + emit.UNREACHABLE
        additions, place = self._imports.additions, self._jumps.place
        out = [emit.BLOCK_EMPTY]
        out += [b"\x02" + additions.block_type(clause.scope.label_types) for clause in reversed(clauses)]
        parts = [b"\x1f", additions.block_type(results), uleb(len(clauses))]
        for depth, (catch, _) in enumerate(clauses):
            parts += [bytes((catch.kind,)), b"" if catch.tag is None else uleb(catch.tag), uleb(depth)]
        parts += [*loads, code, emit.END]
        out.append(self._execute(b"".join(parts), [], results, height))
        out.append(emit.br(len(clauses)) if returns else emit.UNREACHABLE)
        inside = place.inside
        for number, (_, scope) in enumerate(clauses):
            place.inside = inside + len(clauses) - number
            out += [emit.END, self._caught(scope)]
        place.inside = inside
        out.append(emit.END)
        return b"".join(out)

    def _caught(self, scope: ControlFrame) -> bytes:
        """Pops the caught values to where *scope*'s label has them, and goes there."""
        access, frame = self._access, self._frame
        types = scope.label_types
        scratch = self._scratch(types)
        out = [emit.local_set(local) for local in reversed(scratch)]
        out += [
            access.store_local(type, frame.operand(scope.height + i), local)
            for i, (type, local) in enumerate(zip(types, scratch, strict=True))
        ]
        # The frames of the functions that were unwound are gone.
        out.append(access.topmost())
        out.append(self._jumps.goto(self._jumps.target(scope)))
        return b"".join(out)

    def _plain(self, k: int, instruction: Instruction, stack: Operand | None, height: int) -> bytes:
        op, imm = instruction.op, instruction.imm
        code, frame = op.code, self._frame
        if code == 0x20:  # local.get
            type = frame.locals[imm]
            return self._jumps.copy(type, frame.local(imm), frame.operand(height))
        if code == 0x21 or code == 0x22:  # local.set, local.tee
            return self._jumps.copy(frame.locals[imm], frame.operand(height - 1), frame.local(imm))
        if code == 0x1A or code == 0x01:  # drop, nop
            return b""
        after = self._typed.stacks[k + 1]
        height_after = after.height + 1 if after is not None else 0
        pops = op.pop_count
        if pops < 0:
            pops = height + 1 - height_after  # struct.new, array.new_fixed: one result
        below = height - pops
        loads = self._operands(stack, pops)
        results = top_types(after, height_after - below)
        execute = self._module.data[instruction.offset : instruction.end]
        if code == 0x23:
            execute = emit.global_get(self._imports.global_(imm))
        elif code == 0x24:
            execute = emit.global_set(self._imports.global_(imm))
        elif code == 0xD2:
            execute = emit.call(self._imports.helper("ref.func", imm))
        elif code in HELPED:
            first, second = imm if isinstance(imm, tuple) else (imm, 0)
            execute = emit.call(self._imports.helper(HELPED[code], first, second))
        else:
            executing = self._imports.executing(self._typed, k)
            if executing is not None:
                execute = emit.call(executing)
        parts: list[bytes] = []
        if op.traps:
            parts.append(self._store_resume_point(k))
            if (code in DIVISIONS or code in CONVERSIONS) and division_can_trap(self._typed.instructions, k):
                parts += [foreseen_trap(code, loads), emit.IF_EMPTY, self._trap_hook(k, 1), emit.END]
            types = top_types(stack, len(loads))
            found = accesses(instruction)
            parts += self._watch_checks(k, found, loads, types)
            parts.append(self._foresee(k, instruction, found, loads, types))
        parts.append(self._execute(execute, loads, results, below))
        return b"".join(parts)

    def _watch_checks(
        self, k: int, found: tuple[Access, ...], loads: list[bytes], types: tuple[ValType, ...]
    ) -> list[bytes]:
        """Asks the host before an access that touches a watched range."""
        parts: list[bytes] = []
        for access in found:
            place = self._runs.place(k, checked=True)
            parts += [
                is_watched(self._imports.additions, access),
                emit.IF_EMPTY,
                self._hook(self._watch, place, arguments(access, loads, types)),
                emit.END,
            ]
        return parts

    def _foresee(
        self,
        k: int,
        instruction: Instruction,
        found: tuple[Access, ...],
        loads: list[bytes],
        types: tuple[ValType, ...],
    ) -> bytes:
        """In precise mode: asks the host before an instruction that is going to trap."""
        tests = [self._foresight.code(instruction, loads, types)]
        for access in found:
            size = self._imports.memory_size(access.memory)
            tests.append(bounds(self._module, access, loads, types, size) + self._outside)
        asks = [
            b"".join([test, emit.IF_EMPTY, self._trap_hook(k, 2), emit.END])
            for test in tests if test
        ]  # fmt: skip
        if not asks:
            return b""
        return b"".join([is_precise(self._imports.additions), emit.IF_EMPTY, *asks, emit.END])
