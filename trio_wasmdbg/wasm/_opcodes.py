"""The one instruction table: decoder, typing, encoder, disassembler and rewriter all derive from it.

Spec: "Binary Format, Instructions" and "Appendix, Index of Instructions", one block per proposal.
Signatures are written in one letter a type: ``i`` i32, ``I`` i64, ``f`` f32, ``F`` f64, ``v`` v128.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, IntEnum

from attrs import field, frozen

from ._types import F32, F64, I32, I64, V128, ValType

__all__ = ["BY_NAME", "OPS", "Flow", "Imm", "Op", "Rule", "prefixed"]


class Imm(IntEnum):
    """What follows an opcode, and what ``Instruction.imm`` then is."""

    NONE = 0
    """Nothing: None."""
    LOCAL = 1
    """int."""
    GLOBAL = 2
    """int."""
    FUNCTION = 3
    """int."""
    LABEL = 4
    """int: branch depth."""
    TYPE = 5
    """int: type index."""
    TABLE = 6
    """int."""
    MEMORY = 7
    """int."""
    TAG = 8
    """int."""
    DATA = 9
    """int: data segment index."""
    ELEM = 10
    """int: element segment index."""
    I32 = 11
    """int, signed."""
    I64 = 12
    """int, signed."""
    F32 = 13
    """bytes: the 4 bytes as they are in the file (NaN payload kept)."""
    F64 = 14
    """bytes: 8."""
    V128 = 15
    """bytes: 16 (``v128.const``)."""
    SHUFFLE = 16
    """bytes: 16 lane indices (``i8x16.shuffle``)."""
    MEMARG = 17
    """MemArg."""
    MEMARG_LANE = 18
    """(MemArg, int): lane last."""
    LANE = 19
    """int."""
    BLOCK = 20
    """BlockType."""
    BR_TABLE = 21
    """BrTable."""
    CALL_INDIRECT = 22
    """CallIndirect."""
    SELECT = 23
    """tuple of ValType."""
    HEAP_TYPE = 24
    """int: type index, or a negative abstract heap type."""
    TRY_TABLE = 25
    """TryTable."""
    BR_ON_CAST = 26
    """BrOnCast."""
    DATA_MEMORY = 27
    """(data segment, memory)."""
    MEMORY_MEMORY = 28
    """(destination, source)."""
    ELEM_TABLE = 29
    """(element segment, table)."""
    TABLE_TABLE = 30
    """(destination, source)."""
    TYPE_FIELD = 31
    """(type index, field index)."""
    TYPE_COUNT = 32
    """(type index, number of elements)."""
    TYPE_DATA = 33
    """(type index, data segment)."""
    TYPE_ELEM = 34
    """(type index, element segment)."""
    TYPE_TYPE = 35
    """(destination type index, source type index)."""
    FENCE = 36
    """int: the reserved byte of ``atomic.fence``, 0."""
    END = 37
    """None; the instruction closes a construct."""
    UNSUPPORTED = 38
    """An instruction that is known by name only."""


class Flow(Enum):
    """What an instruction does to control."""

    NEXT = "next"
    BLOCK = "block"
    LOOP = "loop"
    IF = "if"
    ELSE = "else"
    END = "end"
    TRY_TABLE = "try_table"
    BRANCH = "br"
    BRANCH_IF = "br_if"
    """May branch to its label, or go on (``br_if``, ``br_on_null``, ``br_on_cast``, …)."""
    BRANCH_TABLE = "br_table"
    RETURN = "return"
    UNREACHABLE = "unreachable"
    CALL = "call"
    TAIL_CALL = "tail call"
    THROW = "throw"


class Rule(IntEnum):
    """How the validation algorithm types an instruction (``FIXED``: by ``Op.pops`` and ``Op.pushes``).

    The order counts: ``ELSE`` next to ``END``, and ``BR`` to ``UNREACHABLE`` in one run.
    """

    FIXED = 0
    LOCAL_GET = 1
    POP_ONE = 2
    """Pops one operand, whatever its type."""
    LOCAL_TEE = 3
    GLOBAL_GET = 4
    CALL = 5
    CALL_INDIRECT = 6
    CALL_REF = 7
    BLOCK = 8
    LOOP = 9
    IF = 10
    ELSE = 11
    END = 12
    BR = 13
    BR_IF = 14
    BR_TABLE = 15
    RETURN = 16
    UNREACHABLE = 17
    SELECT = 18
    SELECT_TYPED = 19
    MEMORY_SIZE = 20
    MEMORY_GROW = 21
    TABLE_GET = 22
    TABLE_SIZE = 23
    TABLE_GROW = 24
    REF_NULL = 25
    REF_FUNC = 26
    REF_AS_NON_NULL = 27
    BR_ON_NULL = 28
    BR_ON_NON_NULL = 29
    RETURN_CALL = 30
    RETURN_CALL_INDIRECT = 31
    RETURN_CALL_REF = 32
    THROW = 33
    THROW_REF = 34
    TRY_TABLE = 35
    STRUCT_NEW = 36
    STRUCT_NEW_DEFAULT = 37
    STRUCT_GET = 38
    ARRAY_GET = 39
    ARRAY_NEW_FIXED = 40
    NEW_BY_TYPE = 41
    """Pops ``pop_count`` operands, pushes ``(ref $type)`` of the immediate's type index."""
    REF_CAST = 42
    REF_CAST_NULL = 43
    BR_ON_CAST = 44
    BR_ON_CAST_FAIL = 45
    CONVERT_REF = 46
    """``any.convert_extern``, ``extern.convert_any``: nullability goes through."""
    REF_I31 = 47
    POPS = 48
    """Pops ``pop_count`` operands of types that depend on context, pushes ``pushes``."""


