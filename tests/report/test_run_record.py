"""Reading a run: what does not fit is refused with the remedy, what is retired is moved away, and what ran is told."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gift_core.artifacts.accuracy import computed_with, write_empty_accuracy
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import write_provenance
from gift_core.artifacts.teacher_files import write_source
from gift_core.config.loading import load_config
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.provenance import EDITED
from gift_core.report.facts import data_notes, differences, run_facts
from gift_core.report.highlight import result_sentences, run_summary
from gift_core.report.labels import NAMES
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from tests.datasets.folders import folder_row
from tests.imports import ROOT
from tests.report import run_folder as runs
from tests.stages.experiment import invoke

Damage = Callable[[Path], object]
REFUSED: dict[str, tuple[Damage, str]] = {
    "no accuracies": (
        lambda root: (root / "data/6_accuracy/gift/textures.parquet").unlink(),
        r"6_accuracy/gift/textures\.parquet.*dvc repro evaluate",
    ),
    "no manifest": (lambda root: (root / "data/3_shards/zodiac/manifest.json").unlink(), "3_shards/zodiac"),
    "no row": (
        lambda root: runs.change_accuracies(root, "gift", "zodiac", keep="step != 1 or eval_task != 'zodiac'"),
        "gift.*step 1 on zodiac",
    ),
    "different pre-trained models": (
        lambda root: runs.change_accuracies(root, "gift", "zodiac", **{"model:pretrained": "f" * 64}),
        "finetune and gift .* different versions of model:pretrained",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_or_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    damage, message = REFUSED[name]
    config = runs.write_run(tmp_path)
    damage(tmp_path)
    with pytest.raises(ContractError, match=message):
        runs.build(tmp_path, config)
    assert not (tmp_path / "reports").exists()


def test_a_zero_shot_method_is_the_zero_shot_row_and_without_replay_no_pairs_are_needed(tmp_path: Path) -> None:
    zero_shot = [runs.MATRICES["gift"][0]] * 4
    config = runs.write_run(tmp_path, matrices={"zero_shot": zero_shot, "finetune": runs.MATRICES["finetune"]})
    (Layout(tmp_path).shards("zodiac") / "manifest.json").unlink()
    record = read_run(Layout(tmp_path), config)
    assert record.methods == ("finetune",) and list(record.metrics) == ["zero_shot", "finetune"]
    assert record.metrics["zero_shot"]["last"] == 50.0
    page = render_page(record)
    assert [row[0] for row in runs.table_of(page, '<table class="result">')] == ["Method", "Zero-shot", "Fine-tuning"]
    assert 'id="pairs"' not in page


def test_a_row_has_its_label_or_its_own_name_and_two_of_one_name_that_of_the_row_too(tmp_path: Path) -> None:
    gift = runs.MATRICES["gift"]
    config = runs.write_run(tmp_path, matrices={**runs.MATRICES, "gift_relations": gift, "zscl_2": gift})
    document = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    document["run"]["methods"] = ["finetune", "gift_relations"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    own = read_run(Layout(tmp_path), load_config(tmp_path / "params.yaml"))
    (forgotten, *_) = result_sentences(own)
    assert "plain fine-tuning has lost 45.0 points of what it had learned and gift_relations 4.0." in forgotten
    rows = dict(config.methods)
    for name, label in {"finetune": "Plain", "gift_relations": "GIFT", "zscl_2": "GIFT"}.items():
        rows[name] = rows[name].model_copy(update={"label": label})
    record = read_run(Layout(tmp_path), config.model_copy(update={"methods": rows}))
    names = ["Plain", "GIFT (gift)", "GIFT (gift_relations)", "GIFT (zscl_2)"]
    page = render_page(record)
    assert [row[0] for row in runs.table_of(page, '<table class="result">')[2:]] == names
    assert "Plain has lost 45.0 points of what it had learned and GIFT (gift) 4.0." in result_sentences(record)[0]
    facts = dict(run_facts(record))
    assert facts["Plain (finetune)"] == "learning_rate 0.0005" and "GIFT (gift)" in facts
    assert {name: row.get("label") for name, row in run_summary(record)["methods"].items()} == {
        "zero_shot": None, "finetune": "Plain", "gift": None, "gift_relations": names[2], "zscl_2": names[3],
    }  # fmt: skip


def test_every_method_of_the_catalogue_has_a_printed_name() -> None:
    catalogue = yaml.safe_load((ROOT / "presets" / "methods.yaml").read_text(encoding="utf-8"))
    assert {*catalogue} <= {*NAMES}


def run(root: Path, stage: str, params: Path | None = None) -> str:
    """What the stage prints. The report may refuse what it reads after it moved retired results."""
    return invoke(stage, "--params", params or root / "params.yaml", "--root", root).output


def files(root: Path) -> set[str]:
    folder = Layout(root).pretrained_accuracy().parent
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run of finetune and gift whose accuracy folder has the files of others: a method, a task, and notes."""
    runs.write_run(tmp_path, matrices={"icarl": runs.MATRICES["gift"], **runs.MATRICES})
    runs.write_params(tmp_path, runs.TASKS, tuple(runs.MATRICES))
    layout = Layout(tmp_path)
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("gift", "faces"))
    write_empty_accuracy(layout.pretrained_accuracy(), {})
    for name in NOT_OURS:
        file = layout.pretrained_accuracy().parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    return tmp_path


