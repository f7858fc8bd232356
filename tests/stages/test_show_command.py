"""`gift show`: the table, the result in words, where the report is and what to type next; JSON and tasks."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.params_edit import catalogue_rows
from stages.commands.show import print_metrics
from tests.clone import Clone
from tests.imports import ROOT, first_params
from tests.report.run_folder import PROBES, TASKS, write_run
from tests.stages.experiment import gift


def write(root: Path, **settings: Any) -> Path:
    write_run(root, **settings)
    gift("report", "--params", root / "params.yaml", "--root", root)
    return root


def show(root: Path, *options: str) -> list[str]:
    return gift("show", "--root", root, *options).stdout.splitlines()


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def test_the_table_the_result_and_the_report_and_as_json_all_tasks(tmp_path: Path) -> None:
    lines = show(write(tmp_path))
    assert lines[0] == "Accuracy in percent on the miniature benchmark (Forgetting: lower is better)"
    assert cells(lines) == [
        ["zero_shot", "55.0", "50.0", "50.0", "0.0", "50.0"],
        ["finetune", "37.5", "58.3", "60.0", "45.0", "20.0 -> 85.0"],
        ["gift", "53.0", "71.1", "80.0", "4.0", "46.0 -> 80.0"],
    ]
    assert any("zodiac:" in line for line in lines) and any("before -> after" in line for line in lines)
    text = " ".join(lines)
    assert "plain fine-tuning has lost 45.0 points" in text
    assert f"The report: {(tmp_path / 'reports/index.html').resolve()}  Next:" in text
    document = json.loads("\n".join(show(tmp_path, "--json")))
    assert document["methods"]["gift"]["by_task"]["letters"]["difference_points"] == -6.0
    assert document["benchmark"] == "miniature benchmark" and document["tasks"] == list(TASKS)


def test_a_number_on_the_classes_of_all_tasks_has_no_heading_of_one_task(tmp_path: Path) -> None:
    evaluation = {"batch_size": 256, "max_images": None}
    lines = show(write(tmp_path / "cil", changes={"evaluation": {**evaluation, "protocol": "class_incremental"}}))
    assert "each image among the classes of all tasks so far" in " ".join(" ".join(lines[:2]).split())
    assert not any("before -> after" in line or "zodiac" in line for line in lines)
    assert cells(lines) == [["zero_shot", "50.0", "50.0"], ["finetune", "90.0", "85.0"], ["gift", "82.7", "80.0"]]
    lines = show(write(tmp_path / "cross", changes={"evaluation": {**evaluation, "protocol": "cross_domain"}}))
    assert "each image among the classes of all tasks" in " ".join(" ".join(lines[:2]).split())
    assert cells(lines)[2][-1] == "46.0 -> 80.0"  # on the images of zodiac, before and after its step


def test_the_table_has_the_name_of_a_row_and_its_label_which_the_sentences_have(tmp_path: Path) -> None:
    write_run(tmp_path)
    document = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    document["methods"]["gift"]["label"] = "Relational GIFT"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    gift("report", "--params", tmp_path / "params.yaml", "--root", tmp_path)
    lines = show(tmp_path)
    assert [row[0] for row in cells(lines)] == ["zero_shot", "finetune", "gift", "Relational GIFT"]
    assert "plain fine-tuning has lost 45.0 points of what it had learned and Relational GIFT 4.0." in " ".join(lines)


def test_the_longest_name_of_the_catalogue_is_in_one_line_of_80_columns_and_in_60_it_breaks_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = catalogue_rows(yaml.safe_load(first_params()), ROOT / "presets")
    longest = max(names, key=len)
    row = {"transfer": 53.0, "avg": 71.1, "last": 80.0, "forgetting": 4.0}
    for columns, shown in (("80", longest), ("60", longest[:10])):
        monkeypatch.setenv("COLUMNS", columns)
        print_metrics({longest: row}, extra=("zodiac:\nbefore -> after", {longest: "46.0 -> 80.0"}))
        printed = capsys.readouterr().out
        (line,) = [line for line in printed.splitlines() if line.startswith(shown)]
        assert line.split()[1:] == ["53.0", "71.1", "80.0", "4.0", "46.0", "->", "80.0"]
        assert "before -> after" in printed and "  53.0" in line  # numbers are aligned to the right


def test_in_git_it_shows_the_commit_and_the_difference_and_the_page_finds_its_own(tmp_path: Path) -> None:
    project = Clone(tmp_path)

    def commit(*files: str) -> str:
        project.run("git", "add", *files)
        project.run("git", "commit", "--quiet", "--message", "A result")
        return project.run("git", "rev-parse", "--short", "HEAD").strip()

    write(tmp_path, probes=PROBES)
    assert not any("Commit" in line for line in show(tmp_path))
    project.run("git", "init", "--quiet")
    first = commit("params.yaml")
    assert f"This result is not in git yet. Commit {first} is the last one, which has no result yet." in show(tmp_path)
    own = commit("reports/metrics.json")
    assert f"Commit {own}, with the same result." in show(tmp_path)
    metrics, params = tmp_path / "reports/metrics.json", tmp_path / "params.yaml"
    mine = json.loads(metrics.read_text())
    probes = {**mine["gift"]["probes"], "mean": 74.5}
    others = {"gift": {**mine["gift"], "last": 78.7, "forgetting": 4.04, "probes": probes}, "joint": mine["gift"]}
    del mine["zero_shot"]["probes"]["by_task"]["flags"]
    metrics.write_text(json.dumps({"zero_shot": mine["zero_shot"], **others}))
    mine["zero_shot"]["probes"]["by_task"]["flags"] = 70.0
    other = commit("reports/metrics.json")
    metrics.write_text(json.dumps(mine))
    params.write_text(params.read_text() + "# a remark\n")
    lines = show(tmp_path)
    at = lines.index(f"Commit {other} (changed since: params.yaml). Compared with its result:")
    changes = ["gift: Last +1.3, Zero-shot kept -0.5", "joint: not in this result", "finetune: new"]
    assert lines[at + 1 : at + 5] == [f"  {change}" for change in ("zero_shot: other probes", *changes)]
    page = unescape((tmp_path / "reports/index.html").read_text(encoding="utf-8"))
    [command] = re.findall(r"<code>(git log .*?)</code>", page)
    found = project.run("sh", "-c", command)
    assert own in [line.split()[1][: len(own)] for line in found.splitlines() if line.startswith("commit")]


def test_a_missing_summary_and_one_of_another_run_are_named_with_the_remedy(tmp_path: Path) -> None:
    def said() -> str:
        return " ".join(gift("show", "--root", tmp_path, expect=1).stderr.split())

    reports = write(tmp_path) / "reports"
    metrics = (reports / "metrics.json").read_text()
    (reports / "metrics.json").write_text(metrics.replace("80.0", "81.0"))
    assert "summary.json and metrics.json are of different runs" in said()
    (reports / "summary.json").unlink()
    assert "metrics.json, but no summary.json. Get the summary with `dvc checkout` or `dvc pull`" in said()
    for file in (reports / "metrics.json", tmp_path / "params.yaml"):
        file.unlink()
    assert "params.yaml: no such file. Run in a project's root, or make a project: gift init DIR" in said()
