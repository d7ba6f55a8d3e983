"""What is refused is refused with the feature, the function and the offset in the original."""

from __future__ import annotations

import re
from typing import Any

import pytest
import wasmtime
from wasmtime import _bindings as c

from tests.debuggee._support import ENGINE
from trio_wasmdbg import (
    Guest,
    ModuleError,
    UnsupportedFeatureError,
    UnsupportedInstructionError,
    events,
    load_module,
    open_debuggee,
    prepare_config,
)
from trio_wasmdbg.debuggee import _loading
from trio_wasmdbg.instrument import Instrumented, instrument
from trio_wasmdbg.wasm import MAGIC, name, section, uleb, vector

EMPTY = b"\x60\0\0"
NAMES = section(0, name("name") + b"\x01\x09\x01\0\x06broken")


def module(code: str, types: bytes = vector([EMPTY]), extra: bytes = b"") -> bytes:
    """A function 'broken' with this code, in hexadecimal digits."""
    body = b"\0" + bytes.fromhex(code)
    code_section = section(10, vector([uleb(len(body)) + body]))
    return MAGIC + section(1, types) + section(3, b"\1\0") + extra + code_section + NAMES


IN_FUNCTIONS = {
    "legacy try": (module("0640190b0b"), "try .proposal legacy-exceptions"),
    "legacy rethrow": (module("024009000b0b"), "rethrow .proposal legacy-exceptions"),
    "legacy delegate": (module("064018000b"), "try .proposal legacy-exceptions"),
    "continuation": (module("e0000b"), "cont.new .proposal stack-switching"),
    "resume": (module("e300000b"), "resume .proposal stack-switching"),
    "descriptor": (module("fb20000b"), "struct.new_desc .proposal custom-descriptors"),
    "shared reference": (module("d0656e1a0b"), "shared .proposal shared-everything-threads"),
    "null continuation": (module("d0681a0b"), "cont .proposal stack-switching"),
}

ELSEWHERE = {
    "component": (b"\0asm\x0d\0\1\0", "component"),
    "continuation type": (module("0b", vector([EMPTY, b"\x5d\0"])), "stack-switching"),
    "shared type": (module("0b", vector([b"\x65" + EMPTY])), "shared-everything-threads"),
    "descriptor type": (module("0b", vector([EMPTY, b"\x4d\1\x5f\0"])), "custom-descriptors"),
    "exact import": (
        MAGIC + section(1, vector([EMPTY])) + section(2, b"\1\1m\1f\x20\0"), "custom-descriptors"
    ),
    "exact reference": (MAGIC + section(1, b"\x01\x60\x01\x64\x62\0\0"), "custom-descriptors"),
}


@pytest.mark.parametrize("case", IN_FUNCTIONS)
async def test_instructions_of_other_proposals(case: str) -> None:
    data, message = IN_FUNCTIONS[case]
    with pytest.raises(UnsupportedInstructionError, match=message) as caught:
        await load_module(ENGINE, data)
    error = caught.value
    assert error.function == 0 and "in function 0 'broken'" in str(error)
    assert error.offset is not None and f"at offset {error.offset:#x}" in str(error)
    # The engine says so, too, of the same place.
    assert isinstance(error.__cause__, wasmtime.WasmtimeError)
    engines = re.search("offset 0x([0-9a-f]+)", str(error.__cause__))
    assert engines is not None and 0 <= error.offset - int(engines[1], 16) <= 1


@pytest.mark.parametrize("case", ELSEWHERE)
async def test_what_else_belongs_to_other_proposals(case: str) -> None:
    data, message = ELSEWHERE[case]
    with pytest.raises(UnsupportedFeatureError, match=f"{message}.* at offset 0x") as caught:
        await load_module(ENGINE, data)
    assert caught.value.offset is not None and caught.value.function is None
    assert isinstance(caught.value.__cause__, wasmtime.WasmtimeError)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("6a0b", "type mismatch"),
        ("fdff030b", "unknown 0xfd subopcode"),
        ("41004100fc12000b", "memory control"),
        ("fe4f00001a0b", "shared-everything-threads"),
        ("20070b", "unknown local 7"),
    ],
)
async def test_the_engines_own_words_with_the_function(code: str, message: str) -> None:
    with pytest.raises(wasmtime.WasmtimeError, match=message) as caught:
        await load_module(ENGINE, module(code))
    assert caught.value.__notes__ == ["in function 0 'broken'"]


