"""Rewritten modules on disk: hits, misses, damage, many writers, and folders that are not to be trusted."""

# ruff: noqa: ASYNC240 - nothing else runs while these tests look at their folders

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import wasmtime

from tests.debuggee._support import COUNT, ENGINE, body_of
from trio_wasmdbg import GuestModule, ModuleCache, events, load_module, open_debuggee
from trio_wasmdbg.debuggee import _cache, _loading
from trio_wasmdbg.instrument import FRAME_MODES, instrument
from trio_wasmdbg.wasm import decode_module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rewritten"


@pytest.fixture
def kept(folder: Path) -> ModuleCache:
    return ModuleCache(folder, min_module=0)


class Rewrites:
    """Counts them."""

    count = 0


@pytest.fixture
def rewrites(monkeypatch: pytest.MonkeyPatch) -> Rewrites:
    it = Rewrites()

    def counting(*args: Any, **options: Any) -> Any:
        it.count += 1
        return instrument(*args, **options)

    monkeypatch.setattr(_loading, "instrument", counting)
    return it


def numbered(number: int) -> bytes:
    return bytes(wasmtime.wat2wasm(f'(module (func (export "f") (result i32) (i32.const {number})))'))


async def load(source: str | bytes, cache: ModuleCache) -> GuestModule:
    return await load_module(ENGINE, source, cache=cache)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


async def debug(module: GuestModule) -> list[object]:
    """A session with a breakpoint, a step and the result."""
    seen: list[object] = []
    body = body_of(module, lambda guest, instance: guest.call(instance.func("count"), 5))
    async with open_debuggee(wasmtime.Store(ENGINE), body) as debuggee:
        debuggee.add_breakpoint("add", once=True)
        event = await debuggee.run()
        assert isinstance(event, events.Breakpoint)
        seen.append((event.frame.function_name, event.frame.module_offset))
        stepped = await debuggee.step()
        seen.append(stepped.frame.module_offset)
        finished = await debuggee.finish()
        seen.append(finished.result)
    return seen


async def test_a_second_load_does_not_rewrite_and_debugs_alike(kept: ModuleCache, rewrites: Rewrites) -> None:
    first = await load(COUNT, kept)
    second = await load(COUNT, kept)

    assert rewrites.count == 1
    assert await debug(first) == await debug(second)


async def test_modules_of_other_bytes_are_others(kept: ModuleCache, folder: Path, rewrites: Rewrites) -> None:
    for number in (1, 2, 1, 2):
        module = await load(numbered(number), kept)
        assert module.bytecode == numbered(number)
    assert rewrites.count == 2
    assert len(list(folder.iterdir())) == 2


