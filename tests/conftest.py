"""For all tests: the user's cache of rewritten modules is left alone, by child processes as well."""

from __future__ import annotations

import os


def pytest_configure() -> None:
    os.environ["TRIO_WASMDBG_CACHE"] = "off"
