"""Frames as the user holds them: handles that expire when the guest is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import wasmtime
from attrs import frozen

from ..addresses import ModuleOffset
from ..capi import WasmException
from ..engine import FramePlace, RawFrame, encode_value, events
from ..errors import NotFoundError, OptimisedOutError, StaleHandleError, UsageError
from ..instrument import ENTERED_OFFSET, FUNCTION, HEADER_SIZE, MATERIALISED, FunctionPlan, evaluate
from ..symbols import format_value, local_label
from ..wasm import ControlFrame, FuncType, Instruction, Module, TypedBody, ValType, disassemble
from ._edits import EarlyReturn, EarlyThrow
from ._expressions import evaluate_in, format_in
from ._missing import OPTIMISED_OUT, UNAVAILABLE
from ._util import NoPublicConstructor

if TYPE_CHECKING:
    from ._core import Core
    from ._instances import GuestInstance
    from ._stack import Stack

__all__ = ["Frame", "Variable", "frame_at_check", "is_call"]


@frozen
class Variable:
    """A local with its name and type; as text, ``n: i32 = -2 (0xfffffffe)``."""

    index: int
    name: str
    type: ValType
    value: Any

    def __str__(self) -> str:
        return f"{self.name}: {self.type} = {format_value(self.type, self.value)}"


@final
class Frame(metaclass=NoPublicConstructor):
    """One frame of a paused guest: function, place, locals, operand stack.

    Values are signed ints, floats (a NaN is a :class:`NaN`), 16 bytes (``v128``), or what a reference
    stands for; :func:`format_value` writes them as people do.  Reading and writing is synchronous and
    immediate.  A handle is valid until the guest is resumed (:attr:`is_valid`); after that everything but
    ``function_*``, ``module_offset`` and ``instance`` raises :exc:`StaleHandleError`.
    """

    __slots__ = (
        "__weakref__", "_at_call", "_core", "_exact", "_fp", "_generation", "_instance", "_known_stack",
        "_left_at", "_plan", "_position", "_resume_point", "_slow", "_zeros",
    )  # fmt: skip

    def __init__(
        self,
        core: Core,
        stack: Stack,
        position: int,
        raw: RawFrame,
        instance: GuestInstance,
        at_call: bool,
        exact: bool,
        resume_point: int,
    ) -> None:
        """See :func:`frame_at_check` for the frame whose stack is made when somebody wants it."""
        self._core = core
        self._generation = core.generation
        self._known_stack: Stack | None = stack
        self._position = position
        self._fp = raw.fp
        self._slow = raw.slow
        self._left_at = raw.resume_point
        self._instance = instance
        self._plan: FunctionPlan = instance._module.plan(raw.function)
        self._at_call = at_call
        self._exact = exact
        self._resume_point = resume_point
        self._zeros: frozenset[int] | None = None

    def __repr__(self) -> str:
        return f"<Frame {self.function_name} at {self.module_offset:#x}>"

    @property
    def is_valid(self) -> bool:
        """Whether the guest still stands where it stood when the handle was given out."""
        return self._generation == self._core.generation

    # ── where ──────────────────────────────────────────────────────────────────────────────────

    @property
    def instance(self) -> GuestInstance:
        return self._instance

    @property
    def function_index(self) -> int:
        """In the original module's function index space."""
        return self._plan.index

    @property
    def function_name(self) -> str:
        return self._instance.module.function_name(self._plan.index)

    @property
    def module_offset(self) -> ModuleOffset:
        """File offset of the instruction that comes next; in a caller, of the call under way."""
        return ModuleOffset(self._plan.offsets[self._resume_point])

    @property
    def _location(self) -> events.Location:
        return self._instance._module.location(self._plan.index, self._resume_point)

    @property
    def resume_point(self) -> int:
        """The ordinal of that instruction in the function's body."""
        return self._resume_point

    @property
    def instruction(self) -> Instruction:
        """The instruction that comes next; in a caller, the call under way."""
        return self._plan.instruction(self._resume_point)

    @property
    def instruction_text(self) -> str:
        """The same in the text format: ``i32.load offset=4``."""
        return disassemble(self._instance.module.original, self.instruction, self._plan.index)

    @property
    def address(self) -> int:
        """Where the frame lies on the shadow stack; callers' frames have higher addresses."""
        return self._fp

    @property
    def body(self) -> Sequence[Instruction]:
        """The function's instructions, by resume point."""
        return self._typed().instructions

    @property
    def scope(self) -> ControlFrame:
        """The innermost construct that the next instruction stands in."""
        return self._typed().scopes[self._resume_point]

    @property
    def function_type(self) -> FuncType:
        kind: FuncType = self._instance.module.original.functions[self._plan.index].type
        return kind

    @property
    def depth(self) -> int:
        """How many frames are below this one, in its activation."""
        self._check()
        return self._stack.below(self._position)

    @property
    def exact(self) -> bool:
        """Whether locals and operands can be read.

        False only for the innermost frame after a trap that was not :attr:`Trap.live`, where the
        function ran in its fast twin: its values are :data:`UNAVAILABLE`.  With
        ``frames="post-mortem"`` they are there, too, unless it has trapped in a tail call.
        """
        return self._exact

    @property
    def resumable(self) -> bool:
        """Whether the guest can go on from here, and edits have an effect.

        False after a trap or error that was not live: the guest has been unwound already, and its
        frames can only be read.
        """
        self._check()
        return self._stack.resumable

    @property
    def parent(self) -> Frame | None:
        """The caller's frame, None at the activation's first one."""
        self._check()
        return self._stack.parent(self._position)

    # ── locals and operands ────────────────────────────────────────────────────────────────────

    @property
    def local_types(self) -> tuple[ValType, ...]:
        return tuple(self._plan.frame.locals)

    @property
    def locals(self) -> tuple[Any, ...]:
        """The value of every local, parameters first.

        With ``frames="live"``, :data:`OPTIMISED_OUT` for those that the program does not need any more.  In a
        function that was stopped at its entry, or is called from there on, all are there.
        """
        self._check()
        return tuple(self._local(index) for index in range(len(self._plan.frame.locals)))

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The locals with their names (name section, else ``local[3]``) and types."""
        module = self._instance.module.original
        return tuple(
            Variable(index, local_label(module, self._plan.index, index), valtype, value)
            for index, (valtype, value) in enumerate(zip(self._plan.frame.locals, self.locals, strict=True))
        )

    def local(self, which: int | str) -> Any:
        """One local's value, by index or name.

        :raises NotFoundError: there is no such local.
        """
        if self._generation != self._core.generation:
            self._check()  # raises; conditions in Python do this each time
        if self._known_stack is None and type(which) is int:
            # It is at a check, and most probably in a condition.
            plan, quick = self._plan, self._instance._module._quick_locals
            place = ~plan.index if self._slow else plan.stop_base + self._left_at
            found = (quick[place] if place in quick else quick.at(place, plan)).get(which)
            if found is not None:
                value = self._instance._debug_memory.unpack(found[0], self._fp + found[1])[0]
                if value == value:  # no NaN, of which it would not have all bits
                    return value
        if type(which) is not int or not 0 <= which < len(self._plan.frame.locals):
            which = self.local_index(which)
        return self._local(which)

    def set_local(self, which: int | str, value: object) -> None:
        """Change a local; the guest sees the new value when it goes on in this frame.

        :raises TypeError, ValueError: *value* is not of the local's type.
        :raises OptimisedOutError: it was not kept, since nothing would read it.
        :raises UsageError: the frame is of a guest that has been unwound by a trap already.
        """
        self._check()
        self._require_resumable()
        index = self.local_index(which)
        if not self._kept() >> index & 1:
            raise OptimisedOutError(
                f"local {index} is optimised out at {self.module_offset:#x} of {self.function_name}: "
                'the program does not need it any more (the module was loaded with frames="live")'
            )
        self._materialise()
        frame = self._plan.frame
        self._instance._write_slot(frame.locals[index], self._fp + frame.local(index), value)

    @property
    def operand_types(self) -> tuple[ValType, ...]:
        """Types on the operand stack, bottom first; in a caller, of what lies below the arguments."""
        types = self._plan.operand_types(self._resume_point)
        if self._at_call:
            types = types[: len(types) - call_operands(self._instance.module.original, self.instruction)]
        return types

    @property
    def operand_stack(self) -> tuple[Any, ...]:
        """Values on the operand stack, bottom first."""
        self._check()
        if not self._exact:
            return tuple(UNAVAILABLE for _ in self.operand_types)
        found = [
            self._instance._read_slot(valtype, self._fp + self._plan.frame.operand(height))
            for height, valtype in enumerate(self.operand_types)
        ]
        if self._trapped:
            for height, recipe in self._plan.recipes(self._resume_point).items():
                found[height] = evaluate(recipe, self._local)
        return tuple(found)

    def set_operand(self, height: int, value: object) -> None:
        """Change an operand; *height* counts from the bottom, negative from the top.

        :raises NotFoundError: the operand stack has no such place.
        :raises TypeError, ValueError: *value* is not of the operand's type.
        :raises UsageError: the guest has been unwound by a trap already.
        """
        self._check()
        self._require_resumable()
        types = self.operand_types
        if not -len(types) <= height < len(types):
            raise NotFoundError(f"no operand {height}: the stack holds {len(types)}")
        if self._at_call and not self._slow:
            self._materialise()
        height %= len(types)
        address = self._fp + self._plan.frame.operand(height)
        self._instance._write_slot(types[height], address, value)

    # ── expressions ────────────────────────────────────────────────────────────────────────────

    def evaluate(self, text: str) -> object:
        """The value of an expression in this frame.

        :raises ExpressionError: it does not parse, is not well typed here, or has no value.
        """
        self._check()
        return evaluate_in(self, text)

    def format(self, template: str) -> str:
        """A message with the values of its ``{expressions}`` in this frame.

        :raises ExpressionError: as :meth:`evaluate`.
        """
        self._check()
        return format_in(self, template)

    # ── where to go on ─────────────────────────────────────────────────────────────────────────

    def set_next_instruction(self, offset: int) -> None:
        """Let the guest go on at another instruction of this function, from the next resume on.

        Nothing is executed or undone on the way; the locals stay as they are.

        :param offset: module offset of the instruction; a place inside one means that one.
        :raises UsageError: this is not the innermost frame; the offset is outside of the function or
            in dead code; or the operand stack holds other types there.
        :raises OptimisedOutError: the code there needs a local that was not kept.
        """
        self._check()
        self._require_resumable()
        if self._at_call or self._position:
            raise UsageError("only the innermost frame can go on at another instruction")
        target = self.resume_point_at(ModuleOffset(offset))
        last = self._plan.instructions - 1
        if not self._typed().reachable[target] and target != last:
            raise UsageError(f"the instruction at {offset:#x} can't be reached (dead code)")
        here, there = self._plan.operand_types(self._resume_point), self._plan.operand_types(target)
        if here != there:
            raise UsageError(
                f"the operand stack holds ({_names(here)}) here and ({_names(there)}) at {offset:#x}"
            )
        kept = self._kept()
        lost = self._plan.kept(target) & ~kept
        self._refuse_lost(lost, ModuleOffset(offset))
        self._core.edits.redirect = target
        self._resume_point = target

    def return_early(self, *values: object) -> None:
        """Let this function return *values* at the next resume; frames above it are left.

        No instruction of the guest is executed on the way.  A host function in between sees its call into
        the guest end with :exc:`CallAbandonedError`, and its own result is dropped.

        :raises TypeError, ValueError: the values are not the function's results.
        :raises UsageError: the guest has been unwound already; an injected call is above the frame.
        """
        self._require_leavable()
        types = self._plan.operand_types(self._plan.instructions - 1)
        if len(values) != len(types):
            raise TypeError(f"{self.function_name} returns ({_names(types)}), not {len(values)} values")
        for valtype, value in zip(types, values, strict=True):
            if not valtype.is_ref:
                encode_value(valtype, value)
        self._core.edits.leave = EarlyReturn(self._instance, self._plan.index, self._fp, tuple(values))

    def throw_exception(self, tag: int | str | wasmtime.Tag | WasmException, *values: object) -> None:
        """Let this function throw an exception where it is, at the next resume; frames above it are left.

        It is thrown as if the instruction that comes next did it, in a caller the call under way: inside the
        ``try_table`` constructs around it.

        :param tag: by index, or by its export's name, in this frame's instance; any tag of the store; or an
            exception (then without *values*).
        :param values: what the exception carries.
        :raises NotFoundError: there is no such tag.
        :raises TypeError, ValueError: the values are not what the tag's exceptions carry.
        :raises UsageError: as :meth:`return_early`.
        :raises OptimisedOutError: the code to which a clause leads needs a local that was not kept.
        """
        self._require_leavable()
        kept = self._kept()
        for landing in self._plan.landings(self._resume_point):
            self._refuse_lost(self._plan.kept(landing) & ~kept, ModuleOffset(self._plan.offsets[landing]))
        exception = tag
        if not isinstance(exception, WasmException):
            exception = self._instance.make_exception(exception, *values)
        elif values:
            raise TypeError("an exception that is there already takes no values")
        self._core.edits.leave = EarlyThrow(
            self._instance, self._plan.index, self._fp, self._resume_point, exception
        )

    def resume_point_at(self, offset: ModuleOffset) -> int:
        """The resume point of the instruction that covers a module offset.

        :raises UsageError: it lies outside of this function.
        """
        found = self._plan.resume_point_at(offset)
        if found is None:
            raise UsageError(f"offset {offset:#x} is not in {self.function_name}")
        return found

    @property
    def at_end(self) -> bool:
        """Whether the function's final ``end`` comes next, with the results on the operand stack."""
        return self._resume_point == self._plan.instructions - 1

    @property
    def _results_of_call_before(self) -> int | None:
        """How many results the call just before this place has given; None if there was none."""
        if not self._resume_point:
            return None
        instruction = self._plan.instruction(self._resume_point - 1)
        if not is_call(instruction):
            return None
        return len(callee_type(self._instance.module.original, instruction).results)

    # ── inside ─────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        if self._generation != self._core.generation:
            raise StaleHandleError(
                "this frame handle expired when the guest was resumed; take a new one from the next event"
            )

    @property
    def _stack(self) -> Stack:
        if self._known_stack is None:
            self._known_stack = self._core.stack_of(self)
        return self._known_stack

    def _typed(self) -> TypedBody:
        return self._plan.typed()

    def _require_resumable(self) -> None:
        if not self._stack.resumable:
            raise UsageError("the guest has been unwound already: its frames can only be read")

    def _refuse_lost(self, lost: int, offset: ModuleOffset) -> None:
        if lost:
            local = (lost & -lost).bit_length() - 1
            raise OptimisedOutError(
                f"the code at {offset:#x} needs local {local}, which is optimised out here"
            )

    def _require_leavable(self) -> None:
        self._check()
        self._require_resumable()
        self._core.calls.leaving.check(self._fp)

    def local_index(self, which: int | str) -> int:
        """The index of a local, by index or name; NotFoundError if there is none."""
        count = len(self._plan.frame.locals)
        if isinstance(which, str):
            module = self._instance.module.original
            names = [local_label(module, self._plan.index, index) for index in range(count)]
            if which not in names:
                raise NotFoundError(f"no local named {which!r} in {self.function_name}: {', '.join(names)}")
            return names.index(which)
        if not 0 <= which < count:
            raise NotFoundError(f"no local {which} in {self.function_name}: it has {count}")
        return which

    def _local(self, index: int) -> Any:
        if not self._exact:
            return UNAVAILABLE
        if not self._instance._keeps_all and not self._kept() >> index & 1:
            return OPTIMISED_OUT
        frame = self._plan.frame
        valtype = frame.locals[index]
        if not self._slow and index in self._unassigned() and not self._is_materialised():
            return zero(valtype)
        return self._instance._read_slot(valtype, self._fp + HEADER_SIZE + frame.slot_size * index)

    def _kept(self) -> int:
        """Mask of the locals that the frame has."""
        if self._instance.module.frames != "live" or self._entered_at() == 0:
            return -1
        mask = self._plan.kept(self._resume_point)
        if not self._slow:
            mask |= self._plan.zeros().get(self._left_at, 0)
        return mask

    def _entered_at(self) -> int | None:
        """Where this activation has left its fast twin, if it has.  At the entry, nothing gets lost."""
        if self._slow:
            return self._instance._debug_memory.u32(self._fp + ENTERED_OFFSET)
        return None if self._at_call else self._left_at

    def _unassigned(self) -> frozenset[int]:
        if self._zeros is None:
            self._zeros = self._plan.unassigned(
                self._resume_point if self._trapped else self._left_at
            )
        return self._zeros

    @property
    def _trapped(self) -> bool:
        """Whether the fast twin has trapped here: then the frame's header does not say where it is."""
        return not self._at_call and not self._slow and not self._stack.resumable

    def _is_materialised(self) -> bool:
        if self._trapped:
            return self._stack.innermost_whole
        return bool(self._instance._debug_memory.u32(self._fp + 4) & MATERIALISED)

    def _materialise(self) -> None:
        """Make a frame of a fast twin whole, and see to it that the guest reads it from there.

        A fast twin doesn't store locals that are statically still zero.  They are written now, and a
        header bit says so.  If it is in a call, the function's sites are armed: after the call it leaves
        for its slow twin, which takes everything from the frame.
        """
        if self._slow:
            return
        if not self._is_materialised():
            frame, unassigned = self._plan.frame, self._unassigned()
            for index, valtype in enumerate(frame.locals):
                if index in unassigned:
                    self._instance._write_slot(valtype, self._fp + frame.local(index), zero(valtype))
            header = self._instance._debug_memory.u32(self._fp + 4)
            self._instance._debug_memory.set_u32(self._fp + 4, header | MATERIALISED)
        if self._at_call:
            self._core.arming.frame_edited(self._instance.id, self._fp, self._plan.index)

    def _make_slow(self) -> None:
        """See to it that this frame goes on in its slow twin, also if it is a fast caller's."""
        self._materialise()

    def _place(self) -> FramePlace:
        """This frame as the engine's step plans see it."""
        instruction = self._plan.instruction(self._resume_point)
        return FramePlace(
            self._instance._id,
            self._fp,
            self._plan.index,
            self._resume_point,
            is_call(instruction),
            self._plan.instructions - 1,
            self._plan.landings(self._resume_point),
        )


