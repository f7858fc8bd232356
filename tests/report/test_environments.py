"""A report of results that were computed in different environments says which, and what differs."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gift_core.artifacts.accuracy import computed_with, read_accuracy, write_accuracy
from gift_core.artifacts.contract import read_json, write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.artifacts.teacher_source import write_source
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.facts import describe, differences
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from stages.app import app
from tests.report.run_folder import ENVIRONMENT, MATRICES, write_run

OTHER = ENVIRONMENT | {"threads": 2}
WARNING = "Results of different environments"


def change_model(layout: Layout) -> None:
    write_provenance(layout.model("gift", "zodiac"), {"environment": OTHER})


def change_teacher(layout: Layout) -> None:
    write_source(layout.teacher("gift", "zodiac"), replay="synthetic", read={}, environment=OTHER)


def change_accuracy(layout: Layout) -> None:
    path = layout.accuracy("gift", "zodiac")
    rows, metadata = read_accuracy(path)
    write_accuracy(path, rows, metadata | computed_with(OTHER))


def change_shards(layout: Layout) -> None:
    path = layout.shards("zodiac") / "manifest.json"
    write_json(path, read_json(path, "synthesize") | {"environment": OTHER})


CHANGES = {
    "finetune@gift-zodiac": change_model,
    "teach@gift-zodiac": change_teacher,
    "evaluate@gift-zodiac": change_accuracy,
    "synthesize@zodiac": change_shards,
}
RESULTS = 3 + 3 + 2 * 3 + 2 * 3  # synthesize; teach of gift; finetune and evaluate of both methods


@pytest.mark.parametrize("result", CHANGES)
def test_a_result_of_another_environment_is_named_in_the_page_and_by_the_stage(tmp_path: Path, result: str) -> None:
    config = write_run(tmp_path)
    CHANGES[result](Layout(tmp_path))
    page = render_page(read_run(Layout(tmp_path), config))
    expected = f"threads: 1 ({RESULTS - 1} results), 2 ({result})"
    assert WARNING in page and f"<li>{expected}</li>" in page
    assert "torch 2.9.0, device cpu x86_64 AVX512<" in page  # what all have in common, without threads
    printed = CliRunner().invoke(app, ["report", "--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path)])
    assert f"report: note: results of different environments: {expected}" in printed.output


def test_a_run_of_one_environment_has_no_warning(tmp_path: Path) -> None:
    record = read_run(Layout(tmp_path), write_run(tmp_path))
    assert record.differences == ()
    assert WARNING not in render_page(record)


def test_results_of_methods_that_do_not_run_do_not_count(tmp_path: Path) -> None:
    config = write_run(tmp_path, matrices={"finetune": MATRICES["finetune"]})
    change_shards(Layout(tmp_path))
    assert read_run(Layout(tmp_path), config).differences == ()


def test_the_usual_value_is_counted_and_the_others_are_named() -> None:
    environments = {f"finetune@gift-{task}": {"device": "a", "torch": "1"} for task in "abc"}
    environments |= {f"evaluate@gift-{task}": {"device": "b", "torch": "1", "threads": 8} for task in "abcdefghi"}
    (difference,) = differences(environments)
    assert difference.name == "device"
    assert difference.text == "b (9 results), a (finetune@gift-a, finetune@gift-b, finetune@gift-c)"
    assert describe(environments) == "torch 1, threads 8"


def test_many_results_of_another_environment_are_cut_short() -> None:
    environments = {f"evaluate@gift-{number}": {"torch": "1"} for number in range(20)}
    environments |= {f"evaluate@ewc-{number}": {"torch": "2"} for number in range(9)}
    (difference,) = differences(environments)
    assert difference.text.endswith("evaluate@ewc-5 and 3 more)")


def test_values_are_escaped(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    write_provenance(Layout(tmp_path).model("gift", "zodiac"), {"environment": OTHER | {"device": "<script>x"}})
    page = render_page(read_run(Layout(tmp_path), config))
    assert "<script>x" not in page and html.escape("<script>x") in page


@pytest.mark.parametrize("damage", ["model", "teacher", "shards", "accuracy", "accuracy that is no JSON"])
def test_a_damaged_record_is_named(tmp_path: Path, damage: str) -> None:
    config, layout = write_run(tmp_path), Layout(tmp_path)
    if damage == "model":
        write_provenance(layout.model("gift", "zodiac"), {"environment": "x"})
    elif damage == "teacher":
        write_json(layout.teacher("gift", "zodiac") / "source.json", {"environment": ["x"]})
    elif damage == "shards":
        path = layout.shards("zodiac") / "manifest.json"
        write_json(path, read_json(path, "synthesize") | {"environment": 1})
    else:
        path = layout.accuracy("gift", "zodiac")
        rows, metadata = read_accuracy(path)
        write_accuracy(path, rows, metadata | {"environment": "{" if "JSON" in damage else "[]"})
    with pytest.raises(ContractError, match=r"zodiac.*environment should be"):
        read_run(layout, config)
