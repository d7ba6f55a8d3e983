"""A tiny interpreter of the MVP's integer instructions, written for clarity, to compare stops with.

It knows nothing of shadow frames and twins.  Control follows the same convention as the slow twin:
a branch to a block goes to the instruction after its ``end``, and to a loop to the first one inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from attrs import define, field

from trio_wasmdbg.wasm import Instruction, Module, read_body

MASK = {32: (1 << 32) - 1, 64: (1 << 64) - 1}


class Trap(Exception):
    pass


class Point(NamedTuple):
    """One frame as it is before an instruction, or in a call."""

    function: int
    k: int
    locals: tuple[int, ...]
    operands: tuple[int, ...]


@define
class Block:
    """An entry of the label stack."""

    target: int
    height: int
    arity: int
    depth: int


@define
class Activation:
    function: int
    code: list[Instruction]
    locals: list[int]
    operands: list[int] = field(factory=list)
    labels: list[Block] = field(factory=list)
    k: int = 0
    hidden: int = 0
    """Operands that are the arguments of the call which it is in."""


def signed(value: int, bits: int) -> int:
    value &= MASK[bits]
    return value - (1 << bits) if value >> bits - 1 else value


def _divide(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def _arithmetic(name: str, bits: int, a: int, b: int) -> int:
    ua, ub, sa, sb = a & MASK[bits], b & MASK[bits], signed(a, bits), signed(b, bits)
    n = ub % bits
    if name in ("div_s", "div_u", "rem_s", "rem_u") and ub == 0:
        raise Trap("INTEGER_DIVISION_BY_ZERO")
    if name == "div_s" and sb == -1 and sa == -(1 << bits - 1):
        raise Trap("INTEGER_OVERFLOW")
    table: dict[str, Callable[[], int]] = {
        "add": lambda: ua + ub, "sub": lambda: ua - ub, "mul": lambda: ua * ub,
        "div_s": lambda: _divide(sa, sb), "div_u": lambda: ua // ub,
        "rem_s": lambda: sa - sb * _divide(sa, sb), "rem_u": lambda: ua % ub,
        "and": lambda: ua & ub, "or": lambda: ua | ub, "xor": lambda: ua ^ ub,
        "shl": lambda: ua << n, "shr_u": lambda: ua >> n, "shr_s": lambda: sa >> n,
        "rotl": lambda: ua << n | ua >> bits - n, "rotr": lambda: ua >> n | ua << bits - n,
    }  # fmt: skip
    return signed(table[name](), bits)


def _compare(name: str, bits: int, a: int, b: int) -> int:
    if name.endswith("_u"):
        a, b = a & MASK[bits], b & MASK[bits]
    else:
        a, b = signed(a, bits), signed(b, bits)
    return int({"eq": a == b, "ne": a != b, "lt": a < b, "gt": a > b, "le": a <= b, "ge": a >= b}[name[:2]])


class Interpreter:
    """Runs one module; ``memory`` and ``globals`` are its state."""

    def __init__(self, module: Module, memory: bytearray, globals: list[int]) -> None:
        self.module = module
        self.memory = memory
        self.globals = globals
        self.table: list[int] = []
        self.stack: list[Activation] = []
        self.bodies: dict[int, list[Instruction]] = {}

    def run(self, function: int, args: tuple[int, ...]) -> Iterator[list[Point]]:
        """All frames before each instruction, innermost first.  ``result`` is set at the end."""
        self.result: tuple[int, ...] = ()
        self._call(function, list(args))
        while self.stack:
            top = self.stack[-1]
            yield [
                Point(a.function, a.k, tuple(a.locals), tuple(a.operands[: len(a.operands) - a.hidden]))
                for a in reversed(self.stack)
            ]
            self._step(top, top.code[top.k])

    def _call(self, function: int, args: list[int]) -> None:
        what = self.module.functions[function]
        assert what.body is not None
        code = self.bodies.setdefault(function, read_body(self.module, what))
        self.stack.append(Activation(function, code, args + [0] * what.body.local_count))

    def _matching(self, code: list[Instruction], k: int) -> tuple[int | None, int]:
        """Ordinals of the ``else`` and ``end`` of the construct opened at *k*."""
        depth, other = 0, None
        while True:
            name = code[k].op.name
            if name in ("block", "loop", "if"):
                depth += 1
            elif name == "else" and depth == 1:
                other = k
            elif name == "end":
                depth -= 1
                if depth == 0:
                    return other, k
            k += 1

    def _branch(self, a: Activation, depth: int) -> None:
        if depth == len(a.labels):
            arity = len(self.module.functions[a.function].type.results)
            a.operands = a.operands[len(a.operands) - arity :]
            a.k = len(a.code) - 1
            a.labels = []
            return
        label = a.labels[-1 - depth]
        kept = a.operands[len(a.operands) - label.arity :] if label.arity else []
        a.operands[label.height :] = kept
        a.k = label.target
        del a.labels[label.depth :]

    def _step(self, a: Activation, instruction: Instruction) -> None:
        name, imm = instruction.op.name, instruction.imm
        push, pop = a.operands.append, a.operands.pop
        k = a.k
        a.k = k + 1
        kind, _, verb = name.partition(".")
        if name == "local.get":
            push(a.locals[imm])
        elif name == "local.set":
            a.locals[imm] = pop()
        elif name == "local.tee":
            a.locals[imm] = a.operands[-1]
        elif name == "global.get":
            push(self.globals[imm])
        elif name == "global.set":
            self.globals[imm] = pop()
        elif verb == "const":
            push(imm)
        elif name in ("block", "loop", "if"):
            other, end = self._matching(a.code, k)
            params, results = len(imm.params), len(imm.results)
            if name == "if" and not pop():
                if other is None:
                    a.k = end + 1
                    return
                a.k = other + 1
            depth = len(a.labels)
            height = len(a.operands) - params
            if name == "loop":
                a.labels.append(Block(k + 1, height, params, depth + 1))
            else:
                a.labels.append(Block(end + 1, height, results, depth))
        elif name == "else":
            _, end = self._matching(a.code, self._opening(a.code, k))
            a.k = end + 1
            a.labels.pop()
        elif name == "end":
            if k == len(a.code) - 1:
                self.stack.pop()
                left = a.operands
                if self.stack:
                    caller = self.stack[-1]
                    caller.k += 1
                    del caller.operands[len(caller.operands) - caller.hidden :]
                    caller.hidden = 0
                    caller.operands += left
                else:
                    self.result = tuple(left)
            else:
                a.labels.pop()
        elif name == "br":
            self._branch(a, imm)
        elif name == "br_if":
            if pop():
                self._branch(a, imm)
        elif name == "br_table":
            index = pop() & MASK[32]
            self._branch(a, imm.targets[index] if index < len(imm.targets) else imm.default)
        elif name == "return":
            self._branch(a, len(a.labels))
        elif name in ("call", "call_indirect"):
            function, extra = imm, 0
            if name == "call_indirect":
                function, extra = self.table[a.operands[-1]], 1
            count = len(self.module.functions[function].type.params)
            a.k, a.hidden = k, count + extra
            at = len(a.operands) - count - extra
            self._call(function, a.operands[at : at + count])
        elif name == "drop":
            pop()
        elif name == "select":
            condition, second, first = pop(), pop(), pop()
            push(first if condition else second)
        elif name == "unreachable":
            raise Trap("UNREACHABLE")
        elif name == "nop":
            pass
        elif name == "memory.size":
            push(len(self.memory) // 65536)
        elif "load" in verb:
            self._load(a, kind, verb, imm.offset, instruction.op.width)
        elif "store" in verb:
            value, address = pop(), pop() & MASK[32]
            address += imm.offset
            width = instruction.op.width
            if address + width > len(self.memory):
                raise Trap("MEMORY_OUT_OF_BOUNDS")
            self.memory[address : address + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        else:
            self._number(a, kind, verb)

    def _opening(self, code: list[Instruction], k: int) -> int:
        """The ``if`` that the ``else`` at *k* belongs to."""
        depth = 0
        while True:
            k -= 1
            name = code[k].op.name
            if name == "end":
                depth += 1
            elif name in ("block", "loop", "if"):
                if depth == 0:
                    return k
                depth -= 1

    def _load(self, a: Activation, kind: str, verb: str, offset: int, width: int) -> None:
        address = (a.operands.pop() & MASK[32]) + offset
        if address + width > len(self.memory):
            raise Trap("MEMORY_OUT_OF_BOUNDS")
        data = self.memory[address : address + width]
        value = int.from_bytes(data, "little", signed=not verb.endswith("_u"))
        a.operands.append(signed(value, 32 if kind == "i32" else 64))

    def _number(self, a: Activation, kind: str, verb: str) -> None:
        bits = 32 if kind == "i32" else 64
        pop, push = a.operands.pop, a.operands.append
        if verb == "eqz":
            push(int(pop() & MASK[bits] == 0))
        elif verb in ("clz", "ctz", "popcnt"):
            value = pop() & MASK[bits]
            if verb == "popcnt":
                push(value.bit_count())
            elif verb == "clz":
                push(bits - value.bit_length())
            else:
                push((value & -value).bit_length() - 1 if value else bits)
        elif verb == "wrap_i64":
            push(signed(pop(), 32))
        elif verb.startswith("extend_i32"):
            value = pop()
            push(value & MASK[32] if verb.endswith("u") else signed(value, 32))
        elif verb.startswith("extend"):
            width = int(verb[6:].partition("_")[0])
            value = pop() & (1 << width) - 1
            push(value - (1 << width) if value >> width - 1 else value)
        else:
            b, a_ = pop(), pop()
            if verb[:2] in ("eq", "ne", "lt", "gt", "le", "ge"):
                push(_compare(verb, bits, a_, b))
            else:
                push(_arithmetic(verb, bits, a_, b))


__all__ = ["Interpreter", "Point", "Trap"]
