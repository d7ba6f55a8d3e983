"""What the prebuilt guests do: for each call of each program, what must come out.

Expected values are computed here, in Python, from what the C source says; none was copied from a
run.  Tests that compare an instrumented run with the plain one iterate over the same tables.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

from wasmtime import TrapCode

from trio_wasmdbg.guests import guest_bytes

FOLDER = Path(__file__).parent


class Call(NamedTuple):
    """One call of an export."""

    guest: str
    export: str
    args: tuple[int | float, ...]
    result: int | float | TrapCode | None
    """What it returns (None: nothing), or how it traps."""

    inputs: tuple[tuple[str, bytes], ...] = ()
    """Bytes to be written at exported addresses before the call."""

    outputs: tuple[tuple[str, bytes], ...] = ()
    """Bytes that must stand at exported addresses after it."""

    def __str__(self) -> str:
        return f"{self.guest}.{self.export}({', '.join(map(str, self.args))})"


class Command(NamedTuple):
    """One run of a WASI command."""

    guest: str
    argv: tuple[str, ...]
    stdout: str
    exit_code: int
    env: tuple[tuple[str, str], ...] = ()
    stdin: bytes = b""
    stderr: str = ""

    def __str__(self) -> str:
        return " ".join((self.guest, *self.argv))


@cache
def wasm(name: str) -> bytes:
    """The module called *name*: one of this folder's, or a bundled one."""
    path = FOLDER / f"{name}.wasm"
    return path.read_bytes() if path.exists() else guest_bytes(name)


