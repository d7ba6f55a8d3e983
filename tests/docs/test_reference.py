"""The reference is whole: every public name has its place, and what was generated is fresh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trio_wasmdbg
from trio_wasmdbg import errors, events
from trio_wasmdbg.engine import diagram

REFERENCE = Path(__file__).parents[2] / "docs/reference"

ELSEWHERE = {
    # pages made of whole modules
    *errors.__all__,
    "CodeOffset",
    "ModuleOffset",
    "events",
    # no use to describe
    "__version__",
}


def described() -> set[str]:
    """What a directive of some page describes, as it is imported."""
    pages = [page.read_text("utf-8") for page in REFERENCE.glob("*.md")]
    return {
        name
        for text in pages
        for name in re.findall(r"^\.\. (?:auto\w+|py:data):: trio_wasmdbg\.([\w.]+)$", text, re.MULTILINE)
    }


def test_every_public_name_is_described() -> None:
    assert set(trio_wasmdbg.__all__) - ELSEWHERE - described() == set()
    assert {"errors", "addresses"} <= described()


def test_every_event_is_described_and_says_what_comes_next() -> None:
    page = (REFERENCE / "events.md").read_text("utf-8")
    classes = {name for name in events.__all__ if name not in ("Event", "FrameView", "Paused", "Location")}

    blocks = re.findall(r"autoclass:: trio_wasmdbg\.events\.(\w+)\n(.*?)```", page, re.DOTALL)

    assert {name for name, text in blocks if "*Next:*" in text} == classes


@pytest.mark.parametrize("module", ["debuggee", "engine"])
def test_what_is_described_is_exported(module: str) -> None:
    names = {name.partition(".")[2] for name in described() if name.startswith(f"{module}.")}

    assert names
    assert {name for name in names if not name.startswith("_")} <= set(getattr(trio_wasmdbg, module).__all__)


def test_the_picture_of_the_states_is_that_of_the_table() -> None:
    page = (REFERENCE / "states.md").read_text("utf-8")

    assert f"```{{graphviz}}\n{diagram()}\n```" in page


def test_what_is_supported_names_tests_that_are_there() -> None:
    root = REFERENCE.parents[1]
    text = (root / "docs/supported.md").read_text("utf-8")

    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text))

    assert len(named) >= 20
    assert {name for name in named if not (root / name).is_file()} == set()
