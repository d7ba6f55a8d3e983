"""The module of further instances: it imports what the first one's defines, and nothing else is different."""

from __future__ import annotations

import pytest
import wasmtime

from trio_wasmdbg.instrument import STACK_SIZE, instrument
from trio_wasmdbg.wasm import ExternKind, Module, decode_module

from ._harness import ENGINE
from ._programs import wat

MODULES = {
    "nothing": "(module)",
    "a function": '(module (func (export "f") (result i32) (i32.const 1)))',
    "imports, but no globals": '(module (import "a" "f" (func)) (func (export "g") (call 0)))',
    "globals": """
        (module
          (import "a" "one" (global i32)) (import "a" "f" (func)) (import "a" "two" (global (mut i64)))
          (global $three (mut i32) (global.get 0)) (global $four i32 (i32.const 4))
          (memory 1) (data (global.get 0) "x") (export "two" (global 1)) (export "four" (global $four))
          (func (export "sum") (param i32) (result i32)
            (global.set 1 (i64.const 5))
            (global.set $three (i32.add (global.get $three) (local.get 0)))
            (call 0)
            (i32.add (global.get 0) (i32.add (global.get $three) (global.get $four)))))
    """,
    "tags": """
        (module (tag $t) (global i32 (i32.const 7)) (func (export "f") (param i32) (result i32)
          (block (try_table (catch $t 0) (call 1))) (global.get 0))
          (func (throw $t)))
    """,
    "a name that is long": f'(module (import "trio_wasmdbg:{"x" * 200}" "g" (global i32)))',
    "many imports": "(module {})".format(" ".join(f'(import "a" "{n}" (global i32))' for n in range(127))),
}


def globals_of(module: Module) -> list[tuple[str, str]]:
    return [(e.import_.module, e.import_.name) for e in module.globals if e.import_ is not None]


@pytest.mark.parametrize("name", MODULES)
def test_it_differs_before_the_code_only(name: str) -> None:
    original = decode_module(wat(MODULES[name]))
    made = instrument(original)
    wasm, other = made.wasm, made.importing()
    assert len(wasm) == len(other)
    first, second = decode_module(wasm), decode_module(other)
    start = first.code_section.start if first.code_section is not None else len(wasm)
    assert second.code_section == first.code_section
    assert wasm[start:] == other[start:]
    assert wasm[:start] != other[:start]
    names = made.names
    ours = [(names.prefix, names.sp), (names.prefix, names.instance)]
    assert globals_of(first) == globals_of(original)
    assert globals_of(second) == [*globals_of(original), *ours]
    assert [each.type for each in first.globals] == [each.type for each in second.globals]
    for module in (first, second):
        exported = {e.name: e.index for e in module.exports if e.kind is ExternKind.GLOBAL}
        assert exported[names.sp] == len(globals_of(original))
        assert exported[names.instance] == exported[names.sp] + 1
    wasmtime.Module(ENGINE, wasm)
    wasmtime.Module(ENGINE, other)


def test_both_compute_the_same() -> None:
    made = instrument(decode_module(wat(MODULES["globals"])))
    store = wasmtime.Store(ENGINE)
    i32, i64 = wasmtime.ValType.i32(), wasmtime.ValType.i64()
    linker = wasmtime.Linker(ENGINE)
    linker.define(
        store, "a", "one", wasmtime.Global(store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(3))
    )
    linker.define(
        store, "a", "two", wasmtime.Global(store, wasmtime.GlobalType(i64, True), wasmtime.Val.i64(0))
    )
    linker.define_func("a", "f", wasmtime.FuncType([], []), lambda: None)
    owner = linker.instantiate(store, wasmtime.Module(ENGINE, made.wasm)).exports(store)
    sp, current = owner[made.names.sp], owner[made.names.instance]
    assert isinstance(sp, wasmtime.Global) and isinstance(current, wasmtime.Global)
    assert (sp.value(store), current.value(store)) == (STACK_SIZE, 0)
    linker.define(store, made.names.prefix, made.names.sp, sp)
    linker.define(store, made.names.prefix, made.names.instance, current)
    other = linker.instantiate(store, wasmtime.Module(ENGINE, made.importing())).exports(store)
    for exports in (owner, other):
        for function in ("sum", "sum"):
            found = exports[function]
            assert isinstance(found, wasmtime.Func)
            result = found(store, 10)
        assert result == 3 + 3 + 20 + 4
    sp.set_value(store, wasmtime.Val.i32(64))
    shared = other[made.names.sp]
    assert isinstance(shared, wasmtime.Global) and shared.value(store) == 64
