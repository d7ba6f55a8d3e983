"""The prebuilt guests do, on plain wasmtime, what their source says; and they are up to date."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from wasmtime import (
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Global,
    Instance,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    TrapCode,
    ValType,
    WasiConfig,
)

from tests.guests.catalog import CALLS, COMMANDS, DEMO_CALLS, DEMOS, FOLDER, Call, Command, Shop, wasm
from trio_wasmdbg import guests

MOST_BYTES = 100_000
PREBUILT = sorted(path.name for path in FOLDER.glob("*.wasm"))


def instantiate(store: Store, name: str, prices: dict[int, int] | None = None) -> Instance:
    """A fresh instance on plain wasmtime, with the demo's host functions as plain ones."""
    i32 = ValType.i32()
    linker = Linker(store.engine)
    linker.define_func("host", "fetch_price", FuncType([i32], [i32]), lambda item: (prices or {})[item])
    linker.define_func("host", "sleep_ms", FuncType([i32], []), lambda _: None)
    linker.define_wasi()
    instance = linker.instantiate(store, Module(store.engine, wasm(name)))
    initialize = instance.exports(store).get("_initialize")
    if isinstance(initialize, Func):
        initialize(store)
    return instance


def call(store: Store, instance: Instance, export: str, *args: int | float) -> object:
    func = instance.exports(store)[export]
    assert isinstance(func, Func)
    return func(store, *args)


def at(store: Store, instance: Instance, symbol: str) -> tuple[Memory, int]:
    """The memory, and the address that the exported *symbol* has in it."""
    exports = instance.exports(store)
    memory, address = exports["memory"], exports[symbol]
    assert isinstance(memory, Memory)
    assert isinstance(address, Global)
    value = address.value(store)
    assert isinstance(value, int)
    return memory, value


@pytest.mark.parametrize("case", CALLS + DEMO_CALLS, ids=str)
def test_call(case: Call) -> None:
    store = Store(Engine())
    store.set_wasi(WasiConfig())
    instance = instantiate(store, case.guest)
    for symbol, data in case.inputs:
        memory, address = at(store, instance, symbol)
        memory.write(store, data, address)

    if isinstance(case.result, TrapCode):
        with pytest.raises(Trap) as trap:
            call(store, instance, case.export, *case.args)
        assert trap.value.trap_code == case.result
    else:
        assert call(store, instance, case.export, *case.args) == case.result

    for symbol, data in case.outputs:
        memory, address = at(store, instance, symbol)
        assert memory.read(store, address, address + len(data)) == data


@pytest.mark.parametrize("case", COMMANDS, ids=str)
def test_command(case: Command, tmp_path: Path) -> None:
    store = Store(Engine())
    (tmp_path / "stdin").write_bytes(case.stdin)
    config = WasiConfig()
    config.argv = [case.guest, *case.argv]
    config.env = list(case.env)
    config.stdin_file = str(tmp_path / "stdin")
    config.stdout_file = str(tmp_path / "stdout")
    config.stderr_file = str(tmp_path / "stderr")
    store.set_wasi(config)
    instance = instantiate(store, case.guest)

    exit_code = 0
    try:
        call(store, instance, "_start")
    except ExitTrap as stop:
        exit_code = stop.code
    store.close()

    assert exit_code == case.exit_code
    assert (tmp_path / "stdout").read_text() == case.stdout
    assert (tmp_path / "stderr").read_text() == case.stderr


@pytest.mark.parametrize("guest", DEMOS)
def test_the_demo_asks_the_host_for_prices(guest: str) -> None:
    shop = Shop(DEMOS[guest].seed, len(DEMOS[guest].basket))
    prices = {row[0]: 10 * row[0] for row in shop.basket}
    store = Store(Engine())
    instance = instantiate(store, guest, prices)

    total = call(store, instance, "refresh_prices")

    for row in shop.basket:
        row[2] = prices[row[0]]
    assert total == shop.checkout(0)


def test_the_variant_differs_in_every_number() -> None:
    ours, theirs = (shop.calls("x") for shop in DEMOS.values())
    computed = ("checkout", "square_root", "mix", "average_line", "nap")

    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a.export in computed]

    same = [str(a) for a, b in pairs if a.result == b.result and not isinstance(a.result, TrapCode)]
    assert same == []


@pytest.mark.parametrize("name", PREBUILT)
def test_guests_are_small(name: str) -> None:
    assert (FOLDER / name).stat().st_size < MOST_BYTES


def test_reading_bundled_guests() -> None:
    assert guests.guest_names() == ("demo", "greet")
    for name in guests.guest_names():
        assert guests.guest_bytes(name).startswith(b"\0asm")
        assert len(guests.guest_bytes(name)) < 60_000
        assert guests.guest_source(name).startswith("// ")
    assert "clang" in guests.build_script()


@pytest.mark.parametrize("name", ["nothing", "", "../guests/demo", "demo.wasm"])
@pytest.mark.parametrize("read", [guests.guest_bytes, guests.guest_source])
def test_an_unknown_guest_is_named(name: str, read: object) -> None:
    assert callable(read)
    with pytest.raises(LookupError, match=r"there are demo, greet"):
        read(name)


def test_prebuilt_guests_are_what_the_sources_give(tmp_path: Path) -> None:
    compiler = shutil.which("clang-22")
    if compiler is None:
        pytest.skip("clang-22 is not installed: prebuilt guests are not compared with a fresh build")
    bundled = Path(guests.__file__).parent
    for name in guests.guest_names():
        subprocess.run(["bash", bundled / "build.sh", name, tmp_path / f"{name}.wasm"], check=True)
        assert (tmp_path / f"{name}.wasm").read_bytes() == guests.guest_bytes(name), name
    if not Path("/usr/include/wasm32-wasi/stdio.h").exists():
        pytest.skip("wasi-libc is not installed: only the bundled guests were compared")
    subprocess.run(["bash", FOLDER / "build.sh", tmp_path], check=True)
    for name in PREBUILT:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name
