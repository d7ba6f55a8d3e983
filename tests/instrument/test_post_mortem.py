"""Post-mortem mode: what a fast twin's frame holds after a trap is what a slow twin's does."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import wasmtime

from tests.fuzz._generate import SPENT, generate
from tests.spec._driver import SPECTEST, engine
from trio_wasmdbg.addresses import InstrumentedOffset
from trio_wasmdbg.instrument import RESUME_OFFSET, SLOW, evaluate
from trio_wasmdbg.wasm import ExternKind, Module, ValType, decode_module

from ._harness import Rig, canonical
from ._programs import compiled, needs_clang, wat

Seen = tuple[int, int, tuple[object, ...], tuple[object, ...]]


def values(rig: Rig, fp: int, types: Sequence[ValType], offsets: Sequence[int]) -> list[object]:
    return [
        "reference" if type.is_ref else rig.value(type, fp + offset)
        for type, offset in zip(types, offsets, strict=True)
    ]


def frame_at(rig: Rig, fp: int, k: int) -> tuple[list[object], list[object]]:
    plan = rig.plan_of(fp)
    operands = plan.operand_types(k)
    return (
        values(rig, fp, plan.frame.locals, [plan.frame.local(i) for i in range(len(plan.frame.locals))]),
        values(rig, fp, operands, [plan.frame.operand(h) for h in range(len(operands))]),
    )


def run(rig: Rig, name: str, args: Sequence[object]) -> wasmtime.Trap | None:
    function = rig.exports[name]
    assert isinstance(function, wasmtime.Func)
    try:
        function(rig.store, *args)
    except wasmtime.Trap as error:
        return error
    except wasmtime.WasmtimeError:
        pass  # an exception
    return None


def fast_frame(rig: Rig, trap: wasmtime.Trap) -> Seen | None:
    """What is known of the innermost frame; None if it does not claim to be whole."""
    if not trap.frames or rig.sp.value(rig.store) == rig.layout.stack_size:
        return None
    if trap.frames[0].module_name == rig.names.companion:
        return None  # it was foreseen, and left for the slow twin
    place = rig.instrumented.code_map.to_original(InstrumentedOffset(trap.frames[0].module_offset))
    if place is None or place.inserted:
        return None
    plan, fp = rig.instrumented.plan(place.function), rig.sp.value(rig.store)
    k = plan.resume_point_at(place.offset)
    assert k is not None
    if not plan.is_whole(k):
        return None
    assert rig.u32(fp) == place.function
    locals_, operands = frame_at(rig, fp, k)
    for index in plan.unassigned(k):
        type = plan.frame.locals[index]
        locals_[index] = "reference" if type.is_ref else bytes(16) if type.is_vec else 0
    for height, recipe in plan.recipes(k).items():
        operands[height] = canonical(evaluate(recipe, lambda i: locals_[i]))
    return place.function, k, tuple(locals_), tuple(operands)


def slow_frame(rig: Rig) -> Seen:
    fp = rig.sp.value(rig.store)
    k = rig.u32(fp + RESUME_OFFSET)
    locals_, operands = frame_at(rig, fp, k)
    return rig.u32(fp) & ~SLOW, k, tuple(locals_), tuple(operands)


def reset(rig: Rig) -> None:
    rig.sp.set_value(rig.store, wasmtime.Val.i32(rig.layout.stack_size))
    rig.current.set_value(rig.store, wasmtime.Val.i32(0))
    if "g0" in rig.exports:
        fuel = rig.exports["g0"]
        if isinstance(fuel, wasmtime.Global) and fuel.type(rig.store).mutable:
            fuel.set_value(rig.store, wasmtime.Val.i32(SPENT))


def spectest(linker: wasmtime.Linker, store: wasmtime.Store) -> None:
    """What generated programs may import."""
    module = wasmtime.Module(engine(), wat(SPECTEST))
    linker.define_instance(store, "spectest", linker.instantiate(store, module))


def compare(wasm: bytes, calls: Sequence[tuple[str, Sequence[object]]]) -> int:
    """How many frames were compared."""
    fast = Rig(wasm, spectest, frames="post-mortem", engine=engine())
    slow = Rig(wasm, spectest, engine=engine())
    slow.make_all_slow()
    slow.arm_sites()
    compared = 0
    for name, args in calls:
        for rig in (fast, slow):
            reset(rig)
        one, other = run(fast, name, args), run(slow, name, args)
        assert (one is None) is (other is None)
        if one is not None:
            found = fast_frame(fast, one)
            if found is not None:
                assert found == slow_frame(slow)
                compared += 1
    return compared


_ARGUMENTS: dict[str, list[object]] = {
    "i32": [0, 1, -1, 65_530, 1 << 30],
    "i64": [0, 1, -1, 1 << 40],
    "f32": [0.0, 1.5],
    "f64": [0.0, -2.5],
}


def calls_of(module: Module, chance: random.Random) -> list[tuple[str, list[object]]]:
    found: list[tuple[str, list[object]]] = []
    for export in module.exports:
        if export.kind is ExternKind.FUNCTION:
            type = module.functions[export.index].type
            params, results = [str(each) for each in type.params], [str(each) for each in type.results]
            if _ARGUMENTS.keys() >= {*params, *results}:
                for _ in range(4):
                    found.append((export.name, [chance.choice(_ARGUMENTS[each]) for each in params]))
    return found


def test_generated_programs() -> None:
    compared = 0
    for seed in range(60):
        chance = random.Random(seed)
        wasm = generate(chance)
        module = decode_module(wasm)
        compared += compare(wasm, calls_of(module, chance))
    assert compared > 80


@needs_clang
@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-Os"])
def test_compiled_programs(level: str) -> None:
    assert compare(compiled(level), [("fall", (-8,)), ("fall", (1 << 30,))]) == 2


def test_every_operator_of_a_recipe() -> None:
    """The address of a load that traps, worked out again, for operands of every kind."""
    numbers = [0, 1, 5, -1, -7, 33, 0x7FFF_FFFF, -0x8000_0000]
    names = ["add", "sub", "mul", "and", "or", "xor", "shl", "shr_u", "shr_s"]
    functions, calls = [], []
    for n, (type, name) in enumerate((type, name) for type in ("i32", "i64") for name in names):
        operation = f"({type}.{name} (local.get 0) (local.get 1))"
        if type == "i64":
            operation = f"(i64.extend_i32_s (i32.wrap_i64 {operation}))"
            operation = f"(i64.add {operation} (i64.extend_i32_u (i32.const -2)))"
            operation = f"(i64.store offset=65536 (i32.const 0) {operation})"
        else:
            operation = f"(i32.store offset=65536 (i32.const 0) {operation})"
        functions.append(f'(func (export "f{n}") (param {type} {type}) {operation})')
        scale = 1 if type == "i32" else 3
        calls += [(f"f{n}", (a * scale, b * scale)) for a in numbers for b in numbers if type == "i64"]
        calls += [(f"f{n}", (a, b)) for a in numbers for b in numbers if type == "i32"]
    wasm = wat(f"(module (memory 1 1) {' '.join(functions)})")
    assert compare(wasm, calls) == len(calls)
    rig = Rig(wasm, frames="post-mortem")
    recipes = rig.instrumented.plan(0).recipes(4)
    assert sorted(recipes) == [0, 1], "the operands are not stored"
