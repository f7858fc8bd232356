"""Every stage on a full disk: one message, and the results stay.

The disks are real. Too little space is usually found before the work: here that check is told that there is plenty.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import Result

from gift_core.clip.model import save_clip
from tests.artifacts.damage import tree_hash
from tests.clip.tiny import tiny_clip
from tests.mounts import small_disk
from tests.stages.experiment import Experiment, tiny

TASK = "games"
PAGE = 4096  # bytes that a file takes at least
STAGES = {  # and their outputs
    ("check",): [f"data/code/{stage}.json" for stage in ("import_model", "finetune", "report")],
    ("import_model",): ["data/5_models/pretrained", "data/4_teachers/pretrained", "data/6_accuracy/pretrained.parquet"],
    ("ingest", TASK): [f"data/1_tasks/{TASK}"],
    ("write_vocabulary",): ["data/2_prompts/pretrained.json"],
    ("write_prompts", TASK): [f"data/2_prompts/{TASK}.parquet", f"data/2_prompts/vocabularies/{TASK}.json"],
    ("synthesize", TASK): [f"data/3_shards/{TASK}"],
    ("teach", "ewc", TASK): [f"data/4_teachers/ewc/{TASK}"],
    ("finetune", "ewc", TASK): [f"data/5_models/ewc/{TASK}"],
    ("evaluate", "ewc", TASK): [f"data/6_accuracy/ewc/{TASK}.parquet", f"data/6_predictions/ewc/{TASK}.parquet"],
    ("report",): [f"reports/{name}" for name in ("index.html", "metrics.json", "summary.json", "plots")],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any], project: Path) -> Experiment:
    """One task, one method that replays images and estimates Fisher diagonals, after all its stages."""
    folder = tmp_path_factory.mktemp("world")
    save_clip(tiny_clip(), folder / "source", {})
    params = tiny(copy.deepcopy(_mini_params), tasks=[TASK])
    params["run"] |= {"methods": ["ewc"], "device": "cpu"}
    params["methods"] = {"ewc": params["methods"]["ewc"]}
    params["training"] |= {"batch_size": 4, "replay_batch_size": 4}
    params["generator"] |= {"images_per_shard": 4, "steps": 1}
    params["prompts"] |= {"images_per_task": 6}
    params["model"] |= {"name": f"local-dir:{folder / 'source'}"}  # a model of a million weights
    world = Experiment(folder, params)
    for command in STAGES:
        world.succeed(*command)
    shutil.copytree(project / "presets", folder / "presets")
    return world


def results(world: Experiment) -> dict[str, str]:
    """The hash of each file. The run times and the work of an interrupted stage are no results."""
    return {name: value for name, value in tree_hash(world.folder).items() if "/.gift/" not in name}


def pages(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(-(-file.stat().st_size // PAGE) for file in files)


def only_message(result: Result) -> str:
    """The message of a command that was refused: one, and no traceback."""
    assert result.exit_code == 1, f"exit code {result.exit_code}: {result.output}\n{result.exception!r}"
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    lines = result.stderr.replace("\n", " ")
    assert "Traceback" not in lines and lines.count("error: ") == 1, lines
    return lines[lines.index("error: ") :]


@pytest.fixture
def plenty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of free space passes, so that the writing itself fails."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**15))


@contextmanager
def full_disk(world: Experiment, folder: Path, free_pages: int) -> Iterator[Experiment]:
    """A copy of the world on a disk that has so much free space left."""
    with small_disk(folder / "disk", 64 * 1024) as disk:
        shutil.copytree(world.folder, disk / "world")
        full = Experiment(disk / "world", world.params)
        space = os.statvfs(disk)
        with (disk / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_frsize - free_pages * PAGE)
        yield full


def title(command: tuple[str, ...]) -> str:
    return "@".join(filter(None, (command[0], "-".join(command[1:]))))


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize("command", STAGES, ids=title)
def test_on_a_disk_that_becomes_full_results_stay(command: tuple[str, ...], world: Experiment, tmp_path: Path) -> None:
    half = max(pages(world.folder / output) for output in STAGES[command]) // 2
    with full_disk(world, tmp_path, half) as full:
        before = results(full)
        message = only_message(full.gift(*command))
        assert "No space left on device" in message and "Free some space there" in message
        assert message.startswith(f"error: {title(command)}: ")
        assert results(full) == before, "a former result should stay, and nothing else be left"
        (full.folder.parent / "filler").unlink()
        full.succeed(*command)
        assert results(full) == before
