"""Every stop of a single-stepped run against an interpreter that knows nothing of twins: function,
instruction, locals and operands of all frames, the callers' included, whether these are slow or fast.
"""

from __future__ import annotations

import pytest

from trio_wasmdbg.instrument import FRAME_MODES, KIND_STOP, SLOW, FrameMode
from trio_wasmdbg.wasm import Module, decode_module, read_expression

from ._harness import Plain, Rig
from ._interpreter import Interpreter, Point, Trap
from ._programs import CALLS, compiled, needs_clang, wat

LIMIT = 4000
"""Stops compared of a call."""


def interpreter(module: Module, plain: Plain) -> Interpreter:
    memory = bytearray()
    if module.memories:
        memory = bytearray(65536 * module.memories[0].type.limits.minimum)
        for segment in module.data_segments:
            assert segment.offset is not None
            at = read_expression(module, segment.offset)[0].imm
            data = module.data[segment.data.start : segment.data.end]
            memory[at : at + len(data)] = data
    values = []
    for item in module.globals:
        assert item.init is not None
        values.append(read_expression(module, item.init)[0].imm)
    found = Interpreter(module, memory, values)
    for element in module.elements:
        assert element.offset is not None and element.functions is not None
        at = read_expression(module, element.offset)[0].imm
        found.table += [0] * (at + len(element.functions) - len(found.table))
        found.table[at : at + len(element.functions)] = element.functions
    return found


def points(rig: Rig, fp: int, k: int) -> list[Point]:
    """The shadow stack as the interpreter would show it."""
    found = []
    for at, function, position, slow in rig.frames():
        plan = rig.instrumented.plan(function)
        inner = at == fp
        if inner:
            assert position == k
        skip = 0
        if not inner:
            instruction = plan.typed().instructions[position]
            module = rig.instrumented.original
            if instruction.op.name == "call":
                skip = len(module.functions[instruction.imm].type.params)
            else:
                assert instruction.op.name == "call_indirect"
                skip = len(module.func_type(instruction.imm.type_index).params) + 1
        values = list(rig.locals_at(at))
        if not inner and not slow and not rig.u32(at + 4) >> 31:
            for i in plan.unassigned(position):
                values[i] = 0
            everything = plan.zeros().get(0, 0)
            assert plan.unassigned(0) == {i for i in range(len(values)) if everything >> i & 1}
        kept = rig.kept_at(at, position)
        shown = tuple(value if kept >> i & 1 else None for i, value in enumerate(values))
        operands = rig.operands_at(at, position, skip)
        found.append(Point(function, position, shown, operands))  # type: ignore[arg-type]
    return found


def seen(expected: list[Point], shown: list[Point]) -> list[Point]:
    """What the interpreter knows, without the locals that are not *shown*."""
    found = []
    for each, at in zip(expected, shown, strict=True):
        visible: tuple[object, ...] = at.locals
        values = [None if b is None else a for a, b in zip(each.locals, visible, strict=True)]
        found.append(each._replace(locals=tuple(values)))  # type: ignore[arg-type]
    return found


def check(
    wasm: bytes,
    name: str,
    args: tuple[object, ...],
    watched: set[int] | None,
    frames: FrameMode = "exact",
) -> int:
    """Compares a call's stops; *watched* functions are slow, their callers may be fast (None: all)."""
    module = decode_module(wasm)
    plain = Plain(wasm)
    function = next(e.index for e in module.exports if e.name == name)
    reference = interpreter(module, plain)
    trace = reference.run(function, args)  # type: ignore[arg-type]
    compared = hidden = 0

    def on_stop(rig: Rig, kind: int, fp: int, k: int) -> int:
        nonlocal compared, hidden
        if kind == KIND_STOP and compared < LIMIT:
            here = rig.u32(fp) & ~SLOW
            for expected in trace:
                if watched is None or expected[0].function == here:
                    shown = points(rig, fp, k)
                    assert shown == (expected if frames == "exact" else seen(expected, shown))
                    hidden += sum(value is None for point in shown for value in point.locals)
                    compared += 1
                    if frames == "live":
                        rig.spoil()
                    break
                assert expected[0].function not in watched, "a stop is missing"
        return 0

    rig = Rig(wasm, on_stop=on_stop, frames=frames)
    for plan in rig.instrumented.defined():
        if watched is None or plan.index in watched:
            for address in (*plan.site_addresses, *plan.stop_addresses):
                rig.view[address] = 1
    result = rig.call(name, *args)
    if compared < LIMIT:
        try:
            rest = [frames for frames in trace if watched is None or frames[0].function in watched]
            assert not rest, "stops are missing"
            values = reference.result
            assert result == ("returned", values[0] if len(values) == 1 else values)
        except Trap as trap:
            assert result == ("trapped", str(trap))
        if result[0] == "returned" and module.memories:
            memory = rig.exports[rig.names.memory(0)]
            assert bytes(memory.read(rig.store)) == reference.memory  # type: ignore[union-attr]
    assert not hidden or frames == "live"
    return compared


