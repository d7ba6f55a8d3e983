"""The commands of a ``.wast`` script (spec repository, "interpreter/README.md", "Scripts")."""

from __future__ import annotations

import re
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import wasmtime
from attrs import define, field

from tests.spec import _driver as driver
from tests.spec._driver import Compiled, Failure, Instance, World
from tests.spec._values import Raw, constant, describe, matches, release
from tests.spec._wast import Form, WastModule, module_of, parse
from trio_wasmdbg.errors import ModuleError
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module

__all__ = ["Report", "run_script"]

_FIELDS = {"func", "memory", "table", "type", "global", "export", "import", "data", "elem", "tag", "start"}

_SAME_TRAP = {
    # what scripts call it: what Wasmtime may call it
    "uninitialized element": ("uninitialized element", "undefined element"),
    "undefined element": ("undefined element", "out of bounds table access"),
    "out of bounds table access": ("out of bounds table access", "undefined element"),
    "null function reference": ("null reference", "uninitialized element"),
    "unreachable": ("`unreachable`", "unreachable"),
    "integer divide by zero": ("integer divide by zero",),
    "call stack exhausted": ("call stack exhausted",),
    "unaligned atomic": ("unaligned",),
    "out of bounds memory access": ("out of bounds memory access",),
}


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    return "".join(
        one if one.isascii() else "".join(f"\\{byte:02x}" for byte in one.encode("utf-8", "surrogateescape"))
        for one in match.group()
    )


@define
class Report:
    """What came of one script in one mode.

    :ivar counts: by command.
    :ivar failures: (line, message).
    :ivar skipped: reasons, by command.
    """

    mode: str
    counts: Counter[str] = field(factory=Counter)
    failures: list[tuple[int, str]] = field(factory=list)
    answered: int = 0
    seconds: float = 0.0
    hook_calls: int = 0


