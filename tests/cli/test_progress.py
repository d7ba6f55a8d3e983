"""The line on the terminal while a module is loaded."""

from __future__ import annotations

import io

import pytest
import trio
import trio.testing

from trio_wasmdbg import Progress
from trio_wasmdbg.cli._progress import EVERY, PATIENCE, Line, status


class Terminal(io.StringIO):
    """Remembers what it is told."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("report", "bar"),
    [
        (Progress("read", 0, 0), " [--------------------]   0% read"),
        (Progress("validate", 100, 100), " [#-------------------]   5% validate"),
        (Progress("rewrite", 0, 700), " [#-------------------]   5% rewrite"),
        (Progress("rewrite", 350, 700), " [########------------]  40% rewrite"),
        (Progress("compile", 0, 100), " [###############-----]  75% compile"),
        (Progress("compile", 100, 100), " [####################] 100% compile"),
    ],
    ids=str,
)
def test_the_bar(report: Progress, bar: str) -> None:
    line = Line("loading")
    line.update(report)
    assert line.bar == bar


async def test_the_line_shows_it_and_goes_away(autojump_clock: trio.testing.MockClock) -> None:
    terminal = Terminal()
    async with status("loading big.wasm", terminal, {}) as tell:
        tell(Progress("rewrite", 350, 700))
        await trio.sleep(PATIENCE + EVERY / 2)
        assert terminal.getvalue() == "\rloading big.wasm … [########------------]  40% rewrite 0 s\x1b[K"
        tell(Progress("compile", 0, 100))
        await trio.sleep(EVERY)
        assert terminal.getvalue().endswith("75% compile 0 s\x1b[K")
    assert terminal.getvalue().endswith("\r\x1b[K")


async def test_nothing_where_it_is_quick_or_no_terminal(autojump_clock: trio.testing.MockClock) -> None:
    terminal, file = Terminal(), io.StringIO()
    async with status("loading", terminal, {}) as tell:
        tell(Progress("compile", 1, 1))
    async with status("loading", file, {}) as tell:
        tell(Progress("compile", 1, 1))
        await trio.sleep(10)
    assert terminal.getvalue() == file.getvalue() == ""


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock: trio.testing.MockClock) -> None:
    terminal = Terminal()
    with pytest.raises(FileNotFoundError):
        async with status("loading", terminal, {}):
            await trio.sleep(1)
            raise FileNotFoundError
    assert terminal.getvalue().endswith("\r\x1b[K")


async def test_a_line_is_no_wider_than_the_terminal(autojump_clock: trio.testing.MockClock) -> None:
    terminal = Terminal()
    async with status("loading " + "x" * 200, terminal, {}):
        await trio.sleep(PATIENCE + EVERY / 2)
    first = terminal.getvalue().split("\r")[1]
    assert first == "loading " + "x" * 71 + "\x1b[K"
