"""The README tells the truth: its transcript is what the demo prints, its example runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The contents of the README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def without_timings(text: str) -> str:
    return re.sub(r"\d+(\.\d+)? (ms|s)\b", "… \\2", text)


@pytest.mark.parametrize("transcript", blocks("console"))
def test_transcript(transcript: str) -> None:
    command, _, expected = transcript.partition("\n")
    dollar, python, *arguments = shlex.split(command)
    assert (dollar, python) == ("$", "python")

    # As in a pipe: plain lines, whatever the terminal of the test run is.
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    assert done.stderr == ""
    assert without_timings(done.stdout) == without_timings(expected)


def test_there_is_a_transcript() -> None:
    assert len(blocks("console")) >= 1
