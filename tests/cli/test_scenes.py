"""The demo's scenes, on the bundled guest and on a variant with other constants.

What must be seen is computed by the catalog's ``Shop``, from what the C source says.
"""

from __future__ import annotations

import pytest

from tests.cli.recorder import Recorder, local, names, operands
from tests.guests.catalog import DEMOS, Shop, wasm
from trio_wasmdbg.cli.scenes import SCENES, Show


async def play(scene: str, guest: str) -> Recorder:
    recorder = Recorder()
    await SCENES[scene](wasm(guest), Show(recorder))
    return recorder


@pytest.fixture(params=list(DEMOS))
def guest(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(guest: str) -> Shop:
    return DEMOS[guest]


async def test_breakpoint(guest: str, shop: Shop) -> None:
    seen = await play("breakpoint", guest)
    first, second, *_ = shop.basket
    count = len(shop.basket)

    assert seen.kinds == ["breakpoint", "breakpoint", "finished"]
    at_entry, at_multiplication = seen.backtraces
    assert names(at_entry) == ["line_total", "subtotal", "checkout"]
    assert operands(at_entry[0]) == []
    assert local(at_entry[1], 1) == count
    assert names(at_multiplication) == ["line_total", "subtotal", "subtotal", "checkout"]
    innermost, inner, outer, checkout = at_multiplication
    assert innermost.instruction == "i32.mul"
    assert operands(innermost) == [second[2], second[1]]
    # An item takes 12 bytes.
    items = local(outer, 0)
    assert isinstance(items, int)
    assert local(inner, 0) == local(innermost, 0) == items + 12
    assert (local(inner, 1), local(outer, 1)) == (count - 1, count)
    assert operands(outer) == [first[1] * first[2]]
    assert local(checkout, 0) == 0
    assert seen.result == shop.checkout(0)