async def test_no_note_where_no_function_is_at_fault() -> None:
    memory = section(5, b"\1\x08\1\1")
    for data in (MAGIC + section(14, b"\0"), module("0b") + b"\1", module("0b", extra=memory)):
        with pytest.raises(wasmtime.WasmtimeError) as caught:
            await load_module(ENGINE, data)
        assert not hasattr(caught.value, "__notes__")


# ── compact imports ────────────────────────────────────────────────────────────────────────────


def compact_engine(on: bool) -> wasmtime.Engine:
    """Wasmtime-py has no attribute for this switch."""
    config = wasmtime.Config()
    prepare_config(config)
    c.wasmtime_config_wasm_compact_imports_set(config.ptr(), on)
    return wasmtime.Engine(config)


def compact() -> bytes:
    """Three imports of one module, of two types; two of another, of one type; one as ever."""
    number = b"\x60\x01\x7f\x01\x7f"
    code = b"\0\x20\0\x10\0\x10\2\x10\3\x10\4\x23\0\x6a\x0b"
    imports = [
        name("a") + name("") + b"\x7f" + vector(
            [name("twice") + b"\0\0", name("base") + b"\3\x7f\0", name("") + b"\0\0"]
        ),
        name("b") + name("one") + b"\0\0",
        name("c") + name("") + b"\x7e\0\0" + vector([name("x"), name("y")]),
    ]  # fmt: skip
    imports[1], imports[2] = imports[2], imports[1]
    parts = [
        section(1, vector([number])), section(2, vector(imports)), section(3, b"\1\0"),
        section(7, vector([name("main") + b"\0\5"])), section(10, vector([uleb(len(code)) + code])),
    ]  # fmt: skip
    return MAGIC + b"".join(parts)


async def test_compact_imports() -> None:
    engine = compact_engine(True)
    module = await load_module(engine, compact())
    assert [(each.module, each.name, each.index) for each in module.original.imports] == [
        ("a", "twice", 0), ("a", "base", 0), ("a", "", 1), ("c", "x", 2), ("c", "y", 3), ("b", "one", 4),
    ]  # fmt: skip
    seen: list[str] = []

    async def body(guest: Guest) -> object:
        def told(name: str, value: int) -> int:
            seen.append(name)
            return value

        i32 = wasmtime.ValType.i32()
        base = wasmtime.Global(guest.store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(1000))
        imports: dict[str, dict[str, Any]] = {
            "a": {"twice": lambda x: told("twice", 2 * x), "base": base, "": lambda x: told("", x)},
            "b": {"one": lambda x: told("one", x + 1)},
            "c": {"x": lambda x: told("x", x * 10), "y": lambda x: told("y", x + 7)},
        }
        instance = await guest.instantiate(imports, module)
        return await guest.call(instance.func("main"), 3)

    async with open_debuggee(wasmtime.Store(engine), body) as debuggee:
        debuggee.add_breakpoint("main")
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint) and event.frame.function_index == 5
        while isinstance(event, events.Breakpoint | events.Step):
            assert len(event.frame.locals) == 1
            event = await debuggee.step()
    assert event == events.Finished(result=6 * 10 + 7 + 1 + 1000)
    assert seen == ["twice", "x", "y", "one"]


async def test_compact_imports_that_the_engine_has_switched_off() -> None:
    engine = compact_engine(False)
    # Wasmtime finds out while compiling only.
    wasmtime.Module.validate(engine, compact())
    with pytest.raises(wasmtime.WasmtimeError) as plain:
        wasmtime.Module(engine, compact())
    with pytest.raises(wasmtime.WasmtimeError, match="compact imports proposal disabled") as caught:
        await load_module(engine, compact())
    assert str(caught.value) == str(plain.value)


# ── what only the rewritten code can't do ──────────────────────────────────────────────────────


async def test_where_the_engine_can_not_compile_the_rewritten_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(*args: Any, **options: Any) -> Instrumented:
        result = instrument(*args, **options)
        result.wasm = result.wasm[:-1]
        return result

    monkeypatch.setattr(_loading, "instrument", spoilt)
    with pytest.raises(ModuleError, match="can't compile what the code becomes") as caught:
        await load_module(ENGINE, module("0b"), cache=None)
    assert caught.value.offset is not None
    assert isinstance(caught.value.__cause__, wasmtime.WasmtimeError)