def zero(valtype: ValType) -> object:
    """The value a local of this type starts with."""
    if valtype.is_ref:
        return None
    if valtype.is_vec:
        return bytes(16)
    return 0.0 if str(valtype).startswith("f") else 0


_CALLS = {"call", "call_indirect", "call_ref", "return_call", "return_call_indirect", "return_call_ref"}


_new_object = object.__new__


def frame_at_check(core: Core, instance: GuestInstance, fp: int, head: int, resume_point: int) -> Frame:
    """The innermost frame of a guest that is at a check.

    :param head: its first word.

    What ``Frame._create`` does, in half of the time: conditions in Python get one at each evaluation.
    """
    function = head & FUNCTION
    plan = instance._plans[function]
    assert plan is not None
    frame: Frame = _new_object(Frame)
    frame._core = core
    frame._generation = core.generation
    frame._known_stack = frame._zeros = None
    frame._position = 0
    frame._fp = fp
    frame._slow = head != function
    frame._left_at = resume_point
    frame._instance = instance
    frame._plan = plan
    frame._at_call = False
    frame._exact = True
    frame._resume_point = resume_point
    return frame


def is_call(instruction: Instruction) -> bool:
    """Whether an instruction transfers control to another function."""
    return instruction.op.name in _CALLS


def callee_type(module: Module, instruction: Instruction) -> FuncType:
    """The type of what a call instruction calls."""
    name, immediate = instruction.op.name, instruction.imm
    if name in ("call", "return_call"):
        kind: FuncType = module.functions[immediate].type
        return kind
    indirect = name in ("call_indirect", "return_call_indirect")
    called: FuncType = module.func_type(immediate.type_index if indirect else immediate)
    return called


def call_operands(module: Module, instruction: Instruction) -> int:
    """How many operands a call instruction takes from the operand stack."""
    if instruction.op.name not in _CALLS:
        return 0
    arguments = len(callee_type(module, instruction).params)
    return arguments + (instruction.op.name not in ("call", "return_call"))


def _names(types: tuple[ValType, ...]) -> str:
    return ", ".join(map(str, types))
