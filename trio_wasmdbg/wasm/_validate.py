"""Operand typing: which types are on the operand stack before each instruction.

Follows the spec's "Appendix, Validation Algorithm", but is no validator: the engine has accepted
the module before.  Operands are counted, their types trusted; what is inconsistent all the same
gets a :class:`MalformedModuleError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn

from ..errors import MalformedModuleError, UnsupportedFeatureError, UnsupportedInstructionError
from ._instructions import BlockType, Instruction
from ._module import Function, Module
from ._opcodes import Op, Rule
from ._pace import Tick, in_pieces, no_tick
from ._read import read_body
from ._typed import ControlFrame, Operand, TypedBody, TypedPart
from ._types import (
    HEAP_ANY,
    HEAP_EXTERN,
    HEAP_I31,
    ArrayType,
    FuncType,
    StructType,
    ValType,
    ref_type,
)

__all__ = ["type_body", "type_part"]


# The rules as plain ints (faster to compare than an enum).
_FIXED, _LOCAL_GET, _POP_ONE, _LOCAL_TEE = (
    int(r) for r in (Rule.FIXED, Rule.LOCAL_GET, Rule.POP_ONE, Rule.LOCAL_TEE)
)
_GLOBAL_GET, _CALL, _BLOCK, _LOOP, _IF, _ELSE, _END = (
    int(r) for r in (Rule.GLOBAL_GET, Rule.CALL, Rule.BLOCK, Rule.LOOP, Rule.IF, Rule.ELSE, Rule.END)
)
_BR, _BR_IF, _BR_TABLE, _RETURN, _UNREACHABLE, _SELECT = (
    int(r) for r in (Rule.BR, Rule.BR_IF, Rule.BR_TABLE, Rule.RETURN, Rule.UNREACHABLE, Rule.SELECT)
)
_TRY_TABLE = int(Rule.TRY_TABLE)
_BRANCHES_ON_REFERENCE = frozenset(
    map(int, (Rule.BR_ON_NULL, Rule.BR_ON_NON_NULL, Rule.BR_ON_CAST, Rule.BR_ON_CAST_FAIL))
)
_KINDS: dict[int, Literal["block", "loop", "if", "try_table"]] = {
    _BLOCK: "block",
    _LOOP: "loop",
    _IF: "if",
    _TRY_TABLE: "try_table",
}

_WORK_LIMIT = 10_000_000
"""Operands popped (and ten times those pushed) by instructions that move more than 8, in one function.
Such an instruction takes two bytes and may move 1,000: without a limit a small hostile function would
take minutes and gigabytes.  Repeating the same push on the same stack is free."""


def type_body(module: Module, function: Function, tick: Tick = no_tick) -> TypedBody:
    """Read a function body and find the operand stack before each instruction.

    Time and memory are linear in the size of the body.

    :param tick: called about every 4,000 instructions of a large body.
    :raises MalformedModuleError: the body can't be read, or is not valid in a way that matters here.
    :raises UnsupportedInstructionError: an instruction that can't be typed.
    :raises UnsupportedFeatureError: absurdly many operands.
    """
    return _Typing(module, function, tick, read_body(module, function, tick)).run()


def type_part(
    module: Module,
    function: Function,
    first: int,
    instructions: list[Instruction],
    around: Sequence[ControlFrame],
    tick: Tick = no_tick,
) -> TypedPart:
    """The same for some instructions in a row, from one that control comes to with no operands.

    :param first: its ordinal.
    :param around: the constructs that are open there, outermost first, the function's own among them.
    """
    typed = _Typing(module, function, tick, instructions, first, around).run()
    return TypedPart(first, typed.instructions, typed.stacks, typed.reachable, typed.scopes, typed.controls)


class _Typing:
    """One run of the algorithm; rare rules are methods, the frequent ones stand in :meth:`run`."""

    def __init__(
        self, module: Module, function: Function, tick: Tick, instructions: list[Instruction],
        first: int = 0, around: Sequence[ControlFrame] = (),
    ) -> None:  # fmt: skip
        self.module = module
        self.function = function
        self.tick = tick
        self.instructions = instructions
        self.first = first
        self.around = list(around)
        self.k = 0
        self.work = 0
        # keyed by identity: everything that is a key here is kept alive by the result or the module
        self.pushed: dict[tuple[int, int], Operand | None] = {}
        self.heads: dict[int, tuple[ValType, ...]] = {}

    def place(self) -> dict[str, int | str | None]:
        at = self.k - self.first
        offset = self.instructions[at].offset if at < len(self.instructions) else None
        index = self.function.index
        return {"offset": offset, "function": index, "function_name": self.module.function_name(index)}

    def fail(self, problem: str) -> NoReturn:
        raise MalformedModuleError(problem, **self.place())  # type: ignore[arg-type]

    def underflow(self, op: Op) -> NoReturn:
        self.fail(f"type mismatch: too few operands for {op.name}")

    def spend(self, operands: int) -> None:
        self.work += operands
        if self.work > _WORK_LIMIT:
            problem = "too many operands in blocks and calls with long type lists"
            raise UnsupportedFeatureError(problem, **self.place())  # type: ignore[arg-type]

    def pop(self, top: Operand | None, count: int) -> Operand | None:
        """Pop *count*; the caller has checked that they are there."""
        if count > 8:
            self.spend(count)
        for _ in range(count):
            if top is None:
                self.fail("type mismatch: operand stack underflow")
            top = top[0]
        return top

    def push(self, top: Operand | None, types: tuple[ValType, ...]) -> Operand | None:
        """Push several; the same types on the same stack give the same operands."""
        if not types:
            return top
        height = 0 if top is None else top[2] + 1
        if len(types) == 1:
            return tuple.__new__(Operand, (top, types[0], height))
        key = (id(top), id(types))
        found = self.pushed.get(key)
        if found is None:
            if len(types) > 8:
                self.spend(10 * len(types))
            found = top
            for type in types:
                found = tuple.__new__(Operand, (found, type, height))
                height += 1
            self.pushed[key] = found
        return found

    def retype(self, top: Operand | None, types: tuple[ValType, ...]) -> Operand | None:
        """``pop_vals(types); push_vals(types)``: what a conditional branch does to its label's operands."""
        if len(types) > 8:
            self.spend(len(types))
        node = top
        same = True
        for type in reversed(types):
            if node is None:
                self.fail("type mismatch: operand stack underflow")
            same = same and node[1] is type
            node = node[0]
        return top if same else self.push(node, types)

    def head(self, types: tuple[ValType, ...]) -> tuple[ValType, ...]:
        """All but the last, the same object each time."""
        found = self.heads.get(id(types))
        if found is None:
            if not types:
                self.fail("type mismatch: the label takes no operand")
            found = self.heads[id(types)] = types[:-1]
        return found

    def run(self) -> TypedBody:
        module, function, instructions = self.module, self.function, self.instructions
        functions, globals_ = module.functions, module.globals
        local_types = list(function.type.params)
        if function.body is not None:
            for count, type in function.body.local_groups:
                local_types += [type] * count
        locals_ = tuple(local_types)
        new, operand = tuple.__new__, Operand
        pop, push = self.pop, self.push

        first, count = self.first, len(instructions)
        stacks: list[Operand | None] = []
        save = stacks.append
        reachable = bytearray(b"\1") * count
        scopes: list[ControlFrame] = []
        controls: dict[int, ControlFrame] = {}

        results = function.type.results
        # parallel stacks, innermost last: the frame, its label's types, the operands below its parameters
        whole = ControlFrame("function", -1, None, count - 1, 0, (), results, None)
        frames: list[ControlFrame] = self.around or [whole]
        labels: list[tuple[ValType, ...]] = [each.label_types for each in frames]
        below: list[Operand | None] = [None] * len(frames)
        frame = frames[-1]

        top: Operand | None = None
        height = base = max_height = 0
        scoped = first  # scopes are filled up to here
        dead = False
        k = first - 1
        try:
            for instruction in in_pieces(instructions, self.tick):
                k += 1
                op = instruction[2]
                rule = op.rule_number

                if dead:
                    # Spec: the stack is polymorphic here.  Nothing inside is typed, only structure counts.
                    save(None)
                    reachable[k - first] = 0
                    if _ELSE <= rule <= _END:
                        pass  # below, together with the live ones
                    elif rule in _KINDS:
                        scopes += [frame] * (k + 1 - scoped)
                        scoped = k + 1
                        type = instruction[3]
                        if rule == _TRY_TABLE:
                            type = type.block
                            self.k = k
                            self.check_catches(instruction, len(frames))
                        frame = ControlFrame(
                            _KINDS[rule], k, None, k, base, type.params, type.results, frame, False
                        )
                        controls[k] = frame
                        frames.append(frame)
                        labels.append(frame.label_types)
                        below.append(None)
                        continue
                    else:
                        if _BR <= rule <= _BR_TABLE or rule in _BRANCHES_ON_REFERENCE:
                            self.k = k
                            self.check_labels(instruction, rule, len(frames))
                        continue
                else:
                    save(top)

                    if rule == _LOCAL_GET:
                        top = new(operand, (top, locals_[instruction[3]], height))
                        height += 1
                        if height > max_height:
                            max_height = height
                        continue

                    if rule == _FIXED:
                        n = op.pop_count
                        if n:
                            height -= n
                            if height < base:
                                self.k = k
                                self.underflow(op)
                            top = top[0]  # type: ignore[index]  # base says that it is there
                            while n > 1:
                                top = top[0]  # type: ignore[index]
                                n -= 1
                        pushed = op.push
                        if pushed is not None:
                            top = new(operand, (top, pushed, height))
                            height += 1
                        elif op.pushes:
                            top = push(top, op.pushes)
                            height += len(op.pushes)
                        if height > max_height:
                            max_height = height
                        continue

                    if rule == _POP_ONE:
                        height -= 1
                        if height < base:
                            self.k = k
                            self.underflow(op)
                        top = top[0]  # type: ignore[index]
                        continue

                    if rule == _LOCAL_TEE:
                        if height <= base:
                            self.k = k
                            self.underflow(op)
                        type = locals_[instruction[3]]
                        if top[1] is not type:  # type: ignore[index]
                            top = new(operand, (top[0], type, height - 1))  # type: ignore[index]
                        continue

                if rule == _END:
                    frame.end = k
                    controls[k] = frame
                    scopes += [frame] * (k + 1 - scoped)
                    scoped = k + 1
                    live = frame.live
                    results = frame.results
                    if live:
                        base = frame.height
                        if not dead and height != base + len(results):
                            self.k = k
                            self.fail(
                                f"type mismatch: {height - base} operands, not {len(results)}, at the end"
                            )
                        if frame.kind == "if" and frame.else_ is None and frame.params != results:
                            self.k = k
                            self.fail("type mismatch: an if without else changes the stack")
                        dead = False
                        top = below[-1]
                        height = base + len(results)
                        if results:
                            top = push(top, results)
                            if height > max_height:
                                max_height = height
                    frames.pop()
                    labels.pop()
                    below.pop()
                    if not frames:
                        break
                    frame = frames[-1]
                    base = frame.height
                    continue

                self.k = k
                if rule == _BR_IF:
                    depth = instruction[3]
                    if depth >= len(labels):
                        self.fail(f"unknown label {depth}")
                    types = labels[-1 - depth]
                    height -= 1
                    if height - len(types) < base:
                        self.underflow(op)
                    top = top[0]  # type: ignore[index]
                    if types:
                        top = self.retype(top, types)
                    continue

                if rule == _CALL:
                    callee = functions[instruction[3]].type
                    n = len(callee.params)
                    height -= n
                    if height < base:
                        self.underflow(op)
                    top = push(pop(top, n), callee.results)
                    height += len(callee.results)
                    if height > max_height:
                        max_height = height
                    continue

                if rule == _GLOBAL_GET:
                    top = new(operand, (top, globals_[instruction[3]].type.valtype, height))
                    height += 1
                    if height > max_height:
                        max_height = height
                    continue

                if rule in _KINDS:
                    block: BlockType = instruction[3]
                    if rule == _IF:
                        height -= 1
                        if height < base:
                            self.underflow(op)
                        top = top[0]  # type: ignore[index]
                    elif rule == _TRY_TABLE:
                        self.check_catches(instruction, len(frames))
                        block = instruction[3].block
                    params = block.params
                    n = len(params)
                    height -= n
                    if height < base:
                        self.underflow(op)
                    if n:
                        top = pop(top, n)
                    scopes += [frame] * (k + 1 - scoped)
                    scoped = k + 1
                    frame = ControlFrame(_KINDS[rule], k, None, k, height, params, block.results, frame)
                    controls[k] = frame
                    frames.append(frame)
                    labels.append(params if rule == _LOOP else block.results)
                    below.append(top)
                    base = height
                    if n:
                        top = push(top, params)
                        height += n
                    continue

                if rule == _ELSE:
                    if frame.kind != "if" or frame.else_ is not None:
                        self.fail("else without if")
                    if not dead and height != base + len(frame.results):
                        self.fail("type mismatch: wrong number of operands at else")
                    frame.else_ = k
                    controls[k] = frame
                    if frame.live:
                        dead = False
                        top = push(below[-1], frame.params)
                        height = base + len(frame.params)
                    continue

                if rule == _SELECT:
                    height -= 2
                    if height <= base:
                        self.underflow(op)
                    top = top[0][0]  # type: ignore[index]
                    continue

                if _BR <= rule <= _UNREACHABLE:
                    if rule == _BR:
                        self.check_labels(instruction, rule, len(labels))
                        needed = len(labels[-1 - instruction[3]])
                    elif rule == _BR_TABLE:
                        self.check_labels(instruction, rule, len(labels))
                        needed = len(labels[-1 - instruction[3].default]) + 1
                    else:
                        needed = len(labels[0]) if rule == _RETURN else 0
                    if height - needed < base:
                        self.underflow(op)
                    dead = True
                    continue

                top, dead = self.rare(instruction, top, height - base, labels)
                height = 0 if top is None else top[2] + 1
                if height < base:
                    self.underflow(op)
                if height > max_height:
                    max_height = height
        except IndexError:
            self.fail("type mismatch: index out of range")
        self.k = k
        if k != first + count - 1 or (frames and not self.around):
            self.fail("unbalanced blocks")
        scopes += [frame] * (k + 1 - scoped)
        return TypedBody(function, instructions, stacks, reachable, scopes, controls, locals_, max_height)

    def check_labels(self, instruction: Instruction, rule: int, depth: int) -> None:
        imm = instruction.imm
        if rule == _BR_TABLE:
            label = max(imm.default, max(imm.targets, default=0))
        elif isinstance(imm, int):
            label = imm
        else:
            label = imm.label
        if label >= depth:
            self.fail(f"unknown label {label}")

    def check_catches(self, instruction: Instruction, depth: int) -> None:
        for catch in instruction.imm.catches:
            if catch.label >= depth:
                self.fail(f"unknown label {catch.label}")

    def rare(
        self, instruction: Instruction, top: Operand | None, available: int, labels: list[tuple[ValType, ...]]
    ) -> tuple[Operand | None, bool]:
        """The rules that are not frequent; *available* operands may be popped.

        :returns: the stack after the instruction, and whether the code after it is dead.
        """
        op, imm, module = instruction.op, instruction.imm, self.module
        rule = op.rule

        def pop(count: int) -> Operand | None:
            if count > available:
                self.underflow(op)
            return self.pop(top, count)

        def one(type: ValType, pops: int) -> tuple[Operand | None, bool]:
            return self.push(pop(pops), (type,)), False

        if rule is Rule.POPS:
            return self.push(pop(op.pop_count), op.pushes or ()), False

        # calls (spec, "Validation, Instructions, Control Instructions")
        if rule is Rule.CALL_INDIRECT or rule is Rule.CALL_REF:
            type = self.func_type(imm if rule is Rule.CALL_REF else imm.type_index)
            return self.push(pop(len(type.params) + 1), type.results), False
        if rule in (Rule.RETURN_CALL, Rule.RETURN_CALL_INDIRECT, Rule.RETURN_CALL_REF):
            if rule is Rule.RETURN_CALL:
                type, more = module.functions[imm].type, 0
            else:
                index = imm if rule is Rule.RETURN_CALL_REF else imm.type_index
                type, more = self.func_type(index), 1
            if len(type.params) + more > available:
                self.underflow(op)
            return top, True
        if rule is Rule.THROW:
            if len(module.tags[imm].type.type.params) > available:
                self.underflow(op)
            return top, True
        if rule is Rule.THROW_REF:
            if available < 1:
                self.underflow(op)
            return top, True

        # memories and tables: sizes have the address type
        if rule is Rule.MEMORY_SIZE or rule is Rule.MEMORY_GROW:
            return one(module.memories[imm].type.address_type, op.pop_count)
        if rule is Rule.TABLE_SIZE or rule is Rule.TABLE_GROW:
            return one(module.tables[imm].type.address_type, op.pop_count)
        if rule is Rule.TABLE_GET:
            return one(module.tables[imm].type.ref, 1)
        if rule is Rule.SELECT_TYPED:
            if len(imm) != 1:
                self.fail("invalid result arity of select")
            return one(imm[0], 3)

        # references
        if rule is Rule.REF_NULL:
            return one(ref_type(True, imm), 0)
        if rule is Rule.REF_FUNC:
            return one(ref_type(False, module.functions[imm].type_index), 0)
        if rule is Rule.REF_AS_NON_NULL:
            return one(ref_type(False, self.heap_on(top, available, op)), 1)
        if rule is Rule.REF_CAST:
            return one(ref_type(False, imm), 1)
        if rule is Rule.REF_CAST_NULL:
            return one(ref_type(True, imm), 1)
        if rule is Rule.REF_I31:
            return one(ref_type(False, HEAP_I31), 1)
        if rule is Rule.CONVERT_REF:
            self.heap_on(top, available, op)
            assert top is not None
            to = HEAP_ANY if op.name == "any.convert_extern" else HEAP_EXTERN
            return one(ref_type(top.type.nullable, to), 1)
        if int(rule) in _BRANCHES_ON_REFERENCE:
            self.check_labels(instruction, int(rule), len(labels))
            return self.branch_on_reference(instruction, top, available, labels), False

        # structs and arrays
        if rule in (Rule.STRUCT_NEW, Rule.STRUCT_NEW_DEFAULT):
            struct = self.struct(imm)
            return one(ref_type(False, imm), len(struct.fields) if rule is Rule.STRUCT_NEW else 0)
        if rule is Rule.STRUCT_GET:
            fields = self.struct(imm[0]).fields
            if imm[1] >= len(fields):
                self.fail(f"unknown field {imm[1]}")
            return one(fields[imm[1]].unpacked, 1)
        if rule is Rule.ARRAY_GET:
            return one(self.array(imm).element.unpacked, 2)
        if rule is Rule.ARRAY_NEW_FIXED:
            self.array(imm[0])
            return one(ref_type(False, imm[0]), imm[1])
        if rule is Rule.NEW_BY_TYPE:
            index = imm if isinstance(imm, int) else imm[0]
            self.array(index)
            return one(ref_type(False, index), op.pop_count)
        problem = f"instruction {op.name} can't be typed"
        raise UnsupportedInstructionError(problem, **self.place())  # type: ignore[arg-type]

    def func_type(self, index: int) -> FuncType:
        found = self.module.types[index]
        if not isinstance(found, FuncType):
            self.fail(f"type {index} is not a function type")
        return found

    def struct(self, index: int) -> StructType:
        found = self.module.types[index]
        if not isinstance(found, StructType):
            self.fail(f"type {index} is not a struct type")
        return found

    def array(self, index: int) -> ArrayType:
        found = self.module.types[index]
        if not isinstance(found, ArrayType):
            self.fail(f"type {index} is not an array type")
        return found

    def heap_on(self, top: Operand | None, available: int, op: Op) -> int:
        """The heap type of the reference on top of the stack."""
        if top is None or available < 1:
            self.underflow(op)
        if top.type.heap is None:
            self.fail(f"type mismatch: {op.name} of {top.type}")
        return top.type.heap

    def branch_on_reference(
        self, instruction: Instruction, top: Operand | None, available: int, labels: list[tuple[ValType, ...]]
    ) -> Operand | None:
        """``br_on_null``, ``br_on_non_null``, ``br_on_cast``, ``br_on_cast_fail`` that don't branch."""
        op, imm, rule = instruction.op, instruction.imm, instruction.op.rule
        heap = self.heap_on(top, available, op)
        assert top is not None
        types = labels[-1 - (imm if isinstance(imm, int) else imm.label)]
        # all but br_on_null hand the reference over as the label's last operand
        others = types if rule is Rule.BR_ON_NULL else self.head(types)
        if len(others) + 1 > available:
            self.underflow(op)
        stack = self.retype(top.below, others)
        if rule is Rule.BR_ON_NULL:
            return self.push(stack, (ref_type(False, heap),))
        if rule is Rule.BR_ON_NON_NULL:
            return stack
        if rule is Rule.BR_ON_CAST:
            # Spec, "Type difference": what is left of the source when the target is taken away
            left = ref_type(imm.source.nullable and not imm.target.nullable, imm.source.heap)
            return self.push(stack, (left,))
        return self.push(stack, (imm.target,))
