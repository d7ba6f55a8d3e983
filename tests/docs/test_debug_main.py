"""The table beside Wasmtime's debug-main is whole, and what it names is there."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pytest

import trio_wasmdbg

PAGE = Path(__file__).parents[2] / "docs/reference/debug-main.md"

WORLD = {
    "debuggee": "all-modules all-instances interrupt single-step continue exit-frames",
    "event-future": "subscribe finish",
    "resumption-value": "inject-call throw-exception early-return",
    "event": "complete trap breakpoint interrupted exception injected-call-return",
    "instance": "get-module get-memory get-global get-table get-func get-tag unique-id",
    "module": "bytecode add-breakpoint remove-breakpoint unique-id",
    "memory": "size-bytes page-size-bytes grow-to-bytes get-bytes set-bytes get-u8 get-u16 get-u32 get-u64 "
    "set-u8 set-u16 set-u32 set-u64 unique-id",
    "global": "get set",
    "table": "len get-element set-element",
    "wasm-func": "params results",
    "wasm-exception": "get-tag get-values make",
    "wasm-tag": "params make",
    "frame": "get-instance get-func-index get-pc get-locals get-stack parent-frame",
    "error": "invalid-entity invalid-pc invalid-frame mismatched-type out-of-bounds read-only "
    "memory-grow-failure execution-trap",
}
"""Of the world in Wasmtime 50; not here: handles' ``clone``, and the accessors of ``wasm-value``."""


def rows() -> list[tuple[str, str]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [(row[0], row[1]) for row in (re.split(r" \| ", line.strip("| "), maxsplit=1) for line in lines)]


@pytest.mark.parametrize("resource", WORLD)
def test_every_function_has_its_row(resource: str) -> None:
    listed = set()
    for left, _ in rows():
        owner, *names = re.findall(r"[\w-]+(?:\.[\w-]+)?", left.replace("`", ""))
        first = owner.partition(".")[2]
        if owner.startswith(f"{resource}."):
            listed |= {first, *names}
    assert set(WORLD[resource].split()) - listed == set()


def test_what_is_named_is_there() -> None:
    named = {name for _, right in rows() for name in re.findall(r"<trio_wasmdbg\.([\w.]+)>", right)}
    assert len(named) > 40
    for name in named:
        reduce(getattr, name.split("."), trio_wasmdbg)
