"""What one method forgot and another one kept, and the confused classes, counted by hand.

The first images of a test set of 500 are classified correctly, as many as the accuracy says (write_pictures).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from gift_core.artifacts.task import images_at, read_task
from gift_core.config.experiment import Config
from gift_core.layout import Layout
from gift_core.report.highlight import headline
from gift_core.report.page import render_page
from gift_core.report.pictures import thumbnail
from gift_core.report.predicted_images import prediction_pictures
from gift_core.report.run_record import read_run
from tests.report.run_folder import write_pictures, write_run


@pytest.fixture
def config(whole: tuple[Path, Config], tmp_path: Path) -> Config:
    """Of a run in tmp_path, whose files a test may change."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    return whole[1]


def read(root: Path, config: Config, section: str = "kept") -> dict[str, Any]:
    """What a section of a run shows."""
    return {each.id: {**each.shown} for each in prediction_pictures(read_run(Layout(root), config))}[section]


def test_what_one_method_forgot_and_the_other_kept_and_confused_classes_are_counted(whole: tuple[Path, Config]) -> None:
    found = read(*whole)
    assert (found["baseline"], found["best"]) == ("finetune", "gift")
    # letters: finetune falls from 450 to 150 of 500 images, gift has 370; textures: 475 to 325, gift 430
    counts = {
        task: tuple(kept[name] for name in ("learned", "forgotten", "kept", "reverse"))
        for task, kept in found["kept"].items()
    }
    assert counts == {"letters": (450, 300, 370 - 150, 0), "textures": (475, 150, 430 - 325, 0)}
    errors = read(*whole, "confused")["confused"]["letters"]
    # finetune misclassifies the images 150 to 499, 35 of each class; gift the images 370 to 499, 13 of each
    assert (errors["finetune"]["errors"], errors["finetune"]["total"], errors["gift"]["errors"]) == (350, 500, 130)
    assert errors["finetune"]["pairs"][0] == ("letters 0", "letters 1", "", 35)
    assert errors["gift"]["pairs"] == [(f"letters {at}", f"letters {at + 1}", "", 13) for at in range(4)]


def test_the_images_shown_are_those_of_the_test_set_with_both_answers(whole: tuple[Path, Config]) -> None:
    images, folder = read(*whole)["kept"]["letters"]["images"], Layout(whole[0]).task("letters")
    positions = [150, 181, 213, 244, 275, 306, 338, 369]  # evenly spaced from the first to the last of 150 to 369
    stored = images_at(folder, read_task(folder), "test", positions)
    expected = [thumbnail(f"letters {at % 10}", stored[at].read(), file=folder, stage="ingest") for at in positions]
    assert images == [(each, f"letters {(int(each.text[-1]) + 1) % 10}", each.text) for each in expected]


def test_a_cross_domain_run_is_read_from_the_files_of_the_last_step_alone(
    tmp_path: Path, whole: tuple[Path, Config]
) -> None:
    evaluation = {"batch_size": 256, "protocol": "cross_domain", "max_images": None}
    config = write_run(tmp_path, changes={"evaluation": evaluation})
    write_pictures(Layout(tmp_path), config)
    assert read(tmp_path, config)["kept"] == read(*whole)["kept"]
    record, other = read_run(Layout(tmp_path), config), read_run(Layout(whole[0]), whole[1])
    assert (record.metrics, record.columns) == (other.metrics, other.columns)
    assert all(record.matrices[method].equals(other.matrices[method]) for method in record.methods)
    assert "mean accuracy among the classes of all tasks" in headline(record)[0]
    html = render_page(record)
    assert "Each image is classified among the classes of all tasks, also of those not trained yet." in html
    assert "cross-domain (X-TAIL): an image" in html and 'id="matrices"' in html


def test_what_is_not_here_is_named(config: Config, tmp_path: Path) -> None:
    (Layout(tmp_path).task("letters") / "test-00001.tar").unlink()
    found = read(tmp_path, config)
    letters, textures = found["kept"].values()
    assert (found["missing"], letters["kept"], letters["images"], len(textures["images"])) == (["letters"], 220, [], 8)
    Layout(tmp_path).predictions("finetune", "textures").unlink()
    confused = read(tmp_path, config, "confused")
    assert (confused["missing"], [*confused["confused"]["letters"]]) == (["finetune"], ["gift"])
    html = render_page(read_run(Layout(tmp_path), config))
    assert 'id="kept"' not in html and "The predictions of Fine-tuning are not on this machine" in html
