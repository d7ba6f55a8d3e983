"""What is armed changes while the guest runs in another thread, which never sees it disarmed in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wasmtime
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_wasmdbg.debuggee._armed import ALWAYS, CONDITIONALLY, ArmedBytes, Wanted
from trio_wasmdbg.instrument import ASKS, instrument
from trio_wasmdbg.wasm import decode_module

_BODY = "(loop $again (call 0 (local.get 0)) (br_if $again (local.get 0)))"
MODULE = instrument(
    decode_module(wasmtime.wat2wasm(f"(module {''.join(f'(func (param i32) {_BODY})' for _ in range(3))})"))
)
FUNCTIONS = range(3)


class Watched:
    """A debug memory; what it holds is looked at after each change."""

    def __init__(self, look: Callable[[bytearray], None]) -> None:
        self.content = bytearray(MODULE.layout.memory_pages << 16)
        self._look = look

    def u8(self, address: int) -> int:
        return self.content[address]

    def set_u8(self, address: int, value: int) -> None:
        self.write(address, bytes((value,)))

    def fill(self, address: int, size: int, byte: int) -> None:
        self.write(address, bytes((byte,)) * size)

    def write(self, address: int, data: bytes | bytearray) -> None:
        self.content[address : address + len(data)] = data
        self._look(self.content)


def asking(content: bytearray) -> set[int]:
    """The addresses of what asks the host."""
    found: set[int] = set()
    for function in FUNCTIONS:
        plan = MODULE.plans[function]
        assert plan is not None
        found.update(each for each in plan.site_addresses if content[each])
        found.update(each for each in plan.stop_addresses if content[each] & ASKS)
    return found


POINTS = st.dictionaries(
    st.tuples(st.sampled_from(FUNCTIONS), st.none() | st.integers(0, 4)),
    st.sampled_from((ALWAYS, CONDITIONALLY)),
    max_size=5,
)
WANTED = st.builds(
    Wanted,
    everything=st.booleans(),
    all_sites=st.booleans(),
    stops=POINTS,
    records=st.sampled_from((None, "branches", "coverage")),
    counting=st.booleans(),
).map(lambda wanted: evolve(wanted, functions=frozenset(f for f, _ in wanted.stops)))


async def test_what_is_armed_before_and_after_is_armed_in_between() -> None:
    arm_one_after_the_other()


@settings(deadline=None)
@given(st.lists(WANTED, min_size=2, max_size=6), st.sets(st.sampled_from(FUNCTIONS)))
def arm_one_after_the_other(wishes: list[Wanted], slow: set[int]) -> None:
    armed: set[int] = set()

    def look(content: bytearray) -> None:
        assert armed <= asking(content)

    def plan_of(function: int) -> Any:
        return MODULE.plans[function]

    memory: Any = Watched(look)
    one = ArmedBytes(memory, MODULE.layout, plan_of, slow)
    before: set[int] = set()
    for wanted in wishes:
        fresh: Any = Watched(lambda content: None)
        ArmedBytes(fresh, MODULE.layout, plan_of, slow).set(wanted)
        after = asking(fresh.content)
        armed = before & after
        one.set(wanted)
        for function in slow:
            # Others have no code that reads their stop bytes.
            for address in plan_of(function).stop_addresses:
                assert memory.content[address] == fresh.content[address]
        for function in FUNCTIONS:
            for address in plan_of(function).site_addresses:
                assert memory.content[address] == fresh.content[address]
        before = asking(memory.content)
