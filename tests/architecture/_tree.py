"""Where the project's files are, and what each Python file of the package imports."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "trio_wasmdbg"


class Import(NamedTuple):
    """One imported module, by its absolute dotted name."""

    module: str
    line: int


def package_files() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of *path*."""
    return ast.parse(path.read_text("utf-8"), str(path))


def dotted_name(path: Path) -> str:
    """``trio_wasmdbg/wasm/_leb.py`` is ``trio_wasmdbg.wasm._leb``; a package is its folder."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def is_module(name: str) -> bool:
    """Whether *name* is a module or package of ours (rather than a name inside one)."""
    base = ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or base.is_dir()


def imports_of(path: Path, root: Path = ROOT) -> list[Import]:
    """Everything that *path* imports, also inside functions and under ``TYPE_CHECKING``."""
    parts = path.relative_to(root).with_suffix("").parts
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # level 1 is the package that the file stands in, whether or not it is an __init__.
            prefix = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(part for part in (prefix, node.module) if part)
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                found.append(Import(whole if is_module(whole) else module, node.lineno))
    return found


def project_files() -> list[Path]:
    """Every file that belongs to the project: what git would commit, or the whole tree without git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        kept = []
        for path in ROOT.rglob("*"):
            hidden = [part for part in path.relative_to(ROOT).parts if part.startswith(".")]
            if path.is_file() and "__pycache__" not in path.parts and hidden in ([], [".ci"], [".github"]):
                kept.append(path)
        return sorted(kept)
    return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())
