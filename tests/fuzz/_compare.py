"""One module, run in every mode: results, traps, memories, globals must be the same."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator
from random import Random
from typing import Any

import wasmtime
from wasmtime import _bindings as c

from tests.fuzz._generate import SPENT
from tests.spec._driver import MODES, Compiled, Failure, Instance, World, engine
from tests.spec._values import release
from trio_wasmdbg.wasm import ExternKind, Module, ValType, decode_module

__all__ = ["compare"]


_KINDS = {"i32": 0, "i64": 1, "f32": 2, "f64": 3, "v128": 4}


def _argument(type: ValType, random: Random) -> Any:
    value: Any = c.wasmtime_val_t()
    if type.is_ref:
        value.kind = {-17: 6, -14: 6, -23: 8, -12: 8}.get(type.heap or 0, 5 if type.heap in (-16, -13) else 7)
    else:
        value.kind = _KINDS[str(type)]
        data = random.choice([bytes(16), b"\x01" + bytes(15), b"\xff" * 16, random.randbytes(16)])
        ctypes.memmove(ctypes.addressof(value) + 8, data, 16)
    return value


def _calls(module: Module) -> Iterator[tuple[str, tuple[ValType, ...]]]:
    for export in module.exports:
        if export.kind is ExternKind.FUNCTION:
            params = module.functions[export.index].type.params
            if all(not p.is_ref or (p.nullable and (p.heap or 0) < 0) for p in params):
                yield export.name, params


def _outcome(world: World, instance: Instance, name: str, arguments: list[Any]) -> tuple[Any, ...]:
    try:
        results, values = world.call(instance.get(name), arguments)
    except Failure as failure:
        text = str(failure)
        # the last line names the trap; what comes before are places
        return failure.kind, text.strip().splitlines()[-1].split(": ")[-1]
    # references by what can be told of them: their kind, and whether they are null
    seen = [(kind, data[:16] if kind < 5 else data[:8] == bytes(8)) for kind, data in values]
    release(results)
    return "returned", [(k, d[: (4, 8, 4, 8, 16)[k]] if k < 5 else d) for k, d in seen]  # type: ignore[index]


def _refuel(world: World, instance: Instance) -> None:
    """What ends generated programs is a count in their first global."""
    if "g0" in instance.names:
        fuel = instance.get("g0")
        if isinstance(fuel, wasmtime.Global) and fuel.type(world.store).mutable:
            fuel.set_value(world.store, wasmtime.Val.i32(SPENT))


def _state(world: World, instance: Instance, module: Module) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for export in module.exports:
        if export.kind is ExternKind.MEMORY:
            item = instance.get(export.name)
            data = bytes(item.read(world.store)) if isinstance(item, wasmtime.Memory) else b""
            state[export.name] = (len(data), hashlib.sha256(data).hexdigest())
        elif export.kind is ExternKind.GLOBAL:
            item = instance.get(export.name)
            results, values = world.global_value(item)
            release(results)
            kind, raw = values[0]
            state[export.name] = (kind, raw[: (4, 8, 4, 8, 16)[kind]] if kind < 5 else None)
    return state


SCATTERED = (
    "scattered", "live scattered", "post-mortem scattered", "flavoured scattered",
    "looping scattered", "live looping scattered", "post-mortem looping scattered",
    "noted", "covered scattered", "traced scattered", "late scattered",
)  # fmt: skip
ALL_MODES = (*MODES, *SCATTERED)
COUNTING = ("noted", "covered", "traced", "covered scattered", "traced scattered")


def compare(data: bytes, seed: int, modes: tuple[str, ...] = ALL_MODES) -> list[str]:
    """What differs from the plain run, as text; empty if nothing does.

    :raises Failure: the engine refuses the module.
    """
    try:
        wasmtime.Module.validate(engine(), data)
    except wasmtime.WasmtimeError as error:
        raise Failure("invalid", str(error)) from None
    module = decode_module(data)
    expected: list[Any] = []
    found = []
    counts: dict[str, tuple[object, ...]] = {}
    for mode in modes:
        compiled = Compiled(data, mode)
        world = World(mode)
        try:
            random = Random(seed)
            log: list[Any] = []
            try:
                instance = world.instantiate(compiled)
            except Failure as failure:
                log.append((failure.kind, str(failure).strip().splitlines()[-1].split(": ")[-1]))
            else:
                for _ in range(2):
                    for name, params in _calls(module):
                        arguments = [_argument(p, random) for p in params]
                        _refuel(world, instance)
                        log.append((name, _outcome(world, instance, name, arguments)))
                log.append(_state(world, instance, module))
                if mode in COUNTING:
                    counts[mode] = _counts(instance, mode)
        finally:
            world.close()
        if mode == "plain":
            expected = log
        elif log != expected:
            at = next(i for i, (a, b) in enumerate(zip(expected, log, strict=True)) if a != b)
            found.append(f"{mode}: step {at}: expected {expected[at]}, got {log[at]}")
    if "call stack exhausted" not in str(expected):
        # How deep a stack is depends on who is on it.
        for mode, counted in counts.items():
            noted = counts.get("noted", counted)
            for one, other in zip(counted, noted, strict=True):
                if one is not None and one != other:
                    found.append(f"{mode}: expected {other}, got {one}")
    return found


def _counts(instance: Instance, mode: str) -> tuple[object, ...]:
    """How often each instruction was executed, how many were, and the last ones, if there is a ring."""
    assert instance.compiled.instrumented is not None
    notes = instance.notes()
    counts = {plan.index: notes.counts(plan) for plan in instance.compiled.instrumented.defined()}
    return counts, notes.total(), None if mode.startswith("covered") else notes.last(1 << 16)

