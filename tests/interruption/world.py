"""A tiny experiment for interrupted stages: two tasks, and methods that use every part that a snapshot has."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gift_core.artifacts.accuracy import write_empty_accuracy
from gift_core.artifacts.model_folder import model_hash
from gift_core.layout import Layout
from gift_core.work.folder import Unfinished, unfinished_works
from stages.evaluate import evaluate
from stages.finetune import finetune
from stages.teach import teach
from tests.artifacts.damage import tree_hash
from tests.interruption.processes import NEVER, Ended, Kill, run
from tests.tiny_world import TinyExperiment, make_world

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
    "icarl": {
        "replay": {"images": "exemplars", "teacher": "previous", "memory": 6},
        "losses": {"distill_image_side": {"weight": 1.0, "temperature": 2.0}},
        "consolidation": {"kind": "none"},
    },
    "plain": {"replay": {"images": "none"}, "losses": {}, "consolidation": {"kind": "none"}},
}
FIRST, SECOND = "birds", "digits"


@dataclass(frozen=True)
class Step:
    """A stage of one method and the second task: its command, and the file or folder that it makes."""

    root: Path
    stage: str
    method: str

    @property
    def result(self) -> Path:
        """What the stage makes, evaluate as the last of two files."""
        layout = Layout(self.root)
        place = {"teach": layout.teacher, "finetune": layout.model, "evaluate": layout.accuracy}[self.stage]
        return place(self.method, SECOND)

    @property
    def results(self) -> list[Path]:
        """All that the stage makes."""
        predictions = Layout(self.root).predictions(self.method, SECOND)
        return [self.result, *([predictions] if self.stage == "evaluate" else [])]

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

    def is_whole_or_missing(self, expected: list[dict[str, str]]) -> bool:
        """Whether a result is not there, or all have the hashes `expected`."""
        return not all(result.exists() for result in self.results) or self.digest() == expected


def tiny_experiment(root: Path, params: dict[str, Any], *, iterations: int = 6, **evaluation: Any) -> Path:
    """Writes the world and an experiment with METHODS, and runs it to its end."""
    layout = make_world(root)
    params = copy.deepcopy(params)
    params["evaluation"] |= {"batch_size": 2, **evaluation}
    rows = {name: {"learning_rate": 1e-3, **row} for name, row in METHODS.items()}
    TinyExperiment(layout, params, "frozen", rows["frozen"], iterations=iterations)  # completes params
    params["sequence"] = params["sequence"][:2]
    params["methods"], params["run"]["methods"] = rows, list(rows)
    write(root, params)
    write_empty_accuracy(layout.pretrained_accuracy(), {"model:pretrained": model_hash(layout.pretrained())})
    for method in rows:
        for task in (FIRST, SECOND):
            for stage in (teach, finetune, evaluate):
                stage(method, task, params=root / "params.yaml", root=root)
    return root


def write(root: Path, params: dict[str, Any]) -> None:
    """Writes params.yaml."""
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def read(root: Path) -> dict[str, Any]:
    """Reads params.yaml."""
    found: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    return found


def spread(count: int, kills: int) -> Sequence[int]:
    """`kills` numbers from 2 to `count`, as evenly as possible."""
    return [2 + (count - 2) * number // max(1, kills - 1) for number in range(kills)]
