"""Sessions of the real LLDB 22 with C, C++ and Zig guests."""

from __future__ import annotations

import pytest

from tests.e2e.lldb_client import GUESTS, debug, in_order, line, lldb, needs_lldb, served
from trio_wasmdbg.gdbremote import WasmAddress
from trio_wasmdbg.wasm import decode_module

pytestmark = [needs_lldb, pytest.mark.slow]

CALL, COUNT, PRICE, ADD, SUM, SHOP, END = (
    line("basket.c", mark) for mark in ("call", "count", "price", "add", "sum", "shop", "end")
)


def address(function: str, offset: int) -> str:
    """LLDB's address of a place in a function of ``basket.wasm``, counted from its body's first byte."""
    module = decode_module((GUESTS / "basket.wasm").read_bytes())
    (index,) = [number for number, name in module.names.functions.items() if name == function]
    body = module.functions[index].body
    assert body is not None
    return f"{WasmAddress.code(0, body.start + offset).raw:#x}"


AFTER_PROLOGUE = address("line_price", 28)
"""Where LLDB sets a breakpoint on the function, as it says itself ("line_price + 28")."""


async def test_it_starts_at_the_first_instruction() -> None:
    text = await debug("basket", "shop", "process status", "register read pc")

    in_order(text, "Process 1 stopped", "stop reason = trace", "shop", "pc = 0x4000000000000")


async def test_breakpoint_by_function_and_backtrace_with_source_lines_and_arguments() -> None:
    text = await debug("basket", "shop", "b line_price", "c", "bt")

    in_order(
        text,
        "stop reason = breakpoint 1.1",
        "frame #0",
        "line_price(item=0x000",
        f"discount=10) at basket.c:{COUNT - 1}",
        "frame #1",
        "sum(items=0x000",
        f"count=3, discount=10) at basket.c:{CALL}",
        "frame #2",
        f"shop at basket.c:{SHOP}",
    )


async def test_breakpoint_by_file_and_line() -> None:
    text = await debug("basket", "shop", f"b basket.c:{ADD}", "c", "p price", "c", "p price", "c", "p price")

    in_order(text, "breakpoint 1.1", "(double) 2.25", "(double) 3.1499", "(double) 2.7")


async def test_variables_of_all_kinds() -> None:
    text = await debug(
        "basket", "shop", f"b basket.c:{COUNT}", "c",
        "frame variable *item", "p full", "up", "frame variable", "up", "frame variable squares", "p big",
        "p basket[2].name", "p counter", "p sizeof(basket)",
    )  # fmt: skip

    in_order(
        text,
        "id = 101", "quantity = 2", "grade = 'a'", "weight = 0.5", "price = 1.25", '"apple"',
        "(double) 2.5",
        "count = 3", "discount = 10", "total = 0", "i = 0",
        "(int[4]) squares", "[0] = 1", "[3] = 16",
        "(long long) 1099511627776",
        '"cherry"',
        "(int) 0",
        "96",
    )  # fmt: skip


async def test_step_next_finish() -> None:
    text = await debug(
        "basket", "shop", f"b basket.c:{CALL}", "c", "breakpoint disable 1",
        "step", "next", "next", "next", "finish", "next",
    )  # fmt: skip

    in_order(
        text,
        f"at basket.c:{CALL}",
        "stop reason = step in", f"at basket.c:{COUNT - 1}",
        "stop reason = step over", f"at basket.c:{COUNT}",
        "stop reason = step over", f"at basket.c:{PRICE}",
        "stop reason = step out", f"at basket.c:{CALL}",
        "stop reason = step over", f"at basket.c:{ADD}",
    )  # fmt: skip


async def test_stepping_over_a_call() -> None:
    text = await debug("basket", "shop", f"b basket.c:{SHOP}", "c", "next", "p total", "thread until 1")

    in_order(text, "breakpoint 1.1", "stop reason = step over", "(double) 8.1")


async def test_next_stays_out_of_calls_with_the_manuals_script() -> None:
    closed = line("basket.c", "closed")
    text = await debug(
        "basket", "shop", f"command script import {GUESTS.parents[2] / 'docs' / 'howto' / 'wasm_next.py'}",
        f"b basket.c:{SHOP}", "c", "wnext", "wnext", "wnext", "process status",
    )  # fmt: skip

    in_order(text, f"shop at basket.c:{closed}", f"shop at basket.c:{END}", "exited with status = 0")


async def test_instruction_steps() -> None:
    text = await debug("basket", "shop", "b line_price", "c", "si", "si", "ni", "register read pc")

    assert text.count("stop reason = instruction step") == 3


async def test_conditional_breakpoint_and_ignore_count() -> None:
    text = await debug(
        "basket", "shop", f"breakpoint set -f basket.c -l {ADD} -c 'i == 2'", "c", "p i", "p total",
        "breakpoint list", "c",
    )  # fmt: skip

    in_order(text, "breakpoint 1.1", "(int) 2", "(double) 5.4", "hit count = 1", "exited with status = 0")


async def test_expressions_change_the_guest() -> None:
    text = await debug(
        "basket", "shop", f"b basket.c:{SUM}", "c", "expr total = 100", "expr basket[0].quantity = 7",
        "next", "next", "p total", "p basket[0].quantity", "p squares[1] + basket[0].quantity * 2",
    )  # fmt: skip

    in_order(text, "(double) $0 = 100", "(short) $1 = 7", "(double) 100", "(short) 7", "(int) 18")