@frozen(eq=False, repr=False)
class Op:
    """One row of the instruction table.

    :ivar code: the opcode; with a prefix byte ``prefix << 16 | number``, see :func:`prefixed`.
    :ivar pops: operand types popped (bottom first), None if they depend on the context.  Addresses
        are written ``i32`` here; for a 64-bit memory or table they are ``i64``.
    :ivar pushes: operand types pushed, None if they depend on the context.
    :ivar pop_count: number of operands popped, -1 if that depends on the context.
    :ivar push: the one type pushed if exactly one is and it is fixed, else None.
    :ivar proposal: which proposal brought it; ``"mvp"`` for WebAssembly 1.0.
    :ivar traps: whether executing it can trap (by itself: a callee's traps don't count).
    :ivar width: bytes of linear memory that it accesses at its memarg, 0 if it has none.
    :ivar writes: whether it writes linear memory at its memarg.
    """

    code: int
    name: str
    imm: Imm
    pops: tuple[ValType, ...] | None
    pushes: tuple[ValType, ...] | None
    proposal: str
    traps: bool
    flow: Flow
    rule: Rule
    pop_count: int
    push: ValType | None
    width: int
    writes: bool
    rule_number: int = field(init=False)
    """``rule`` as a plain int, which compares faster."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "rule_number", int(self.rule))

    @property
    def encoding(self) -> bytes:
        """The opcode's bytes, the shortest way."""
        prefix, number = self.code >> 16, self.code & 0xFFFF
        if not prefix:
            return bytes((number,))
        if number < 128:
            return bytes((prefix, number))
        return bytes((prefix, number & 0x7F | 0x80, number >> 7))

    @property
    def ends_flow(self) -> bool:
        """The next instruction can't be reached by falling through this one."""
        return self.flow in _ENDS_FLOW

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


_ENDS_FLOW = frozenset(
    {Flow.BRANCH, Flow.BRANCH_TABLE, Flow.RETURN, Flow.UNREACHABLE, Flow.TAIL_CALL, Flow.THROW}
)


def prefixed(prefix: int, number: int) -> int:
    """``Op.code`` of instruction *number* behind *prefix* (0xFB, 0xFC, 0xFD, 0xFE)."""
    return prefix << 16 | number


OPS: dict[int, Op] = {}
"""Every instruction by ``Op.code``."""
BY_NAME: dict[str, Op] = {}
"""Every instruction by its text-format name (``select`` with types is ``"select t"``; the null
variants of ``ref.test`` and ``ref.cast`` are ``"ref.test null"`` and ``"ref.cast null"``)."""

_LETTERS = {"i": I32, "I": I64, "f": F32, "F": F64, "v": V128}


def _types(letters: str) -> tuple[ValType, ...]:
    return tuple(_LETTERS[c] for c in letters)


def _add(
    proposal: str,
    code: int,
    name: str,
    sig: str | None = None,
    imm: Imm = Imm.NONE,
    *,
    rule: Rule | None = None,
    pop_count: int = -1,
    traps: bool = False,
    flow: Flow = Flow.NEXT,
    width: int = 0,
    writes: bool = False,
) -> None:
    pops = pushes = None
    if sig is not None:
        left, _, right = sig.partition(">")
        pushes = _types(right)
        if left != "*":
            pops = _types(left)
            pop_count = len(pops)
    if rule is None:
        rule = Rule.FIXED if pops is not None else Rule.POPS
    push = pushes[0] if pushes is not None and len(pushes) == 1 else None
    op = Op(code, name, imm, pops, pushes, proposal, traps, flow, rule, pop_count, push, width, writes)
    assert code not in OPS and name not in BY_NAME, name
    OPS[code] = BY_NAME[name] = op