async def test_another_version_rewrites_again(
    kept: ModuleCache, rewrites: Rewrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(COUNT, kept)
    monkeypatch.setattr(_cache, "rewriting_program", lambda: b"another")
    await load(COUNT, kept)
    assert rewrites.count == 2


async def test_each_mode_has_its_own(kept: ModuleCache, folder: Path, rewrites: Rewrites) -> None:
    for count, frames in enumerate((*FRAME_MODES, *FRAME_MODES)):
        module = await load_module(ENGINE, COUNT, frames=frames, cache=kept)
        assert module.frames == frames
        assert rewrites.count == min(count + 1, len(FRAME_MODES))
    assert len(list(folder.iterdir())) == len(FRAME_MODES)


async def test_nothing_compiled_is_kept_or_read(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object) -> None:
        raise AssertionError("machine code from outside")

    for name in dir(wasmtime._bindings):
        if "serialize" in name:
            monkeypatch.setattr(wasmtime._bindings, name, never)
    first = await load(COUNT, kept)
    assert b"\x7fELF" not in only_file(folder).read_bytes()  # what Wasmtime's artifacts are
    assert await debug(await load(COUNT, kept)) == await debug(first)
    assert rewrites.count == 1


async def test_small_modules_are_not_kept(folder: Path, rewrites: Rewrites) -> None:
    for _ in range(2):
        await load(COUNT, ModuleCache(folder))
    assert rewrites.count == 2
    assert not folder.exists()


# ── damage ─────────────────────────────────────────────────────────────────────────────────────


async def test_damage_anywhere_is_a_miss_and_mended(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, caplog: pytest.LogCaptureFixture
) -> None:
    source = numbered(7)
    await load(source, kept)
    good = only_file(folder).read_bytes()
    places = [*range(0, 48), *range(48, len(good), 97), len(good) - 1]
    for n, at in enumerate(places, 2):
        path = only_file(folder)
        path.write_bytes(good[:at] + bytes((good[at] ^ 0x10,)) + good[at + 1 :])
        await load(source, kept)
        assert rewrites.count == n
        assert only_file(folder).read_bytes() == good
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("size", [0, 7, 8, 40, 43, 44, 200, -1])
async def test_a_truncated_file(kept: ModuleCache, folder: Path, rewrites: Rewrites, size: int) -> None:
    await load(COUNT, kept)
    path = only_file(folder)
    good = path.read_bytes()
    path.write_bytes(good[:size])
    await load(COUNT, kept)
    assert rewrites.count == 2
    assert only_file(folder).read_bytes() == good


async def test_a_file_of_another_module_under_this_name(
    kept: ModuleCache, folder: Path, rewrites: Rewrites
) -> None:
    await load(numbered(1), kept)
    path = only_file(folder)
    await load(numbered(2), kept)
    (other,) = set(folder.iterdir()) - {path}
    path.write_bytes(other.read_bytes())

    module = await load(numbered(1), kept)

    assert rewrites.count == 3
    assert module._instrumented.wasm == instrument(decode_module(numbered(1))).wasm


def symlink(path: Path) -> None:
    target = path.parent.parent / "elsewhere"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def too_big(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse


@pytest.mark.parametrize("spoil", [symlink, fifo, too_big])
async def test_what_is_no_plain_file_of_ours_is_replaced(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, spoil: Callable[[Path], None]
) -> None:
    await load(COUNT, kept)
    path = only_file(folder)
    good = path.read_bytes()
    spoil(path)
    await load(COUNT, kept)
    assert rewrites.count == 2
    assert path.is_file() and not path.is_symlink() and path.read_bytes() == good


async def test_a_folder_under_this_name_is_let_be(
    kept: ModuleCache, folder: Path, rewrites: Rewrites
) -> None:
    await load(COUNT, kept)
    path = only_file(folder)
    path.unlink()
    path.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    await load(COUNT, kept)
    assert rewrites.count == 2
    assert len(os.listdir("/proc/self/fd")) == before
    assert only_file(folder).is_dir()  # and nothing unfinished beside it


async def test_what_the_engine_refuses_is_rewritten(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As good as forged: the right checksum, and a module that is none.
    original = decode_module(numbered(1))
    wrong = instrument(original)
    good = wrong.wasm
    wrong.wasm = good[:-1]
    kept.save(wrong)
    module = await load(numbered(1), kept)
    assert rewrites.count == 1
    assert module._instrumented.wasm == good
    await load(numbered(1), kept)
    assert rewrites.count == 1


# ── many at once ───────────────────────────────────────────────────────────────────────────────


async def test_threads_that_write_damage_and_read_at_once(kept: ModuleCache, folder: Path) -> None:
    modules = [decode_module(numbered(n)) for n in range(3)]
    expected = [instrument(module) for module in modules]
    wrong: list[object] = []
    go = threading.Barrier(6)

    def use(seed: int) -> None:
        go.wait()
        for n in range(60):
            which = (seed + n) % 3
            if seed == 0:
                for path in folder.iterdir():
                    try:
                        with path.open("r+b") as file:
                            file.truncate(n)
                    except FileNotFoundError:
                        pass
            elif (seed + n) % 2:
                kept.save(expected[which])
            else:
                found = kept.load(modules[which], lambda: None)
                if found is not None and found.wasm != expected[which].wasm:
                    wrong.append(which)

    folder.mkdir(0o700)
    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await trio.to_thread.run_sync(thread.join)
    assert not wrong
    assert not [path for path in folder.iterdir() if path.suffix != ".rewritten"]
    kept.save(expected[0])
    assert kept.load(modules[0], lambda: None) is not None


WRITER = """
import sys
from pathlib import Path
import wasmtime
from trio_wasmdbg import ModuleCache
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module
cache = ModuleCache(Path(sys.argv[1]), min_module=0, max_size=4000)
for n in range(40):
    wat = f"(module (func (result i32) (i32.const {n % 5})))"
    module = decode_module(bytes(wasmtime.wat2wasm(wat)))
    expected = instrument(module)
    found = cache.load(module, lambda: None)
    assert found is None or found.wasm == expected.wasm
    cache.save(expected)
"""


async def test_processes_that_write_and_evict_at_once(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WRITER, str(folder)]
    root = Path(__file__).parents[2]

    async def write() -> None:
        done = await trio.run_process(command, cwd=root, capture_stderr=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(write)
    assert {path.suffix for path in folder.iterdir()} == {".rewritten"}


# ── size ───────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_not_used_for_longest_goes_first(
    kept: ModuleCache, folder: Path, rewrites: Rewrites
) -> None:
    await load(numbered(0), kept)
    size = only_file(folder).stat().st_size
    paths = {0: only_file(folder)}
    for number in (1, 2):
        await load(numbered(number), kept)
        (paths[number],) = set(folder.iterdir()) - set(paths.values())
    for number, path in paths.items():
        os.utime(path, (1000 + number, 1000 + number))
    await load(numbered(0), kept)  # used just now
    assert paths[0].stat().st_mtime > 10_000

    await load(numbered(3), ModuleCache(folder, min_module=0, max_size=3 * size + 30))

    assert not paths[1].exists()
    assert paths[0].exists() and paths[2].exists() and len(list(folder.iterdir())) == 3


async def test_what_is_bigger_than_all_is_not_kept(folder: Path) -> None:
    await load(COUNT, ModuleCache(folder, min_module=0, max_size=100))
    assert not folder.exists()


async def test_what_a_dead_writer_left_is_removed_after_an_hour(kept: ModuleCache, folder: Path) -> None:
    folder.mkdir(0o700)
    old, new, foreign = folder / "a.unfinished", folder / "b.unfinished", folder / "note.txt"
    for path in (old, new, foreign):
        path.write_bytes(b"x")
    for path in (old, foreign):
        os.utime(path, (time.time() - 4000,) * 2)
    await load(COUNT, kept)
    assert not old.exists() and new.exists() and foreign.exists()


# ── trust, and switching off ───────────────────────────────────────────────────────────────────


async def test_the_folder_and_the_files_are_the_users_alone(kept: ModuleCache, folder: Path) -> None:
    before = os.umask(0)
    try:
        await load(COUNT, kept)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o7777 == 0o700
    assert only_file(folder).stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o701])
async def test_a_folder_open_to_others_is_not_used(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    await load(COUNT, kept)
    folder.chmod(mode)
    with caplog.at_level(logging.WARNING, "trio_wasmdbg.cache"):
        await load(COUNT, kept)
        await load(numbered(1), kept)
    assert rewrites.count == 3
    assert "others have access" in caplog.text
    assert len(list(folder.iterdir())) == 1


async def test_a_folder_of_somebody_else_is_not_used(
    kept: ModuleCache, folder: Path, rewrites: Rewrites, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    await load(COUNT, kept)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    await load(COUNT, kept)
    assert rewrites.count == 2
    assert re.search(rf"belongs to user {me}\b", caplog.text)


async def test_a_link_to_a_folder_is_not_used(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(0o700)
    link = tmp_path / "link"
    link.symlink_to(folder)
    await load(COUNT, ModuleCache(link, min_module=0))
    assert not list(folder.iterdir())
    assert "no cache of rewritten modules" in caplog.text


async def test_where_no_folder_can_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    module = await load(COUNT, ModuleCache(blocked / "below", min_module=0))
    assert module.is_instrumented(0)
    assert "no cache of rewritten modules" in caplog.text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The users's cache folder, moved."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TRIO_WASMDBG_CACHE")
    return tmp_path / "home/trio_wasmdbg"


BIG = f'(module (memory 2) (data (i32.const 0) "{"x" * 70_000}") (func (export "f")))'


async def test_by_default_it_is_the_users(home: Path, rewrites: Rewrites) -> None:
    for _ in range(2):
        await load_module(ENGINE, BIG)
    assert rewrites.count == 1
    assert home.stat().st_mode & 0o777 == 0o700 and len(list(home.iterdir())) == 1


@pytest.mark.parametrize("off", ["off", "OFF"])
async def test_the_environment_switches_the_users_off(
    home: Path, rewrites: Rewrites, monkeypatch: pytest.MonkeyPatch, off: str
) -> None:
    monkeypatch.setenv("TRIO_WASMDBG_CACHE", off)
    for _ in range(2):
        await load_module(ENGINE, BIG)
    assert rewrites.count == 2
    assert not home.exists()


async def test_none_is_no_cache(home: Path, rewrites: Rewrites) -> None:
    for _ in range(2):
        await load_module(ENGINE, BIG, cache=None)
    assert rewrites.count == 2
    assert not home.exists()