OWN = {f"{method}/{task}.parquet" for method in runs.MATRICES for task in runs.TASKS} | {"pretrained.parquet"}
NOT_OURS = {"notes.txt", "gift/notes.txt", "theirs/deeper/a.parquet", "theirs.parquet"}
LEFT = {f"icarl/{task}.parquet" for task in runs.TASKS} | {"gift/faces.parquet"}


@pytest.mark.parametrize("stage", ["check", "report"])
def test_retired_results_are_moved_with_their_predictions_and_named(root: Path, stage: str) -> None:
    layout = Layout(root)
    kept = {name: (root / "data/6_accuracy" / name).read_bytes() for name in LEFT}
    for method, task in (("icarl", "letters"), ("gift", "letters")):
        layout.predictions(method, task).parent.mkdir(parents=True, exist_ok=True)
        layout.predictions(method, task).write_bytes(f"{method} {task}".encode())
    layout.probe("faces").parent.mkdir(exist_ok=True)
    layout.probe("faces").write_text("of a retired probe")
    assert "gift/faces, icarl/letters, icarl/textures, icarl/zodiac" in run(root, stage)
    assert files(root) == OWN | NOT_OURS
    assert {name: (root / ".gift/retired" / name).read_bytes() for name in LEFT} == kept
    assert not layout.accuracy("icarl", "letters").parent.exists()
    assert layout.predictions("gift", "letters").is_file() and not layout.predictions("icarl", "letters").exists()
    assert layout.retired("icarl", "letters.predictions").read_bytes() == b"icarl letters"
    assert layout.retired("probes", "faces").read_text() == "of a retired probe"
    layout.accuracy("icarl", "letters").parent.mkdir()
    shutil.copy(layout.accuracy("gift", "letters"), layout.accuracy("icarl", "letters"))
    run(root, stage)  # a method that is retired a second time
    assert files(root) == OWN | NOT_OURS


@pytest.mark.parametrize("methods", [["gift"], ["gitf"]], ids=["another file", "a bad file"])
def test_another_params_file_and_a_bad_one_move_nothing(root: Path, methods: list[str]) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["run"]["methods"] = methods
    file = root / ("small.yaml" if methods == ["gift"] else "params.yaml")
    file.write_text(yaml.safe_dump(params), encoding="utf-8")
    run(root, "check", file)
    assert files(root) == OWN | NOT_OURS | LEFT


INCOMPLETE = "incomplete: 3,000 of 3,334 training images"


def test_notes_skipped_images_and_few_shots_are_in_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gift_core.report.facts.MAX_TASKS_IN_SEQUENCE", 2)
    config = runs.write_run(
        tmp_path, changes={"tasks": dict.fromkeys(runs.TASKS, folder_row(on_bad_image="skip", shots=5))}
    )
    runs.write_task_json(Layout(tmp_path), "letters", notes=[INCOMPLETE])
    runs.write_task_json(Layout(tmp_path), "zodiac", skipped=[("a.jpg", "cut short"), ("b.jpg", "no image")])
    record = read_run(Layout(tmp_path), config)
    assert data_notes(record) == [
        "few-shot: 5 training images per class (all 3 tasks)",
        f"{INCOMPLETE} (letters)",
        "2 unreadable images skipped (zodiac)",
    ]
    page = render_page(record)
    assert f"<li>{INCOMPLETE} (letters)</li>" in page[: page.index('<table class="result">')]
    assert f"{INCOMPLETE} (letters)" in page[page.index('<th scope="row">Data</th><td>') :]
    few = "3 tasks: letters (10 classes, 500 test images), textures (10 classes, 500 test images) … zodiac"
    assert f"{few} (10 classes, 500 test images); in total 30 classes and 1,500 test images<" in page


def test_results_of_another_environment_are_named_by_the_page_and_the_stage(tmp_path: Path) -> None:
    config, layout, other = runs.write_run(tmp_path), Layout(tmp_path), runs.ENVIRONMENT | {"threads": 2}
    made_by = {"environment": other | {"device": "<script>x"}, "own_code": {"my_losses.py": "1a2b3c4"}}
    write_provenance(layout.model("gift", "zodiac"), made_by)
    edited = {EDITED: "gift_core/driving/training.py"}
    write_source(layout.teacher("gift", "zodiac"), replay="synthetic", read={}, environment=other | edited)
    runs.change_accuracies(tmp_path, "gift", "zodiac", **computed_with(other))
    manifest = layout.shards("zodiac") / "manifest.json"
    write_json(manifest, json.loads(manifest.read_text()) | {"environment": other})
    record = read_run(layout, config)
    results = 3 + 3 + 2 * 3 + 2 * 3  # synthesize; teach of gift; finetune and evaluate of both methods
    named = ", ".join(f"{stage}@gift-zodiac" for stage in ("teach", "finetune", "evaluate"))
    expected = f"1 ({results - 4} results), 2 (synthesize@zodiac, {named})"
    assert differences(record)["threads"] == expected
    page = render_page(record)
    assert "Results of different environments" in page and f"<li>threads: {expected}</li>" in page
    assert "Edited code</th><td>gift_core/driving/training.py (teach@gift-zodiac)<" in page
    assert "Code of your own</th><td>my_losses.py 1a2b3c4 (finetune@gift-zodiac)<" in page
    assert "torch 2.9.0<" in page  # what all have in common
    assert "<script>x" not in page and html.escape("<script>x") in page
    printed = invoke("report", "--params", tmp_path / "params.yaml", "--root", tmp_path)
    assert "report: note: results of different environments: " in printed.output