def _run(proposal: str, first: int, names: str, sig: str, traps: bool = False) -> None:
    """Consecutive plain instructions; ``-`` skips a number."""
    for number, name in enumerate(names.split(), first):
        if name != "-":
            _add(proposal, number, name, sig, traps=traps)


def _memory(proposal: str, code: int, name: str, sig: str, width: int, imm: Imm = Imm.MEMARG) -> None:
    writes = "store" in name or "rmw" in name
    _add(proposal, code, name, sig, imm, traps=True, width=width, writes=writes)


def _core() -> None:
    """WebAssembly 1.0."""
    m = "mvp"
    _add(m, 0x00, "unreachable", ">", rule=Rule.UNREACHABLE, traps=True, flow=Flow.UNREACHABLE)
    _add(m, 0x01, "nop", ">")
    _add(m, 0x02, "block", None, Imm.BLOCK, rule=Rule.BLOCK, flow=Flow.BLOCK)
    _add(m, 0x03, "loop", None, Imm.BLOCK, rule=Rule.LOOP, flow=Flow.LOOP)
    _add(m, 0x04, "if", None, Imm.BLOCK, rule=Rule.IF, flow=Flow.IF)
    _add(m, 0x05, "else", None, rule=Rule.ELSE, flow=Flow.ELSE)
    _add(m, 0x0B, "end", None, Imm.END, rule=Rule.END, flow=Flow.END)
    _add(m, 0x0C, "br", None, Imm.LABEL, rule=Rule.BR, flow=Flow.BRANCH)
    _add(m, 0x0D, "br_if", None, Imm.LABEL, rule=Rule.BR_IF, flow=Flow.BRANCH_IF)
    _add(m, 0x0E, "br_table", None, Imm.BR_TABLE, rule=Rule.BR_TABLE, flow=Flow.BRANCH_TABLE)
    _add(m, 0x0F, "return", None, rule=Rule.RETURN, flow=Flow.RETURN)
    _add(m, 0x10, "call", None, Imm.FUNCTION, rule=Rule.CALL, flow=Flow.CALL)
    _add(
        m, 0x11, "call_indirect", None, Imm.CALL_INDIRECT,
        rule=Rule.CALL_INDIRECT, traps=True, flow=Flow.CALL,
    )  # fmt: skip
    _add(m, 0x1A, "drop", "*>", rule=Rule.POP_ONE, pop_count=1)
    _add(m, 0x1B, "select", None, rule=Rule.SELECT, pop_count=3)
    _add(m, 0x20, "local.get", None, Imm.LOCAL, rule=Rule.LOCAL_GET, pop_count=0)
    _add(m, 0x21, "local.set", "*>", Imm.LOCAL, rule=Rule.POP_ONE, pop_count=1)
    _add(m, 0x22, "local.tee", None, Imm.LOCAL, rule=Rule.LOCAL_TEE, pop_count=1)
    _add(m, 0x23, "global.get", None, Imm.GLOBAL, rule=Rule.GLOBAL_GET, pop_count=0)
    _add(m, 0x24, "global.set", "*>", Imm.GLOBAL, rule=Rule.POP_ONE, pop_count=1)

    loads = "i32:4 i64:8 f32:4 f64:8 i32.8_s:1 i32.8_u:1 i32.16_s:2 i32.16_u:2"
    loads += " i64.8_s:1 i64.8_u:1 i64.16_s:2 i64.16_u:2 i64.32_s:4 i64.32_u:4"
    letter = {"i32": "i", "i64": "I", "f32": "f", "f64": "F"}
    for code, row in enumerate(loads.split(), 0x28):
        text, width = row.split(":")
        kind, _, suffix = text.partition(".")
        _memory(m, code, f"{kind}.load{suffix}", "i>" + letter[kind], int(width))
    stores = "i32:4 i64:8 f32:4 f64:8 i32.8:1 i32.16:2 i64.8:1 i64.16:2 i64.32:4"
    for code, row in enumerate(stores.split(), 0x36):
        text, width = row.split(":")
        kind, _, suffix = text.partition(".")
        _memory(m, code, f"{kind}.store{suffix}", f"i{letter[kind]}>", int(width))
    _add(m, 0x3F, "memory.size", None, Imm.MEMORY, rule=Rule.MEMORY_SIZE, pop_count=0)
    _add(m, 0x40, "memory.grow", None, Imm.MEMORY, rule=Rule.MEMORY_GROW, pop_count=1)

    _add(m, 0x41, "i32.const", ">i", Imm.I32)
    _add(m, 0x42, "i64.const", ">I", Imm.I64)
    _add(m, 0x43, "f32.const", ">f", Imm.F32)
    _add(m, 0x44, "f64.const", ">F", Imm.F64)

    compare = "{0}.eq {0}.ne {0}.lt_s {0}.lt_u {0}.gt_s {0}.gt_u {0}.le_s {0}.le_u {0}.ge_s {0}.ge_u"
    fcompare = "{0}.eq {0}.ne {0}.lt {0}.gt {0}.le {0}.ge"
    count = "{0}.clz {0}.ctz {0}.popcnt"
    divide = "{0}.div_s {0}.div_u {0}.rem_s {0}.rem_u"
    bits = "{0}.and {0}.or {0}.xor {0}.shl {0}.shr_s {0}.shr_u {0}.rotl {0}.rotr"
    funary = "{0}.abs {0}.neg {0}.ceil {0}.floor {0}.trunc {0}.nearest {0}.sqrt"
    fbinary = "{0}.add {0}.sub {0}.mul {0}.div {0}.min {0}.max {0}.copysign"
    _run(m, 0x45, "i32.eqz", "i>i")
    _run(m, 0x46, compare.format("i32"), "ii>i")
    _run(m, 0x50, "i64.eqz", "I>i")
    _run(m, 0x51, compare.format("i64"), "II>i")
    _run(m, 0x5B, fcompare.format("f32"), "ff>i")
    _run(m, 0x61, fcompare.format("f64"), "FF>i")
    for first, kind, one, two in ((0x67, "i32", "i>i", "ii>i"), (0x79, "i64", "I>I", "II>I")):
        _run(m, first, count.format(kind), one)
        _run(m, first + 3, f"{kind}.add {kind}.sub {kind}.mul", two)
        _run(m, first + 6, divide.format(kind), two, traps=True)
        _run(m, first + 10, bits.format(kind), two)
    for first, kind, one, two in ((0x8B, "f32", "f>f", "ff>f"), (0x99, "f64", "F>F", "FF>F")):
        _run(m, first, funary.format(kind), one)
        _run(m, first + 7, fbinary.format(kind), two)
    _run(m, 0xA7, "i32.wrap_i64", "I>i")
    _run(m, 0xA8, "i32.trunc_f32_s i32.trunc_f32_u", "f>i", traps=True)
    _run(m, 0xAA, "i32.trunc_f64_s i32.trunc_f64_u", "F>i", traps=True)
    _run(m, 0xAC, "i64.extend_i32_s i64.extend_i32_u", "i>I")
    _run(m, 0xAE, "i64.trunc_f32_s i64.trunc_f32_u", "f>I", traps=True)
    _run(m, 0xB0, "i64.trunc_f64_s i64.trunc_f64_u", "F>I", traps=True)
    _run(m, 0xB2, "f32.convert_i32_s f32.convert_i32_u", "i>f")
    _run(m, 0xB4, "f32.convert_i64_s f32.convert_i64_u", "I>f")
    _run(m, 0xB6, "f32.demote_f64", "F>f")
    _run(m, 0xB7, "f64.convert_i32_s f64.convert_i32_u", "i>F")
    _run(m, 0xB9, "f64.convert_i64_s f64.convert_i64_u", "I>F")
    _run(m, 0xBB, "f64.promote_f32", "f>F")
    _run(m, 0xBC, "i32.reinterpret_f32", "f>i")
    _run(m, 0xBD, "i64.reinterpret_f64", "F>I")
    _run(m, 0xBE, "f32.reinterpret_i32", "i>f")
    _run(m, 0xBF, "f64.reinterpret_i64", "I>F")


