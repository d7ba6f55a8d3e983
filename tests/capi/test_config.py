"""Configs, engines, the library itself, and the machine's limits."""

from __future__ import annotations

import importlib.metadata
import io
import sys
from collections.abc import Callable

import pytest
import wasmtime
from elftools.elf.elffile import ELFFile

from tests.capi.support import World, run_python
from trio_wasmdbg import capi
from trio_wasmdbg.capi import _library
from trio_wasmdbg.errors import EngineConfigError, UnsupportedPythonError, UnsupportedWasmtimeError

SWITCHES = ["wasm_tail_call", "wasm_multi_memory", "wasm_bulk_memory", "wasm_multi_value"]


def test_one_release_of_python_is_refused() -> None:
    for version in ((3, 11, 0), (3, 13, 9), (3, 14, 1), (3, 15, 0)):
        capi.check_python("cpython", version)
    with pytest.raises(UnsupportedPythonError, match=r"use 3\.14\.1 or later") as caught:
        capi.check_python("cpython", (3, 14, 0))
    assert isinstance(caught.value, ImportError)


def test_the_default_engine_is_good_enough() -> None:
    engine = wasmtime.Engine()
    capi.probe_engine(engine)
    capi.probe_engine(engine)


@pytest.mark.parametrize("missing", [[switch] for switch in SWITCHES] + [SWITCHES])
def test_a_missing_switch_is_named(missing: list[str]) -> None:
    config = wasmtime.Config()
    for switch in missing:
        setattr(config, switch, False)
    engine = wasmtime.Engine(config)
    for _ in range(2):
        with pytest.raises(EngineConfigError) as caught:
            capi.probe_engine(engine)
        assert sorted(caught.value.missing) == sorted(missing)
        for switch in missing:
            assert f"config.{switch} = True" in str(caught.value)


def test_prepare_config_heals_what_was_switched_off() -> None:
    result = run_python("""
config = wasmtime.Config()
for switch in ("tail_call", "multi_memory", "bulk_memory", "multi_value", "reference_types"):
    setattr(config, "wasm_" + switch, False)
config.max_wasm_stack = 64 << 20   # alone, this ends the process when the Engine is made
capi.prepare_config(config)
engine = wasmtime.Engine(config)
capi.probe_engine(engine)
print("fine")
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")


def test_a_prepared_engine_recurses_deeper() -> None:
    text = """(module (global $g (export "g") (mut i32) (i32.const 0))
        (func $f (export "f") (global.set $g (i32.add (global.get $g) (i32.const 1))) (call $f)))"""

    def depth(config: wasmtime.Config) -> int:
        world = World(wasmtime.Engine(config))
        instance = world.load(text)
        future = world.call(instance.export("f"))
        assert future.poll()
        outcome = future.outcome()
        future.delete()
        assert isinstance(outcome, capi.Trapped)
        assert outcome.code == "STACK_OVERFLOW"
        return capi.I32Global(world.store, instance.export("g")).get()

    prepared = wasmtime.Config()
    capi.prepare_config(prepared)
    assert depth(prepared) > 6 * depth(wasmtime.Config())


def test_a_host_function_at_the_bottom_of_the_stack_has_room() -> None:
    # The guest recurses as deep as it can; the host function there recurses through C code.
    result = run_python("""
import json, sys
config = wasmtime.Config(); capi.prepare_config(config)
world = World(wasmtime.Engine(config))
def nested(depth):
    return sorted([depth], key=lambda _: nested(depth - 1) if depth else 0)
sys.setrecursionlimit(3000)
def deep():
    try: nested(700)
    except RecursionError: pass  # the interpreter's own limit, from 3.12 on
left = [0]
world.linker.linker.define_func("h", "deep", wasmtime.FuncType([], []), deep)
instance = world.load('''(module (import "h" "deep" (func $deep))
    (func $f (export "f") (param i32) (if (i32.eqz (local.get 0)) (then (call $deep))
      (else (call $f (i32.sub (local.get 0) (i32.const 1)))))))''')
low, high = 0, 10_000_000
while high - low > 100:
    middle = (low + high) // 2
    future = world.call(instance.export("f"), middle)
    assert future.poll()
    outcome = future.outcome(); future.delete()
    if isinstance(outcome, capi.Returned): low = middle
    else: assert outcome.code == "STACK_OVERFLOW", outcome; high = middle
print(low > 50_000)
""")
    assert (result.returncode, result.stdout, result.stderr[-2000:]) == (0, "True\n", "")


def test_impossible_sizes_and_a_config_used_up() -> None:
    for name, size in (("max_wasm_stack", 0), ("host_stack", -1)):
        with pytest.raises(ValueError, match="positive"):
            capi.prepare_config(wasmtime.Config(), **{name: size})  # type: ignore[arg-type]
    config = wasmtime.Config()
    wasmtime.Engine(config)
    with pytest.raises(ValueError, match="closed"):
        capi.prepare_config(config)


def test_check_library(monkeypatch: pytest.MonkeyPatch) -> None:
    capi.check_library()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.metadata, "version", lambda name: "49.0.0")
        with pytest.raises(UnsupportedWasmtimeError, match=r"49.0.0.*pip install 'wasmtime>=50,<51'"):
            capi.check_library()
    with monkeypatch.context() as patch:
        patch.setattr(_library, "_missing", ["wasmtime_call_future_poll"])
        with pytest.raises(UnsupportedWasmtimeError, match="lacks wasmtime_call_future_poll"):
            capi.check_library()
    with monkeypatch.context() as patch:
        patch.setattr(_library, "VAL_SIZE", 24)
        with pytest.raises(UnsupportedWasmtimeError, match="lays out its values"):
            capi.check_library()


def test_a_missing_function_raises_when_called() -> None:
    absent = _library._function("wasmtime_no_such_function", None)
    _library._missing.remove("wasmtime_no_such_function")
    with pytest.raises(UnsupportedWasmtimeError, match="wasmtime_no_such_function"):
        absent()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the number of memory maps")
def test_limits() -> None:
    limit, used = capi.max_map_count(), capi.memory_maps_in_use()
    assert limit is not None
    assert used is not None
    assert 20 < used < limit


def test_folded_guards_are_the_same_machine_code() -> None:
    text = """(module (memory 1)
        (func (export "f") (param i32) (result i64)
          (i64.add (i64.load (local.get 0)) (i64.load offset=33554424 (local.get 0)))))"""

    def machine_code(prepare: Callable[[wasmtime.Config], None]) -> bytes:
        config = wasmtime.Config()
        prepare(config)
        artifact = wasmtime.Module(wasmtime.Engine(config), text).serialize()
        section = ELFFile(io.BytesIO(bytes(artifact))).get_section_by_name(".text")
        assert section is not None
        return section.data()

    def without_guards(config: wasmtime.Config) -> None:
        config.memory_guard_size = 0

    plain = machine_code(lambda config: None)
    assert machine_code(capi.fold_guards) == plain
    assert machine_code(without_guards) != plain
