"""Thumbnails, contact sheets, images of a task beside synthetic ones, and those that one method forgot."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gift_core.artifacts.prompt_files import read_prompts, write_prompts
from gift_core.artifacts.shards import read_pairs
from gift_core.artifacts.task import images_at, index_tars, read_task
from gift_core.config.experiment import Config
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.highlight import headline
from gift_core.report.page import render_page
from gift_core.report.pictures import Thumbnail, compared_classes, contact_sheets, task_images, thumbnail
from gift_core.report.predicted_images import prediction_pictures
from gift_core.report.run_record import RunRecord, a_few, read_run
from tests.artifacts.damage import encoded
from tests.report.run_folder import PROBES, PROMPTS, TASKS, build, write_pictures, write_run


@pytest.fixture
def record(whole: tuple[Path, Config], tmp_path: Path) -> RunRecord:
    """Of a run in tmp_path, whose files a test may change. Images are read when a test asks for them."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    return read_run(Layout(tmp_path), whole[1])


def samples_of(record: RunRecord) -> dict[str, dict[str, list[Thumbnail]]]:
    (section,) = task_images(record)
    samples: dict[str, dict[str, list[Thumbnail]]] = section.shown["samples"]
    return samples


def uri(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def test_a_task_shows_two_images_of_six_classes_later_beside_synthetic_ones(record: RunRecord) -> None:
    samples, (compared, _) = samples_of(record), compared_classes(record)
    assert [*samples] == [*TASKS]
    folder = record.layout.task("letters")
    stored = index_tars(folder, read_task(folder), ["train-00000.tar"])
    for number, (name, shown) in zip((0, 2, 4, 5, 7, 9), samples["letters"].items(), strict=True):
        expected = [image.read() for image in stored if image.label == number][:2]
        assert (name, [image.data_uri for image in shown]) == (f"letters {number}", [*map(uri, expected)])
    # no step comes after zodiac
    assert {task: len(classes) for task, classes in compared.items()} == {"letters": 3, "textures": 3}
    # prompts before textures: base and letters in turns, so letters 0 is of the prompts 1 and 21
    pairs = read_pairs(record.layout.shards("textures"), [1, 21])
    real, synthetic = compared["letters"]["letters 0"]
    assert [image.data_uri for image in synthetic] == [uri(pairs[1].image), uri(pairs[21].image)]
    assert real == samples["letters"]["letters 0"]
    assert {image.text for image in synthetic} == {f"{PROMPTS[0]} letters 0"}


def test_what_is_not_here_is_named_and_a_damaged_tar_refused(record: RunRecord, whole: tuple[Path, Config]) -> None:
    layout = record.layout
    (layout.task("letters") / "train-00000.tar").unlink()
    (layout.shards("zodiac") / "00000.tar").unlink()
    assert [task for task, classes in samples_of(record).items() if classes] == ["textures", "zodiac"]
    html = (build(layout.root, whole[1]) / "index.html").read_text(encoding="utf-8")
    assert "The training images of letters are not on this machine" in html
    assert "The synthetic pairs before zodiac are not on this machine" in html
    tar = layout.task("zodiac") / "train-00000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(ContractError, match=r"1_tasks/zodiac/train-00000\.tar: it should be a whole tar"):
        samples_of(read_run(layout, whole[1]))


HERE = {"file": Path("here.tar"), "stage": "ingest"}


def test_a_small_image_is_shown_as_it_is_and_others_are_scaled_down_to_few_bytes() -> None:
    small = encoded(Image.new("RGB", (32, 24), "red"))
    shown = thumbnail("a glyph", small, **HERE)
    assert (shown.side, shown.data_uri) == (32, uri(small))
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    long_comment, photo = PngInfo(), Image.fromarray(noise)
    long_comment.add_text("comment", "x" * 10**5)
    images = [encoded(photo), encoded(photo, "JPEG"), encoded(photo.convert("P"), "GIF")]
    images += [encoded(Image.new("RGB", (8, 8)), pnginfo=long_comment), encoded(Image.fromarray(noise[:96, :96]))]
    for image in images:
        shown = thumbnail("noise", image, **HERE)
        assert len(shown.data_uri) < 12_000 and shown.side <= 96
        assert shown.data_uri.startswith("data:image/jpeg;base64,")
    message = r"^here\.tar: the image of 'a photo' .*Recreate it with: dvc repro ingest"
    for damaged in (b"no image", images[0][:4000]):
        with pytest.raises(ContractError, match=message):
            thumbnail("a photo", damaged, **HERE)


def test_probes_are_shown_by_test_images_and_those_that_are_not_here_are_named(tmp_path: Path) -> None:
    config = write_run(tmp_path, probes=PROBES)
    write_pictures(Layout(tmp_path), config)
    (section,) = task_images(read_run(Layout(tmp_path), config))
    assert [*section.shown["probes"]] == ["flags", "runes"]
    folder = Layout(tmp_path).task("flags")
    stored = images_at(folder, read_task(folder), "test", [9, 19])  # the first ones of class 9
    expected = [thumbnail("flags 9", stored[at].read(), file=folder, stage="ingest") for at in (9, 19)]
    assert [*section.shown["probes"]["flags"]][::5] == ["flags 0", "flags 9"]
    assert section.shown["probes"]["flags"]["flags 9"] == expected
    (folder / "test-00001.tar").unlink()
    (Layout(tmp_path).task("runes") / "task.json").unlink()
    page = render_page(read_run(Layout(tmp_path), config))
    assert "The test images of flags, runes are not on this machine" in page and "The probes</h3>" in page


def test_a_sheet_shows_pairs_of_each_source_and_a_small_one_leaves_its_space(record: RunRecord) -> None:
    # at evenly spaced positions that include both ends
    assert [a_few(range(count), 12) for count in (5, 23)] == [[*range(5)], [*range(0, 23, 2)]]
    assert (a_few("abcde", 3), a_few("abc", 1), a_few("", 3)) == (["a", "c", "e"], ["a"], [])
    sheets = [groups for _, groups in contact_sheets(record).values()]
    assert [[(source, total, len(images)) for source, total, images in groups] for groups in sheets] == [
        [("base vocabulary", 12, 12)],
        [("base vocabulary", 12, 12), ("letters", 12, 12)],
        [("base vocabulary", 12, 8), ("letters", 12, 8), ("textures", 12, 8)],
    ]
    letters = sheets[2][1][2]
    assert [image.text for image in letters[:2]] == [f"{PROMPTS[0]} letters 0", f"{PROMPTS[0]} letters 1"]
    path = record.layout.prompts("zodiac")
    prompts = read_prompts(path)
    prompts.loc[4:, "source_task"] = "base"  # 0 base, 1 letters, 2 textures, 3 base; 36 in all
    write_prompts(path, prompts)
    _, groups = contact_sheets(record)["zodiac"]
    assert [(total, len(images)) for _, total, images in groups] == [(34, 22), (1, 1), (1, 1)]


# The first images of a test set of 500 are classified correctly, as many as the accuracy says (write_pictures).
def read(root: Path, config: Config, section: str = "kept") -> dict[str, Any]:
    """What a section of a run shows."""
    return {each.id: {**each.shown} for each in prediction_pictures(read_run(Layout(root), config))}[section]


def test_what_one_method_forgot_and_the_other_kept_is_counted_and_images_are_shown(whole: tuple[Path, Config]) -> None:
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
    images, folder = found["kept"]["letters"]["images"], Layout(whole[0]).task("letters")
    positions = [150, 181, 213, 244, 275, 306, 338, 369]  # evenly spaced from the first to the last of 150 to 369
    stored = images_at(folder, read_task(folder), "test", positions)
    expected = [thumbnail(f"letters {at % 10}", stored[at].read(), file=folder, stage="ingest") for at in positions]
    assert images == [(each, f"letters {(int(each.text[-1]) + 1) % 10}", each.text) for each in expected]


def test_a_cross_domain_run_is_read_from_the_last_step_alone(tmp_path: Path, whole: tuple[Path, Config]) -> None:
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
    assert "A class of another task has its task in parentheses." in html


def test_predictions_and_images_that_are_not_here_are_named(record: RunRecord, whole: tuple[Path, Config]) -> None:
    tmp_path, config = record.layout.root, whole[1]
    (Layout(tmp_path).task("letters") / "test-00001.tar").unlink()
    found = read(tmp_path, config)
    letters, textures = found["kept"].values()
    assert (found["missing"], letters["kept"], letters["images"], len(textures["images"])) == (["letters"], 220, [], 8)
    Layout(tmp_path).predictions("finetune", "textures").unlink()
    confused = read(tmp_path, config, "confused")
    assert (confused["missing"], [*confused["confused"]["letters"]]) == (["finetune"], ["gift"])
    html = render_page(read_run(Layout(tmp_path), config))
    assert 'id="kept"' not in html and "The predictions of Fine-tuning are not on this machine" in html
