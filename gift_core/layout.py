"""Where each artifact lies. No other file spells a path of data/."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The places under the project's root; methods only name them, nothing is made or read."""

    root: Path

    def raw(self, name: str) -> Path:
        """The raw data set that a person put there; never changed."""
        return self.root / "data" / "0_raw" / name

    def task(self, task: str) -> Path:
        """The ingested task: tars and task.json."""
        return self.root / "data" / "1_tasks" / task

    def prompts(self, task: str) -> Path:
        """The prompts that replay draws while this task is learned."""
        return self.root / "data" / "2_prompts" / f"{task}.parquet"

    def pool(self, task: str) -> Path:
        """The class names that may be prompts after this task ("../pretrained": before any task)."""
        return _without_dots(self.root / "data" / "2_prompts" / "pools" / f"{task}.json")

    def base_pool(self) -> Path:
        """The base vocabulary as a pool, beside the folder of the others, as the pre-trained model is."""
        return self.root / "data" / "2_prompts" / "pretrained.json"

    def shards(self, task: str) -> Path:
        """The synthetic image-text pairs that protect the past while this task is learned."""
        return self.root / "data" / "3_shards" / task

    def teacher(self, method: str, task: str) -> Path:
        """What the method's teacher says before this task ("../pretrained": the chain's empty start)."""
        return _without_dots(self.root / "data" / "4_teachers" / method / task)

    def first_teacher(self) -> Path:
        """The start of every method's chain of teachers: nothing was taught."""
        return self.root / "data" / "4_teachers" / "pretrained"

    def pretrained(self) -> Path:
        """The model under study before any step."""
        return self.root / "data" / "5_models" / "pretrained"

    def model(self, method: str, task: str) -> Path:
        """The method's model after this task ("../pretrained": before any task)."""
        return _without_dots(self.root / "data" / "5_models" / method / task)

    def accuracy(self, method: str, task: str) -> Path:
        """The accuracies that this step adds to the method's matrix ("../pretrained": the chain's empty start)."""
        return _without_dots(self.root / "data" / "6_accuracy" / method / f"{task}.parquet")

    def pretrained_accuracy(self) -> Path:
        """The start of every method's chain of accuracy files: no rows, the pre-trained model's hash."""
        return self.root / "data" / "6_accuracy" / "pretrained.parquet"

    def reports(self) -> Path:
        """metrics.json, plots and index.html."""
        return self.root / "reports"

    def work(self, stage: str, key: str) -> Path:
        """The area where an interrupted stage keeps its partial work; no artifact."""
        return self.root / ".gift" / stage / key

    def timings(self) -> Path:
        """How long the stages took on this machine; no artifact."""
        return self.root / ".gift" / "timings"


def _without_dots(path: Path) -> Path:
    """Takes "../" out of a path by its text, as DVC does: the folder before it need not exist yet."""
    return Path(os.path.normpath(path))
