"""Every part of the benchmarks runs, in small and without bounds, and the table can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks._measure import Ratio, Spread, geomean, interleaved, ratio_of
from tests.benchmarks._programs import SAMPLE
from tests.benchmarks._report import Figure, Matrix, Report
from tests.benchmarks._settings import Settings


@pytest.mark.parametrize("part", benchmarks.PARTS)
async def test_a_part(part: str) -> None:
    tiny = Settings(quick=True, programs=SAMPLE[:1], seconds=0.001, rounds=2, peers=False, large=False)
    report = await benchmarks.run([part], tiny)

    measured = [figure for figure in report.figures if figure.value is not None]
    assert measured
    for figure in report.figures:
        assert (figure.value is None) <= bool(figure.note), figure
        assert figure.value is None or figure.value > 0, figure
    rows = {figure.row for figure in report.figures}
    assert all(str(row) in benchmarks.PARTS[part][0] for row in rows), rows
    # It can be read by people and machines.
    text, markdown, loaded = report.text(), report.markdown(), json.loads(report.json())
    for figure in report.figures:
        assert figure.what.split()[0] in text
        assert f"| {figure.what} |" in markdown
    assert len(loaded["parts"][part]["figures"]) == len(report.figures)


def test_its_questions(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(benchmarks.PARTS)
    assert all("?" in line for line in lines)


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("[!t]*.py")), ids=lambda path: path.stem)
def test_each_file_begins_with_its_question(path: Path) -> None:
    if path.stem != "__init__":
        assert "?" in path.read_text("utf-8").partition("\n")[0]


def test_an_unknown_part_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["nothing"])
    assert "no such part: nothing" in capsys.readouterr().err


def test_a_goal_is_met_or_not() -> None:
    assert Figure(1, "a", value=1.1, goal=("≤", 1.2)).met is True
    assert Figure(1, "a", value=10, goal=("≥", 20)).met is False
    assert Figure(1, "a", goal=("≥", 20), note="none").met is None
    assert "not measured: none" in Figure(1, "a", note="none").cells


def test_ratios_are_of_minima_and_of_medians() -> None:
    ratio = ratio_of([4.0, 2.0, 6.0], [2.0, 1.0, 2.0])
    assert (ratio.minima, ratio.medians) == (2.0, 2.0)
    assert (ratio.low, ratio.high) == (2.0, 3.0)
    assert geomean([1.0, 4.0]) == pytest.approx(2.0)
    assert Spread.of([3.0, 1.0, 2.0]).median == 2.0


async def test_actions_take_turns_back_and_forth() -> None:
    order: list[str] = []

    def action(name: str):  # type: ignore[no-untyped-def]
        async def act() -> float:
            order.append(name)
            return float(len(order))

        return act

    found = await interleaved({name: action(name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert found["a"] == [1.0, 6.0, 7.0]


def test_a_report_without_a_matrix_and_with_one() -> None:
    line: dict[str, Ratio | str] = {"null": Ratio(1.0, 1.1, 0.9, 1.2), "size": "9"}
    matrix = Matrix(1, "a title", ("null", "size"), {"sort": line})
    report = Report({"machine": "none"}, {"idle": [Figure(2, "something", value=2.0, goal=("≤", 3)), matrix]})
    assert "a title" in report.text() and "a title:" in report.markdown()
    assert "| sort | 1.00 (1.10) | 9 |" in report.markdown()
    assert Report.from_json(report.json()) == report


async def test_parts_that_are_not_measured_come_from_an_earlier_run() -> None:
    old = Report({"machine": "old"}, {"idle": [Figure(1, "idle", value=3.0)], "paused": []})
    tiny = Settings(quick=True, peers=False)
    report = await benchmarks.run(["paused"], tiny, old)
    assert [figure.row for figure in report.figures] == [1, 12]
    assert report.machine["machine"] != "old"
    assert await benchmarks.run([], tiny, old) == old


def test_the_manual_has_a_place_for_figures() -> None:
    report = Report({"machine": "mine"}, {"idle": [Figure(1, "idle", value=3.0)]})
    page = benchmarks.with_figures(benchmarks.PAGE.read_text("utf-8"), report)
    assert "- machine: mine\n" in page and "| 1 | idle |" in page
    assert benchmarks.with_figures(page, report) == page
    with pytest.raises(ValueError, match="no marks"):
        benchmarks.with_figures("nothing", report)