def _small_proposals() -> None:
    s = "sign-extension"
    _run(s, 0xC0, "i32.extend8_s i32.extend16_s", "i>i")
    _run(s, 0xC2, "i64.extend8_s i64.extend16_s i64.extend32_s", "I>I")

    s = "saturating-conversions"
    for n, (to, source) in enumerate((t, f) for t in ("i32", "i64") for f in ("f32", "f64")):
        sig = ("f" if source == "f32" else "F") + ">" + ("i" if to == "i32" else "I")
        _run(s, prefixed(0xFC, 2 * n), f"{to}.trunc_sat_{source}_s {to}.trunc_sat_{source}_u", sig)

    b = "bulk-memory"
    _add(b, prefixed(0xFC, 8), "memory.init", "iii>", Imm.DATA_MEMORY, traps=True)
    _add(b, prefixed(0xFC, 9), "data.drop", ">", Imm.DATA)
    _add(b, prefixed(0xFC, 10), "memory.copy", "iii>", Imm.MEMORY_MEMORY, traps=True)
    _add(b, prefixed(0xFC, 11), "memory.fill", "iii>", Imm.MEMORY, traps=True)
    _add(b, prefixed(0xFC, 12), "table.init", "iii>", Imm.ELEM_TABLE, traps=True)
    _add(b, prefixed(0xFC, 13), "elem.drop", ">", Imm.ELEM)
    _add(b, prefixed(0xFC, 14), "table.copy", "iii>", Imm.TABLE_TABLE, traps=True)

    r = "reference-types"
    _add(r, 0x1C, "select t", None, Imm.SELECT, rule=Rule.SELECT_TYPED, pop_count=3)
    _add(r, 0x25, "table.get", None, Imm.TABLE, rule=Rule.TABLE_GET, pop_count=1, traps=True)
    _add(r, 0x26, "table.set", "*>", Imm.TABLE, pop_count=2, traps=True)
    _add(r, prefixed(0xFC, 15), "table.grow", None, Imm.TABLE, rule=Rule.TABLE_GROW, pop_count=2)
    _add(r, prefixed(0xFC, 16), "table.size", None, Imm.TABLE, rule=Rule.TABLE_SIZE, pop_count=0)
    _add(r, prefixed(0xFC, 17), "table.fill", "*>", Imm.TABLE, pop_count=3, traps=True)
    _add(r, 0xD0, "ref.null", None, Imm.HEAP_TYPE, rule=Rule.REF_NULL, pop_count=0)
    _add(r, 0xD1, "ref.is_null", "*>i", pop_count=1)
    _add(r, 0xD2, "ref.func", None, Imm.FUNCTION, rule=Rule.REF_FUNC, pop_count=0)

    t = "tail-call"
    _add(t, 0x12, "return_call", None, Imm.FUNCTION, rule=Rule.RETURN_CALL, flow=Flow.TAIL_CALL)
    _add(
        t, 0x13, "return_call_indirect", None, Imm.CALL_INDIRECT,
        rule=Rule.RETURN_CALL_INDIRECT, traps=True, flow=Flow.TAIL_CALL,
    )  # fmt: skip

    w = "wide-arithmetic"
    _run(w, prefixed(0xFC, 19), "i64.add128 i64.sub128", "IIII>II")
    _run(w, prefixed(0xFC, 21), "i64.mul_wide_s i64.mul_wide_u", "II>II")


