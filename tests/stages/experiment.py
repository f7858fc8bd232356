"""An experiment of two miniature tasks in a folder of its own, and the real commands run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from gift_core.layout import Layout
from stages.app import app
from tests.imports import ROOT, sequence_of

TASKS = ["games", "arrows"]
RUNNER = CliRunner()
Gift = Callable[..., Result]  # runs a command


def invoke(*words: str | Path, **options: Any) -> Result:
    return RUNNER.invoke(app, list(map(str, words)), **options)


def gift(*words: str | Path, expect: int = 0) -> Result:
    """Runs `gift` in this process, in 80 columns, and asserts its exit code."""
    result = invoke(*words, env={"COLUMNS": "80"})
    assert result.exit_code == expect, f"{words}: {result.output}\n{result.exception!r}"
    return result


class Commands:
    """The commands of gift on the project in `folder`, in this process."""

    folder: Path

    def gift(self, *command: str, expect: int = 0) -> Result:
        return gift(*command, "--params", self.folder / "params.yaml", "--root", self.folder, expect=expect)

    def succeed(self, *command: str) -> str:
        return self.gift(*command).output

    def fail(self, *command: str) -> str:
        """Returns the output, each run of white space as one space."""
        return " ".join(self.gift(*command, expect=1).output.split())


class Experiment(Commands):
    """A params file and a root folder of its own, and the commands run on them."""

    def __init__(self, folder: Path, params: dict[str, Any]) -> None:
        self.folder, self.params, self.layout = folder, params, Layout(folder)
        self.write(params)

    def learn(self, task: str) -> str:
        """Runs the stages of a step for every method. Returns what they print."""
        said = "".join(self.succeed(stage, task) for stage in ("ingest", "write_prompts", "synthesize"))
        for method in self.params["run"]["methods"]:
            said += "".join(self.succeed(stage, method, task) for stage in ("teach", "finetune", "evaluate"))
        return said

    def write(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def tiny(params: dict[str, Any], *, tasks: list[str] = TASKS) -> dict[str, Any]:
    """Returns params.yaml with these tasks, few images and iterations, and the miniature models by absolute paths."""
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 35}
    params["tasks"] = {task: dict(row) for task in tasks}
    params["evaluation"]["probes"] = []
    params["sequence"] = sequence_of(tasks)
    params["training"] |= {"iterations": 3, "warmup_iterations": 1, "batch_size": 8, "replay_batch_size": 8}
    params["prompts"] |= {"images_per_task": 12}
    params["generator"] |= {"images_per_shard": 8, "steps": 2, "pipeline": str(ROOT / "data/mini/diffusion")}
    params["model"] |= {"name": f"local-dir:{ROOT / 'data/mini/clip'}"}
    return params
