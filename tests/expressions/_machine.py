"""A paused function that does not exist: its state, and a module that evaluates expressions over it.

The state is given to the host's evaluator as a :class:`Reader`, and to compiled code as a frame in a
debug memory and as parameters of a function.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import wasmtime
from attrs import field, frozen

from tests.wasm._engine import engine
from trio_wasmdbg.errors import EvaluationError
from trio_wasmdbg.expressions import (
    ERROR,
    FramePlaces,
    LocalPlaces,
    Number,
    Scope,
    Scratch,
    TypedExpression,
    check,
    compile_condition,
    compile_value,
    evaluate,
    parse,
)
from trio_wasmdbg.instrument import FrameLayout
from trio_wasmdbg.wasm import (
    BY_NAME,
    EXTERNREF,
    F32,
    F64,
    I32,
    I64,
    MAGIC,
    V128,
    BlockType,
    FuncType,
    GlobalType,
    Limits,
    MemArg,
    MemoryType,
    SectionId,
    TableType,
    ValType,
    func_type,
    global_type,
    instruction,
    local_groups,
    memory_type,
    name,
    ref_type,
    section,
    table_type,
    uleb,
    vector,
)

__all__ = ["SCOPE", "State", "Unmet", "compiled", "host", "i", "module_of", "typed", "words"]

SCOPE = Scope(
    locals=(I32, I64, F32, F64, I32, V128, EXTERNREF, I64, ref_type(False, -16)),
    local_names={
        0: "a", 1: "b", 2: "x", 3: "y", 4: "p", 5: "vector", 6: "ref", 7: "with space", 8: "never", 9: "gone",
    },
    operands=(I32, F64, I64),
    globals=(I32, F64, I64, V128, EXTERNREF),
    global_names={0: "g", 1: "h", 2: "a", 3: "lanes", 4: "nothing"},
    memories=tuple(
        MemoryType(limits)
        for limits in (
            Limits(1, 3), Limits(1, is64=True), Limits(0), Limits(0, is64=True), Limits(10, page_size_log2=0),
        )
    ),
)  # fmt: skip
"""Local ``a`` hides global ``a``; local 9 names nothing; memories 2 and 3 may be empty, 4 has 10 bytes."""

LAYOUT = FrameLayout.of(SCOPE.locals, len(SCOPE.operands), wide=True)
FRAME = 256
DEBUG = len(SCOPE.memories)
NUMBERS = 3
"""How many globals are numbers: the first ones."""
BYTES = bytes((n * 7 + n // 256 * 13 + (n >> 3 & 1) * 128) & 0xFF for n in range(65536))
"""What memories 0 and 1 hold after their first 256 bytes, which are a string and zeros."""
LANES = bytes(range(120, 136))
"""Global 3."""
GUEST = b"h\xc3\xa9llo\x1b[2J".ljust(256, b"\0") + BYTES[256:]


@frozen
class State:
    """Values of the locals, the operands, and the numeric globals; a :class:`Reader`.

    :ivar vector: value of local 5.
    :ivar reference: value of local 6.
    :ivar pages: pages of memories 2 and 3.
    """

    locals: Mapping[int, Number] = field(factory=lambda: {0: 7, 1: -5, 2: 1.5, 3: -0.25, 4: 16, 7: 1 << 40})
    operands: tuple[Number, ...] = (3, 2.5, -1)
    globals: tuple[Number, ...] = (42, 0.5, -7)
    pages: int = 0
    vector: bytes = struct.pack("<4f", 1.5, -2.0, 0.1, 1e9)
    reference: object = None

    def local(self, index: int) -> object:
        if index in (5, 6):
            return self.vector if index == 5 else self.reference
        return self.locals.get(index)

    def operand(self, height: int) -> object:
        return self.operands[height]

    def global_(self, index: int) -> object:
        return (*self.globals, LANES, None)[index]

    def memory_size(self, memory: int) -> int:
        return 10 if memory == 4 else 65536 * (1 if memory < 2 else self.pages)

    def read(self, memory: int, address: int, size: int) -> bytes:
        data = GUEST if memory < 2 else bytes(self.memory_size(memory))
        assert 0 <= address <= len(data) - size, "the reader is asked for bytes that exist only"
        return data[address : address + size]


class Unmet(str):
    """Stands for the value of an expression that has none: the error's message."""


def typed(text: str) -> TypedExpression:
    return check(parse(text), SCOPE)


def host(expression: TypedExpression, state: State) -> Number | Unmet:
    """What the host's evaluator makes of it."""
    try:
        return evaluate(expression, state)
    except EvaluationError as problem:
        return Unmet(problem.message)


_FORMATS = {I32: "<i", I64: "<q", F32: "<f", F64: "<d"}
_UNSIGNED = {"<i": "<I", "<q": "<Q"}


def words(text: str) -> list[str]:
    """Pieces of text, separated by blanks."""
    return text.split()


def i(name: str, imm: Any = None) -> bytes:
    return instruction(BY_NAME[name], imm)


def _reference(type: ValType, offset: int) -> bytes:
    """The element of table 0 that stands for a slot."""
    first = [i("local.get", 0), i("i32.const", 3), i("i32.shr_u")]
    return b"".join([*first, i("i32.const", offset >> 3), i("i32.add"), i("table.get", 0)])