def _references() -> None:
    """Function references, exceptions, GC."""
    f = "function-references"
    _add(f, 0x14, "call_ref", None, Imm.TYPE, rule=Rule.CALL_REF, traps=True, flow=Flow.CALL)
    _add(
        f, 0x15, "return_call_ref", None, Imm.TYPE,
        rule=Rule.RETURN_CALL_REF, traps=True, flow=Flow.TAIL_CALL,
    )  # fmt: skip
    _add(f, 0xD4, "ref.as_non_null", None, rule=Rule.REF_AS_NON_NULL, pop_count=1, traps=True)
    _add(f, 0xD5, "br_on_null", None, Imm.LABEL, rule=Rule.BR_ON_NULL, flow=Flow.BRANCH_IF)
    _add(f, 0xD6, "br_on_non_null", None, Imm.LABEL, rule=Rule.BR_ON_NON_NULL, flow=Flow.BRANCH_IF)

    e = "exceptions"
    _add(e, 0x08, "throw", None, Imm.TAG, rule=Rule.THROW, flow=Flow.THROW)
    _add(e, 0x0A, "throw_ref", None, rule=Rule.THROW_REF, pop_count=1, traps=True, flow=Flow.THROW)
    _add(e, 0x1F, "try_table", None, Imm.TRY_TABLE, rule=Rule.TRY_TABLE, flow=Flow.TRY_TABLE)

    g = "gc"
    _add(g, 0xD3, "ref.eq", "*>i", pop_count=2)

    def gc(
        number: int, name: str, imm: Imm = Imm.NONE, rule: Rule | None = None, pop_count: int = -1,
        sig: str | None = None, traps: bool = False, flow: Flow = Flow.NEXT,
    ) -> None:  # fmt: skip
        code = prefixed(0xFB, number)
        _add(g, code, name, sig, imm, rule=rule, pop_count=pop_count, traps=traps, flow=flow)

    # allocations trap when the GC heap is exhausted
    gc(0, "struct.new", Imm.TYPE, Rule.STRUCT_NEW, traps=True)
    gc(1, "struct.new_default", Imm.TYPE, Rule.STRUCT_NEW_DEFAULT, 0, traps=True)
    gc(2, "struct.get", Imm.TYPE_FIELD, Rule.STRUCT_GET, 1, traps=True)
    gc(3, "struct.get_s", Imm.TYPE_FIELD, Rule.STRUCT_GET, 1, traps=True)
    gc(4, "struct.get_u", Imm.TYPE_FIELD, Rule.STRUCT_GET, 1, traps=True)
    gc(5, "struct.set", Imm.TYPE_FIELD, None, 2, "*>", traps=True)
    gc(6, "array.new", Imm.TYPE, Rule.NEW_BY_TYPE, 2, traps=True)
    gc(7, "array.new_default", Imm.TYPE, Rule.NEW_BY_TYPE, 1, traps=True)
    gc(8, "array.new_fixed", Imm.TYPE_COUNT, Rule.ARRAY_NEW_FIXED, traps=True)
    gc(9, "array.new_data", Imm.TYPE_DATA, Rule.NEW_BY_TYPE, 2, traps=True)
    gc(10, "array.new_elem", Imm.TYPE_ELEM, Rule.NEW_BY_TYPE, 2, traps=True)
    gc(11, "array.get", Imm.TYPE, Rule.ARRAY_GET, 2, traps=True)
    gc(12, "array.get_s", Imm.TYPE, Rule.ARRAY_GET, 2, traps=True)
    gc(13, "array.get_u", Imm.TYPE, Rule.ARRAY_GET, 2, traps=True)
    gc(14, "array.set", Imm.TYPE, None, 3, "*>", traps=True)
    gc(15, "array.len", Imm.NONE, None, 1, "*>i", traps=True)
    gc(16, "array.fill", Imm.TYPE, None, 4, "*>", traps=True)
    gc(17, "array.copy", Imm.TYPE_TYPE, None, 5, "*>", traps=True)
    gc(18, "array.init_data", Imm.TYPE_DATA, None, 4, "*>", traps=True)
    gc(19, "array.init_elem", Imm.TYPE_ELEM, None, 4, "*>", traps=True)
    gc(20, "ref.test", Imm.HEAP_TYPE, None, 1, "*>i")
    gc(21, "ref.test null", Imm.HEAP_TYPE, None, 1, "*>i")
    gc(22, "ref.cast", Imm.HEAP_TYPE, Rule.REF_CAST, 1, traps=True)
    gc(23, "ref.cast null", Imm.HEAP_TYPE, Rule.REF_CAST_NULL, 1, traps=True)
    gc(24, "br_on_cast", Imm.BR_ON_CAST, Rule.BR_ON_CAST, flow=Flow.BRANCH_IF)
    gc(25, "br_on_cast_fail", Imm.BR_ON_CAST, Rule.BR_ON_CAST_FAIL, flow=Flow.BRANCH_IF)
    gc(26, "any.convert_extern", Imm.NONE, Rule.CONVERT_REF, 1)
    gc(27, "extern.convert_any", Imm.NONE, Rule.CONVERT_REF, 1)
    gc(28, "ref.i31", Imm.NONE, Rule.REF_I31, 1)
    gc(29, "i31.get_s", Imm.NONE, None, 1, "*>i", traps=True)
    gc(30, "i31.get_u", Imm.NONE, None, 1, "*>i", traps=True)


