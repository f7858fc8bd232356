"""Stages that are killed at any moment and run again end with the bytes of a run that was not interrupted.

In a tiny experiment: two tasks, and methods that use every part that a snapshot has.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.accuracy import write_empty_accuracy
from gift_core.artifacts.model_folder import model_hash, read_provenance
from gift_core.clip.model import save_clip
from gift_core.layout import Layout
from gift_core.work.folder import Unfinished, unfinished_works
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.teach import teach
from tests.artifacts.damage import tree_hash
from tests.clone import Clone
from tests.interruption.processes import NEVER, Ended, Kill, run
from tests.tiny_world import TinyExperiment, load, make_world, moved, write_images, write_pairs

SYNTHETIC = {"images": "synthetic", "teacher": "previous"}
EWC = {**SYNTHETIC, "fisher": {"estimator": "per_sample", "accumulate": True}}
LOSSES = {"distill": {"weight": 1.0, "temperature": 2.0}, "align": {"weight": 0.25, "label_smoothing": 0.2}}
METHODS: dict[str, dict[str, Any]] = {
    "frozen": {
        "replay": SYNTHETIC,
        "losses": LOSSES,
        "consolidation": {"kind": "frozen_fisher", "weight": 1.0, "iterations": 3},
        "average": {"kind": "running_mean", "every": 2},
        "merge": {"kind": "interpolate", "alpha": 0.6},
    },
    "ewc": {"replay": EWC, "losses": {}, "consolidation": {"kind": "static_fisher", "weight": 1.0, "scale": "model"}},
}
FIRST, SECOND = "birds", "digits"


@dataclass(frozen=True)
class Step:
    """A stage of one method and the second task: its command, and the file or folder that it makes."""

    root: Path
    stage: str
    method: str

    @property
    def results(self) -> list[Path]:
        """What the stage makes."""
        layout = Layout(self.root)
        made = {"teach": [layout.teacher], "finetune": [layout.model]}
        return [path(self.method, SECOND) for path in made.get(self.stage, [layout.accuracy, layout.predictions])]

    def run(self, *, kill: Kill = NEVER, threads: int = 1) -> Ended:
        """Runs the stage. As DVC does, it removes the results first."""
        for result in self.results:
            if result.is_dir():
                shutil.rmtree(result)
            result.unlink(missing_ok=True)
        return run(self.root, [self.stage, self.method, SECOND], kill, threads)

    def succeed(self, *, threads: int = 1) -> Ended:
        """Runs the stage, which should succeed."""
        before = len(self.unfinished)
        ended = self.run(threads=threads)
        assert ended.code == 0, ended.printed
        assert not [left for result in self.results for left in result.parent.glob(".*.partial")]
        assert len(self.unfinished) <= before
        return ended

    @property
    def unfinished(self) -> list[Unfinished]:
        """The work that interrupted runs left."""
        return unfinished_works(Layout(self.root).work(self.stage, f"{self.method}-{SECOND}"))

    def digest(self) -> list[dict[str, str]]:
        """The hash of each file of the results."""
        return [tree_hash(result) for result in self.results]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> Path:
    """A finished experiment with METHODS."""
    root, params = tmp_path_factory.mktemp("interrupted"), deepcopy(_mini_params)
    layout = make_world(root)
    params["evaluation"]["batch_size"] = 2
    rows = {name: {"learning_rate": 1e-3, **row} for name, row in METHODS.items()}
    TinyExperiment(layout, params, "frozen", rows["frozen"], iterations=6)  # completes params
    params["sequence"] = params["sequence"][:2]
    params["methods"], params["run"]["methods"] = rows, list(rows)
    Clone(root).write_params(params)
    write_empty_accuracy(layout.pretrained_accuracy(), {"model:pretrained": model_hash(layout.pretrained())})
    for method in rows:
        for task in (FIRST, SECOND):
            for stage in (teach, finetune, evaluate):
                stage(method, task, params=root / "params.yaml", root=root)
    return root


@pytest.mark.parametrize(("stage", "method"), [("finetune", "frozen"), ("teach", "ewc"), ("evaluate", "frozen")])
def test_a_killed_stage_continues_to_the_same_bytes(root: Path, stage: str, method: str) -> None:
    step = Step(root, stage, method)
    whole = step.succeed()
    expected = step.digest()
    continued = 0
    for change in (2, whole.changes // 2 + 1, whole.changes):
        assert step.run(kill=Kill(change=change)).code == -9
        assert not all(result.exists() for result in step.results) or step.digest() == expected
        continued += step.succeed().continued
        assert step.digest() == expected, f"killed at change {change} of {whole.changes}"
    assert continued
    ended = step.run(kill=Kill(change=whole.changes // 2, signal=signal.SIGINT))  # Ctrl-C
    assert (ended.code, step.results[0].exists(), "Traceback" in ended.printed) == (130, False, False)
    assert step.succeed().continued
    assert step.digest() == expected


def change_seed(root: Path) -> None:
    params = Clone(root).params
    Clone(root).write_params(params | {"seed": params["seed"] + 1})


def replace_images(root: Path) -> None:
    folder = Layout(root).task(SECOND)
    shutil.rmtree(folder)
    write_images(folder, seed=900)


def replace_pairs(root: Path) -> None:
    folder = Layout(root).shards(SECOND)
    shutil.rmtree(folder)
    write_pairs(folder, seed=950)


def replace_model(root: Path) -> None:
    folder = Layout(root).model("frozen", FIRST)
    save_clip(moved(load(folder), seed=5), folder, {"method": "frozen", "task": FIRST})


@pytest.mark.parametrize(("stage", "changes"), [
    ("finetune", (change_seed, replace_images, replace_model)),
    ("teach", (replace_pairs,)),
    ("evaluate", (replace_images,)),
])  # fmt: skip
def test_stale_work_is_not_used(
    root: Path, tmp_path: Path, stage: str, changes: tuple[Callable[[Path], None], ...]
) -> None:
    middle = Step(root, stage, "frozen").succeed().changes // 2
    for change in changes:
        copy = tmp_path / change.__name__
        shutil.copytree(root, copy)
        step = Step(copy, stage, "frozen")
        assert step.run(kill=Kill(change=middle)).code == -9
        assert list((copy / ".gift" / stage / f"frozen-{SECOND}").rglob("*.safetensors"))
        change(copy)
        if (stage, change) == ("finetune", replace_model):
            Step(copy, "teach", "frozen").succeed()  # finetune refuses the features of the former model
        ended = step.succeed()
        continued = ended.continued
        assert not continued or stage == "evaluate", change.__name__  # it knows the accuracies on the other test set
        assert continued or "starts from the beginning. The unfinished work of " in ended.printed, ended.printed
        found = step.digest()
        step.succeed()
        assert step.digest() == found, change.__name__


def test_work_is_continued_after_a_detour_and_with_another_number_of_threads(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    step, params = Step(copy, "finetune", "frozen"), Clone(copy).params
    middle = step.succeed().changes // 2
    step.run(kill=Kill(change=middle))
    change_seed(copy)
    assert f"(inputs.seed {params['seed']}, now {params['seed'] + 1})" in step.succeed().printed
    Clone(copy).write_params(params)
    ended = step.succeed(threads=2)
    assert "continues with 2 threads what ran with 1" in ended.printed and "OMP_NUM_THREADS=1" in ended.printed
    assert "continues at iteration" in ended.printed
    assert step.unfinished == []
    assert read_provenance(step.results[0])["environment"]["threads"] == "1, then 2"
