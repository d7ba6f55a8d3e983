"""What the words of a module mean to the outline of a function (see ``_outline``).

A *word* is the bytes of an instruction.  Each different one is decoded once in a module, and belongs to a
*class*, a byte: so the classes of a body are bytes, and what is asked of all of its instructions is answered
by ``bytes.translate`` and the like.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..wasm import (
    F32,
    F64,
    I32,
    I64,
    CallIndirect,
    FuncType,
    Instruction,
    Module,
    Rule,
    ValType,
    read_word,
)
from ._kinds import KINDS, NUMERIC, TRAPS, Kind

__all__ = ["UNKNOWN", "Effect", "Words"]

UNKNOWN: Final = 255
"""The class of words that have no place in an outline."""

_MOST: Final = 200_000
"""Words that are remembered; constants may all be different."""

_CONSTANTS: Final = b"\x41\x42\x43\x44"
_LOCALS: Final = (0x20, 0x21, 0x22)


class Effect(NamedTuple):
    """What an instruction does to the operand stack.

    :ivar pushes: their types; None: that of local ``local``, or, of ``select``, of its first operand.
    """

    pops: int
    pushes: tuple[ValType, ...] | None


class _Classes(dict[bytes, int]):
    """By word, its class; finds it where it is not known yet."""

    def __init__(self, words: Words) -> None:
        super().__init__()
        self._words = words

    def __missing__(self, word: bytes) -> int:
        found = self[word] = self._words.classify(word)
        return found


class Words:
    """The words of one module.

    :ivar classes: by word, its class.
    :ivar kinds: by class, its :class:`~._kinds.Kind` + 1; 0: none.
    :ivar traps: by class, 1 if it may trap in the fast twin by itself.
    :ivar locals: by class, 1 for ``local.get``, 2 for ``local.set`` and ``local.tee``.
    :ivar deltas: by class, by how much the operand stack grows.
    :ivar bits: by word that has a local's index, the mask with that bit.
    :ivar decoded: by word of some kind, the instruction at offset 0.
    :ivar effects: by word, what :meth:`effect_of` has found.
    """

    def __init__(self, module: Module) -> None:
        self._module = module
        self._numbers: dict[tuple[int, int, int, int], int] = {}
        self.classes = _Classes(self)
        self.kinds = bytearray(256)
        self.traps = bytearray(256)
        self.locals = bytearray(256)
        self.deltas = [0] * 256
        self.bits: dict[bytes, int] = {}
        self.decoded: dict[bytes, Instruction] = {}
        self.effects: dict[bytes, Effect] = {}
        self._constant = self._class(0, 0, 0, 1)

    def forget(self) -> None:
        """Makes room, if too many words have been seen."""
        if len(self.classes) > _MOST:
            self.classes.clear()
            self.bits.clear()
            self.decoded.clear()
            self.effects.clear()

    def classify(self, word: bytes) -> int:
        """The class of a word."""
        if word[0] in _CONSTANTS and len(word) > 1:
            return self._constant
        instruction = read_word(self._module, word)
        if instruction is None:
            return UNKNOWN
        op = instruction.op
        effect = self.effect(instruction)
        if effect is None or op.code not in NUMERIC:
            return UNKNOWN
        pushes = 1 if effect.pushes is None else len(effect.pushes)
        if not all(type.is_num for type in effect.pushes or ()):
            return UNKNOWN
        kind = KINDS.get(op.code, -1)
        if Kind.BLOCK <= kind <= Kind.IF:
            block = instruction.imm
            if block.params or not all(type.is_num for type in block.results):
                return UNKNOWN
        which = 0
        if op.code in _LOCALS:
            which = 1 if op.code == 0x20 else 2
            self.bits[word] = 1 << instruction.imm
        if kind >= 0:
            self.decoded[word] = instruction
        return self._class(kind + 1, op.code in TRAPS, which, pushes - effect.pops)

    def _class(self, kind: int, traps: int, local: int, delta: int) -> int:
        key = (kind, traps, local, delta)
        number = self._numbers.get(key)
        if number is None:
            number = len(self._numbers)
            if number >= UNKNOWN:
                return UNKNOWN
            self._numbers[key] = number
            self.kinds[number], self.traps[number], self.locals[number] = kind, traps, local
            self.deltas[number] = delta
        return number

    def instruction(self, word: bytes) -> Instruction:
        """The word decoded, at offset 0."""
        found = self.decoded.get(word)
        if found is None:
            found = read_word(self._module, word)
            assert found is not None
        return found

    def effect_of(self, word: bytes) -> Effect:
        """What a word, which has a class, does to the operand stack."""
        found = self.effects.get(word)
        if found is None:
            if word[0] in _EFFECTS_OF_CODES:
                return _EFFECTS_OF_CODES[word[0]]
            found = self.effect(self.instruction(word))
            assert found is not None
            self.effects[word] = found
        return found

    def effect(self, instruction: Instruction) -> Effect | None:
        """What it does to the operand stack where it goes on; None if that depends on what lies there."""
        op, imm, module = instruction.op, instruction.imm, self._module
        rule = op.rule
        known = _EFFECTS.get(rule)
        if known is not None:
            return known
        if rule is Rule.FIXED or rule is Rule.POPS:
            return Effect(op.pop_count, op.pushes or ())
        if rule is Rule.GLOBAL_GET:
            return Effect(0, (module.globals[imm].type.valtype,))
        if rule is Rule.CALL or rule is Rule.RETURN_CALL:
            type = module.functions[imm].type
            return Effect(len(type.params), type.results if rule is Rule.CALL else ())
        if rule is Rule.CALL_INDIRECT or rule is Rule.RETURN_CALL_INDIRECT:
            assert isinstance(imm, CallIndirect)
            found = module.types[imm.type_index]
            if not isinstance(found, FuncType):
                return None
            return Effect(len(found.params) + 1, found.results if rule is Rule.CALL_INDIRECT else ())
        if rule is Rule.MEMORY_SIZE or rule is Rule.MEMORY_GROW:
            return Effect(op.pop_count, (module.memories[imm].type.address_type,))
        return None


_EFFECTS_OF_CODES: Final = {
    0x20: Effect(0, None),
    0x21: Effect(1, ()),
    0x22: Effect(0, ()),
    0x41: Effect(0, (I32,)),
    0x42: Effect(0, (I64,)),
    0x43: Effect(0, (F32,)),
    0x44: Effect(0, (F64,)),
}

_EFFECTS: Final = {
    Rule.LOCAL_GET: Effect(0, None),
    # What a tee leaves is the operand that was there.
    Rule.LOCAL_TEE: Effect(0, ()),
    Rule.POP_ONE: Effect(1, ()),
    Rule.SELECT: Effect(3, None),
    Rule.BLOCK: Effect(0, ()),
    Rule.LOOP: Effect(0, ()),
    Rule.IF: Effect(1, ()),
    Rule.ELSE: Effect(0, ()),
    Rule.END: Effect(0, ()),
    # Numbers only, so a branch that is not taken changes no type.
    Rule.BR_IF: Effect(1, ()),
    Rule.BR: Effect(0, ()),
    Rule.BR_TABLE: Effect(1, ()),
    Rule.RETURN: Effect(0, ()),
    Rule.UNREACHABLE: Effect(0, ()),
}