def _simd() -> None:
    p, at = "simd", 0xFD << 16
    loads = "load:16 load8x8_s:8 load8x8_u:8 load16x4_s:8 load16x4_u:8 load32x2_s:8 load32x2_u:8"
    loads += " load8_splat:1 load16_splat:2 load32_splat:4 load64_splat:8"
    for number, row in enumerate(loads.split()):
        name, width = row.split(":")
        _memory(p, at + number, f"v128.{name}", "i>v", int(width))
    _memory(p, at + 11, "v128.store", "iv>", 16)
    _memory(p, at + 92, "v128.load32_zero", "i>v", 4)
    _memory(p, at + 93, "v128.load64_zero", "i>v", 8)
    for k in range(4):
        _memory(p, at + 84 + k, f"v128.load{8 << k}_lane", "iv>v", 1 << k, Imm.MEMARG_LANE)
        _memory(p, at + 88 + k, f"v128.store{8 << k}_lane", "iv>", 1 << k, Imm.MEMARG_LANE)
    _add(p, at + 12, "v128.const", ">v", Imm.V128)
    _add(p, at + 13, "i8x16.shuffle", "vv>v", Imm.SHUFFLE)
    _run(p, at + 14, "i8x16.swizzle", "vv>v")
    shapes = ("i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2")
    for number, (shape, letter) in enumerate(zip(shapes, "iiiIfF", strict=True), 15):
        _run(p, at + number, f"{shape}.splat", f"{letter}>v")
    lanes = "i8x16.extract_lane_s i8x16.extract_lane_u i8x16.replace_lane"
    lanes += " i16x8.extract_lane_s i16x8.extract_lane_u i16x8.replace_lane"
    lanes += " i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane"
    lanes += " f32x4.extract_lane f32x4.replace_lane"
    lanes += " f64x2.extract_lane f64x2.replace_lane"
    scalar = dict(zip(shapes, "iiiIfF", strict=True))
    for number, name in enumerate(lanes.split(), 21):
        letter = scalar[name.partition(".")[0]]
        _add(p, at + number, name, f"v{letter}>v" if "replace" in name else f"v>{letter}", Imm.LANE)

    compare = "{0}.eq {0}.ne {0}.lt_s {0}.lt_u {0}.gt_s {0}.gt_u {0}.le_s {0}.le_u {0}.ge_s {0}.ge_u "
    fcompare = "{0}.eq {0}.ne {0}.lt {0}.gt {0}.le {0}.ge "
    names = "".join(compare.format(s) for s in shapes[:3]) + "".join(fcompare.format(s) for s in shapes[4:])
    _run(p, at + 35, names, "vv>v")
    _run(p, at + 77, "v128.not", "v>v")
    _run(p, at + 78, "v128.and v128.andnot v128.or v128.xor", "vv>v")
    _run(p, at + 82, "v128.bitselect", "vvv>v")
    _run(p, at + 83, "v128.any_true", "v>i")
    _run(p, at + 94, "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4", "v>v")

    # the integer shapes share one layout of 32 numbers, and the gaps hold floating-point roundings
    for first, shape in zip((96, 128, 160, 192), shapes, strict=False):
        _run(p, at + first, f"{shape}.abs {shape}.neg", "v>v")
        _run(p, at + first + 3, f"{shape}.all_true {shape}.bitmask", "v>i")
        _run(p, at + first + 11, f"{shape}.shl {shape}.shr_s {shape}.shr_u", "vi>v")
        _run(p, at + first + 14, f"{shape}.add", "vv>v")
        _run(p, at + first + 17, f"{shape}.sub", "vv>v")
        if shape in shapes[:2]:
            _run(p, at + first + 15, f"{shape}.add_sat_s {shape}.add_sat_u", "vv>v")
            _run(p, at + first + 18, f"{shape}.sub_sat_s {shape}.sub_sat_u", "vv>v")
            _run(p, at + first + 27, f"{shape}.avgr_u", "vv>v")
        else:
            _run(p, at + first + 21, f"{shape}.mul", "vv>v")
        if shape != "i64x2":
            _run(p, at + first + 22, f"{shape}.min_s {shape}.min_u {shape}.max_s {shape}.max_u", "vv>v")
    _run(p, at + 149, "i16x8.mul", "vv>v")
    _run(p, at + 98, "i8x16.popcnt", "v>v")
    _run(p, at + 101, "i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u", "vv>v")
    _run(p, at + 103, "f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest", "v>v")
    _run(p, at + 116, "f64x2.ceil f64x2.floor", "v>v")
    _run(p, at + 122, "f64x2.trunc", "v>v")
    _run(p, at + 148, "f64x2.nearest", "v>v")
    _run(p, at + 124, "i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u", "v>v")
    _run(p, at + 126, "i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u", "v>v")
    _run(p, at + 130, "i16x8.q15mulr_sat_s", "vv>v")
    _run(p, at + 133, "i16x8.narrow_i32x4_s i16x8.narrow_i32x4_u", "vv>v")
    _run(p, at + 186, "i32x4.dot_i16x8_s", "vv>v")
    for first, shape, half in ((128, "i16x8", "i8x16"), (160, "i32x4", "i16x8"), (192, "i64x2", "i32x4")):
        four = "{0}.{1}_low_{2}_s {0}.{1}_high_{2}_s {0}.{1}_low_{2}_u {0}.{1}_high_{2}_u"
        _run(p, at + first + 7, four.format(shape, "extend", half), "v>v")
        _run(p, at + first + 28, four.format(shape, "extmul", half), "vv>v")
    _run(p, at + 214, "i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s", "vv>v")
    for first, shape in ((224, "f32x4"), (236, "f64x2")):
        _run(p, at + first, f"{shape}.abs {shape}.neg - {shape}.sqrt", "v>v")
        eight = "{0}.add {0}.sub {0}.mul {0}.div {0}.min {0}.max {0}.pmin {0}.pmax"
        _run(p, at + first + 4, eight.format(shape), "vv>v")
    convert = "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u"
    convert += " i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero"
    convert += " f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u"
    _run(p, at + 248, convert, "v>v")

    p, at = "relaxed-simd", (0xFD << 16) + 0x100
    _run(p, at, "i8x16.relaxed_swizzle", "vv>v")
    _run(p, at + 1, "i32x4.relaxed_trunc_f32x4_s i32x4.relaxed_trunc_f32x4_u", "v>v")
    _run(p, at + 3, "i32x4.relaxed_trunc_f64x2_s_zero i32x4.relaxed_trunc_f64x2_u_zero", "v>v")
    _run(p, at + 5, "f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd f64x2.relaxed_nmadd", "vvv>v")
    _run(p, at + 9, " ".join(f"{s}.relaxed_laneselect" for s in shapes[:4]), "vvv>v")
    _run(p, at + 13, "f32x4.relaxed_min f32x4.relaxed_max f64x2.relaxed_min f64x2.relaxed_max", "vv>v")
    _run(p, at + 17, "i16x8.relaxed_q15mulr_s i16x8.relaxed_dot_i8x16_i7x16_s", "vv>v")
    _run(p, at + 19, "i32x4.relaxed_dot_i8x16_i7x16_add_s", "vvv>v")


