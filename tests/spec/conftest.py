"""The report by script at the end of a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.spec._report import REPORT, lines


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if REPORT:
        terminalreporter.section("WebAssembly test suite")
        for line in lines():
            terminalreporter.write_line(line)
