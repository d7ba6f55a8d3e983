"""Scripts run plain, in fast twins, from fast to slow twins (exact and live), in flavours and slow twins, and
stepped.

The official suite lies outside of this repository (see ``_wast.suite_folder``); what it is known to fail
in the plain engine stands in ``expected_failures.txt``, and a line there that passes is a failure.  A
sample of it runs by default, all of it by ``nox -s spec`` (``TRIO_WASMDBG_SPEC=all``).  The scripts of
our own in ``scripts/`` run always.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.spec._driver import MODES
from tests.spec._pool import Pool, Results
from tests.spec._report import REPORT
from tests.spec._wast import suite_folder

HERE = Path(__file__).parent
SUITE = suite_folder()

NOT_FOR_THE_ENGINE = {
    "legacy": "the engine has no legacy exceptions",
    "proposals/custom-descriptors": "the engine has no custom descriptors",
}

SAMPLE = {
    # what is hard to rewrite, whatever else is in the sample
    "try_table.wast", "throw.wast", "throw_ref.wast", "br_on_cast.wast", "br_on_cast_fail.wast",
    "br_on_null.wast", "br_on_non_null.wast", "call_ref.wast", "return_call_indirect.wast", "linking.wast",
    "array_init_elem.wast", "array_new_data.wast", "local_init.wast", "left-to-right.wast", "fac.wast",
    "br_table.wast", "memory_init.wast", "table_init.wast", "start.wast", "type-subtyping.wast", "ref.wast",
    "unreached-valid.wast", "skip-stack-guard-page.wast", "proposals/threads/atomic.wast",
    "proposals/wide-arithmetic/wide-arithmetic.wast", "proposals/threads/imports.wast",
    "proposals/threads/memory.wast", "custom/branch_hint.wast",
    "proposals/custom-page-sizes/custom-page-sizes.wast",
}  # fmt: skip


def scripts() -> dict[str, Path]:
    found = {f"own/{path.name}": path for path in sorted((HERE / "scripts").glob("*.wast"))}
    if SUITE is not None:
        for number, path in enumerate(sorted(SUITE.rglob("*.wast"))):
            name = path.relative_to(SUITE).as_posix()
            if os.environ.get("TRIO_WASMDBG_SPEC") == "all" or name in SAMPLE or number % 10 == 0:
                found[name] = path
    return found


def expected_failures() -> dict[str, set[int]]:
    expected: dict[str, set[int]] = {}
    for line in (HERE / "expected_failures.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, number = line.split(maxsplit=1)[0].rpartition(":")
            expected.setdefault(name, set()).add(int(number))
    return expected


SCRIPTS = scripts()
EXPECTED = expected_failures()


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Results]]]:
    """All selected scripts, under way."""
    pool = Pool()
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "name" in item.callspec.params
    ]
    try:
        yield {
            name: pool.submit(SCRIPTS[name], MODES)
            for name in names
            if name in SCRIPTS and not unsupported(name)
        }
    finally:
        pool.close()


def unsupported(name: str) -> str | None:
    return next((why for folder, why in NOT_FOR_THE_ENGINE.items() if name.startswith(folder + "/")), None)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", SCRIPTS)
def test_script(name: str, running: dict[str, Future[Results]]) -> None:
    why = unsupported(name)
    if why is not None:
        pytest.skip(why)
    results = running[name].result()
    REPORT[name] = results
    expected = EXPECTED.get(name, set())
    problems = []
    for result in results:
        mode = result["mode"]
        if "died" in result:
            problems.append(f"{mode}: {result['died']}")
            continue
        lines = {line for line, _ in result["failures"]}
        problems += [
            f"{mode}: line {line}: {text}" for line, text in result["failures"] if line not in expected
        ]
        problems += [
            f"{mode}: line {line} was expected to fail, and passes" for line in sorted(expected - lines)
        ]
        assert result["counts"], "nothing ran"
    if not problems and len(results) == len(MODES):
        assert results[-1]["hook_calls"] >= results[1]["hook_calls"]
    assert not problems, "\n".join(problems[:20])


def test_the_official_suite_is_there() -> None:
    if SUITE is None:
        pytest.skip("the official test suite is not there (../shared/spec)")
    assert len(SCRIPTS) > 40


def test_only_known_scripts_are_expected_to_fail() -> None:
    if SUITE is None:
        pytest.skip("the official test suite is not there (../shared/spec)")
    for name in EXPECTED:
        assert (SUITE / name).is_file(), name
