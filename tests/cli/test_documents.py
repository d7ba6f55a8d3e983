"""The documents tell the truth: programs and commands print what stands under them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import ROOT, environment, started

HOWTO = (
    "stops",
    "watchpoints",
    "stepping",
    "traps-and-exceptions",
    "edits",
    "call-traces",
    "recordings",
    "several-guests",
    "own-nursery",
    "embedding",
    "stress",
)
DOCUMENTS = ("README.md", "docs/tutorial/index.md", *(f"docs/howto/{name}.md" for name in HOWTO))

PAIR = re.compile(r"(?ms)^```python\n(?P<program>.*?)^```\n\n```text\n(?P<output>.*?)^```$")
CONSOLE = re.compile(r"(?ms)^```console\n\$ (?P<command>.*?)\n(?P<output>.*?)^```$")
GUEST = re.compile(r"(?ms)`(?P<name>\w+\.wat)`[^`]*:\n\n```wat\n(?P<text>.*?)^```$")
"""A file that the document's programs find in their folder."""


def find(pattern: re.Pattern[str]) -> list[Any]:
    """Where, what to run, and what it is said to print, in all documents."""
    return [
        pytest.param(name, match[1], match[2], id=f"{Path(name).stem}-{number}")
        for name in DOCUMENTS
        for number, match in enumerate(pattern.finditer((ROOT / name).read_text("utf-8")), 1)
    ]


def output_of(arguments: list[str], cwd: Path = ROOT) -> str:
    # Into a pipe, so plain lines come, whatever the terminal of the test run is.
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment(), capture_output=True, encoding="utf-8"
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def without_timings(text: str) -> str:
    return re.sub(r"\d+\.\d+ ms\b", "… ms", text)


@pytest.mark.parametrize(("document", "program", "output"), find(PAIR))
def test_program(document: str, program: str, output: str, tmp_path: Path) -> None:
    guests = GUEST.findall((ROOT / document).read_text("utf-8"))
    for name, text in guests:
        (tmp_path / name).write_text(text, "utf-8")
    # Warnings are errors: an example must not leave anything open.
    assert output_of(["-W", "error", "-c", program], tmp_path if guests else ROOT) == output


@pytest.mark.parametrize(("document", "command", "output"), find(CONSOLE))
def test_transcript(document: str, command: str, output: str) -> None:
    python, *arguments = shlex.split(command)

    assert python == "python"
    assert without_timings(output_of(arguments)) == without_timings(output)


def test_every_program_has_its_output() -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in DOCUMENTS]

    programs = sum(text.count("```python\n") for text in texts)
    assert len(find(PAIR)) == programs >= 25
    assert sum(len(GUEST.findall(text)) for text in texts) == sum(text.count("```wat\n") for text in texts)
    assert len(find(CONSOLE)) == sum(text.count("```console\n") for text in texts) >= 1


def test_every_page_that_shows_how_is_tested() -> None:
    # The others' examples are commands of other programs, or C.
    pages = {page.stem for page in (ROOT / "docs/howto").glob("*.md")}
    assert pages - set(HOWTO) == {"index", "compile-a-guest", "lldb"}


def test_the_library_is_used_in_under_ten_lines() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    match = PAIR.search(readme)
    assert match is not None

    assert len([line for line in match["program"].splitlines() if line.strip()]) < 10


def test_links_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in target]

    assert len(targets) >= 4
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_the_list_of_scenes_is_that_of_the_code() -> None:
    from trio_wasmdbg.cli.scenes import SCENES, summary

    lines = output_of(["-m", "trio_wasmdbg", "demo", "--list"]).splitlines()

    assert lines[0].split() == ["scene", "what", "it", "shows"]
    expected = [(name, summary(scene)) for name, scene in SCENES.items()]
    assert [tuple(re.split(r" {2,}", line.strip(), maxsplit=1)) for line in lines[1:]] == expected


def test_without_arguments_every_scene_is_played() -> None:
    from trio_wasmdbg.cli.scenes import SCENES

    headings = re.findall(r"^== ([\w-]+): ", output_of(["-m", "trio_wasmdbg"]), re.MULTILINE)

    assert headings == list(SCENES)


def test_the_reader_leaves_early() -> None:
    # `demo | true`: the first write after that fails, somewhere in a nursery of a scene.
    with started("demo", "side-by-side", "breakpoint") as process:
        process.line("stdout")
        process.close("stdout")

        assert process.rest() == ""
        assert process.wait() == 141


def test_ctrl_c_in_the_demo() -> None:
    with started("demo", "interrupt") as process:
        process.line("stdout")
        process.interrupt()

        assert process.rest() == ""
        assert process.wait() == 130


def test_a_scene_that_is_not_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trio_wasmdbg", "demo", "fly"],
        cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert "no scene 'fly'; there are start, breakpoint, step," in done.stderr
