"""Random valid modules that always end: the raw material of differential fuzzing.

A module is grown from the choices of a ``random.Random`` (Hypothesis's, in a test, so that it shrinks).
Code is grown as typed expression trees, so it is valid by construction; a global counts down at each
function entry and loop header, and the guest traps when it is used up, so it ends.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any, Final

from trio_wasmdbg.wasm import (
    BY_NAME,
    EXTERNREF,
    F32,
    F64,
    FUNCREF,
    I32,
    I64,
    MAGIC,
    OPS,
    V128,
    FuncType,
    Imm,
    MemArg,
    Op,
    Rule,
    SectionId,
    ValType,
    func_type,
    instruction,
    name,
    ref_type,
    section,
    sleb33,
    uleb,
    vector,
)

__all__ = ["PROPOSALS", "SPENT", "generate"]

NUMBERS: Final = (I32, I64, F32, F64, V128)
NODE, BYTES, UNARY = 0, 1, 2
"""Type indices: a struct, an array, and the type of functions called by reference."""
NODEREF, NODEVAL = ref_type(True, NODE), ref_type(False, NODE)
UNARYREF, UNARYVAL = ref_type(True, UNARY), ref_type(False, UNARY)
ARRAYREF = ref_type(True, BYTES)
ANYREF, EXNREF = ref_type(True, -18), ref_type(True, -23)
REFERENCES: Final = (NODEREF, UNARYREF, ARRAYREF, ANYREF, FUNCREF, EXTERNREF, EXNREF, UNARYVAL, NODEVAL)
FUEL: Final = 0
"""Index of the global that counts down."""
SPENT: Final = 400
"""What it starts with."""

PROPOSALS: Final = frozenset(op.proposal for op in OPS.values()) - {
    "legacy-exceptions", "stack-switching", "custom-descriptors",
}  # fmt: skip

_BY_RESULT: Final[dict[ValType, list[Op]]] = {
    type: [
        op
        for op in OPS.values()
        if op.rule is Rule.FIXED and op.push == type and op.pops and "wait" not in op.name
        and op.imm in (Imm.NONE, Imm.LANE, Imm.SHUFFLE, Imm.MEMARG, Imm.MEMARG_LANE)
        and op.proposal in PROPOSALS
    ]
    for type in NUMBERS
}  # fmt: skip
_STORES: Final = [
    op for op in OPS.values() if op.writes and op.pushes == () and op.imm in (Imm.MEMARG, Imm.MEMARG_LANE)
]
_WIDE: Final = [op for op in OPS.values() if op.proposal == "wide-arithmetic"]
_LANES: Final = {"8": 16, "16": 8, "32": 4, "64": 2}


def op(text: str, imm: Any = None) -> bytes:
    """An instruction by its name."""
    return instruction(BY_NAME[text], imm)


class _Body:
    """Grows one function's code."""

    def __init__(self, module: _Maker, index: int, locals: list[ValType]) -> None:
        type = module.functions[index][0]
        self.index = index
        self.module = module
        self.random = module.random
        self.type = type
        self.locals = [*type.params, *locals]
        first = len(type.params)
        self.unset = {i for i, t in enumerate(self.locals) if i >= first and t.is_ref and not t.nullable}
        self.labels: list[tuple[ValType, ...]] = [type.results]
        self.loops: set[int] = set()
        self.budget = self.random.randint(5, 120)
        self.out = bytearray()

    def callees(self) -> list[int]:
        """Functions that may be called: mostly later ones, so that recursion does not eat up the fuel."""
        first = 0 if self.random.random() < 0.1 else self.index + 1
        return [0, *range(max(first, 1), len(self.module.functions))]

    def emit(self, *code: bytes) -> None:
        for each in code:
            self.out += each

    def whole(self) -> bytes:
        self.spend()
        self.statements(3)
        self.values(self.type.results, 3)
        self.emit(op("end"))
        groups = vector(uleb(1) + t.encode() for t in self.locals[len(self.type.params) :])
        return groups + bytes(self.out)

    def spend(self) -> None:
        self.emit(
            op("global.get", FUEL), op("i32.eqz"), b"\x04\x40", op("unreachable"), op("end"),
            op("global.get", FUEL), op("i32.const", 1), op("i32.sub"), op("global.set", FUEL),
        )  # fmt: skip

    # ── constructs ─────────────────────────────────────────────────────────────────────────────

    def block_type(self, params: tuple[ValType, ...], results: tuple[ValType, ...]) -> bytes:
        if not params and not results:
            return b"\x40"
        if not params and len(results) == 1 and self.random.random() < 0.7:
            return results[0].encode()
        return sleb33(self.module.type_index(FuncType(params, results)))

    def construct(self, results: tuple[ValType, ...], depth: int) -> None:
        """A block, loop, if or try_table that leaves *results*."""
        random = self.random
        kind = random.choice(["block", "loop", "if", "if", "try", "catch"])
        params: tuple[ValType, ...] = ()
        if kind != "catch" and random.random() < 0.3:
            params = tuple(random.choice(NUMBERS) for _ in range(random.randint(1, 2)))
            self.values(params, depth - 1)
        before = set(self.unset)
        if kind == "catch":
            self.catch(results, depth)
        elif kind == "if":
            self.expression(I32, depth - 1)
            self.emit(b"\x04", self.block_type(params, results))
            self.inside(results, params, results, depth)
            self.unset = set(before)
            self.emit(op("else"))
            self.inside(results, params, results, depth)
            self.emit(op("end"))
        elif kind == "try":
            self.emit(b"\x1f", self.block_type(params, results), self.clauses())
            self.inside(results, params, results, depth)
            self.emit(op("end"))
        else:
            self.emit(b"\x03" if kind == "loop" else b"\x02", self.block_type(params, results))
            label = params if kind == "loop" else results
            self.inside(label, params, results, depth, loop=kind == "loop")
            self.emit(op("end"))
        self.unset = before

    def inside(
        self,
        label: tuple[ValType, ...],
        params: tuple[ValType, ...],
        results: tuple[ValType, ...],
        depth: int,
        loop: bool = False,
    ) -> None:
        self.labels.append(label)
        if loop:
            self.loops.add(len(self.labels))
            self.spend()
        for type in reversed(params):
            found = [i for i, t in enumerate(self.locals) if t == type]
            self.emit(op("local.set", self.random.choice(found)) if found else op("drop"))
        self.statements(depth - 1)
        if loop and self.random.random() < 0.7:
            self.values(label, depth - 2)
            self.expression(I32, 1)
            # every few rounds it ends, whatever the expression says
            self.emit(op("global.get", FUEL), op("i32.const", 7), op("i32.and"), op("i32.and"))
            self.emit(op("br_if", 0))
            self.emit(op("drop") * len(label))
        if self.random.random() < 0.1:
            self.leave(depth)
            if self.random.random() < 0.5:
                self.values(results, 1)
        else:
            self.values(results, depth - 1)
        self.loops.discard(len(self.labels))
        self.labels.pop()

    def clauses(self) -> bytes:
        """Clauses that lead to labels which exist by chance."""
        made: list[bytes] = []
        for depth in range(len(self.labels)):
            label = self.labels[-1 - depth]
            for kind, tag, types in self.module.catches:
                if types == label and self.random.random() < 0.4 and len(made) < 4:
                    made.append(bytes((kind,)) + (b"" if tag is None else uleb(tag)) + uleb(depth))
        return vector(made)

    def catch(self, results: tuple[ValType, ...], depth: int) -> None:
        """A try_table whose caught values are consumed."""
        kind, tag, types = self.random.choice(self.module.catches)
        self.emit(b"\x02", self.block_type((), results))
        self.labels.append(results)
        self.emit(b"\x02", self.block_type((), types))
        self.labels.append(types)
        clause = bytes((kind,)) + (b"" if tag is None else uleb(tag)) + uleb(0)
        self.emit(b"\x1f", self.block_type((), results), vector([clause]))
        before = set(self.unset)
        self.inside(results, (), results, depth)
        self.unset = set(before)
        self.emit(op("end"), op("br", 1), op("end"))
        self.labels.pop()
        for type in reversed(types):
            found = [i for i, t in enumerate(self.locals) if t == type]
            self.emit(op("local.set", self.random.choice(found)) if found else op("drop"))
        self.statements(depth - 2)
        self.values(results, depth - 2)
        self.unset = set(before)
        self.emit(op("end"))
        self.labels.pop()

    # ── statements ─────────────────────────────────────────────────────────────────────────────

    def statements(self, depth: int) -> None:
        if depth <= 0:
            return
        for _ in range(self.random.randint(0, 4)):
            if self.budget <= 0:
                return
            self.budget -= 1
            self.statement(depth)

    def statement(self, depth: int) -> None:
        random = self.random
        choice = random.randrange(13)
        if choice <= 3 and self.locals:
            index = random.randrange(len(self.locals))
            self.expression(self.locals[index], depth)
            self.emit(op("local.set", index))
            self.unset.discard(index)
        elif choice == 4:
            index, type = random.choice(self.module.mutable)
            self.expression(type, depth)
            self.emit(op("global.set", index))
        elif choice <= 6:
            self.store(depth)
        elif choice == 7:
            self.construct((), depth)
        elif choice == 8:
            self.call(depth)
        elif choice == 9:
            self.branch(depth)
        elif choice == 10:
            self.reference_statement(depth)
        elif choice == 11:
            # now and then it goes away from here
            self.expression(I32, depth - 1)
            self.emit(op("global.get", FUEL), op("i32.const", random.choice([1, 3])))
            self.emit(op("i32.and") * 2)
            self.emit(b"\x04\x40")
            self.labels.append(())
            before = set(self.unset)
            self.leave(depth)
            self.unset = before
            self.labels.pop()
            self.emit(op("end"))
        else:
            self.bulk()

    def store(self, depth: int) -> None:
        one = self.random.choice(_STORES)
        memory = self.address(depth)
        assert one.pops is not None
        self.values(one.pops[1:], depth - 1)
        self.emit(self.access(one, memory))

    def address(self, depth: int) -> int:
        """Pushes an address, mostly a good one; answers the memory's index."""
        memory = self.random.randint(0, 1)
        mask = self.random.choice([0x7FF8, 0x0FF0, 0x0FF8, 0xFFF8 if self.random.random() < 0.8 else 0x1FFFF])
        if memory:
            self.expression(I64, depth - 1)
            self.emit(op("i64.const", mask), op("i64.and"))
        else:
            self.expression(I32, depth - 1)
            self.emit(op("i32.const", mask), op("i32.and"))
        return memory

    def access(self, one: Op, memory: int) -> bytes:
        natural = one.width.bit_length() - 1
        align = natural if one.proposal == "threads" else self.random.randint(0, natural)
        memarg = MemArg(align, self.random.choice([0, 0, 8, 16, 30000 & ~7]), memory)
        if one.imm is Imm.MEMARG_LANE:
            return instruction(one, (memarg, self.random.randrange(16 // one.width)))
        return instruction(one, memarg)

    def call(self, depth: int) -> None:
        """Calls something and drops the results."""
        random = self.random
        index = random.choice(self.callees())
        type, type_index = self.module.functions[index]
        how = random.randrange(4)
        self.values(type.params, depth - 1)
        if how == 0:
            self.expression(I32, depth - 1)
            self.emit(op("i32.const", 7), op("i32.and"))
            self.emit(b"\x11", uleb(type_index), uleb(0))
        elif how == 1 and index >= self.module.imported:
            self.emit(op("ref.func", index), op("call_ref", type_index))
        else:
            self.emit(op("call", index))
        for result in reversed(type.results):
            found = [i for i, t in enumerate(self.locals) if t == result and i not in self.unset]
            self.emit(op("local.set", random.choice(found)) if found else op("drop"))

    def branch(self, depth: int) -> None:
        """A conditional branch, whose operands are dropped when it is not taken."""
        random = self.random
        target = random.randrange(len(self.labels))
        types = self.labels[-1 - target]
        self.values(types, depth - 1)
        kind = random.randrange(4)
        if kind == 0 and not types:
            self.expression(random.choice([NODEREF, UNARYREF, FUNCREF]), depth - 1)
            self.emit(op("br_on_null", target), op("drop"))
        elif kind == 1:
            # a table of all labels with these types
            same = [i for i in range(len(self.labels)) if self.labels[-1 - i] == types]
            results = self.module.type_index(FuncType(types, types))
            self.emit(b"\x02", sleb33(results))
            self.labels.append(types)
            before = set(self.unset)
            self.expression(I32, depth - 1)
            self.unset = before
            self.labels.pop()
            targets = [random.choice([*(i + 1 for i in same), 0]) for _ in range(random.randint(0, 4))]
            self.emit(b"\x0e", vector(map(uleb, targets)), uleb(0), op("end"))
            self.emit(op("drop") * len(types))
        else:
            self.expression(I32, depth - 1)
            self.emit(op("br_if", target))
            self.emit(op("drop") * len(types))

    def leave(self, depth: int) -> None:
        """Something after which code is dead."""
        random = self.random
        choice = random.choice([0, 1, 1, 1, 2, 3, 3, 4, 5, 5])
        if choice == 0:
            self.values(self.type.results, depth - 1)
            self.emit(op("return"))
        elif choice == 1:
            tag = random.randrange(len(self.module.tags))
            self.values(self.module.tags[tag], depth - 1)
            self.emit(op("throw", tag))
        elif choice == 2:
            self.expression(EXNREF, 1)
            self.emit(op("throw_ref"))
        elif choice == 3:
            same = [i for i in self.callees() if self.module.functions[i][0].results == self.type.results]
            index = random.choice(same or [self.index])
            self.values(self.module.functions[index][0].params, depth - 1)
            self.emit(op("return_call", index))
        elif choice == 4:
            self.emit(op("unreachable"))
        else:
            target = random.randrange(len(self.labels))
            self.values(self.labels[-1 - target], depth - 1)
            self.emit(op("br", target))

    def reference_statement(self, depth: int) -> None:
        random = self.random
        choice = random.randrange(4)
        if choice == 0:
            self.expression(NODEREF, depth - 1)
            field = random.randrange(4)
            self.expression((I32, I64, NODEREF, I32)[field], depth - 1)
            self.emit(b"\xfb\x05" + uleb(NODE) + uleb(field))
        elif choice == 1:
            self.expression(ARRAYREF, depth - 1)
            self.small(6)
            self.expression(I32, depth - 1)
            self.emit(b"\xfb\x0e" + uleb(BYTES))
        elif choice == 2:
            self.small(8)
            self.expression(FUNCREF, depth - 1)
            self.emit(op("table.set", 0))
        else:
            self.expression(ARRAYREF, depth - 1)
            for limit in (8, 8, 4):
                self.small(limit)
            self.emit(b"\xfb\x12" + uleb(BYTES) + uleb(0))

    def small(self, limit: int) -> None:
        self.emit(op("i32.const", self.random.randrange(limit)))

    def bulk(self) -> None:
        random = self.random
        choice = random.randrange(6)
        if choice == 0:
            self.emit(op("i32.const", random.randrange(66000)), op("i32.const", 7), op("i32.const", 40))
            self.emit(op("memory.fill", 0))
        elif choice == 1:
            self.emit(op("i64.const", random.randrange(66000)), op("i32.const", 100), op("i32.const", 64))
            self.emit(op("memory.copy", (1, 0)))
        elif choice == 2:
            self.emit(op("i32.const", random.randrange(66000)), op("i32.const", 1), op("i32.const", 5))
            self.emit(op("memory.init", (0, 0)))
        elif choice == 3:
            self.emit(op("i32.const", random.randrange(9)), op("i32.const", 0), op("i32.const", 2))
            self.emit(op("table.init", (0, 0)))
        elif choice == 4:
            self.emit(op("data.drop", 0) if random.random() < 0.2 else op("elem.drop", 0))
        else:
            self.emit(op("i32.const", 1), op("memory.grow", 0), op("drop"))

    # ── expressions ────────────────────────────────────────────────────────────────────────────

    def values(self, types: tuple[ValType, ...], depth: int) -> None:
        for type in types:
            self.expression(type, depth)

    def expression(self, type: ValType, depth: int) -> None:
        """Code that pushes one value of *type*."""
        self.budget -= 1
        if depth <= 0 or self.budget <= 0:
            self.leaf(type)
            return
        random = self.random
        choice = random.randrange(10)
        if choice == 0:
            self.construct((type,), depth)
        elif choice == 1:
            found = [i for i in self.callees() if self.module.functions[i][0].results == (type,)]
            if not found:
                self.leaf(type)
                return
            index = random.choice(found)
            self.values(self.module.functions[index][0].params, depth - 1)
            self.emit(op("call", index))
        elif choice == 2:
            self.expression(type, depth - 1)
            self.expression(type, depth - 1)
            self.expression(I32, depth - 1)
            self.emit(b"\x1c\x01" + type.encode() if type.is_ref else op("select"))
        elif choice == 3:
            found = [i for i, t in enumerate(self.locals) if t == type]
            if not found:
                self.leaf(type)
                return
            index = random.choice(found)
            self.expression(type, depth - 1)
            self.emit(op("local.tee", index))
            self.unset.discard(index)
        elif type.is_ref:
            self.reference(type, depth)
        elif choice == 4 and type in (I32, I64):
            self.from_reference(type, depth)
        else:
            self.operation(type, depth)

    def operation(self, type: ValType, depth: int) -> None:
        if type == I64 and self.random.random() < 0.1:
            one = self.random.choice(_WIDE)
            self.values(one.pops or (), depth - 1)
            self.emit(instruction(one), op("drop"))
            return
        one = self.random.choice(_BY_RESULT[type])
        pops = one.pops
        assert pops is not None
        if one.width:
            memory = self.address(depth)
            self.values(pops[1:], depth - 1)
            self.emit(self.access(one, memory))
            return
        self.values(pops, depth - 1)
        if one.imm is Imm.LANE:
            shape = one.name.partition(".")[0].partition("x")[0][1:]
            self.emit(instruction(one, self.random.randrange(_LANES[shape])))
        elif one.imm is Imm.SHUFFLE:
            self.emit(instruction(one, bytes(self.random.randrange(32) for _ in range(16))))
        else:
            self.emit(instruction(one))

    def from_reference(self, type: ValType, depth: int) -> None:
        """A number that is got out of a reference."""
        random = self.random
        if type == I64:
            self.expression(NODEREF, depth - 1)
            self.emit(b"\xfb\x02" + uleb(NODE) + uleb(1))
            return
        choice = random.randrange(6)
        if choice == 0:
            self.expression(random.choice([t for t in REFERENCES if t.nullable]), depth - 1)
            self.emit(op("ref.is_null"))
        elif choice == 1:
            self.expression(NODEREF, depth - 1)
            self.emit(random.choice([b"\xfb\x02\x00\x00", b"\xfb\x03\x00\x03", b"\xfb\x04\x00\x03"]))
        elif choice == 2:
            self.expression(ARRAYREF, depth - 1)
            self.small(8)
            self.emit(b"\xfb\x0b" + uleb(BYTES))
        elif choice == 3:
            self.expression(ANYREF, depth - 1)
            self.emit(random.choice([b"\xfb\x14", b"\xfb\x15"]) + sleb33(random.choice([NODE, BYTES, -20])))
        elif choice == 4:
            self.expression(ARRAYREF, depth - 1)
            self.emit(op("array.len"))
        else:
            self.expression(ANYREF, depth - 1)
            self.emit(b"\xd1" if random.random() < 0.9 else b"\xfb\x17" + sleb33(-20) + op("i31.get_s"))

    def reference(self, type: ValType, depth: int) -> None:
        random = self.random
        heap = type.heap
        if heap == NODE:
            choice = random.randrange(4)
            if choice == 0 or depth < 2:
                self.values((I32, I64, NODEREF, I32), depth - 1)
                self.emit(b"\xfb\x00" + uleb(NODE))
            elif choice == 1 and type.nullable:
                self.expression(NODEREF, depth - 1)
                self.emit(b"\xfb\x02" + uleb(NODE) + uleb(2))
            elif choice == 2 and (type.nullable or random.random() < 0.1):
                self.expression(ANYREF, depth - 1)
                self.emit((b"\xfb\x17" if type.nullable else b"\xfb\x16") + sleb33(NODE))
            else:
                # by br_on_cast out of a block
                self.emit(b"\x02" + type.encode())
                self.labels.append((type,))
                before = set(self.unset)
                self.expression(ANYREF, depth - 1)
                target = ref_type(type.nullable, NODE)
                flags = 1 | type.nullable << 1
                self.emit(b"\xfb\x18" + bytes((flags,)) + uleb(0) + sleb33(-18) + sleb33(target.heap or 0))
                self.emit(op("drop"))
                self.leaf(type)
                self.unset = before
                self.labels.pop()
                self.emit(op("end"))
        elif heap == BYTES:
            self.expression(I32, depth - 1)
            self.small(9)
            self.emit(b"\xfb\x06" + uleb(BYTES))
        elif type == ANYREF and random.random() < 0.4:
            self.expression(random.choice([NODEREF, ARRAYREF]), depth - 1)
        elif type == ANYREF and random.random() < 0.3:
            self.expression(EXTERNREF, depth - 1)
            self.emit(b"\xfb\x1a")
        elif type == EXTERNREF:
            self.expression(ANYREF, depth - 1)
            self.emit(b"\xfb\x1b")
        elif type == FUNCREF and random.random() < 0.6:
            self.small(8)
            self.emit(op("table.get", 0))
        else:
            self.leaf(type)

    def leaf(self, type: ValType) -> None:
        random = self.random
        found = [i for i, t in enumerate(self.locals) if t == type and i not in self.unset]
        if found and random.random() < 0.6:
            self.emit(op("local.get", random.choice(found)))
            return
        globals_ = [i for i, t in self.module.mutable if t == type]
        if globals_ and random.random() < 0.4:
            self.emit(op("global.get", random.choice(globals_)))
        elif type == I32:
            self.emit(op("i32.const", random.choice([0, 1, 2, 3, 7, -1, 255, 65535, -1 << 31])))
        elif type == I64:
            self.emit(op("i64.const", random.choice([0, 1, 2, -1, 1 << 40, -(1 << 63), (1 << 63) - 1])))
        elif type == F32:
            number = random.choice([0.0, -0.0, 1.5, -3.0, 1e10, float("inf"), float("nan")])
            self.emit(op("f32.const", struct.pack("<f", number)))
        elif type == F64:
            number = random.choice([0.0, -0.0, 2.5, -1e300, 4e9, float("-inf"), float("nan")])
            self.emit(op("f64.const", struct.pack("<d", number)))
        elif type == V128:
            self.emit(op("v128.const", bytes(random.choice([0, 1, 127, 128, 255]) for _ in range(16))))
        elif type.heap == UNARY:
            self.emit(op("ref.func", random.choice(self.module.unary)))
        elif type == NODEVAL or (type == NODEREF and random.random() < 0.8):
            self.emit(b"\xfb\x01" + uleb(NODE))
        elif type == ARRAYREF and random.random() < 0.9:
            self.emit(op("i32.const", 8), b"\xfb\x07" + uleb(BYTES))
        elif type == ANYREF:
            self.emit(op("i32.const", random.randrange(100)), b"\xfb\x1c")
        elif type == FUNCREF and random.random() < 0.7:
            self.emit(op("ref.func", random.choice(self.module.unary)))
        else:
            assert type.nullable and type.heap is not None
            self.emit(b"\xd0" + sleb33(type.heap))


class _Maker:
    """Grows one module."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.types: dict[FuncType, int] = {}
        self.tags: list[tuple[ValType, ...]] = [(I32,), (I64, F32), (), (V128, NODEREF)]
        self.catches: list[tuple[int, int | None, tuple[ValType, ...]]] = [
            *((0, tag, types) for tag, types in enumerate(self.tags)),
            *((1, tag, (*types, EXNREF)) for tag, types in enumerate(self.tags)),
            (2, None, ()), (3, None, (EXNREF,)),
        ]  # fmt: skip
        self.mutable: list[tuple[int, ValType]] = list(
            enumerate((I32, I64, F32, F64, V128, NODEREF, FUNCREF), FUEL + 1)
        )
        unary = FuncType((I32,), (I32,))
        self.type_index(unary)
        self.imported = 1
        printing = FuncType((I32,), ())
        self.functions: list[tuple[FuncType, int]] = [(printing, self.type_index(printing))]
        count = random.randint(2, 6)
        for number in range(count):
            type = unary
            if number:
                pool = NUMBERS + REFERENCES if random.random() < 0.5 else NUMBERS
                params = tuple(random.choice(pool) for _ in range(random.randint(0, 4)))
                results = tuple(random.choice(pool) for _ in range(random.choice([0, 1, 1, 1, 2, 3])))
                type = FuncType(params, results)
            self.functions.append((type, self.type_index(type)))
        self.unary = [i for i, (type, _) in enumerate(self.functions) if type == unary]

    def type_index(self, type: FuncType) -> int:
        return self.types.setdefault(type, UNARY + len(self.types))

    def make(self) -> bytes:
        random = self.random
        tag_types = [self.type_index(FuncType(types, ())) for types in self.tags]
        bodies = []
        for index in range(self.imported, len(self.functions)):
            pool = NUMBERS + REFERENCES
            locals_ = [random.choice(pool) for _ in range(random.randint(0, 8))]
            bodies.append(_Body(self, index, locals_).whole())
        mutable = b"\x01"
        fields = [b"\x7f" + mutable, b"\x7e" + mutable, NODEREF.encode() + mutable, b"\x78" + mutable]
        types = [b"\x5f" + vector(fields), b"\x5e\x7f" + mutable, *map(func_type, self.types)]
        indices = range(self.imported, len(self.functions))
        import_ = name("spectest") + name("print_i32") + b"\x00" + uleb(self.functions[0][1])
        initial = [
            op("i32.const", SPENT), op("i32.const", 5), op("i64.const", -9), op("f32.const", b"\0\0\x80\x3f"),
            op("f64.const", struct.pack("<d", 0.1)), op("v128.const", bytes(range(16))),
            b"\xd0" + sleb33(NODE), op("ref.func", self.unary[0]),
        ]  # fmt: skip
        global_types = [I32, *(type for _, type in self.mutable)]
        exports = [name(f"f{i}") + b"\x00" + uleb(i) for i in indices]
        exports += [name("m0") + b"\x02\x00", name("m1") + b"\x02\x01"]
        exports += [name(f"g{i}") + b"\x03" + uleb(i) for i, t in enumerate(global_types) if not t.is_ref]
        table = [random.choice([*indices, None]) for _ in range(6)]
        references = [op("end") if i is None else op("ref.func", i) + op("end") for i in table]
        references = [b"\xd0\x70" + r if i is None else r for i, r in zip(table, references, strict=True)]
        passive = b"\x05\x70" + vector(op("ref.func", i) + op("end") for i in indices)
        active = b"\x04" + op("i32.const", 1) + op("end") + vector(references)
        declared = b"\x03\x00" + vector(map(uleb, indices))
        parts = [
            MAGIC,
            section(SectionId.TYPE, vector(types)),
            section(SectionId.IMPORT, vector([import_])),
            section(SectionId.FUNCTION, vector(uleb(t) for _, t in self.functions[self.imported :])),
            section(SectionId.TABLE, vector([b"\x70\x01\x08\x10"])),
            section(SectionId.MEMORY, vector([b"\x01\x01\x02", b"\x05\x01\x02"])),
            section(SectionId.TAG, vector(b"\x00" + uleb(t) for t in tag_types)),
            section(
                SectionId.GLOBAL,
                vector(
                    t.encode() + mutable + code + op("end")
                    for t, code in zip(global_types, initial, strict=True)
                ),
            ),
            section(SectionId.EXPORT, vector(exports)),
            section(SectionId.ELEMENT, vector([passive, active, declared])),
            section(SectionId.DATA_COUNT, uleb(1)),
            section(SectionId.CODE, vector(uleb(len(body)) + body for body in bodies)),
            section(SectionId.DATA, vector([b"\x01" + name("passive data")])),
        ]
        return b"".join(parts)


def generate(random: Random) -> bytes:
    """A valid module.  Its functions are exported as ``f1``, ``f2``, …, its state as ``m0``, ``g0``, …"""
    return _Maker(random).make()
