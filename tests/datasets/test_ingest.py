"""Tasks of the miniature benchmark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gift_core.artifacts.task import iterate_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import MiniTaskConfig
from gift_core.datasets.ingest import ingest
from gift_core.errors import UserError
from gift_core.mini.world import mini_task
from tests.artifacts.damage import tree_hash

INGEST = IngestConfig(images_per_shard=50, image_format="png", shorter_side=None)


def config(train: int = 60, test: int = 30) -> MiniTaskConfig:
    return MiniTaskConfig(source="mini", path="data/mini", train_images=train, test_images=test)


def test_a_mini_task_has_its_classes_and_templates(tmp_path: Path) -> None:
    info = ingest("letters", config(), tmp_path / "letters", ingest_config=INGEST, seed=1)
    task = mini_task("letters")
    assert (info.class_names, info.templates) == (task.class_names, task.templates)
    assert info.counts == {"train": 60, "test": 30}
    assert info.source == "mini"
    assert {label for _, label in iterate_task(tmp_path / "letters", "train")} == set(range(26))


def test_the_images_depend_on_the_seed_only(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ingest("textures", config(24, 12), tmp_path / name / "textures", ingest_config=INGEST, seed=seed)
    hashes = [tree_hash(tmp_path / name / "textures") for name in "abc"]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'letters'"):
        ingest("leters", config(), tmp_path / "leters", ingest_config=INGEST, seed=1)


def test_fewer_images_than_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        ingest("letters", config(test=25), tmp_path / "letters", ingest_config=INGEST, seed=1)
    expected = "params.yaml: tasks.letters.test_images: 25 images are fewer than the 26 classes. Write 26 or more."
    assert str(caught.value) == expected


def test_more_digits_than_were_written_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="digits"):
        ingest("digits", config(train=100_000), tmp_path / "digits", ingest_config=INGEST, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_ingestion_does_not_import_torch(tmp_path: Path, project: Path) -> None:
    program = """
import sys
from pathlib import Path
from gift_core.config.loading import load_config
from gift_core.datasets.ingest import ingest
config = load_config(Path("params.yaml"))
ingest("textures", config.tasks["textures"], Path(sys.argv[1]), ingest_config=config.ingest, seed=1)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "textures")], check=True, cwd=project)
