"""A short differential fuzz, by Hypothesis (which shrinks what it finds), and all that was ever found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz._compare import compare
from tests.fuzz._generate import PROPOSALS, generate
from tests.spec._driver import engine
from trio_wasmdbg.instrument import instrument
from trio_wasmdbg.wasm import decode_module, read_body

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.wa*"))


@pytest.fixture(autouse=True)
def canonical(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaNs whose bits depend on how the engine optimises would be differences of no interest."""
    monkeypatch.setenv("TRIO_WASMDBG_FUZZ", "1")


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    # what an instance is called with depends on the seed
    seed = path.stem.rpartition("-")[2]
    data = path.read_bytes() if path.suffix == ".wasm" else bytes(wasmtime.wat2wasm(path.read_text()))
    assert compare(data, int(seed) if seed.isdigit() else 0) == []


# Each example is run in every mode; and where one fails, finding a smaller one takes a while.
@pytest.mark.timeout(900)
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(st.randoms(use_true_random=False))
def test_every_way_to_run_a_module_gives_the_same(random: Random) -> None:
    assert compare(generate(random), 1) == []


def test_the_generator_makes_what_it_should() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        data = generate(Random(seed))
        wasmtime.Module.validate(engine(), data)
        module = decode_module(data)
        for function in module.functions:
            if function.body is not None:
                seen.update(one.op.proposal for one in read_body(module, function))
        assert not instrument(module).opaque
    assert set(seen) == PROPOSALS
