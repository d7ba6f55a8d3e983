"""The demo's scenes, on the bundled guest and on a variant with other constants.

What must be seen is computed by the catalog's ``Shop``, from what the C source says.
"""

from __future__ import annotations

import copy
import re

import pytest

from tests.cli.recorder import Recorder, local, names, operands
from tests.guests.catalog import DEMOS, Shop, wasm
from trio_wasmdbg.cli.scenes import SCENES, Show, source, summary


async def play(scene: str, guest: str) -> Recorder:
    recorder = Recorder()
    await SCENES[scene](wasm(guest), Show(recorder))
    return recorder


def numbers(text: str) -> list[int]:
    """Every integer in a sentence, decimal or hexadecimal."""
    return [int(found, 0) for found in re.findall(r"\b(?:0x[0-9a-f]+|\d+)\b", text)]


@pytest.fixture(params=list(DEMOS))
def guest(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(guest: str) -> Shop:
    return DEMOS[guest]


def tax(shop: Shop, cents: int) -> int:
    return cents + cents * (shop.seed + 12) // 100


async def test_start(guest: str, shop: Shop) -> None:
    seen = await play("start", guest)

    assert seen.kinds == ["breakpoint", "finished"]
    before, pending, after = seen.said
    assert numbers(before) == [0]
    assert pending.endswith("pending: True.")
    assert numbers(after) == [1]
    assert after.endswith("pending: False.")
    ((frame,),) = seen.backtraces
    assert frame.function_name == seen.events[0].function_name == "checkout"
    assert [local.value.value for local in frame.locals] == [15, 0]
    assert seen.result == shop.checkout(15)


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


async def test_step(guest: str, shop: Shop) -> None:
    seen = await play("step", guest)
    full = shop.subtotal(len(shop.basket))
    rate = shop.seed + 12
    taxes = full * rate // 100

    over, out = (frame for (frame,) in seen.backtraces)
    assert (over.function_name, operands(over)) == ("subtotal", [shop.subtotal(1)])
    assert (out.function_name, operands(out)) == ("checkout", [full])
    (table,) = seen.tables
    stacks: list[list[int]] = [
        [], [full], [full, rate], [full * rate], [full * rate, 100], [taxes], [taxes, full], [full + taxes]
    ]  # fmt: skip
    assert [row["operand stack"] for row in table] == [str(stack) for stack in stacks]
    assert [row["next instruction"] for row in table] == (
        ["local.get", "i32.const", "i32.mul", "i32.const", "i32.div_s", "local.get", "i32.add", "end"]
    )
    offsets = [int(row["offset"], 16) for row in table]
    assert offsets == sorted(set(offsets))
    assert numbers(seen.said[-1]) == [full + taxes]
    assert seen.result == shop.checkout(0) == full + taxes


async def test_change(guest: str, shop: Shop) -> None:
    seen = await play("change", guest)
    item, quantity, price = shop.basket[0]
    full = shop.subtotal(len(shop.basket))
    cheaper = full - quantity * (price - 1)

    first, second, memory, changed, third = seen.said
    assert numbers(first) == [full, 10_000]
    assert numbers(second) == [full]
    assert numbers(memory)[1:] == [item, quantity, price]
    assert numbers(changed) == [item, quantity, 1]
    assert numbers(third) == [cheaper]
    assert seen.result == str([tax(shop, 10_000), tax(shop, full), tax(shop, cheaper)])


async def test_interrupt(guest: str, shop: Shop) -> None:
    seen = await play("interrupt", guest)

    assert seen.kinds == ["interrupted", "finished"]
    assert seen.events[0].function_name == "spin"
    spins, searches, about, after = seen.said
    assert spins.endswith("running.")
    assert searches.endswith("running.")
    assert numbers(about) == [2 * shop.seed, 1]
    assert "n is even" in about
    assert numbers(after) == [1 + 2 * shop.seed]
    assert seen.result == 1 + 2 * shop.seed


async def test_trap(guest: str, shop: Shop) -> None:
    seen = await play("trap", guest)
    price = shop.basket[0][2]
    garbage = 0x40000000 + 16 * shop.seed

    assert seen.kinds == ["trap", "trap", "finished"]
    *nodes, nowhere, unwound, instead = seen.said
    assert [numbers(node)[1] for node in nodes] == [shop.seed, 2 * shop.seed, 3 * shop.seed]
    # Each node is where the one before says.
    assert [numbers(text)[0] for text in (*nodes[1:], nowhere)] == [numbers(node)[2] for node in nodes]
    assert numbers(nowhere) == [garbage]
    assert "MEMORY_OUT_OF_BOUNDS" in unwound

    load, division = seen.events[:2]
    assert (load.detail, load.facts["live"]) == ("MEMORY_OUT_OF_BOUNDS", False)
    assert f"{garbage + 4:#x}" in load.note
    whole, before = seen.backtraces
    assert names(whole) == ["sum_nodes"] * 4 + ["sum_list"]
    assert all(frame.exact for frame in whole)
    assert [local(frame, 0) for frame in whole[:4]] == [
        garbage,
        *(numbers(node)[0] for node in reversed(nodes)),
    ]
    assert operands(whole[0]) == [garbage]

    assert (division.detail, division.facts["live"]) == ("INTEGER_DIVISION_BY_ZERO", True)
    assert names(before) == ["average_line"]
    assert operands(before[0]) == [0, 0]
    assert numbers(instead) == [price, 2]
    assert seen.result == price // 2


async def test_side_by_side(guest: str, shop: Shop) -> None:
    seen = await play("side-by-side", guest)
    full = shop.subtotal(len(shop.basket))
    half = full - full * 50 // 100

    assert numbers(seen.said[0]) == [full, half]
    ((left,),) = seen.backtraces
    assert (left.function_name, local(left, 0)) == ("with_tax", full)
    assert [event.facts["result"] for event in seen.events] == [shop.checkout(50), shop.checkout(0)]


async def test_host_function(guest: str, shop: Shop) -> None:
    seen = await play("host-function", guest)
    first = shop.basket[0][0]

    assert seen.kinds == ["breakpoint", "breakpoint", "host error"]
    assert [(row["activation"], row["called"], row["frame"]) for row in seen.tables[0]] == [
        ("1", "average_line", "line_total"),
        ("1", "average_line", "subtotal"),
        ("1", "average_line", "average_line"),
        ("0", "refresh_prices", "refresh_prices"),
    ]
    assert seen.tables[0][2]["locals"] == "[2]"
    *answers, sold_out, unwound = seen.said
    shop = copy.deepcopy(shop)
    for row, answer in zip(shop.basket, answers, strict=True):
        assert numbers(answer) == [row[0], shop.subtotal(2) // 2]
        row[2] = shop.subtotal(2) // 2  # the guest puts it into the basket
    assert numbers(sold_out) == [first]
    error = seen.events[-1]
    assert (error.function_name, error.detail) == ("refresh_prices", "host.fetch_price")
    assert error.note == f"LookupError: item {first} is sold out"
    assert error.facts["live"] is True
    assert unwound.endswith(f"LookupError('item {first} is sold out')")


async def test_cancel(guest: str) -> None:
    seen = await play("cancel", guest)

    spinning, gone, took, gap = seen.said
    assert spinning.endswith("the debuggee is running, calls under way: 1, threads in use: 1.")
    assert gone.endswith("the debuggee is closed, calls under way: 0, threads in use: 0.")
    for timing in (took, gap):
        found = re.search(r"([\d.]+) ms\.$", timing)
        assert found is not None
        # A loop that waits for the guest would be late by all the time that it spins.  (The benchmark
        # of the loop's gaps holds them to much less; here the machine may be busy.)
        assert 0 < float(found[1]) < 500


@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_is_short_and_told_in_a_line(scene: str) -> None:
    text = source(SCENES[scene])

    assert 40 < len(summary(SCENES[scene])) <= 100
    assert len(text.splitlines()) < 90
    # The public interface, and the demo's own two helpers.
    imported = set(re.findall(r"^from (trio_wasmdbg\S*) import", text, flags=re.MULTILINE))
    assert imported <= {"trio_wasmdbg", "trio_wasmdbg.cli.scenes._host", "trio_wasmdbg.cli.scenes._show"}