async def test_memory_is_read_and_written() -> None:
    text = await debug(
        "basket", "shop", "b sum", "c",
        "memory write -s 4 &counter 0x77", "p/x counter", "memory read -s 4 -f x -c 1 &counter",
        "memory find -s apple 0x10000 0x11000", f"b basket.c:{PRICE}", "c", "p/x counter",
    )  # fmt: skip

    in_order(text, "0x00000077", "0x00000077", "data found at location", "(int) 0x00000078")


async def test_watchpoint_on_a_variable_tells_old_and_new_value() -> None:
    text = await debug(
        "basket", "shop", "b sum", "c", "watchpoint set variable counter", "c", "bt 2", "c",
        "watchpoint list", "watchpoint delete -f", "c",
    )  # fmt: skip

    in_order(
        text,
        "Watchpoint 1 hit:", "old value: 0", "new value: 1", "stop reason = watchpoint 1", "line_price",
        "Watchpoint 1 hit:", "old value: 1", "new value: 2",
        "exited with status = 0",
    )  # fmt: skip


async def test_watchpoints_on_reads_and_on_a_local_variable() -> None:
    text = await debug(
        "basket", "shop", f"b basket.c:{CALL}", "c", "breakpoint delete -f",
        "watchpoint set expression -w read -s 4 -- &basket[2].id", "watchpoint set variable -w write i",
        "c", "c",
    )  # fmt: skip

    in_order(text, "Watchpoint 2 hit:", "old value: 0", "new value: 1", "sum", "basket.c")


async def test_a_condition_that_the_server_evaluates() -> None:
    text = await debug(
        "basket", "shop", "b line_price",
        f"process plugin packet monitor condition {AFTER_PROLOGUE} mem32[local[0]] == 103",
        "process plugin packet monitor state",
        f"process plugin packet monitor condition {AFTER_PROLOGUE} (((", "c", "p item->id", "c",
    )  # fmt: skip

    in_order(text, "pauses only if mem32[local[0]] == 103", "expected a value", "(const int) 103")
    in_order(text, "exited with status = 0")


async def test_disassembly_at_the_pc() -> None:
    text = await debug("basket", "shop", "b line_price", "c", "disassemble --pc --count 3")

    in_order(text, "basket.wasm`line_price", f"->  {AFTER_PROLOGUE}", "local.get")


async def test_memory_regions_come_to_an_end() -> None:
    text = await debug("basket", "shop", "memory region --all")

    in_order(text, "rw-", "r-x basket.wasm", "0xffffffffffffffff) ---")


async def test_output_and_exit_code() -> None:
    text = await debug("basket", "leave", "c", args=(42,))

    in_order(text, "bye\n", "Process 1 exited with status = 42")


async def test_output_comes_before_the_stop_that_follows_it() -> None:
    text = await debug("basket", "shop", "b sum", "c", "script print('after the stop')", "c")

    in_order(text, "open\n", "after the stop", "closed\n", "exited with status = 0")


@pytest.mark.parametrize(
    ("export", "function", "mark", "reason", "signal"),
    [
        ("by_zero", "divide", "divide", "integer divide by zero", "8"),
        ("wild", "wild", "wild", "out of bounds memory access", "11"),
        ("crash", "crash", "crash", "unreachable", "4"),
    ],
)
async def test_traps_have_text_and_place_and_the_right_end(
    export: str, function: str, mark: str, reason: str, signal: str
) -> None:
    async with served("basket", export) as at:
        text = await lldb(at.port, "c", on_crash=["bt", "frame variable", "c"])

    place = f"basket.c:{line('basket.c', mark)}"
    in_order(text, "stop reason = wasm trap: ", reason, function, place, "(lldb) bt", function, place)
    assert "wasm trap: wasm trap" not in text
    in_order(text, "(lldb) frame variable", "(lldb) c", f"exited with status = {signal} ")


async def test_backtrace_of_a_deep_recursion() -> None:
    """LLDB 22 tells frames of one function apart by nothing but their number (LLVM #208061)."""
    bottom = line("basket.c", "bottom")
    text = await debug(
        "basket", "dive", f"b basket.c:{bottom}", "c", "bt", "process plugin packet monitor locals 150",
        args=(200,),
    )  # fmt: skip

    in_order(text, "frame #0", "deep", "frame #100", "deep", "frame #200", "deep", "frame #201", "dive")
    in_order(text, "frame 150, deep:", "= 150")


async def test_optimised_code_shows_what_there_is() -> None:
    text = await debug(
        "basket_o2", "shop", "b line_price", "c", "bt", "frame variable", "finish",
        "breakpoint delete -f", "c",
    )  # fmt: skip

    in_order(text, "stop reason = breakpoint", "line_price", "sum", "shop", "exited with status = 0")
    assert "error: " not in text.split("frame variable")[0]


async def test_cpp() -> None:
    loop = line("shapes.cc", "loop")
    text = await debug(
        "shapes", "measure",
        "b geometry::Circle::area", "b 'geometry::larger<int>'", f"b shapes.cc:{loop}",
        "c", "p shape->name_", "c", "p *this", "p radius_", "finish", "c",
        "step", "next", "p width_ * height_",
        "breakpoint delete 3", "c", "frame variable a b", "bt",
    )  # fmt: skip

    in_order(
        text,
        '"circle"', "radius_ = 2", "(double) 2", "shapes.cc", "Box::area", "(int) 15",
        "larger<int>", "&a = 27", "&b = 20", "measure",
    )  # fmt: skip


async def test_zig() -> None:
    text = await debug(
        "counts", "run",
        f"b counts.zig:{line('counts.zig', 'add')}", "c", "p value", "up", "p count.total",
        "c", "breakpoint delete -f", f"b counts.zig:{line('counts.zig', 'tally')}", "c",
        "frame variable count", "c",
    )  # fmt: skip

    in_order(text, "counts.zig", "3", "total = 8")