STACKS = """
(module
  (func $id (param i32) (result i32) local.get 0)
  (func $pair (param i32) (result i64 i32) (local i64)
    local.get 0 i64.extend_i32_s local.tee 1 local.get 0 call $id)
  (func (export "f") (param i32) (result i64) (local i64 i32 i64)
    i64.const 77
    i32.const 6
    local.get 0
    block (param i32) (result i32)
      i32.const 5 call $id i32.add
      local.tee 2
      loop (param i32) (result i32)
        i32.const 1 i32.sub
        local.get 0 call $pair drop
        local.set 1
        local.get 0 i32.const 1 i32.sub local.tee 0
        br_if 0
      end
      i32.const 3
      local.get 0 br_if 0
      drop
    end
    i32.add
    call $pair
    if (result i64)
      i64.const 4
    else
      local.get 2 call $pair drop
    end
    i64.add
    i64.add
    local.get 3
    i64.sub)
  (func (export "switch") (param i32) (result i32)
    i32.const 100
    block $a (result i32)
      i32.const 7
      block $b (result i32)
        i32.const 9
        block $c (result i32)
          i32.const 20 local.get 0 call $id
          br_table $c $b $a $c 3
        end
        i32.const 1 i32.add
        i32.add
      end
      i32.add
    end
    i32.add)
  (func (export "replaced") (param i32) (result i32)
    ;; What is stored below a call gives way to another value at the same height.
    i32.const 5
    i32.const 6 call $id drop
    block (param i32) (result i32) drop local.get 0 end
    i32.const 7 call $id
    i32.add
    i32.const 1
    i32.const 8 call $id drop
    local.get 0
    select
    i32.const 9 call $id
    i32.add
    i32.const 3 call $id drop
    loop (param i32) (result i32)
      i32.const 4 call $id drop
      drop
      local.get 0 i32.const 10 i32.mul
      i32.const 2 call $id drop
      local.get 0 i32.const 1 i32.sub local.tee 0
      i32.const 0 i32.gt_s
      br_if 0
    end
    i32.const 11 call $id
    i32.add))
"""


FRAMES = pytest.mark.parametrize("frames", FRAME_MODES)


@FRAMES
@pytest.mark.parametrize("watched", [None, {0}, {1}, {0, 1}, {2}, {3}, {4}])
@pytest.mark.parametrize(
    "call",
    [
        ("f", (3,)),
        ("f", (1,)),
        *(("switch", (i,)) for i in range(5)),
        *(("replaced", (i,)) for i in range(4)),
    ],
)
def test_operand_stacks(
    call: tuple[str, tuple[object, ...]], watched: set[int] | None, frames: FrameMode
) -> None:
    compared = check(wat(STACKS), *call, watched, frames)
    if watched is None:
        assert compared > 10


@needs_clang
@FRAMES
@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
def test_compiled_programs(level: str, call: tuple[str, tuple[object, ...]], frames: FrameMode) -> None:
    assert check(compiled(level), *call, None, frames) > 1


@needs_clang
@FRAMES
@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("call", [c for c in CALLS if c[0] in ("fib", "sorted", "tree", "format")], ids=str)
def test_callers_that_are_fast(
    level: str, call: tuple[str, tuple[object, ...]], frames: FrameMode
) -> None:
    """One function at a time is stepped, so its callers are fast unless they are the same function."""
    wasm = compiled(level)
    module = decode_module(wasm)
    total = 0
    for function in module.functions:
        if module.function_name(function.index) != "__wasm_call_ctors":
            total += check(wasm, *call, {function.index}, frames)
    assert total > 20
