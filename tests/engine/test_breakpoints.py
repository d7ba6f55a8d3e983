"""The table of breakpoints says the same of a module, of one function, and of one place."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from trio_wasmdbg.engine import BreakpointTable, Where


class OneModule:
    """Twenty functions of ten instructions."""

    name = "m"

    def functions_named(self, name: str) -> list[int]:
        return [int(name)]

    def functions_matching(self, pattern: re.Pattern[str]) -> list[int]:
        return [function for function in range(20) if pattern.search(str(function))]

    def is_defined(self, function: int) -> bool:
        return 0 <= function < 20

    def offsets(self, function: int) -> range:
        return range(function * 10, function * 10 + 10)

    def function_at(self, offset: int) -> int | None:
        return offset // 10 if 0 <= offset < 200 else None

    def instructions_named(self, names: frozenset[str]) -> list[tuple[int, int]]:
        return []

    def indirect_calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        return []

    def calls_of(self, function: str | re.Pattern[str]) -> list[tuple[int, int]]:
        return []


def test_points() -> None:
    random, module, other = Random(5), OneModule(), OneModule()
    table = BreakpointTable()
    table.module_loaded(module)
    table.module_loaded(other)
    there: list[Any] = []
    seen = set()
    for _ in range(400):
        action = random.randrange(4)
        if action < 2:
            where = random.choice([Where(function=random.randrange(22)), Where(function=re.compile("1")),
                                   Where(offset=random.randrange(210)), Where(function="3", module=other)])  # type: ignore[arg-type]
            condition = random.choice([None, "1", "0", lambda frame: True])
            there.append(table.add(where, condition=condition))
        elif action == 2 and there:
            table.remove(there.pop(random.randrange(len(there))))
        elif there:
            random.choice(there).enabled ^= True
        points = table.points(module)
        for function in range(20):
            here = [(k, texts) for f, k, texts in points if f == function]
            assert sorted(table.points_in(module, function)) == sorted(here)
            for k, texts in here:
                assert table.texts_at(module, function, k) == texts
                seen.add(texts)
    assert seen == {(), ("0",), ("1",), ("0", "1")}
    while there:
        table.remove(there.pop())
    assert not table.points(module) and not table._by_function
