"""Damaged modules through ``load_module``: refused by the engine, or by us with a place, or loaded; soon.

What the decoder alone makes of them is in ``tests/wasm/test_hostile.py``.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from time import perf_counter

import pytest
import wasmtime

from tests.debuggee._support import COUNT, ENGINE
from tests.debuggee.test_instances import LEFT
from tests.debuggee.test_proposals import EXCEPTIONS, REFERENCES
from tests.spec._wast import modules
from trio_wasmdbg import FrameMode, GuestModule, ModuleError, UnsupportedFeatureError, load_module

SECONDS = 5.0
"""The longest that a module of a few kilobytes may take on a busy machine; they take milliseconds."""

ROUNDS = 250
"""Damaged variants of each module."""

VALUES = (0, 1, 0x0B, 0x40, 0x7F, 0x80, 0xFB, 0xFC, 0xFD, 0xFF)


TESTS = Path(__file__).parents[1]


@cache
def originals() -> dict[str, bytes]:
    texts = {"count": COUNT, "left": LEFT, "references": REFERENCES, "exceptions": EXCEPTIONS}
    for path in (TESTS / "spec" / "scripts").glob("*.wast"):
        module = next(modules(path.read_text("utf-8")))
        assert isinstance(module.content, str)
        texts[path.name] = module.content
    made = {name: bytes(wasmtime.wat2wasm(text)) for name, text in texts.items()}
    return made | {"echo.c": (TESTS / "guests" / "echo.wasm").read_bytes()}


NAMES = (
    "count", "left", "references", "exceptions", "exceptions.wast", "instances.wast", "references.wast",
    "echo.c",
)  # fmt: skip


async def outcome_of(data: bytes, frames: FrameMode = "exact") -> str:
    """What comes of loading; fails unless it is what the engine says, or an error of ours with its place."""
    try:
        wasmtime.Module.validate(ENGINE, data)
    except wasmtime.WasmtimeError:
        valid = False
    else:
        valid = True
    start = perf_counter()
    try:
        module = await load_module(ENGINE, data, frames=frames, cache=None)
    except wasmtime.WasmtimeError:
        outcome = "refused by the engine"
        # Valid, and yet refused: the rewritten module is what the engine can't do.
        assert not valid
    except ModuleError as error:
        outcome = "refused by the debugger"
        # What the engine refuses as well may be named: legacy exceptions, components, …
        assert valid or isinstance(error, UnsupportedFeatureError)
        assert error.offset is not None and 0 <= error.offset <= len(data)
    else:
        outcome = "loaded"
        assert valid
        assert isinstance(module, GuestModule)
        assert module.original.data == data
    assert perf_counter() - start < SECONDS
    return outcome


def damaged(data: bytes, random: Random) -> bytes:
    """One to three changes at random."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(changed))
        match random.randrange(5):
            case 0:
                changed[place] = random.choice(VALUES)
            case 1:
                changed[place] ^= 1 << random.randrange(8)
            case 2:
                del changed[place : place + random.randint(1, 6)]
            case 3:
                changed[place:place] = random.randbytes(random.randint(1, 6))
            case _:
                changed[place:place] = changed[place : place + 20]
        if not changed:
            break
    return bytes(changed)


@pytest.mark.parametrize("frames", ["exact", "live", "post-mortem"])
@pytest.mark.parametrize("name", NAMES)
async def test_mutated(name: str, frames: FrameMode) -> None:
    data, random = originals()[name], Random(f"mutated {name} {frames}")
    assert await outcome_of(data, frames) == "loaded"
    met = Counter([await outcome_of(damaged(data, random), frames) for _ in range(ROUNDS)])
    # Both happen, or the changes were not what they should be.
    assert met["loaded"] and met["refused by the engine"]


@pytest.mark.parametrize("name", NAMES)
async def test_truncated(name: str) -> None:
    data = originals()[name]
    random = Random(f"truncated {name}")
    ends = range(len(data)) if len(data) < ROUNDS else random.sample(range(len(data)), ROUNDS)
    met = Counter([await outcome_of(data[:end]) for end in ends])
    assert met["refused by the engine"] >= len(ends) // 2


async def test_sections_swapped_and_repeated() -> None:
    data, random = originals()["instances.wast"], Random("sections")
    module = await load_module(ENGINE, data, cache=None)
    parts = [data[section.header_start : section.end] for section in module.original.sections]
    met: Counter[str] = Counter()
    for _ in range(ROUNDS):
        shuffled = list(parts)
        a, b = random.randrange(len(parts)), random.randrange(len(parts))
        if random.random() < 0.5:
            shuffled[a], shuffled[b] = shuffled[b], shuffled[a]
        else:
            shuffled.insert(a, parts[b])
        met[await outcome_of(data[:8] + b"".join(shuffled))] += 1
    assert met["loaded"] and met["refused by the engine"]
