"""The wheel holds what the README promises: types, guests with their source, the command."""

from __future__ import annotations

import configparser
import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture._tree import PACKAGE, ROOT
from trio_wasmdbg import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling is already installed (the `dev` extra), so nothing is fetched.
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_source_file_is_in_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    expected = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_types_are_advertised(wheel: zipfile.ZipFile) -> None:
    assert "trio_wasmdbg/py.typed" in wheel.namelist()


def test_the_guests_come_with_source_and_build_command(wheel: zipfile.ZipFile) -> None:
    names = {Path(name).name for name in wheel.namelist() if name.startswith("trio_wasmdbg/guests/")}

    programs = {name.removesuffix(".wasm") for name in names if name.endswith(".wasm")}
    assert "demo" in programs
    assert {f"{program}.c" for program in programs} <= names
    assert "build.sh" in names
    assert wheel.read("trio_wasmdbg/guests/demo.wasm") == (PACKAGE / "guests" / "demo.wasm").read_bytes()


def test_metadata(wheel: zipfile.ZipFile) -> None:
    (folder,) = {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))

    assert metadata["Name"] == "trio_wasmdbg"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra") or []) == {"cli", "dev", "docs"}
    scripts = configparser.ConfigParser()
    scripts.read_string(wheel.read(f"{folder}/entry_points.txt").decode())
    assert dict(scripts["console_scripts"]) == {"trio-wasmdbg": "trio_wasmdbg.cli:main"}
