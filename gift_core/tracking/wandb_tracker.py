"""Runs in Weights & Biases: in the folder wandb/ of the project, or on its server with WANDB_MODE=online."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gift_core.tracking.tracked_run import Point, RunDescription

ITERATION = "iteration"


class WandbTracker:
    """A W&B run for each model. Its id is the hash of the model's provenance, so a resumed run continues."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run: Any = None

    def start(self, run: RunDescription, *, training: bool) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_MODE", "offline")  # online, wandb may ask for a key and wait
        import wandb

        self.run = wandb.init(
            project=re.sub(r"[/\\#?%:]", "-", run.experiment),
            id=run.key,
            name=run.name,
            resume="allow",
            config=dict(run.settings),
            dir=self.root,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        if training:
            self.run.define_metric("*", step_metric=ITERATION)

    def log(self, points: Sequence[Point]) -> None:
        for iteration, values in points:
            self.run.log({**values, ITERATION: iteration})

    def log_scores(self, scores: Mapping[str, float]) -> None:
        self.run.summary.update(dict(scores))

    def finish(self, *, complete: bool) -> None:
        self.run.finish(exit_code=0 if complete else 1)
