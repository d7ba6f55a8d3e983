"""Layers import one way, and dangerous things have one home each.

The tables are the rules; ``docs/explanation/architecture.md`` says why.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.architecture import _tree
from tests.architecture._tree import PACKAGE, ROOT, dotted_name, imports_of, package_files

BASE = {"errors", "addresses", "_util", "_version"}
"""What anybody may import."""

MAY_IMPORT: dict[str, set[str]] = {
    # ── modules beside the folders
    "_version": set(),
    "errors": set(),
    "addresses": set(),
    "_util": {"errors"},
    "_program": BASE,
    "abc": BASE | {"engine"},
    # ── formats: know nothing of debugging
    "wasm": BASE,
    # ── protocols: sans-IO
    "gdbremote": BASE,
    "dap": BASE,
    # ── meaning and decisions
    "symbols": BASE | {"wasm"},
    "expressions": BASE | {"wasm"},
    "instrument": BASE | {"wasm"},
    "engine": BASE | {"wasm", "symbols", "expressions", "instrument"},
    # ── effects
    "_rewriting_process": BASE | {"_program", "wasm", "instrument"},
    "capi": BASE,
    "debuggee": BASE
    | {"_program", "_rewriting_process", "abc", "wasm", "symbols", "expressions", "instrument"}
    | {"engine", "capi"},
    "servers": BASE | {"abc", "wasm", "symbols", "expressions", "engine", "gdbremote", "dap"},
    # ── faces
    "guests": set(),
    "testing": BASE
    | {"", "abc", "wasm", "symbols", "expressions", "instrument", "engine", "debuggee", "guests"},
    "cli": BASE
    | {"", "abc", "wasm", "symbols", "expressions", "engine", "debuggee", "servers", "testing", "guests"},
    "__main__": {"cli"},
}
"""Unit (a folder of the package, or a module beside them) to the units it may import; ``""`` is the
package's own face, ``import trio_wasmdbg``.  Its ``__init__`` may import all."""

PURE = BASE | {"wasm", "instrument", "symbols", "expressions", "engine", "gdbremote", "dap"}

HOMES: dict[str, set[str]] = {
    # package: the units that may import it
    "ctypes": {"capi"},
    "wasmtime": {"", "capi", "debuggee", "testing", "cli"},
    "trio": {"", "abc", "debuggee", "servers", "testing", "cli"},
    "trio_util": {"debuggee", "servers", "testing", "cli"},
    "outcome": {"debuggee", "servers", "testing"},
    "rich": {"cli"},
    "platformdirs": {"debuggee", "cli"},
    "elftools": {"symbols"},
    "attrs": set(MAY_IMPORT) - {"_version", "errors"},
}
"""Everything that is neither the standard library nor ours: who may import it."""

NEVER_IN_PURE = {
    "asyncio", "concurrent", "io", "multiprocessing", "os", "pathlib", "select", "selectors", "signal",
    "socket", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
"""Standard modules that wait, or touch the world: a pure layer is given bytes and gives back values."""


def unit_of(module: str) -> str:
    """``trio_wasmdbg.wasm._leb`` belongs to ``wasm``; the package's own face is ``""``."""
    return module.partition(".")[2].partition(".")[0]


def violations(path: Path, root: Path = ROOT) -> list[str]:
    """Every import of *path* that the tables forbid, as ``file:line: what``."""
    name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    unit = unit_of(name)
    found = []
    if unit and unit not in MAY_IMPORT:
        return [f"{path}: no row for {unit!r} in MAY_IMPORT"]
    for module, line in imports_of(path, root):
        top, *rest = module.split(".")
        problem = None
        if top == "trio_wasmdbg":
            target = unit_of(module)
            if unit and target != unit and target not in MAY_IMPORT[unit]:
                problem = f"{unit} may not import {target or 'the package face'}"
            elif target != unit and any(part.startswith("_") for part in rest[1:]):
                problem = f"{module} is private to {target}: import it from its folder's face"
        elif top in HOMES:
            if unit not in HOMES[top]:
                problem = f"{top} is not for {unit or 'the package face'}"
            elif top == "wasmtime" and unit != "capi" and any(part.startswith("_") for part in rest):
                problem = f"{module} is private to wasmtime: only capi may"
        elif top not in sys.stdlib_module_names:
            problem = f"{top} is not a dependency that the tables know"
        elif unit in PURE and top in NEVER_IN_PURE:
            problem = f"{unit} is pure, and {top} is not"
        if problem is not None:
            found.append(f"{path.relative_to(root)}:{line}: {problem}")
    return found


@pytest.mark.parametrize("path", package_files(), ids=lambda path: dotted_name(path))
def test_imports_stay_in_their_layer(path: Path) -> None:
    assert violations(path) == []


def test_the_table_has_no_cycle() -> None:
    done: set[str] = set()
    rows = {unit: allowed - {""} for unit, allowed in MAY_IMPORT.items()}
    while rows:
        ready = {unit for unit, allowed in rows.items() if allowed <= done}
        assert ready, f"a cycle among {sorted(rows)}"
        done |= ready
        rows = {unit: allowed for unit, allowed in rows.items() if unit not in ready}


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("wasm/_x.py", "import trio", "trio is not for wasm"),
        ("wasm/_x.py", "def f():\n    import ctypes", "ctypes is not for wasm"),
        ("wasm/_x.py", "from trio_wasmdbg import instrument", "wasm may not import instrument"),
        ("wasm/_x.py", "from .. import capi", "wasm may not import capi"),
        ("wasm/_x.py", "from ..capi._calls import CallFuture", "wasm may not import capi"),
        ("instrument/_x.py", "from trio_wasmdbg.wasm._leb import uleb", "private to wasm"),
        ("debuggee/_x.py", "import wasmtime._ffi", "private to wasmtime"),
        ("debuggee/_x.py", "from wasmtime._bindings import wasm_trap_t", "private to wasmtime"),
        ("capi/_x.py", "import trio.lowlevel", "trio is not for capi"),
        ("engine/_x.py", "import threading", "engine is pure"),
        ("cli/_x.py", "import click", "not a dependency"),
        ("newcomer/_x.py", "", "no row for 'newcomer'"),
    ],
)
def test_a_forbidden_import_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, source: str, expected: str
) -> None:
    # The rules are checked on a copy of the folders that these sources name, so that the test of
    # the test does not depend on which layers have been written.
    monkeypatch.setattr(_tree, "ROOT", tmp_path)
    for folder in ("wasm", "instrument", "capi", "debuggee", "engine", "cli", "newcomer"):
        (tmp_path / "trio_wasmdbg" / folder).mkdir(parents=True)
        (tmp_path / "trio_wasmdbg" / folder / "__init__.py").touch()
    path = tmp_path / "trio_wasmdbg" / file
    path.write_text(source)

    (found,) = violations(path, tmp_path)

    assert expected in found


def test_an_allowed_import_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "trio_wasmdbg" / "debuggee" / "_x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import trio, wasmtime, attrs\nimport threading\n"
        "from . import _y\nfrom ._y import z\nfrom trio_wasmdbg.errors import InternalError\n"
        "from trio_wasmdbg.capi import CallFuture\nfrom ..engine import Frame\nfrom .._util import final\n"
    )

    assert violations(path, tmp_path) == []


def test_every_folder_of_the_package_has_a_row() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}

    assert folders <= set(MAY_IMPORT)
