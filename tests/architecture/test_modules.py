"""Every module says what it is for, every package has a curated face, and files stay small."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.architecture._tree import PACKAGE, ROOT, dotted_name, package_files, parsed

LONG_FILES: dict[str, str] = {
    # path under the package: why it is longer than MOST_LINES
    "wasm/_opcodes.py": "a table: one row an instruction",
}
MOST_LINES = 600

PACKAGES = [path for path in package_files() if path.name == "__init__.py"]


@pytest.mark.parametrize("path", package_files(), ids=dotted_name)
def test_a_module_has_a_docstring(path: Path) -> None:
    text = ast.get_docstring(parsed(path))

    assert text, f"{path}: no docstring"
    assert len(text.splitlines()[0]) <= 110, "its first line is a sentence on one line"


@pytest.mark.parametrize("path", PACKAGES, ids=dotted_name)
def test_a_package_has_a_face(path: Path) -> None:
    module = importlib.import_module(dotted_name(path))

    names = module.__all__
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []
    assert not [name for name in names if name.startswith("_") and name != "__version__"]


def test_file_sizes() -> None:
    """A report, largest first (``pytest -s`` or a failure shows it), and a reason past the limit."""
    files = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in package_files()}
    sizes = sorted(((len(text.splitlines()), name) for name, text in files.items()), reverse=True)
    total = sum(lines for lines, _ in sizes)
    print(f"\n{len(sizes)} files, {total} lines, mean {total / len(sizes):.0f}; the longest:")
    for lines, name in sizes[:15]:
        print(f"{lines:6} {name}")

    unexplained = [(name, lines) for lines, name in sizes if lines > MOST_LINES and name not in LONG_FILES]
    assert unexplained == []


def test_prose_of_tests() -> None:
    """Test files say what they test, too."""
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.stat().st_size]

    assert [str(path.relative_to(ROOT)) for path in files if not ast.get_docstring(parsed(path))] == []