class _Texts:
    """Assembled modules, shared by the modes."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], bytes] = {}

    def bytes_of(self, found: WastModule) -> bytes:
        if isinstance(found.content, bytes):
            return found.content
        key = (found.kind, found.content)
        if key not in self._made:
            try:
                # Wasmtime's assembler takes some characters for confusing; escaped, they are welcome.
                text = found.content
                if found.kind == "text" and not text.isascii():
                    text = _STRING.sub(_escaped, text)
                self._made[key] = bytes(wasmtime.wat2wasm(text))
            except (wasmtime.WasmtimeError, UnicodeError) as error:
                raise Failure("invalid", str(error)) from None
        return self._made[key]


_texts = _Texts()


def run_script(path: Path, mode: str) -> Report:
    """Runs a script from a file."""
    source = path.read_text("utf-8", "surrogateescape")
    return _Run(source, mode).run()


class _Run:
    def __init__(self, source: str, mode: str) -> None:
        self.source = source
        self.report = Report(mode)
        self.mode = mode
        self.world = World(mode)
        self.current: Instance | None = None
        self.named: dict[str, Instance] = {}
        self.definitions: dict[str, Compiled] = {}
        self.last: Compiled | None = None

    def run(self) -> Report:
        start = time.perf_counter()
        forms = parse(self.source)
        if forms and all(form.head in _FIELDS for form in forms):
            whole = WastModule("text", f"(module {self.source}\n)", 1, "")
            self.guarded("module", 1, lambda: self.world.instantiate(self.compile(whole)))
        else:
            for form in forms:
                self.guarded(form.head, form.line, partial(self.command, form))
        self.report.seconds = time.perf_counter() - start
        self.report.hook_calls = self.world.hook_calls
        self.world.close()
        return self.report

    def guarded(self, head: str, line: int, action: Any) -> None:
        self.report.counts[head] += 1
        try:
            action()
        except Exception as error:
            text = f"{head}: {type(error).__name__}: {error}"
            self.report.failures.append((line, text.replace("\n", " ")[:600]))
            self.world.error = None

    # ── modules ────────────────────────────────────────────────────────────────────────────────

    def compile(self, found: WastModule) -> Compiled:
        return Compiled(_texts.bytes_of(found), self.mode)

    def compiled(self, form: Form) -> Compiled:
        found = module_of(self.source, form)
        assert found is not None
        return self.compile(found)

    def module(self, form: Form) -> None:
        items = form.items
        second = items[1] if len(items) > 1 else ""
        if second == "definition":
            self.last = self.compiled(form)
            if len(items) > 2 and str(items[2]).startswith("$"):
                self.definitions[str(items[2])] = self.last
            return
        if second == "instance":
            name, source = (
                (str(items[2]), str(items[3]))
                if len(items) > 3
                else (str(items[2]) if len(items) > 2 else "", "")
            )
            compiled = self.definitions[source] if source else self.last
            assert compiled is not None
        else:
            name = str(second) if isinstance(second, str) and second.startswith("$") else ""
            self.current = None
            compiled = self.compiled(form)
        instance = self.world.instantiate(compiled)
        self.current = instance
        if name:
            self.named[name] = instance

    # ── actions ────────────────────────────────────────────────────────────────────────────────

    def instance(self, items: list[Any]) -> tuple[Instance, list[Any]]:
        if items and isinstance(items[0], str) and items[0].startswith("$"):
            return self.named[items[0]], items[1:]
        assert self.current is not None, "no current instance"
        return self.current, items

    def action(self, form: Form) -> tuple[Any, list[Raw]]:
        instance, rest = self.instance(form.items[1:])
        item = instance.get(rest[0].decode("utf-8", "surrogateescape"))
        if form.head == "get":
            return self.world.global_value(item)
        arguments = [constant(one, self.world.context) for one in rest[1:]]
        try:
            return self.world.call(item, arguments)
        finally:
            release(arguments)

    def expect_failure(self, form: Form, kinds: tuple[str, ...], text: str) -> None:
        target = form.items[1]
        assert isinstance(target, Form)
        try:
            if target.head == "module":
                self.world.instantiate(self.compiled(target))
            else:
                results, values = self.action(target)
                release(results)
                raise AssertionError(f"returned {[describe(v) for v in values]}, expected {text!r}")
        except Failure as failure:
            if failure.kind not in kinds:
                raise
            if text and not _same_trap(text, str(failure)):
                raise AssertionError(f"expected {text!r}, got {failure}") from None
            return
        raise AssertionError(f"no failure, expected {text!r}")

    def refuse(self, form: Form) -> None:
        """``assert_malformed``, ``assert_invalid``: also without the engine's validator in front."""
        target = form.items[1]
        assert isinstance(target, Form)
        found = module_of(self.source, target)
        assert found is not None
        try:
            data = _texts.bytes_of(found)
        except Failure:
            return  # no such text
        try:
            wasmtime.Module.validate(driver.engine(), data)
        except wasmtime.WasmtimeError:
            pass
        else:
            raise AssertionError("accepted by the engine")
        if self.mode == "plain":
            return
        try:
            rewritten = instrument(decode_module(data)).wasm
        except ModuleError:
            return
        self.report.answered += 1
        try:
            wasmtime.Module.validate(driver.engine(), rewritten)
        except wasmtime.WasmtimeError:
            return
        # Legal to answer, since the engine has been asked before; but it must not kill the compiler.
        wasmtime.Module(driver.engine(), rewritten)

    def command(self, form: Form) -> None:
        head, items = form.head, form.items
        last = items[-1]
        text = last.decode() if head.startswith("assert_") and isinstance(last, bytes) else ""
        if head == "module":
            self.module(form)
        elif head == "register":
            instance, _ = self.instance(items[2:])
            assert isinstance(items[1], bytes)
            self.world.register(items[1].decode("utf-8", "surrogateescape"), instance)
        elif head in ("invoke", "get"):
            release(self.action(form)[0])
        elif head == "assert_return":
            target = items[1]
            assert isinstance(target, Form)
            results, values = self.action(target)
            try:
                self.compare(items[2:], values)
            finally:
                release(results)
        elif head == "assert_trap" or head == "assert_exhaustion":
            self.expect_failure(form, ("trap",), text)
        elif head == "assert_exception":
            self.expect_failure(form, ("exception",), "")
        elif head == "assert_unlinkable":
            self.expect_failure(form, ("link",), "")
        elif head in (
            "assert_invalid",
            "assert_malformed",
            "assert_malformed_custom",
            "assert_invalid_custom",
        ):
            self.refuse(form)
        else:
            raise NotImplementedError(f"command {head}")

    def compare(self, expected: list[Any], values: list[Raw]) -> None:
        good = len(expected) == len(values) and all(
            matches(form, value, self.world.context) for form, value in zip(expected, values, strict=True)
        )
        if not good:
            wanted = " ".join(self.source[form.start : form.end] for form in expected)
            raise AssertionError(f"expected {wanted}, got {', '.join(map(describe, values)) or 'nothing'}")


def _same_trap(text: str, message: str) -> bool:
    if text in message:
        return True
    stem = " ".join(word for word in text.split() if not word.isdigit())
    if stem.startswith("null ") and "null" in message:
        return True
    return any(word in message for word in _SAME_TRAP.get(stem, (stem,)))