def _bodies(expression: TypedExpression) -> list[bytes]:
    """Value and condition, from the frame and from locals."""
    result = expression.type.valtype
    numbers = [index for index, type in enumerate(SCOPE.locals) if type in _FORMATS]
    bodies = []
    for from_frame in (True, False):
        scratch = Scratch(1 if from_frame else len(numbers) + len(SCOPE.operands) + 1)
        places: FramePlaces | LocalPlaces
        before = b""
        if from_frame:
            places = FramePlaces(LAYOUT, 0, DEBUG, scratch, _reference)
        else:
            heights = {height: len(numbers) + height for height in range(len(SCOPE.operands))}
            own = {index: n for n, index in enumerate(numbers)}
            own |= {5: scratch(V128, 0), 6: scratch.first - 1}
            places = LocalPlaces(scratch, own, heights)
            # Python can't pass a vector.
            load = i("v128.load", MemArg(3, FRAME + LAYOUT.local(5), DEBUG))
            before = i("i32.const", 0) + load + i("local.set", own[5])
        value = [
            i("block", BlockType(None, (), (I32,))),
            i("i32.const", 0),
            compile_value(expression, places, 0),
            i(f"{result}.store", MemArg(0, 8, DEBUG)),
            i("i32.const", -1),
            i("end"),
        ]
        for code in (b"".join(value), compile_condition(expression, places)):
            bodies.append(local_groups(scratch.types) + before + code + i("end"))
    return bodies


def module_of(expression: TypedExpression) -> bytes:
    """A module with ``value0`` and ``condition0``, which read the frame, and ``…1``, which read locals."""
    numbers = [type for type in SCOPE.locals if type in _FORMATS]
    types = [FuncType((I32,), (I32,)), FuncType((*numbers, *SCOPE.operands, EXTERNREF), (I32,))]
    memories = [*SCOPE.memories, MemoryType(Limits(1))]
    zeros = {
        I32: i("i32.const", 0), I64: i("i64.const", 0), F64: i("f64.const", bytes(8)),
        V128: i("v128.const", LANES), EXTERNREF: i("ref.null", -17),
    }  # fmt: skip
    size = FRAME + LAYOUT.size >> 3
    exports = [f"{what}{kind}" for kind in (0, 1) for what in ("value", "condition")]
    return b"".join(
        [
            MAGIC,
            section(SectionId.TYPE, vector(map(func_type, types))),
            section(SectionId.FUNCTION, vector(map(uleb, (0, 0, 1, 1)))),
            section(SectionId.TABLE, vector([table_type(TableType(EXTERNREF, Limits(size)))])),
            section(SectionId.MEMORY, vector(map(memory_type, memories))),
            section(
                SectionId.GLOBAL,
                vector(global_type(GlobalType(t, True)) + zeros[t] + b"\x0b" for t in SCOPE.globals),
            ),
            section(
                SectionId.EXPORT,
                vector(
                    [
                        *(name(text) + b"\x00" + uleb(n) for n, text in enumerate(exports)),
                        *(name(f"m{n}") + b"\x02" + uleb(n) for n in range(len(memories))),
                        *(name(f"g{n}") + b"\x03" + uleb(n) for n in range(NUMBERS)),
                        name("references") + b"\x01\x00",
                    ]
                ),
            ),
            section(
                SectionId.CODE,
                vector(uleb(len(body)) + body for body in _bodies(expression)),
            ),
        ]
    )


def compiled(expression: TypedExpression, state: State) -> Number | Unmet:
    """What compiled code makes of it, all four ways, which must agree."""
    store = wasmtime.Store(engine())
    instance = wasmtime.Instance(store, wasmtime.Module(engine(), module_of(expression)), [])
    exports: Any = instance.exports(store)
    memories = [exports[f"m{n}"] for n in range(DEBUG + 1)]
    for memory in memories[:2]:
        memory.write(store, GUEST)
    for memory in memories[2:4]:
        memory.grow(store, state.pages)
    for n, value in enumerate(state.globals):
        exports[f"g{n}"].set_value(store, value)
    debug = memories[DEBUG]
    debug.write(store, state.vector, FRAME + LAYOUT.local(5))
    exports["references"].set(store, FRAME + LAYOUT.local(6) >> 3, state.reference)
    slots = [(SCOPE.locals[n], LAYOUT.local(n), value) for n, value in state.locals.items()]
    slots += [(SCOPE.operands[n], LAYOUT.operand(n), value) for n, value in enumerate(state.operands)]
    for type, offset, number in slots:
        debug.write(store, struct.pack(_FORMATS[type], number), FRAME + offset)

    result_format = _FORMATS[expression.type.valtype]
    if not expression.type.signed:
        result_format = _UNSIGNED[result_format]
    width = struct.calcsize(result_format)
    numbers = [state.locals[index] for index in sorted(state.locals)]
    outcomes: list[tuple[bytes | None, int]] = []
    arguments: list[object]
    for kind in (0, 1):
        arguments = [*numbers, *state.operands, state.reference] if kind else [FRAME]
        debug.write(store, bytes(width), 8)
        status = exports[f"value{kind}"](store, *arguments)
        found = bytes(debug.read(store, 8, 8 + width))
        assert status in (-1, ERROR)
        outcomes.append((None if status == ERROR else found, exports[f"condition{kind}"](store, *arguments)))
    assert outcomes[0] == outcomes[1], "from the frame, and from locals"

    data, condition = outcomes[0]
    if data is None:
        assert condition == ERROR
        return Unmet()
    value = struct.unpack(result_format, data)[0]
    assert condition == (value != 0)
    return value  # type: ignore[no-any-return]
