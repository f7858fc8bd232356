"""A report of results that were computed in different environments says which, and what differs."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gift_core.artifacts.accuracy import computed_with
from gift_core.artifacts.contract import read_json, write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.artifacts.teacher_source import write_source
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.facts import describe, differences
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from stages.app import app
from tests.report.run_folder import ENVIRONMENT, change_accuracies, write_run

OTHER = ENVIRONMENT | {"threads": 2}


def change_shards(layout: Layout, environment: object = OTHER) -> None:
    path = layout.shards("zodiac") / "manifest.json"
    write_json(path, read_json(path, "synthesize") | {"environment": environment})


CHANGES: dict[str, Callable[[Layout], object]] = {
    "finetune@gift-zodiac": lambda layout: write_provenance(layout.model("gift", "zodiac"), {"environment": OTHER}),
    "teach@gift-zodiac": lambda layout: write_source(
        layout.teacher("gift", "zodiac"), replay="synthetic", read={}, environment=OTHER
    ),
    "evaluate@gift-zodiac": lambda layout: change_accuracies(layout.root, "gift", "zodiac", **computed_with(OTHER)),
    "synthesize@zodiac": change_shards,
}


RESULTS = 3 + 3 + 2 * 3 + 2 * 3  # synthesize; teach of gift; finetune and evaluate of both methods


@pytest.mark.parametrize("result", CHANGES)
def test_a_result_of_another_environment_is_named(tmp_path: Path, result: str) -> None:
    config = write_run(tmp_path)
    CHANGES[result](Layout(tmp_path))
    record = read_run(Layout(tmp_path), config)
    expected = f"threads: 1 ({RESULTS - 1} results), 2 ({result})"
    assert [f"{each.name}: {each.text}" for each in record.differences] == [expected]


def test_the_page_and_the_stage_say_what_differs(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_provenance(Layout(tmp_path).model("gift", "zodiac"), {"environment": OTHER | {"device": "<script>x"}})
    page = render_page(read_run(Layout(tmp_path), config))
    assert (
        "Results of different environments" in page
        and f"<li>threads: 1 ({RESULTS - 1} results), 2 (finetune@gift-zodiac)</li>" in page
    )
    assert "torch 2.9.0<" in page  # what all have in common
    assert "<script>x" not in page and html.escape("<script>x") in page
    printed = CliRunner().invoke(app, ["report", "--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path)])
    assert "report: note: results of different environments: " in printed.output


def test_the_usual_value_is_counted_and_few_others_are_named() -> None:
    environments = {f"finetune@gift-{task}": {"device": "a", "torch": "1"} for task in "abc"}
    environments |= {f"evaluate@gift-{task}": {"device": "b", "torch": "1", "threads": 8} for task in "abcdefghi"}
    (difference,) = differences(environments)
    assert difference.name == "device"
    assert difference.text == "b (9 results), a (finetune@gift-a, finetune@gift-b, finetune@gift-c)"
    assert describe(environments) == "torch 1, threads 8"
    environments |= {f"teach@ewc-{task}": {"device": "c", "torch": "1"} for task in "abcdefgh"}
    assert " and 2 more)" in differences(environments)[0].text


DAMAGES: dict[str, Callable[[Layout], object]] = {
    "model": lambda layout: write_provenance(layout.model("gift", "zodiac"), {"environment": "x"}),
    "teacher": lambda layout: write_json(layout.teacher("gift", "zodiac") / "source.json", {"environment": ["x"]}),
    "shards": lambda layout: change_shards(layout, 1),
    "accuracy": lambda layout: change_accuracies(layout.root, "gift", "zodiac", environment="{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named(tmp_path: Path, damage: str) -> None:
    config = write_run(tmp_path)
    DAMAGES[damage](Layout(tmp_path))
    with pytest.raises(ContractError, match=r"zodiac.*environment should be"):
        read_run(Layout(tmp_path), config)