def _threads() -> None:
    p, at = "threads", 0xFE << 16
    _memory(p, at, "memory.atomic.notify", "ii>i", 4)
    _memory(p, at + 1, "memory.atomic.wait32", "iiI>i", 4)
    _memory(p, at + 2, "memory.atomic.wait64", "iII>i", 8)
    _add(p, at + 3, "atomic.fence", ">", Imm.FENCE)
    # every group of seven has this order of operand type and access width
    seven: tuple[tuple[str, str, str, int], ...]
    seven = (("i", "i32", "", 4), ("I", "i64", "", 8), ("i", "i32", "8", 1), ("i", "i32", "16", 2))
    seven += (("I", "i64", "8", 1), ("I", "i64", "16", 2), ("I", "i64", "32", 4))
    for k, (t, kind, size, width) in enumerate(seven):
        u = "_u" if size else ""
        _memory(p, at + 0x10 + k, f"{kind}.atomic.load{size}{u}", f"i>{t}", width)
        _memory(p, at + 0x17 + k, f"{kind}.atomic.store{size}", f"i{t}>", width)
        for n, action in enumerate(("add", "sub", "and", "or", "xor", "xchg")):
            _memory(p, at + 0x1E + 7 * n + k, f"{kind}.atomic.rmw{size}.{action}{u}", f"i{t}>{t}", width)
        _memory(p, at + 0x48 + k, f"{kind}.atomic.rmw{size}.cmpxchg{u}", f"i{t}{t}>{t}", width)


def _known_by_name() -> Iterator[tuple[str, int, str]]:
    """Instructions that decode to an UnsupportedInstructionError with their name."""
    legacy = {0x06: "try", 0x07: "catch", 0x09: "rethrow", 0x18: "delegate", 0x19: "catch_all"}
    for code, name in legacy.items():
        yield "legacy-exceptions", code, name
    names = "cont.new cont.bind suspend resume resume_throw resume_throw_ref switch"
    for code, name in enumerate(names.split(), 0xE0):
        yield "stack-switching", code, name
    for number, name in enumerate(("struct.new_desc", "struct.new_default_desc", "ref.get_desc"), 32):
        yield "custom-descriptors", prefixed(0xFB, number), name
    names = "ref.cast_desc_eq ref.cast_desc_eq_null br_on_cast_desc_eq br_on_cast_desc_eq_fail"
    for number, name in enumerate(names.split(), 35):
        yield "custom-descriptors", prefixed(0xFB, number), name


_core()
_small_proposals()
_references()
_simd()
_threads()
for _proposal, _code, _name in _known_by_name():
    _add(_proposal, _code, _name, None, Imm.UNSUPPORTED)
