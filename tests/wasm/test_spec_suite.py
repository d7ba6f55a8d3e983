"""The official test suite: every good module is typed, and the engine's validator agrees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from tests.spec._wast import WastModule, modules, parse, suite_folder
from tests.wasm._engine import is_valid
from tests.wasm._oracle import disagreement
from trio_wasmdbg.errors import ModuleError, UnsupportedFeatureError
from trio_wasmdbg.wasm import (
    OPS,
    Module,
    decode_module,
    disassemble,
    instruction,
    operand_types,
    read_body,
    type_body,
)

SUITE = suite_folder()

pytestmark = pytest.mark.skipif(SUITE is None, reason="the official test suite is not there (../shared/spec)")

# Proposals that are known by name only: their modules may be refused, with a typed error.
UNSUPPORTED = ("custom-descriptors",)


def scripts() -> list[Path]:
    # the old exception instructions are not what WebAssembly 3.0 has, and the assembler lacks them
    return [] if SUITE is None else [p for p in sorted(SUITE.rglob("*.wast")) if "legacy" not in p.parts]


def found_in(path: Path) -> Iterator[tuple[WastModule, bytes]]:
    """Modules of a script with their bytes; those that the assembler refuses are left out."""
    for found in modules(path.read_text("utf-8", "surrogateescape")):
        if isinstance(found.content, bytes):
            yield found, found.content
            continue
        try:
            yield found, bytes(wasmtime.wat2wasm(found.content))
        except (wasmtime.WasmtimeError, UnicodeError):
            continue


def good_modules() -> Iterator[tuple[str, Module]]:
    for path in scripts():
        for found, data in found_in(path):
            if found.context or not is_valid(data):
                continue
            place = f"{path.name}:{found.line}"
            try:
                yield place, decode_module(data)
            except UnsupportedFeatureError as error:
                assert any(part in UNSUPPORTED for part in path.parts), f"{place}: {error}"


def test_every_good_module_is_typed() -> None:
    functions = instructions = count = 0
    seen: Counter[str] = Counter()
    for place, module in good_modules():
        count += 1
        for function in module.functions:
            if function.body is None:
                continue
            body = type_body(module, function)
            functions += 1
            instructions += len(body.instructions)
            for one in body.instructions:
                seen[one.op.proposal] += 1
                assert disassemble(module, one, function.index)
            if body.reachable[-1]:
                found, expected = operand_types(body.stacks[-1]), function.type.results
                # the operand itself may be of a subtype, and only references have subtypes
                assert len(found) == len(expected), place
                assert all(a == b or (a.is_ref and b.is_ref) for a, b in zip(found, expected, strict=True)), (
                    place
                )
    print(f"\n{count} modules, {functions} functions, {instructions} instructions typed: {dict(seen)}")
    assert functions > 8_000
    assert set(seen) == {op.proposal for op in OPS.values()} - {
        "legacy-exceptions",
        "stack-switching",
        "custom-descriptors",
    }


def test_the_validator_agrees() -> None:
    """Every third place of every function of the suite, asked of the engine's own validator."""
    asked = number = 0
    for place, module in good_modules():
        for function in module.functions:
            if function.body is None:
                continue
            body = type_body(module, function)
            for k in range(len(body.instructions)):
                number += 1
                if number % 3:
                    continue
                problem = disagreement(module, body, k)
                assert problem is None, (
                    f"{place} function {function.index}, instruction {k} "
                    f"{disassemble(module, body.instructions[k])}: {problem}"
                )
                asked += 1
    print(f"\n{asked} operand stacks agreed")
    assert asked > 15_000


def test_instructions_of_assembled_modules_encode_to_the_same_bytes() -> None:
    count = 0
    for path in scripts():
        for found, data in found_in(path):
            if found.context or found.kind == "binary":
                continue  # hand-written bytes may be padded
            try:
                module = decode_module(data)
            except UnsupportedFeatureError:
                continue
            for function in module.functions:
                if function.body is None:
                    continue
                try:
                    body = read_body(module, function)
                except UnsupportedFeatureError:
                    continue
                for one in body:
                    assert instruction(one.op, one.imm) == data[one.offset : one.end], one
                    count += 1
    print(f"\n{count} instructions encoded")
    assert count > 50_000


def test_bad_modules_get_typed_errors_or_an_answer() -> None:
    outcome: Counter[str] = Counter()
    for path in scripts():
        for found, data in found_in(path):
            if not found.context:
                continue
            try:
                module = decode_module(data)
                for function in module.functions:
                    if function.body is not None:
                        type_body(module, function)
                outcome[f"{found.context}: answered"] += 1
            except ModuleError:
                outcome[f"{found.context}: error"] += 1
    print(f"\n{dict(outcome)}")
    # what the binary format forbids must not pass; what only validation forbids may
    assert outcome["assert_malformed: error"] > 900
    assert outcome["assert_malformed: answered"] < 20


def test_the_script_reader() -> None:
    source = r"""
    ;; a comment with (module
    (; nested (; comment ;) (module) ;)
    (module $a (func (export "x)\"(")))
    (module definition $b (memory 1))
    (module instance $i $b)
    (module binary "\00asm" "\01\00\00\00")
    (assert_malformed (module quote "(func" " (i32.const 0\u{41}))") "bad")
    (assert_return (invoke "x") (i32.const 1))
    """
    found = list(modules(source))
    assert [(m.kind, m.line, m.context) for m in found] == [
        ("text", 4, ""),
        ("text", 5, ""),
        ("binary", 7, ""),
        ("quote", 8, "assert_malformed"),
    ]
    assert found[0].content == r'(module $a (func (export "x)\"(")))'
    assert found[1].content == "(module $b (memory 1))"
    assert found[2].content == b"\0asm\1\0\0\0"
    assert found[3].content == "(func (i32.const 0A))"
    inline = list(modules("(func (nop))\n(memory 1)"))
    assert [m.content for m in inline] == ["(module (func (nop))\n(memory 1)\n)"]
    with pytest.raises(ValueError, match="without"):
        parse("(a (b)")
    with pytest.raises(ValueError, match="without"):
        parse("a)")
    assert len(parse("(" * 50_000 + ")" * 50_000)) == 1
