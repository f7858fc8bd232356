"""`gift gate`: yes, no or no answer, for limits and against a git revision."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.clone import Clone, commit
from tests.stages.experiment import gift

GOOD = {"transfer": 67.5, "avg": 75.2, "last": 80.2, "forgetting": 7.7}
KEPT = {"mean": 57.0, "change": -2.1, "by_task": {"faces": 50.0, "arrows": 64.0}}
POOR = {"transfer": 54.0, "avg": 61.2, "last": 60.2, "forgetting": 37.0}
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, mini_params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes and commits params.yaml and metrics.json in a new repository, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    repository = Clone(tmp_path)
    repository.run("git", "init", "--quiet", "--initial-branch", "main")

    def write(metrics: Any, *, methods: Sequence[str] = ("finetune", "gift"), tasks: int = 3) -> None:
        mini_params["run"]["methods"] = list(methods)
        changed = mini_params | {"sequence": mini_params["sequence"][:tasks]}
        Path("params.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))
        Path("reports").mkdir(exist_ok=True)
        if metrics is not None:
            Path("reports/metrics.json").write_text(json.dumps(metrics))
        commit(repository, "a result")

    return write


gate = partial(gift, "gate")


def test_a_result_within_the_limits_is_a_yes_and_beyond_one_a_no_that_names_it(write: Write) -> None:
    write({"zero_shot": POOR, "finetune": POOR, "gift": GOOD})
    said = gate("--min-last", "80", "--max-forgetting", "10", expect=0).stdout
    assert said == "Yes: gift has Last 80.2 (at least 80 is asked) and Forgetting 7.7 (at most 10 is allowed).\n"
    said = gate("--min-last", "80", "--max-forgetting", "5", expect=1).stdout
    assert said == "No: gift has Forgetting 7.7 (at most 5 is allowed).\n"
    missing = gate("--min-zero-shot-change", "-2", expect=2).stderr
    assert "gift has no probes" in missing and "gift add-task NAME --images FOLDER --probe" in missing
    answer = json.loads(gate("--max-forgetting", "5", "--json", expect=1).stdout)
    assert (answer["method"], answer["ok"], answer["sentence"]) == ("gift", False, said.strip())


def test_a_result_that_is_older_than_params_is_not_judged(write: Write, mini_params: dict[str, Any]) -> None:
    write({"gift": GOOD})
    recorded = {key: mini_params[key] for key in ("model", "tasks")}

    def record() -> None:
        Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"report": {"params": {"params.yaml": recorded}}}}))

    record()
    gate("--min-last", "80", expect=0)
    recorded["model"] = {**recorded["model"], "name": "another"}
    recorded["tasks"] = {"former": {"path": "data/0_raw/former"}}
    record()
    said = gate("--min-last", "80", expect=2).stderr
    assert "reports/metrics.json: is older than params.yaml, which has changed in model.name, tasks.arrows," in said
    Path("dvc.lock").write_text("stages:\n<<<<<<< HEAD\n  report:\n    cmd: gift report\n=======\n", encoding="utf-8")
    assert "If a git merge stopped there: git merge --abort" in gate("--min-last", "80", expect=2).stderr


@pytest.mark.parametrize(
    ("change", "options", "expect"),
    [
        ({"last": 79.2}, (), 0),
        ({"last": 79.1}, (), 1),
        ({"last": 79.1}, ("--tolerance", "2"), 0),
        ({"forgetting": 8.8}, (), 1),
        ({"last": 79.94}, ("--min-last", "80"), 1),
        ({}, ("--min-zero-shot-change", "-2.1"), 0),
        ({}, ("--min-zero-shot-change", "-2"), 1),
        ({"probes": KEPT | {"mean": 56.0}}, (), 0),
        ({"probes": KEPT | {"mean": 55.9}}, (), 1),
        ({"probes": KEPT | {"mean": 5.0, "by_task": {"faces": 5.0}}}, (), 0),  # of other tasks
    ],
)
def test_a_revision_may_be_better_by_the_tolerance(
    write: Write, change: dict[str, Any], options: tuple[str, ...], expect: int
) -> None:
    good = GOOD | {"probes": KEPT}
    write({"gift": good})
    Path("params.yaml").write_bytes(Path("params.yaml").read_bytes() + "# é\n".encode("latin-1"))
    commit(Clone(Path()), "not UTF-8")
    subprocess.run(["git", "switch", "--quiet", "--create", "trial"], check=True)
    write({"gift": good | change, "finetune": POOR})
    gate("--against", "main", *options, expect=expect)


def test_of_several_methods_one_has_to_be_named(write: Write) -> None:
    every = ("finetune", "joint", "individual", "gift", "zscl")
    write(dict.fromkeys(every, GOOD), methods=every)
    asked = "has 2 methods that can be meant. Name one with --method: gift, zscl."
    assert asked in gate("--min-last", "80", expect=2).stderr
    assert gate("--min-last", "80", "--method", "zscl", expect=0).stdout.startswith("Yes: zscl has Last 80.2")


BAD = {
    "no criterion": ({"gift": GOOD}, "", "no criterion. Give --min-last, --max-forgetting, --min-zero-shot-change or"),
    "no metrics": (None, "--min-last 80", "metrics.json: the file is missing. If it was shared: gift get. Recr"),
    "no result of the method": ({"finetune": GOOD}, "--min-last 80", "has no result of gift, only of finetune."),
    "one task": ({"gift": GOOD | {"forgetting": None}}, "--max-forgetting 5", "gift has no Forgetting: a single task"),
    "unknown revision": ({"gift": GOOD}, "--against mian", "Name a branch, a tag or a commit. Did you mean 'main'?"),
}


@pytest.mark.parametrize(("metrics", "words", "message"), BAD.values(), ids=BAD.keys())
def test_without_an_answer_the_exit_code_is_2(write: Write, metrics: Any, words: str, message: str) -> None:
    write(metrics)
    assert message in gate(*words.split(), expect=2).stderr
