"""Rewritten modules on disk, so that loading a module again need not rewrite it.

One file a module, in a folder that belongs to the user alone.  A file's name is a digest of the module and
of the program that rewrote it, and so is the key of the checksum inside (see ``instrument/_saved``): what is
found is what was saved for just this module by just this program, or it is no hit.  Nothing compiled is
kept: the engine validates and compiles what comes from here like anything else.

Writers write to a file of their own and rename it, so readers see whole files, and the last writer wins.
Trouble of any kind is a miss; a folder that others can write to is not used at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import platformdirs
from attrs import field, frozen, validators

from .._program import rewriting_program
from ..instrument import DamagedError, FrameMode, Instrumented, restored, saved
from ..wasm import Module

__all__ = ["ModuleCache", "USER_CACHE"]

logger = logging.getLogger("trio_wasmdbg.cache")

SWITCH: Final = "TRIO_WASMDBG_CACHE"
"""Environment variable: ``off`` switches the user's cache off."""

_SUFFIX: Final = ".rewritten"
_UNFINISHED: Final = ".unfinished"
_FORGOTTEN: Final = 3600
"""Seconds after which a file that its writer has not finished is removed."""

class _Entry(NamedTuple):
    """A file of the folder, oldest first when sorted."""

    used: float
    name: str
    size: int


def _path(folder: Path | str | None) -> Path | None:
    return None if folder is None else Path(folder)


def _no_tick() -> None:
    pass


@frozen
class ModuleCache:
    """A folder of rewritten modules, which makes loading a module again faster.

    Safe to be used by any number of threads and processes at the same time.  Nothing that is wrong with the
    folder or a file is an error: the module is rewritten, and what was damaged is removed.  A folder that
    belongs to somebody else, or that others may write to or read, is not used; the log
    (``trio_wasmdbg.cache``) says so.

    :ivar folder: default: the user's cache folder as the platform has it, unless the environment variable
        ``TRIO_WASMDBG_CACHE`` is ``off``.  It is made when it is first needed.
    :ivar max_size: bytes that the files may take; beyond, those are removed that were not used for longest.
    :ivar min_module: modules of fewer bytes are not kept: rewriting them is as fast.
    """

    folder: Path | None = field(default=None, converter=_path)
    max_size: int = field(default=512 << 20, validator=validators.ge(0), kw_only=True)
    min_module: int = field(default=64 << 10, validator=validators.ge(0), kw_only=True)

    def load(
        self, module: Module, tick: Callable[[], None] = _no_tick, *, frames: FrameMode = "exact"
    ) -> Instrumented | None:
        """What was kept of *module* in this mode; None if nothing usable was.  Blocks while reading."""
        if len(module.data) < self.min_module:
            return None
        key = _key(module, frames)
        with self._folder(make=False) as folder:
            if folder is None:
                return None
            data = _read(folder, _name(key), self.max_size)
            if data is None:
                return None
            tick()
            try:
                found = restored(module, key, data, tick)
            except DamagedError as error:
                logger.warning("%s in the cache of rewritten modules is damaged: %s", _name(key), error)
                _remove(folder, _name(key))
                return None
            with suppress(OSError):
                os.utime(_name(key), dir_fd=folder, follow_symlinks=False)
            return found

    def save(self, instrumented: Instrumented, tick: Callable[[], None] = _no_tick) -> None:
        """Keep this; remove what does not fit any more.  Blocks while writing."""
        if len(instrumented.original.data) < self.min_module:
            return
        key = _key(instrumented.original, instrumented.mode)
        pieces = saved(instrumented, key, tick)
        if sum(map(len, pieces)) > self.max_size:
            return
        with self._folder(make=True) as folder:
            if folder is not None:
                try:
                    _write(folder, _name(key), pieces)
                    _evict(folder, self.max_size)
                except OSError as error:
                    logger.warning("the cache of rewritten modules can't be written: %s", error)

    def discard(self, module: Module, *, frames: FrameMode = "exact") -> None:
        """Forget what was kept of *module* in this mode."""
        with self._folder(make=False) as folder:
            if folder is not None:
                _remove(folder, _name(_key(module, frames)))

    @contextmanager
    def _folder(self, *, make: bool) -> Iterator[int | None]:
        """A descriptor of the folder; None if there is none, or it is not to be used."""
        path = self.folder
        if path is None:
            if os.environ.get(SWITCH, "").lower() == "off":
                yield None
                return
            path = platformdirs.user_cache_path("trio_wasmdbg")
        descriptor = None
        try:
            descriptor = _open_folder(path, make)
        except FileNotFoundError:
            pass  # nothing was ever kept
        except OSError as error:
            logger.warning("no cache of rewritten modules in %s: %s", path, error)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)


USER_CACHE: Final = ModuleCache()
"""The cache that :func:`load_module` uses unless it is told otherwise."""


# ── keys ───────────────────────────────────────────────────────────────────────────────────────


def _key(module: Module, frames: FrameMode) -> bytes:
    contents = hashlib.sha256(module.data).digest()
    return hashlib.sha256(contents + rewriting_program() + frames.encode()).digest()


def _name(key: bytes) -> str:
    return key.hex() + _SUFFIX


# ── files ──────────────────────────────────────────────────────────────────────────────────────


def _open_folder(path: Path, make: bool) -> int:
    """A descriptor of a folder that is the user's alone.

    :raises OSError: there is none, and none can be made; or it is not.
    """
    if make:
        with suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"it belongs to user {status.st_uid}")
        if status.st_mode & 0o077:
            raise PermissionError(f"others have access to it (mode {status.st_mode & 0o7777:o}, not 700)")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _read(folder: int, name: str, limit: int) -> bytes | None:
    """A file's contents; None if it is not there, or no plain file of the user's of at most *limit* bytes."""
    # Nonblocking: somebody may have put a FIFO there.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            usable = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if usable and status.st_size <= limit:
                with open(descriptor, "rb", closefd=False) as file:
                    return file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s in the cache of rewritten modules can't be read: %s", name, error)
    _remove(folder, name)
    return None


def _write(folder: int, name: str, pieces: list[bytes]) -> None:
    unfinished = f"{secrets.token_hex(16)}{_UNFINISHED}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(unfinished, flags, 0o600, dir_fd=folder), "wb") as file:
            file.writelines(pieces)
        # Not synced to the disk: after a power failure the checksum finds out.
        os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _remove(folder, unfinished)
        raise


def _remove(folder: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _evict(folder: int, limit: int) -> None:
    """Remove what was not used for longest until the rest fits, and what writers have left behind."""
    entries: list[_Entry] = []
    forgotten = time.time() - _FORGOTTEN
    with os.scandir(folder) as files:
        for file in files:
            try:
                status = file.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # somebody else removes, too
            if file.name.endswith(_SUFFIX):
                entries.append(_Entry(status.st_mtime, file.name, status.st_size))
            elif file.name.endswith(_UNFINISHED) and status.st_mtime < forgotten:
                _remove(folder, file.name)
    total = sum(entry.size for entry in entries)
    for entry in sorted(entries):
        if total <= limit:
            break
        _remove(folder, entry.name)
        total -= entry.size
