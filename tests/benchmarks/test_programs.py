"""The benchmark's programs are up to date, and the same at both levels of optimisation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import wasmtime

from tests.benchmarks._programs import FOLDER, LEVELS, PROGRAMS, build

MOST_BYTES = 4_000
NAMES = sorted({program.name for program in PROGRAMS})


@pytest.mark.parametrize("name", NAMES)
def test_both_levels_give_the_same(name: str) -> None:
    results = []
    for level in LEVELS:
        store = wasmtime.Store()
        module = wasmtime.Module.from_file(store.engine, str(FOLDER / level / f"{name}.wasm"))
        run = wasmtime.Instance(store, module, []).exports(store)["run"]
        assert isinstance(run, wasmtime.Func)
        results.append([run(store, n) for n in (1, 2, 5)])
    assert results[0] == results[1]


def test_there_is_enough_of_everything_and_it_is_small() -> None:
    assert len(NAMES) >= 12
    assert {program.kind for program in PROGRAMS} == {"application", "kernel", "recursion"}
    for program in PROGRAMS:
        assert program.path.stat().st_size < MOST_BYTES


@pytest.mark.skipif(
    not shutil.which("clang-22") or not shutil.which("wasm-ld-22"), reason="no clang-22, lld-22"
)
def test_they_are_up_to_date(tmp_path: Path) -> None:
    build(tmp_path)
    for level in LEVELS:
        for path in (FOLDER / level).glob("*.wasm"):
            assert path.read_bytes() == (tmp_path / level / path.name).read_bytes(), path.name
