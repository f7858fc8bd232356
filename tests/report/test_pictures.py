"""Thumbnails, contact sheets, sample images of each task, and real beside synthetic images of a class."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gift_core.artifacts.prompt_files import read_prompts, write_prompts
from gift_core.artifacts.shards import read_pairs
from gift_core.artifacts.task import describe_task, index_tars
from gift_core.config.experiment import Config
from gift_core.errors import ContractError
from gift_core.layout import Layout
from gift_core.report.page import render_page
from gift_core.report.run_record import read_run
from gift_core.report.task_images import TaskPictures, read_task_pictures
from gift_core.report.thumbnails import a_few, contact_sheets, evenly_spaced, thumbnail
from tests.artifacts.damage import encoded
from tests.report.run_folder import PROMPTS, TASKS, build, write_run


@pytest.fixture
def layout(whole: tuple[Path, Config], tmp_path: Path) -> Layout:
    """Of a run in tmp_path, whose files a test may change."""
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    return Layout(tmp_path)


def read(layout: Layout, tasks: tuple[str, ...] = TASKS, *, replays_pairs: bool = True) -> TaskPictures:
    return read_task_pictures(layout, tasks, replays_pairs=replays_pairs)


def uri(image: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def test_a_task_shows_two_images_of_six_classes_later_beside_synthetic_ones(whole: tuple[Path, Config]) -> None:
    layout = Layout(whole[0])
    found = read(layout)
    counts = [(task.position, task.task, task.class_count, task.image_count) for task in found.samples]
    assert counts == [(position, task, 10, 200) for position, task in enumerate(TASKS, start=1)]
    folder = layout.task("letters")
    stored = index_tars(folder, describe_task(folder), ["train-00000.tar"])
    for number, shown in zip((0, 2, 4, 5, 7, 9), found.samples[0].classes, strict=True):
        expected = [image.read() for image in stored if image.label == number][:2]
        assert (shown.name, [image.data_uri for image in shown.images]) == (f"letters {number}", [*map(uri, expected)])
    # no step comes after zodiac
    assert [(task.task, len(task.classes)) for task in found.compared] == [("letters", 3), ("textures", 3)]
    # prompts before textures: base and letters in turns, so letters 0 is of the prompts 1 and 21
    pairs = read_pairs(layout.shards("textures"), [1, 21])
    letters_0 = found.compared[0].classes[0]
    assert letters_0.name == "letters 0"
    assert [image.data_uri for image in letters_0.synthetic] == [uri(pairs[1].image), uri(pairs[21].image)]
    assert letters_0.real == found.samples[0].classes[0].images
    assert letters_0.prompts == (f"{PROMPTS[0]} letters 0",)


def test_what_is_not_here_is_named_the_rest_is_shown_and_a_damaged_tar_refused(
    layout: Layout, whole: tuple[Path, Config]
) -> None:
    (layout.task("letters") / "train-00000.tar").unlink()
    (layout.shards("zodiac") / "00000.tar").unlink()
    found = read(layout)
    assert (found.missing, found.missing_pairs, found.shown) == (("letters",), ("zodiac",), 3)
    assert [task.task for task in found.samples] == ["textures", "zodiac"]
    html = (build(layout.root, whole[1]) / "index.html").read_text(encoding="utf-8")
    assert "The training images of letters are not on this machine" in html
    assert "The synthetic pairs before zodiac are not on this machine" in html
    shutil.rmtree(layout.root / "data" / "3_shards")
    found = read(layout, replays_pairs=False)  # nothing is compared
    assert (len(found.samples), found.compared, found.missing_pairs) == (2, (), ())
    tar = layout.task("zodiac") / "train-00000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(ContractError, match=r"1_tasks/zodiac/train-00000\.tar: it should be a whole tar"):
        read(layout, replays_pairs=False)


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


def test_a_sheet_shows_pairs_of_each_source_and_a_small_one_leaves_its_space(layout: Layout) -> None:
    # at evenly spaced positions that include both ends
    assert (evenly_spaced(5, 12), evenly_spaced(23, 12)) == ([0, 1, 2, 3, 4], list(range(0, 23, 2)))
    assert (a_few("abcde", 3), a_few("abc", 1), a_few("", 3)) == (["a", "c", "e"], ["a"], [])
    sheets = contact_sheets(layout, TASKS)
    shown = [[(group.source, group.total, len(group.thumbnails)) for group in sheet.groups] for sheet in sheets]
    assert shown == [
        [("base vocabulary", 12, 12)],
        [("base vocabulary", 12, 12), ("letters", 12, 12)],
        [("base vocabulary", 12, 8), ("letters", 12, 8), ("textures", 12, 8)],
    ]
    letters = sheets[2].groups[1].thumbnails
    assert [image.text for image in letters[:2]] == [f"{PROMPTS[0]} letters 0", f"{PROMPTS[0]} letters 1"]
    prompts = read_prompts(layout.prompts("zodiac"))
    prompts.loc[4:, "source_task"] = "base"  # 0 base, 1 letters, 2 textures, 3 base; 36 in all
    write_prompts(layout.prompts("zodiac"), prompts)
    groups = contact_sheets(layout, TASKS)[-1].groups
    assert [(group.total, len(group.thumbnails)) for group in groups] == [(34, 22), (1, 1), (1, 1)]


def test_rejected_pairs_are_counted(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    manifest = Layout(tmp_path).shards("textures") / "manifest.json"
    counts = {"rejected": {"clip_score": 1200, "duplicate": 3}}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | counts))
    html = render_page(read_run(Layout(tmp_path), config))
    assert "24 of 30 pairs, 2 generated again; rejected by filters: 1,200 low CLIP score, 3 near-duplicate" in html
    assert html.count("rejected by filters") == 1
