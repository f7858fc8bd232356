"""One real `dvc repro` of a small miniature (two tasks, few iterations, real models), and what each change runs.

The tests of this file run in order, on one clone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports import ROOT

pytestmark = pytest.mark.end_to_end
TASKS = ["digits", "games"]
ATOMIC = "gift_core/artifacts/atomic.py"


class Clone:
    """A clone of the project in a folder of its own, with the environment that runs these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "", "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
        }  # fmt: skip

    def run(self, *command: str, expect: int = 0) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        assert done.returncode == expect, f"{' '.join(command)} -> {done.returncode}\n{output[-6000:]}"
        return output

    def repro(self, *, expect: int = 0) -> list[str]:
        """Runs `dvc repro` as `make repro` does, and returns the stages whose commands ran."""
        self.printed = self.run(sys.executable, "-m", "stages.fork_server", "dvc", "repro", expect=expect)
        return re.findall(r"Running stage '([^']+)'", self.printed)

    def outputs(self) -> set[str]:
        """Returns every file of data/ and reports/ that is no input."""
        files = [*(self.folder / "data").rglob("*"), *(self.folder / "reports").rglob("*")]
        names = {file.relative_to(self.folder).as_posix() for file in files if file.is_file()}
        return {name for name in names if not name.startswith(("data/0_raw", "data/mini"))}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces the only occurrence of `old` in a file."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{file}: {text.count(old)} x {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def report(self) -> dict[str, object]:
        """Returns the report's entry in dvc.lock, and the bytes of its outputs."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]["report"]
        reports = self.folder / "reports"
        files = {file.relative_to(reports).as_posix(): file.read_bytes() for file in reports.rglob("*.*")}
        return {"dvc.lock": lock, **files}

    def undo(self) -> None:
        """Reverts all changes since the last commit."""
        self.run("git", "checkout", "--quiet", "--", "params.yaml", "gift_core", "stages", "dvc.yaml")

    @property
    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    def write_params(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def metrics(self) -> dict[str, dict[str, float]]:
        return json.loads((self.folder / "reports" / "metrics.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def small(params: dict[str, Any]) -> dict[str, Any]:
    """Two tasks, few iterations, few images."""
    row = {"source": "mini", "path": "data/mini", "train_images": 200, "test_images": 100}
    params["tasks"] = {task: dict(row) for task in TASKS}
    after = ["../pretrained", *TASKS]
    params["sequence"] = [
        {"task": task, "after": after[i], "learning_rate_factor": 1.0} for i, task in enumerate(TASKS)
    ]
    params["training"] |= {"iterations": 12, "warmup_iterations": 2, "batch_size": 16, "replay_batch_size": 16}
    params["prompts"] |= {"images_per_task": 48}
    params["generator"] |= {"images_per_shard": 32, "steps": 4, "batch_size": 16}
    return params


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the small pipeline has run once."""
    folder = tmp_path_factory.mktemp("clone") / "gift"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name not in ("dvc.lock", "reports/metrics.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    clone = Clone(folder)
    clone.write_params(small(clone.params))
    clone.run("git", "init", "--quiet")
    clone.ran = clone.repro()  # type: ignore[attr-defined]
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "the first result")
    return clone


def of_method(method: str, steps: range, stages: Sequence[str] = ("teach", "finetune", "evaluate")) -> set[str]:
    return {f"{stage}@{method}-step{step}" for stage in stages for step in steps}


FIRST = range(2)


def test_a_bare_clone_runs_every_stage_once(clone: Clone) -> None:
    expected = {"check", "import_model", "write_vocabulary", "report", *(f"ingest@{task}" for task in TASKS)}
    expected |= {f"{stage}@{step}" for stage in ("write_prompts", "synthesize") for step in FIRST}
    expected |= of_method("gift", FIRST) | of_method("finetune", FIRST)
    ran: list[str] = clone.ran  # type: ignore[attr-defined]
    assert ran[0] == "check"
    assert set(ran) == expected
    assert len(ran) == len(expected)


