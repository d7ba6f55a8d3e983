"""What the rewriter has to know of a body, without its operand types: an *outline*.

Typing every operand of a module (see :func:`~trio_wasmdbg.wasm.type_body`) costs more than all the rest of
rewriting, and next to nobody asks for the types: a call stores the operands below its arguments, and mostly
there are none.  So an outline knows how many operands there are, from the sums of what each instruction
pushes and pops, and finds types where they are wanted, backwards from there.  Nothing in it is done by Python
for each instruction, but by regular expressions, ``bytes.translate`` and iterators; Python only looks at
the places that the fast twin has to look at, and makes the survey of them (see ``_survey``) as it goes.

Bodies that hold anything but numbers, handle exceptions, or have constructs with parameters, have no
outline; nor have invalid ones, of which typing will say what is wrong.  The code that is made by an outline
is the same, byte for byte, as that made by a typed body: the tests compare them.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from itertools import accumulate, chain, compress, repeat
from typing import Any, Final

from attrs import define, field

from ..wasm import ControlFrame, Function, Instruction, Module, Operand, ValType, cut, in_pieces
from ._kinds import CONSTRUCTS, Kind, division_can_trap
from ._survey import Facts, Place, Survey, branch_depths
from ._words import UNKNOWN, Words

__all__ = ["NoOutlineError", "Outline", "outline"]

_MINUS_ONE: Final = bytes(max(n - 1, 0) for n in range(256))
_UNBRANCHED: Final = 1 << 60

# Plain ints: comparing with a member of an enum would look it up each time.
_ASSIGN, _DIVISION, _BLOCK, _LOOP, _IF, _ELSE, _END = (
    int(k) for k in (Kind.ASSIGN, Kind.DIVISION, Kind.BLOCK, Kind.LOOP, Kind.IF, Kind.ELSE, Kind.END)
)
_BRANCH, _BRANCH_IF, _BRANCH_TABLE = (int(k) for k in (Kind.BRANCH, Kind.BRANCH_IF, Kind.BRANCH_TABLE))
_RETURN, _UNREACHABLE, _CALL, _TAIL_CALL = (
    int(k) for k in (Kind.RETURN, Kind.UNREACHABLE, Kind.CALL, Kind.TAIL_CALL)
)


_Scope = list[Any]


class NoOutlineError(Exception):
    """A body that has no outline: its operands are to be typed."""


class _Instructions(dict[int, Instruction]):
    """Instructions by ordinal, decoded when they are wanted.

    It does not know the outline: in a cycle, that would wait for a collection.
    """

    def __init__(self, known: Words, words: list[bytes], offsets: array[int]) -> None:
        super().__init__()
        self._known = known
        self._words = words
        self._offsets = offsets

    def __missing__(self, k: int) -> Instruction:
        offsets = self._offsets
        decoded = self._known.instruction(self._words[k])
        found = self[k] = Instruction(offsets[k], offsets[k + 1], decoded.op, decoded.imm)
        return found


@define(eq=False)
class Outline:
    """An outline; what it has in common with a :class:`~trio_wasmdbg.wasm.TypedBody` is called the same.

    :ivar reachable: as of a typed body, but for places only.
    :ivar words: its instructions' bytes.
    :ivar offsets: of the instructions, and of the body's end.
    :ivar heights: sums of what has been pushed and popped before each instruction, as if control never left
        its course.
    :ivar survey: of its places.
    """

    function: Function
    known: Words
    words: list[bytes]
    classes: bytes
    offsets: array[int]
    heights: array[int]
    locals: tuple[ValType, ...]
    reachable: bytearray
    controls: dict[int, ControlFrame] = field(factory=dict)
    max_height: int = 0
    instructions: _Instructions = field(init=False)
    survey: Survey = field(init=False)
    _operands: dict[tuple[int, int], Operand] = field(factory=dict)
    _steps: int = 0

    def __attrs_post_init__(self) -> None:
        self.instructions = _Instructions(self.known, self.words, self.offsets)

    @property
    def count(self) -> int:
        """Number of instructions."""
        return len(self.words)

    def stack(self, k: int, height: int) -> Operand | None:
        """The operands before place *k*, of which there are so many; as of a typed body.

        :raises NoOutlineError: finding them takes too long.
        """
        return self._stack(k, height, height - 1, 0)

    def _stack(self, k: int, height: int, want: int, depth: int) -> Operand | None:
        """Those up to height *want*: walks back to where each was pushed, past whole constructs."""
        heights, known, words, controls = self.heights, self.known, self.words, self.controls
        pushed: list[tuple[int, int, ValType]] = []
        found: Operand | None = None
        j = k
        while want >= 0:
            j -= 1
            self._steps += 1
            if self._steps > 20 * len(heights) + 1000 or depth > 50:
                raise NoOutlineError
            at = j
            types: tuple[ValType, ...] | None = ()
            control = controls.get(j)
            if control is None:
                # Every operand from `low` up is new after it.
                effect = known.effect_of(words[j])
                height -= heights[j + 1] - heights[j]
                low, types = height - effect.pops, effect.pushes
            elif control.end == j:
                low, types = control.height, control.results
                j, height = control.start, control.height + (control.kind == "if")
            elif control.else_ == j:
                low = control.height
                j, height = control.start, control.height + (control.kind == "if")
            else:
                low = height
                height += control.kind == "if"
            while want >= max(low, 0):
                found = self._operands.get((at, want - low))
                if found is not None:
                    want = -1
                    break
                if types is None:
                    types = (self._type(j, height, low, depth),)
                pushed.append((at, want - low, types[want - low]))
                want -= 1
        for at, number, type in reversed(pushed):
            found = Operand(found, type, 0 if found is None else found.height + 1)
            self._operands[at, number] = found
        return found

    def _type(self, j: int, height: int, low: int, depth: int) -> ValType:
        """Of what ``local.get`` or ``select`` pushes."""
        instruction = self.instructions[j]
        if instruction.op.code == 0x20:
            local: int = instruction.imm
            return self.locals[local]
        first = self._stack(j, height, low, depth + 1)
        assert first is not None
        return first.type


def outline(module: Module, words: Words, function: Function, tick: Callable[[], None]) -> Outline:
    """The outline of a body.

    :param tick: called now and then.
    :raises NoOutlineError: it has none.
    """
    try:
        return _Outlining(module, words, function, tick).run()
    except IndexError:
        # A label that is not there.
        raise NoOutlineError from None


class _Outlining:
    """One pass over the places of a body."""

    def __init__(self, module: Module, words: Words, function: Function, tick: Callable[[], None]) -> None:
        body = function.body
        assert body is not None
        groups = chain.from_iterable(repeat(type, count) for count, type in body.local_groups)
        locals_ = (*function.type.params, *groups)
        if not all(map(_is_num, set(locals_).union(function.type.results))):
            raise NoOutlineError
        words.forget()
        cut_up = cut(module.data, body.code_start, body.end, tick)
        classes = bytes(map(words.classes.__getitem__, in_pieces(cut_up, tick)))
        if UNKNOWN in classes:
            raise NoOutlineError
        gets = compress(in_pieces(cut_up, tick), classes.translate(words.locals))
        if max(map(words.bits.__getitem__, gets), default=0) >> len(locals_):
            raise NoOutlineError
        self.words = words
        self.tick = tick
        self.outline = Outline(
            function, words, cut_up, classes,
            array("I", accumulate(map(len, in_pieces(cut_up, tick)), initial=body.code_start)),
            array("i", accumulate(map(words.deltas.__getitem__, in_pieces(classes, tick)), initial=0)),
            locals_, bytearray(b"\1") * len(cut_up),
        )  # fmt: skip

    def run(self) -> Outline:
        it, known = self.outline, self.words
        classes, heights, words = it.classes, it.heights, it.words
        decoded, bits = known.decoded, known.bits
        instructions, controls, reachable = it.instructions, it.controls, it.reachable
        offsets, last = it.offsets, len(words) - 1
        traps = classes.translate(known.traps)
        kinds = classes.translate(known.kinds)
        places: list[Place] = []
        save = places.append
        new, record = tuple.__new__, Instruction
        facts: dict[int, Facts] = {}

        # As in `type_body`: the constructs that are open.
        results = it.function.type.results
        frame = ControlFrame("function", -1, None, last, 0, (), results, None)
        frames = [frame]
        base, more, dead = 0, 0, False  # operands are heights[k] + more
        span, highest = 0, 0
        # As in `survey`, of the innermost construct; and of each, what is said about that around it, how
        # many loops are open around its end (or of a loop, itself included), the least `passed` of the
        # branches to its end, `passed` at the beginning of an `if`, and whether it is endless.
        assigned, calls, leaves, trapping = 0, False, False, False
        loops, passed = 0, 0
        scopes: list[_Scope] = [[0, False, False, False, 0, _UNBRANCHED, _UNBRANCHED, False]]

        mask, before, since = 0, -1, 0
        for k, kind, word in zip(
            compress(range(len(kinds)), kinds),
            kinds.translate(_MINUS_ONE, b"\0"),
            compress(words, kinds),
            strict=True,
        ):
            if kind == _ASSIGN:
                bit = bits[word]
                assigned |= bit
                if not dead:
                    mask |= bit
                continue
            if not trapping:
                trapping = traps.find(1, before + 1, k + 1) >= 0
            before = k
            if k - since > 4096:
                since = k
                self.tick()
            height = heights[k] + more
            save((k, kind, mask, height))
            mask = 0
            if dead:
                reachable[k] = 0

            if kind == _END:
                if frame.live:
                    base = frame.height
                    results = frame.results
                    end = base + len(results)
                    if dead:
                        dead = False
                        span, more = k + 1, end - heights[k + 1]
                        if end > highest:
                            highest = end
                    elif height != end or (frame.kind == "if" and frame.else_ is None and results):
                        raise NoOutlineError
                frame.end = k
                controls[k] = frame
                frames.pop()
                scope = scopes.pop()
                facts[frame.start] = new(Facts, (assigned, calls, leaves, trapping, scope[7], False))
                assigned |= scope[0]
                calls = calls or scope[1]
                leaves = leaves or scope[2]
                trapping = trapping or scope[3]
                if not reachable[k]:
                    passed = _UNBRANCHED
                if scope[5] < passed:
                    passed = scope[5]
                if scope[6] < passed:
                    passed = scope[6]
                if frame.kind == "loop":
                    loops -= 1
                if passed > loops:
                    passed = loops
                if not frames:
                    break
                frame = frames[-1]
                base = frame.height
                continue

            if _BLOCK <= kind <= _IF:
                if not dead:
                    if kind == _IF:
                        height -= 1
                    if height < base:
                        raise NoOutlineError
                    base = height
                types = decoded[word][3][2]
                frame = ControlFrame(CONSTRUCTS[kind], k, None, k, base, (), types, frame, not dead)
                controls[k] = frame
                frames.append(frame)
                loop = kind == _LOOP
                if loop:
                    loops += 1
                at_else = passed if kind == _IF else _UNBRANCHED
                scopes.append([assigned, calls, leaves, trapping, loops, _UNBRANCHED, at_else, False])
                assigned, calls, leaves, trapping = 0, False, loop, False
                continue

            if kind == _ELSE:
                if frame.kind != "if" or frame.else_ is not None:
                    raise NoOutlineError
                frame.else_ = k
                controls[k] = frame
                scope = scopes[-1]
                if not dead:
                    if height != base + len(frame.results):
                        raise NoOutlineError
                    highest = max(highest, max(in_pieces(heights[span : k + 1], self.tick)) + more)
                    scope[5] = min(scope[5], passed)
                passed, scope[6] = scope[6], _UNBRANCHED
                if frame.live:
                    dead = False
                    span, more = k + 1, base - heights[k + 1]
                continue

            _, _, op, imm = decoded[word]
            instructions[k] = new(record, (offsets[k], offsets[k + 1], op, imm))
            if dead:
                continue
            if kind == _CALL:
                calls = leaves = True
                passed = loops
            elif _BRANCH <= kind <= _BRANCH_TABLE:
                for depth in branch_depths(instructions[k]) if imm.__class__ is not int else (imm,):
                    scope = scopes[-1 - depth]
                    if frames[-1 - depth].kind != "loop":
                        if scope[5] > passed:
                            scope[5] = passed
                    elif passed < scope[4]:
                        scope[7] = True
                if kind != _BRANCH_IF:
                    dead = True
            elif kind == _DIVISION:
                leaves = leaves or division_can_trap(instructions, k)
            elif kind == _UNREACHABLE:
                leaves = dead = True
            elif kind in (_RETURN, _TAIL_CALL):
                dead = True
            if dead:
                highest = max(highest, max(in_pieces(heights[span : k + 1], self.tick)) + more)
        if frames or k != last:
            raise NoOutlineError
        if span <= k:
            highest = max(highest, max(in_pieces(heights[span : k + 1], self.tick)) + more)
        it.max_height = highest
        it.survey = Survey(places, traps, facts, False)
        return it


def _is_num(type: ValType) -> bool:
    return type.is_num
