"""Nothing in the tree, binaries included, names a path of the machine that it was made on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture._tree import ROOT, project_files


def machine_paths() -> list[bytes]:
    """Places that exist on the machine that runs this test and mean nothing elsewhere."""
    # Spelled in pieces, or this file would be the first to be found.
    workshop = [("work", "main"), ("work", "shared"), ("tmp", "venv"), ("tmp", "plan")]
    home = str(Path.home()) + "/"
    paths = {"/" + "/".join(parts) for parts in workshop} | {str(ROOT) + "/", home}
    # A checkout in `/src/` or a home of `/` would match ordinary prose.
    return sorted(path.encode() for path in paths if path.strip("/").count("/") >= 1 or path == home != "//")


def found_in(data: bytes) -> list[bytes]:
    return [path for path in machine_paths() if path in data]


def test_no_path_of_this_machine() -> None:
    files = project_files()
    assert len(files) > 20

    found = {str(path.relative_to(ROOT)): found_in(path.read_bytes()) for path in files}

    assert {name: paths for name, paths in found.items() if paths} == {}


@pytest.mark.parametrize("around", [b"%s", b"\x00asm%s\x00", b"see %s for more"])
def test_a_path_would_be_found(around: bytes) -> None:
    assert found_in(around % b"/".join([b"", b"work", b"main", b"tests"]))