def signed(value: int) -> int:
    """*value* as the i32 that wasmtime returns."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


# ── the tests' guests ──────────────────────────────────────────────────────────────────────────


def _f32(value: float) -> float:
    (narrow,) = struct.unpack("f", struct.pack("f", value))
    assert isinstance(narrow, float)
    return narrow


def _blended(n: int) -> float:
    total = 0.0
    for i in range(n):
        total += i + float(i << 33) * _f32(_f32(i) / 3) - total / 7
    return total


def _trace(n: int) -> float:
    total = 0.0
    for i in range(n):
        cell = 0.0
        for k in range(n):
            cell += (i + k * 0.5) * (k - i * 0.25)
        total += cell
    return total


def _sha256(data: bytes) -> Call:
    digest = hashlib.sha256(data).digest()
    first = signed(int.from_bytes(digest[:4], "big"))
    return Call("sha256", "sha256", (len(data),), first, (("input", data),), (("digest", digest),))


def _quicksort(n: int, order: int) -> Call:
    x, numbers = 12345, []
    for _ in range(n):
        x = (x * 1103515245 + 12345) % (1 << 32)
        numbers.append((x >> 8) % 10000 - 5000)
    keys = (
        lambda a: (0, a),
        lambda a: (0, -a),
        lambda a: (a & 15, a),
        lambda a: ((a % (1 << 32)).bit_count(), a),
    )
    numbers.sort(key=keys[order])
    checksum = 0
    for number in numbers:
        checksum = (checksum * 31 + number) % (1 << 32)
    packed = struct.pack(f"<{n}i", *numbers)
    return Call("qsort", "quicksort", (n, order), signed(checksum), outputs=(("numbers", packed),))


def _postfix(program: bytes, result: int | TrapCode) -> Call:
    return Call("qsort", "postfix", (len(program),), result, inputs=(("program", program),))


def _c_exponent(value: float) -> str:
    return f"{value:e}"


def _format(n: int, x: float) -> Call:
    text = (
        f"{n} {n:05x} {n % 1000:<6}| {n**3:+} {'odd' if n % 2 else 'even'} {chr(97 + n % 26)} "
        f"{x:.3f} {x * 1e10:g} {_c_exponent(x / 1e5)} %"
    ).encode()
    return Call("format", "format", (n, x), len(text), outputs=(("text", text + b"\0"),))


CALLS = (
    Call("fib", "fib", (0,), 0),
    Call("fib", "fib", (15,), 610),
    Call("fib", "blended", (20,), _blended(20)),
    Call("fib", "is_even", (1001,), 0),
    Call("sieve", "sieve", (100,), 25),
    Call("sieve", "sieve", (3000,), 430),
    Call("matmul", "matmul", (3,), _trace(3)),
    Call("matmul", "matmul", (16,), _trace(16)),
    _sha256(b""),
    _sha256(b"abc"),
    _sha256(b"a" * 55),
    _sha256(b"b" * 56),
    _sha256(bytes(range(256)) * 2),
    *(_quicksort(60, order) for order in range(4)),
    Call("qsort", "quicksort", (60, 4), TrapCode.TABLE_OUT_OF_BOUNDS),
    _postfix(b"93/4*7-~", -5),
    _postfix(b"12+3", 3),
    _postfix(b"10/", TrapCode.INTEGER_DIVISION_BY_ZERO),
    _postfix(b"1x", TrapCode.UNREACHABLE),
    _format(7, 1.25),
    _format(1234, 0.001),
    _format(65535 % 1290, 987654.321),
)
"""Calls of exports.  Each starts from a fresh instance."""

COMMANDS = (
    Command("hello", (), "", 0, stderr="0 greeted\n"),
    Command(
        "hello",
        ("Ada", "Grace Hopper"),
        "1: hello, Ada!\n2: hello, Grace Hopper!\n",
        3,
        env=(("EXIT_CODE", "3"), ("OTHER", "x")),
        stderr="2 greeted\n",
    ),
    Command("echo", (), "", 0),
    Command("echo", (), "  1  one\n  2  two\n  3  three", 3, stdin=b"one\ntwo\nthree"),
    Command("greet", (), "hello, world\n", 0),
    Command("greet", ("Ada", "Grace"), "hello, Ada\nhello, Grace\n", 1),
)
"""Runs of WASI commands."""


# ── the demo's guest, and its variant ──────────────────────────────────────────────────────────


class Shop:
    """What ``demo.c`` computes, said again in Python, for any SEED and ITEMS."""

    def __init__(self, seed: int, items: int) -> None:
        rows = [
            [100 + seed, 1 + seed % 3, 20 * seed + 9],
            [200 + seed, 2, 110 + seed],
            [300 + seed, 1 + seed % 4, 31 * seed],
            [400 + seed, 3, 45 + 2 * seed],
            [500 + seed, 1, 12 * seed + 3],
        ]
        self.seed = seed
        self.basket = rows[:items]

    def packed(self) -> bytes:
        """The basket as it stands in memory: id, quantity, price."""
        return b"".join(struct.pack("<3i", *row) for row in self.basket)

    def subtotal(self, count: int) -> int:
        return sum(quantity * price for _, quantity, price in self.basket[:count])

    def checkout(self, discount: int) -> int:
        full = self.subtotal(len(self.basket))
        cents = full - full * discount // 100
        return cents + cents * (self.seed + 12) // 100

    def square_root(self, x: float, rounds: int) -> float:
        guess = x / 2 + self.seed
        for _ in range(rounds):
            guess = (guess + x / guess) / 2
        return guess

    def mix(self, state: int, rounds: int) -> int:
        for _ in range(rounds):
            state = (state * 6364136223846793005 + 2 * self.seed + 1) % (1 << 64)
            state ^= state >> 29
        return (state + (1 << 63)) % (1 << 64) - (1 << 63)

    def calls(self, guest: str) -> tuple[Call, ...]:
        """Calls that need no host function with an answer of its own, and that end."""
        return (
            Call(guest, "checkout", (0,), self.checkout(0), outputs=(("basket", self.packed()),)),
            Call(guest, "checkout", (15,), self.checkout(15)),
            Call(guest, "gcd", (1071, 462), 21),
            Call(guest, "gcd", (-12, 8), -4),
            Call(guest, "square_root", (2.0, 6), self.square_root(2.0, 6)),
            Call(guest, "mix", (1, 100), self.mix(1, 100)),
            Call(guest, "sum_list", (), TrapCode.MEMORY_OUT_OF_BOUNDS),
            Call(guest, "average_line", (2,), self.subtotal(2) // 2),
            Call(guest, "average_line", (0,), TrapCode.INTEGER_DIVISION_BY_ZERO),
            Call(guest, "take", (1, 2), 0),
            Call(guest, "take", (1, 3), TrapCode.UNREACHABLE),
            Call(guest, "nap", (3,), 3 * self.seed),
        )


DEMOS = {"demo": Shop(seed=7, items=4), "demo_variant": Shop(seed=11, items=5)}
DEMO_CALLS = tuple(call for guest, shop in DEMOS.items() for call in shop.calls(guest))
