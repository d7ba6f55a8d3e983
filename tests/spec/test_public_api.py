"""Scripts of the official suite by the public API alone: loaded, linked and called in a debuggee's body.

What every assertion expects is compared; a smaller sample runs once more with a stop at every instruction,
and must have the same results.  (All scripts, in all modes, go by raw values: see ``test_suite.py``.)
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import pytest
import wasmtime
from attrs import define, field

from tests.spec._values import float_bits, integer
from tests.spec._wast import Form, WastModule, module_of, parse, suite_folder
from trio_wasmdbg import (
    Debuggee,
    Guest,
    GuestInstance,
    GuestModule,
    ModuleError,
    events,
    load_module,
    make_engine,
    open_debuggee,
)

SUITE = suite_folder()
pytestmark = pytest.mark.skipif(SUITE is None, reason="the official test suite is not there (../shared/spec)")

RUN: Final = (
    "fac.wast", "call_indirect.wast", "return_call.wast", "return_call_indirect.wast", "call_ref.wast",
    "linking.wast", "start.wast", "func_ptrs.wast", "br_table.wast", "left-to-right.wast", "traps.wast",
    "table_copy.wast", "memory_grow.wast", "ref_is_null.wast", "throw.wast", "i31.wast", "f64_cmp.wast",
)  # fmt: skip
STEPPED: Final = ("forward.wast", "switch.wast", "func_ptrs.wast", "start.wast", "linking.wast", "i31.wast")

SPECTEST: Final = """
(module
  (global (export "global_i32") i32 (i32.const 666)) (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6)) (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref) (memory (export "memory") 1 2)
  (func (export "print")) (func (export "print_i32") (param i32)) (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32)) (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32)) (func (export "print_f64_f64") (param f64 f64)))
