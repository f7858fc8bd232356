"""Every stage and every command that writes, on a full and on a read-only disk: one message, and the results stay.

The disks are real. Too little space is usually found before the work. For a disk that becomes full during the work,
that check is told that there is plenty.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from gift_core.clip.model import save_clip
from stages.app import app
from tests.clip.tiny import png, tiny_clip
from tests.mounts import read_only, small_disk

TASK = "games"
RUNNER = CliRunner()
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
    ("report",): [
        "reports/index.html",
        "reports/metrics.json",
        "reports/zero_shot.json",
        "reports/summary.json",
        "reports/plots",
    ],
}
by_stage = pytest.mark.parametrize("command", STAGES, ids=lambda command: command[0])


class World:
    """A folder in which an experiment of one task has run, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> Result:
        return RUNNER.invoke(app, [*command, "--params", str(self.folder / "params.yaml"), "--root", str(self.folder)])

    def files(self) -> dict[str, str]:
        """The hash of each file. The run times and the work of an interrupted stage are no results."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and ".gift" not in path.parts)
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def pages(self, output: str) -> int:
        """How much of a disk the output takes."""
        path = self.folder / output
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return sum(-(-file.stat().st_size // PAGE) for file in files)


def experiment(params: dict[str, Any], folder: Path, project: Path) -> dict[str, Any]:
    """One task, one method that replays images and estimates Fisher diagonals, a model of a million weights."""
    params["run"] |= {"methods": ["ewc"], "device": "cpu"}
    params["methods"] = {"ewc": params["methods"]["ewc"]}
    row = {"source": "mini", "path": "data/mini", "train_images": 40, "test_images": 35}
    params["tasks"] = {TASK: row}
    params["sequence"] = [{"task": TASK, "after": "../pretrained", "learning_rate_factor": 1.0}]
    params["training"] |= {"iterations": 2, "warmup_iterations": 1, "batch_size": 4, "replay_batch_size": 4}
    params["prompts"] |= {"images_per_task": 6}
    params["generator"] |= {"images_per_shard": 4, "steps": 1, "pipeline": str(project / "data/mini/diffusion")}
    params["model"] |= {"name": f"local-dir:{folder / 'source'}"}
    return params


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any], project: Path) -> World:
    """The experiment after all its stages."""
    folder = tmp_path_factory.mktemp("world")
    world = World(folder)
    save_clip(tiny_clip(), folder / "source", {})
    params = experiment(yaml.safe_load(yaml.safe_dump(_mini_params)), folder, project)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    for command in STAGES:
        result = world.run(*command)
        assert result.exit_code == 0, f"{command}: {result.output}\n{result.exception!r}"
    shutil.copytree(project / "presets", folder / "presets")
    return world


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
def full_disk(world: World, folder: Path, free_pages: int) -> Iterator[World]:
    """A copy of the world on a disk that has so much free space left."""
    with small_disk(folder / "disk", 64 * 1024) as disk:
        shutil.copytree(world.folder, disk / "world")
        fill(disk, free_pages)
        yield World(disk / "world")


def fill(disk: Path, free_pages: int) -> None:
    space = os.statvfs(disk)
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, space.f_bavail * space.f_frsize - free_pages * PAGE)
    space = os.statvfs(disk)
    assert space.f_bavail * space.f_frsize == free_pages * PAGE


def title(command: tuple[str, ...]) -> str:
    return "@".join(filter(None, (command[0], "-".join(command[1:]))))


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
@by_stage
def test_a_disk_that_becomes_full_keeps_the_results(
    command: tuple[str, ...], share: float, world: World, tmp_path: Path
) -> None:
    free_pages = int(share * max(map(world.pages, STAGES[command])))
    if share and not free_pages:
        pytest.skip("the output is a single page")
    with full_disk(world, tmp_path, free_pages) as full:
        before = full.files()
        message = only_message(full.run(*command))
        assert "No space left on device" in message and "Free some space there" in message
        assert message.startswith(f"error: {title(command)}: ")
        assert full.files() == before, "a former result should stay, and nothing else be left"
        (full.folder.parent / "filler").unlink()
        assert full.run(*command).exit_code == 0
        assert full.files() == before


CHECKED = [command for command in STAGES if command[0] not in ("check", "write_vocabulary", "report")]


@pytest.mark.parametrize("command", CHECKED, ids=lambda command: command[0])
def test_too_little_space_is_said_before_the_work(
    command: tuple[str, ...], world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **options: object) -> None:
        raise AssertionError("the work should not begin")

    for name in ("replay.teach.teach", "work.training.drive", "generators.pipeline.TextToImage.generate"):
        monkeypatch.setattr(f"gift_core.{name}", work)
    with full_disk(world, tmp_path, 0) as full:
        before = full.files()
        message = only_message(full.run(*command))
        assert "are needed in" in message and "but only 0.0 MB are free" in message
        assert full.files() == before


def test_finetune_asks_for_its_checkpoint_and_its_losses_too(world: World, tmp_path: Path) -> None:
    weights = world.pages("data/5_models/ewc/games/open_clip_model.safetensors")
    with full_disk(world, tmp_path, 4 * weights) as full:
        assert "finetune@ewc-games: the model and its checkpoint:" in only_message(full.run("finetune", "ewc", TASK))


@by_stage
def test_a_read_only_disk_is_named(command: tuple[str, ...], world: World) -> None:
    before = world.files()
    with read_only(world.folder):
        message = only_message(world.run(*command))
    assert message.startswith(f"error: {title(command)}: {world.folder}")
    assert "Read-only file system" in message and "the old one stays" in message
    assert world.files() == before


@by_stage
def test_a_file_where_a_folder_should_be_and_the_reverse_are_named(
    command: tuple[str, ...], world: World, tmp_path: Path
) -> None:
    copy = World(shutil.copytree(world.folder, tmp_path / "copy"))
    output = copy.folder / STAGES[command][0]
    if output.is_dir():
        shutil.rmtree(output)
        output.write_text("mine")
        expected = "there is a file where a folder should be"
    else:
        output.unlink()
        output.mkdir()
        (output / "mine").touch()
        expected = "Is a directory"
    before = copy.files()
    assert only_message(copy.run(*command)).startswith(f"error: {title(command)}: {output}: {expected}")
    assert copy.files() == before


@by_stage
def test_a_link_to_a_disk_that_is_not_there_is_named(command: tuple[str, ...], world: World, tmp_path: Path) -> None:
    copy = World(shutil.copytree(world.folder, tmp_path / "copy"))
    parent = (copy.folder / STAGES[command][-1]).parent
    shutil.rmtree(parent)
    parent.symlink_to(tmp_path / "unmounted")
    message = only_message(copy.run(*command))
    assert message.startswith(f"error: {title(command)}: {parent}: this link leads to {tmp_path / 'unmounted'}")
    assert not (tmp_path / "unmounted").exists()


def test_a_run_time_that_cannot_be_noted_does_not_fail_the_stage(world: World, tmp_path: Path) -> None:
    copy = World(shutil.copytree(world.folder, tmp_path / "copy"))
    with read_only(copy.folder / ".gift"):
        result = copy.run("write_vocabulary")
    assert result.exit_code == 0
    warnings = [line for line in result.output.splitlines() if "warning" in line]
    for warning, what in zip(warnings, ("what it wrote", "its run time"), strict=True):
        assert f"write_vocabulary: warning: {what} is not noted in" in warning and "Read-only file system" in warning


COMMANDS: dict[str, list[str]] = {
    "use": ["use", "mini_full", "--root", "{world}"],
    "add-task": ["add-task", "birds", "--images", "{outside}", "--params", "{world}/params.yaml", "--root", "{world}"],
    "merge": ["merge", "{model}", "{model}", "--alpha", "0.5", "--out", "{world}/out"],
    "compare": ["compare", "{world}", "--out", "{world}/out"],
    "data": ["data", "fetch", "dtd", "--params", "{world}/params.yaml", "--root", "{world}"],
    **{
        f"export --to {form}": ["export", "{model}", "--to", form, "--out", "{world}/out"]
        for form in ("transformers", "safetensors", "onnx")
    },
}
COMMANDS["add-task --copy"] = [*COMMANDS["add-task"], "--copy"]
COMMANDS["add-task --link"] = [*COMMANDS.pop("add-task"), "--link"]


def run_command(name: str, world: World, folder: Path) -> Result:
    """Runs one of COMMANDS in a world, whose model is also outside of it."""
    for label in ("tit", "wren"):
        (folder / "outside" / label).mkdir(parents=True, exist_ok=True)
        for number in range(4):
            (folder / "outside" / label / f"{number}.png").write_bytes(png(number))
    names = {"world": world.folder, "outside": folder / "outside", "model": world.folder / "data/5_models/pretrained"}
    return RUNNER.invoke(app, [part.format(**names) for part in COMMANDS[name]])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_a_read_only_disk_says_so(name: str, world: World, tmp_path: Path) -> None:
    before = world.files()
    with read_only(world.folder):
        message = only_message(run_command(name, world, tmp_path))
    assert "Read-only file system" in message and message.startswith(f"error: gift {name.split()[0]}: ")
    assert str(world.folder) in message
    assert world.files() == before


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "data"])
def test_a_command_on_a_disk_that_becomes_full_keeps_what_was_there(name: str, world: World, tmp_path: Path) -> None:
    with full_disk(world, tmp_path, 0) as full:
        before = full.files()
        message = only_message(run_command(name, full, tmp_path))
        assert "No space left on device" in message
        assert message.startswith(f"error: gift {name.split()[0]}: {full.folder}")
        assert full.files() == before


@pytest.mark.parametrize("name", ["merge", "compare", "export --to safetensors"])
def test_an_output_that_is_no_path_is_named(name: str, world: World, tmp_path: Path) -> None:
    outs = {
        "file": (tmp_path / "file" / "out", "is a file. Name a folder that is not below a file"),
        "long": (tmp_path / ("a" * 300), "File name too long"),
        "dangling": (tmp_path / "dangling" / "out", "this link leads to"),
        "circle": (tmp_path / "circle" / "out", "this link leads to"),
    }
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "unmounted")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    before = sorted(tmp_path.iterdir())
    names = {"world": world.folder, "model": world.folder / "data/5_models/pretrained"}
    for out, expected in outs.values():
        arguments = [part.format(**names) for part in COMMANDS[name][:-1]]
        message = only_message(RUNNER.invoke(app, [*arguments, str(out)]))
        assert expected in message and str(tmp_path) in message
    assert sorted(tmp_path.iterdir()) == before


def test_a_bug_still_shows_its_traceback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*arguments: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/a/file/that/a/bug/names")

    monkeypatch.setattr("gift_core.datasets.base_vocabulary.base_vocabulary", bug)
    assert isinstance(world.run("write_vocabulary").exception, FileNotFoundError)