def test_metrics_name_every_method_and_the_zero_shot_model(clone: Clone) -> None:
    metrics = clone.metrics()
    assert set(metrics) == {"zero_shot", "finetune", "gift"}
    for row in metrics.values():
        assert set(row) == {"transfer", "avg", "last", "forgetting"}
        assert all(0 <= row[name] <= 100 for name in ("transfer", "avg", "last"))


def test_a_second_repro_runs_nothing(clone: Clone) -> None:
    assert clone.repro() == []


def test_stages_without_the_fork_server_write_the_same_bytes(clone: Clone) -> None:
    before = (clone.folder / "dvc.lock").read_bytes()
    stages = [name for name in yaml.safe_load(before)["stages"] if name.endswith(("@0", "gift-step0"))]
    assert {name.partition("@")[0] for name in stages} > {"synthesize", "teach", "finetune", "evaluate"}
    printed = clone.run("dvc", "repro", "--single-item", "--force", *stages)
    assert set(re.findall(r"Running stage '([^']+)'", printed)) == set(stages)
    assert (clone.folder / "dvc.lock").read_bytes() == before


def test_dvc_shows_the_metrics_and_the_plots(clone: Clone) -> None:
    assert "gift" in clone.run("dvc", "metrics", "show")
    clone.run("dvc", "plots", "show", "--out", "dvc_plots")
    page = (clone.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "vega" in page.lower()


def test_a_second_clone_that_pulls_has_nothing_to_run_and_the_same_report(clone: Clone, tmp_path: Path) -> None:
    clone.run("dvc", "remote", "add", "--local", "--force", "store", str(tmp_path / "store"))
    clone.run("dvc", "push", "--remote", "store")
    clone.run("git", "clone", "--quiet", str(clone.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")
    second.run("dvc", "remote", "add", "--local", "store", str(tmp_path / "store"))
    second.run("dvc", "pull", "--remote", "store")
    assert second.repro() == []
    assert second.report() == clone.report()
    # rendered again, in other surroundings
    second.environment |= {"TZ": "Pacific/Auckland", "LC_ALL": "C", "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "7"}
    assert "Running stage 'report'" in second.run("dvc", "repro", "--single-item", "--force", "report")
    assert second.report() == clone.report()
    assert second.run("git", "status", "--porcelain") == ""


def test_an_edited_comment_and_docstring_run_check_alone(clone: Clone) -> None:
    first, *rest = (clone.folder / ATOMIC).read_text(encoding="utf-8").split("\n", 1)
    assert first.startswith('"""')
    edited = "\n".join(['"""Another docstring."""' if first.endswith('"""') else '"""Another docstring.', *rest])
    (clone.folder / ATOMIC).write_text(f"# another comment\n{edited}", encoding="utf-8")
    assert clone.repro() == ["check"]
    clone.undo()
    assert clone.repro() == ["check"]


def test_a_changed_evaluation_batch_size_runs_check_alone(clone: Clone) -> None:
    params = clone.params
    params["evaluation"]["batch_size"] = 50
    clone.write_params(params)
    assert clone.repro() == ["check"]
    clone.undo()
    assert clone.repro() == ["check"]


def test_a_changed_function_of_the_losses_runs_finetune_and_what_follows(clone: Clone) -> None:
    clone.edit(
        "gift_core/losses.py", "return by_image + by_text\n\n\n# By", "return 1.0 * (by_image + by_text)\n\n\n# By"
    )
    ran = clone.repro()
    # the losses are only used by gift, but the code of finetune is one: every method trains again
    trained = of_method("gift", FIRST, ["finetune"]) | of_method("finetune", FIRST, ["finetune"])
    assert {stage for stage in ran if stage.startswith("finetune")} == trained
    # a factor of 1.0 changes no weight, so nothing after finetune is stale
    assert set(ran) == trained | {"check"}
    clone.undo()
    assert clone.repro() == ["check"]


REFUSED = {
    "a typo in a method's row": (
        lambda params: params["methods"]["gift"]["losses"].update(
            distil=params["methods"]["gift"]["losses"].pop("distill")
        ),
        "methods.gift.losses.distil: unknown loss. Did you mean 'distill'?",
    ),
    "a method that is no row": (lambda params: params["run"]["methods"].append("lwff"), "unknown method 'lwff'"),
    "a task with a command in its name": (
        lambda params: params["tasks"].update({"a; touch pwned ;": dict(params["tasks"]["digits"])}),
        "a; touch pwned ;",
    ),
    "a rate factor with a command": (
        lambda params: params["sequence"][1].update(learning_rate_factor="1; touch pwned"),
        "sequence[1].learning_rate_factor",
    ),
    "a method with a path": (
        lambda params: (
            params["methods"].update({"../..": dict(params["methods"]["finetune"])}),
            params["run"]["methods"].append("../.."),
        ),
        "../..",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_params_stop_before_anything_is_removed(
    clone: Clone, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    before = clone.outputs()
    params = clone.params
    change(params)
    clone.write_params(params)
    assert set(clone.repro(expect=255)) <= {"check"}
    assert message in clone.printed
    assert clone.outputs() == before
    assert not (clone.folder / "pwned").exists()
    clone.undo()


def test_a_changed_loss_weight_runs_only_that_method_and_undoing_it_runs_nothing(clone: Clone) -> None:
    params = clone.params
    params["methods"]["gift"]["losses"]["align"]["weight"] = 0.5
    clone.write_params(params)
    expected = of_method("gift", FIRST, ["finetune", "evaluate"]) | {"check", "report"}
    expected |= of_method("gift", range(1, 2), ["teach"])  # the teacher of step 0 is the pre-trained model
    assert set(clone.repro()) == expected
    clone.undo()
    assert clone.repro() == ["check"]


def test_a_changed_rate_of_the_last_step_runs_that_step_and_undoing_it_runs_nothing(clone: Clone) -> None:
    params = clone.params
    params["sequence"][1]["learning_rate_factor"] = 0.5
    clone.write_params(params)
    last = range(1, 2)
    stages = ["finetune", "evaluate"]
    expected = of_method("gift", last, stages) | of_method("finetune", last, stages) | {"check", "report"}
    assert set(clone.repro()) == expected
    clone.undo()
    assert clone.repro() == ["check"]


def test_a_changed_generator_seed_runs_synthesize_and_what_learns_from_it(clone: Clone) -> None:
    params = clone.params
    params["generator"]["seed"] += 1
    clone.write_params(params)
    expected = {f"synthesize@{step}" for step in FIRST} | of_method("gift", FIRST) | {"check", "report"}
    # teach runs for every method, and writes the same for one without replay: its finetune does not run
    expected |= of_method("finetune", FIRST, ["teach"])
    assert set(clone.repro()) == expected
    clone.undo()
    assert clone.repro() == ["check"]


def test_an_appended_task_runs_only_its_own_stages(clone: Clone) -> None:
    before = clone.report()
    params = clone.params
    params["tasks"]["faces"] = dict(params["tasks"]["games"])
    params["sequence"].append({"task": "faces", "after": TASKS[-1], "learning_rate_factor": 1.0})
    clone.write_params(params)
    expected = {"check", "ingest@faces", "write_prompts@2", "synthesize@2", "report"}
    expected |= of_method("gift", range(2, 3)) | of_method("finetune", range(2, 3))
    assert set(clone.repro()) == expected
    clone.undo()
    assert clone.repro() == ["check"]
    assert clone.report() == before
    assert (clone.folder / ".gift" / "taken_back" / "gift" / "faces.parquet").is_file()


def test_an_added_method_is_a_name_in_one_list_and_runs_only_its_own_stages(clone: Clone) -> None:
    before = clone.report()
    params = clone.params
    params["run"]["methods"] += ["icarl"]
    clone.write_params(params)
    expected = of_method("icarl", FIRST) | {"check", "report"}
    assert set(clone.repro()) == expected
    assert set(clone.metrics()) == {"zero_shot", "finetune", "gift", "icarl"}
    # going back with git leaves the accuracies of the method behind; the report does not see them
    clone.run("git", "checkout", "--quiet", "-b", "icarl")
    clone.run("git", "commit", "--quiet", "--all", "--message", "another method")
    clone.run("git", "checkout", "--quiet", "-")
    assert clone.repro() == ["report"]
    assert clone.report() == before
    assert clone.run("git", "status", "--porcelain") == ""
    # and the method comes back from the cache
    clone.run("git", "checkout", "--quiet", "icarl")
    assert clone.repro() == []
    assert set(clone.metrics()) == {"zero_shot", "finetune", "gift", "icarl"}
    assert clone.run("git", "status", "--porcelain") == ""
    clone.run("git", "checkout", "--quiet", "-")
    assert clone.repro() == ["report"]


def test_two_branches_merge_and_only_check_and_report_run(clone: Clone, tmp_path: Path) -> None:
    driver = f'"{sys.executable}" -m stages merge-lock %O %A %B'
    metrics = {}
    start = clone.run("git", "rev-parse", "HEAD").strip()
    for branch, change in (
        ("method", lambda params: params["run"]["methods"].append("icarl")),
        ("weight", lambda params: params["methods"]["gift"]["losses"]["align"].update(weight=0.5)),
    ):  # both ran in a test above, so their results are in the run cache
        clone.run("git", "checkout", "--quiet", "-b", branch, start)
        params = clone.params
        change(params)
        clone.write_params(params)
        assert set(clone.repro()) <= {"check", "report"}
        metrics[branch] = clone.metrics()
        clone.run("git", "commit", "--quiet", "--all", "--message", branch)
    clone.run("dvc", "remote", "add", "--local", "--force", "--default", "store", str(tmp_path / "store"))
    clone.run("dvc", "push", "--quiet", "--run-cache", "--all-branches")
    clone.run("git", "clone", "--quiet", "--branch", "method", str(clone.folder), str(tmp_path / "second"))
    second = Clone(tmp_path / "second")
    second.run("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    for name, command in (("dvc-lock", driver), ("ours", "true")):
        second.run("git", "config", f"merge.{name}.driver", command)
    second.run("git", "merge", "--quiet", "--no-edit", "origin/weight")
    printed = second.run("dvc", "repro", "--pull")
    assert set(re.findall(r"Running stage '([^']+)'", printed)) == {"check", "report"}
    assert second.metrics() == metrics["weight"] | {"icarl": metrics["method"]["icarl"]}
    assert second.repro() == []


def test_a_changed_shard_of_an_earlier_step_runs_the_teachers_of_the_steps_that_replay_it(clone: Clone) -> None:
    params = clone.params
    params["run"]["methods"] += ["gift_vocabulary"]
    clone.write_params(params)
    assert set(clone.repro()) == of_method("gift_vocabulary", FIRST) | {"check", "report"}
    source = clone.folder / "data" / "4_teachers" / "gift_vocabulary" / TASKS[1] / "source.json"
    before = json.loads(source.read_text(encoding="utf-8"))["read"]
    assert sorted(before) == ["shards", f"shards {TASKS[0]}", "vocabulary"]
    manifest = clone.folder / "data" / "3_shards" / TASKS[0] / "manifest.json"
    changed = json.loads(manifest.read_text(encoding="utf-8")) | {"redrawn": 7}
    manifest.chmod(0o644)
    manifest.write_text(json.dumps(changed), encoding="utf-8")
    clone.run("dvc", "commit", "--force", "synthesize@0")
    ran = clone.repro()
    assert of_method("gift_vocabulary", FIRST) <= set(ran) and "synthesize@1" not in ran
    after = json.loads(source.read_text(encoding="utf-8"))["read"]
    assert [name for name in after if after[name] != before[name]] == [f"shards {TASKS[0]}"]