"""

ENDS: Final[Mapping[str, type[Exception] | tuple[type[Exception], ...]]] = {
    # what an assertion of a failure may meet
    "assert_trap": wasmtime.Trap,
    "assert_exhaustion": wasmtime.Trap,
    "assert_exception": wasmtime.WasmtimeError,
    "assert_unlinkable": wasmtime.WasmtimeError,
    "assert_invalid": (wasmtime.WasmtimeError, ModuleError),
    "assert_malformed": (wasmtime.WasmtimeError, ModuleError),
}


def argument(form: Form, hosts: dict[str, object]) -> object:
    text = str(form.items[1])
    if form.head in ("i32.const", "i64.const"):
        return int.from_bytes(integer(text, int(form.head[1:3]) // 8), "little", signed=True)
    if form.head in ("f32.const", "f64.const"):
        size = int(form.head[1:3]) // 8
        return struct.unpack("<f" if size == 4 else "<d", float_bits(text, size).to_bytes(size, "little"))[0]
    if form.head == "ref.null":
        return None
    assert form.head in ("ref.extern", "ref.host"), form.head
    return hosts.setdefault(text, object())


def fits(form: Form, value: Any, hosts: dict[str, object]) -> bool:
    """Whether a result is what the script expects (spec repository, "Scripts", result patterns)."""
    if form.head in ("f32.const", "f64.const") and str(form.items[1]).lstrip("-").startswith("nan"):
        return isinstance(value, float) and math.isnan(value)
    if form.head in ("f32.const", "f64.const"):
        code = "<f" if form.head == "f32.const" else "<d"
        return struct.pack(code, value) == struct.pack(code, argument(form, hosts))
    if form.head == "ref.null":
        return value is None
    if form.head == "ref.func":
        return isinstance(value, wasmtime.Func)
    if form.head == "ref.extern" and len(form.items) == 1:
        return value is not None
    if form.head in ("ref.i31", "ref.struct", "ref.array"):
        return bool(value.kind == f"{form.head[4:]}ref")
    return bool(value == argument(form, hosts))


@define
class Script:
    """One run of a script; the body of a debuggee.

    :ivar log: the place and the outcome of every command.
    """

    source: str
    engine: wasmtime.Engine
    log: list[tuple[int, str]] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    named: dict[str, GuestInstance] = field(factory=dict)
    loaded: dict[str, GuestModule] = field(factory=dict)
    hosts: dict[str, object] = field(factory=dict)
    current: GuestInstance | None = None

    async def body(self, guest: Guest) -> None:
        linker = wasmtime.Linker(self.engine)
        linker.allow_shadowing = True
        spectest = await guest.instantiate(None, wasmtime.Module(self.engine, SPECTEST))
        linker.define_instance(guest.store, "spectest", spectest)
        for form in parse(self.source):
            self.counts[form.head] += 1
            try:
                outcome = await self.command(guest, linker, form)
            except AssertionError as error:
                raise AssertionError(f"line {form.line}: {error}") from error
            self.log.append((form.line, outcome))

    async def module(self, found: WastModule | None) -> GuestModule:
        assert found is not None
        data = found.content
        # What is quoted may have no form that says that it is text.
        source = data if isinstance(data, bytes) else bytes(wasmtime.wat2wasm(data))
        return await load_module(self.engine, source, cache=None)

    async def instantiate(self, guest: Guest, linker: wasmtime.Linker, form: Form) -> GuestInstance:
        items = form.items
        if items[1:2] == ["instance"]:
            module = self.loaded[str(items[3] if len(items) > 3 else "")]
        else:
            module = await self.module(module_of(self.source, form))
        instance = await guest.instantiate(linker, module)
        assert isinstance(instance, GuestInstance)
        return instance

    def instance(self, items: list[Any]) -> tuple[GuestInstance, list[Any]]:
        if items and isinstance(items[0], str):
            return self.named[items[0]], items[1:]
        assert self.current is not None
        return self.current, items

    async def action(self, guest: Guest, form: Form) -> tuple[Any, ...]:
        instance, (name, *rest) = self.instance(form.items[1:])
        if form.head == "get":
            item = instance.exports[name.decode()]
            assert isinstance(item, wasmtime.Global)
            return (item.value(guest.store),)
        values = [argument(one, self.hosts) for one in rest]
        result = await guest.call(instance.func(name.decode()), *values)
        return () if result is None else result if isinstance(result, tuple) else (result,)

    async def command(self, guest: Guest, linker: wasmtime.Linker, form: Form) -> str:
        head, items = form.head, form.items
        if head == "module" and items[1:2] == ["definition"]:
            name = str(items[2]) if isinstance(items[2], str) else ""
            self.loaded[name] = self.loaded[""] = await self.module(module_of(self.source, form))
        elif head == "module":
            self.current = await self.instantiate(guest, linker, form)
            at = 2 if items[1:2] == ["instance"] else 1
            if len(items) > at and isinstance(items[at], str) and str(items[at]).startswith("$"):
                self.named[str(items[at])] = self.current
        elif head == "register":
            instance, _ = self.instance(items[2:])
            assert isinstance(items[1], bytes)
            for name, item in instance.exports.items():
                linker.define(guest.store, items[1].decode(), name, item)
        elif head in ("invoke", "get"):
            await self.action(guest, form)
        elif head == "assert_return":
            target = items[1]
            assert isinstance(target, Form)
            values = await self.action(guest, target)
            expected = [one for one in items[2:] if isinstance(one, Form)]
            if values == () and len(expected) == 1:
                values = (None,)
            assert len(values) == len(expected), values
            good = all(fits(one, value, self.hosts) for one, value in zip(expected, values, strict=True))
            assert good, f"expected {self.source[form.start : form.end]}, got {values}"
            return " ".join(v.hex() if isinstance(v, float) else str(v)[:40].split(" at ")[0] for v in values)
        else:
            target = items[1]
            assert isinstance(target, Form)
            with pytest.raises(ENDS[head]) as caught:
                if head in ("assert_invalid", "assert_malformed"):
                    await self.module(module_of(self.source, target))
                elif target.head == "module":
                    await self.instantiate(guest, linker, target)
                else:
                    await self.action(guest, target)
            return caught.typename
        return "done"


async def run(name: str, *, step: bool) -> tuple[Script, Counter[str]]:
    assert SUITE is not None
    engine = make_engine()
    script = Script((SUITE / name).read_text("utf-8", "surrogateescape"), engine)
    met: Counter[str] = Counter()

    async def go_on(debuggee: Debuggee) -> events.Event:
        return await (debuggee.step() if step else debuggee.run())

    async with open_debuggee(wasmtime.Store(engine), script.body) as debuggee:
        while not isinstance(event := await go_on(debuggee), events.Finished):
            met[type(event).__name__] += 1
    assert script.log, "nothing ran"
    return script, met


@pytest.mark.parametrize("name", RUN)
async def test_a_script_by_the_public_api(name: str) -> None:
    script, met = await run(name, step=False)
    assert script.counts["assert_return"] + script.counts["invoke"] + script.counts["assert_trap"]
    # Every trap and exception has been seen, and nothing else stopped.
    assert met["Trap"] >= script.counts["assert_trap"]
    assert met["UncaughtException"] == script.counts["assert_exception"]
    assert set(met) <= {"Trap", "UncaughtException"}


@pytest.mark.parametrize("name", STEPPED)
async def test_a_script_stepped_by_the_public_api(name: str) -> None:
    plain, _ = await run(name, step=False)
    stepped, met = await run(name, step=True)
    assert met["Step"] > len(stepped.log)
    assert stepped.log == plain.log
