"""Images as people give them; scores, order, and files that are not images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from gift_core.class_lists import Classes
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.errors import UserError
from gift_core.predict import Prediction, Unreadable, classify_images, find_images, readable
from tests.clip.tiny import picture, tiny_clip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images in a folder and its subfolder, beside other files."""
    for name in ("b.png", "a.JPG", "notes.txt", "deeper/c.webp", "deeper/d.json"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    return tmp_path / "pictures"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_patterns_and_named_files_give_each_image_once_in_order(pictures: Path) -> None:
    asked = [str(pictures / "b.png"), str(pictures / "*.*"), str(pictures / "**" / "c.*")]
    assert names(find_images(asked)[0]) == ["b.png", "a.JPG", "notes.txt", "c.webp"]
    with pytest.raises(UserError, match=r"no image found. Give files, folders with images \(.jpg"):
        find_images([str(pictures), f"{pictures}/*.gif"])


def test_a_folder_gives_its_images_at_every_depth_sorted_and_what_is_left_out_by_kind(pictures: Path) -> None:
    for name in ("Thumbs.db", "._b.png", ".cache/x.png", "__MACOSX/b.png"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).touch()
    found, notes = find_images([str(pictures), str(pictures / "b.png")])
    assert names(found) == ["a.JPG", "b.png", "c.webp"]
    left_out = "1 Thumbs.db, 1 in .cache, 1 in __MACOSX, 1 .json (deeper/d.json), 1 .txt (notes.txt)."
    assert notes == [f"{pictures}: 6 files left out: 1 ._ files of macOS, {left_out}"]


CLIP = tiny_clip()
CLASSES = Classes(("cat", "dog", "owl"), ("a photo of a {}.",))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five files: images of several sizes, and text in the middle one."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        picture(number, width=20 + 3 * number, height=17).save(path)
    paths[2].write_text("no picture")
    return paths


def test_similarities_are_cosines_and_scores_the_softmax_of_the_scaled_ones(files: list[Path]) -> None:
    [found] = classify_images(CLIP, files[:1], [CLASSES], top=3, batch_size=8)
    with torch.no_grad():
        image_BD = encode_images(CLIP, evaluation_transform(CLIP)(Image.open(files[0]))[None])
        text_KD = encode_tokens(CLIP, tokenize(CLIP, [f"a photo of a {name}." for name in CLASSES.names]))
    cosines_K = (image_BD @ text_KD.T)[0]
    scores_K = (CLIP.scale * cosines_K).softmax(dim=0)
    assert isinstance(found, Prediction)
    assert [each.name for each in found.classes] == [CLASSES.names[n] for n in scores_K.argsort(descending=True)]
    for each in found.classes:
        expected = [float(values[CLASSES.names.index(each.name)]) for values in (cosines_K, scores_K)]
        assert [each.similarity, each.score] == pytest.approx(expected, abs=1e-5)


def test_unreadable_files_are_collected_with_the_reason(files: list[Path], tmp_path: Path) -> None:
    files[4].write_bytes(files[3].read_bytes()[:60])
    odd = files[0].rename(tmp_path / "\udcff.png")
    unreadable: list[Unreadable] = []
    results = classify_images(CLIP, [odd, *files[1:], tmp_path / "gone.png"], [CLASSES], top=1, batch_size=2)
    assert [each.path for each in readable(results, unreadable)] == [files[1], files[3]]
    assert [each.path for each in unreadable] == [odd, files[2], files[4], tmp_path / "gone.png"]
    assert unreadable[0].reason == "its name is not UTF-8 or has control characters: rename it"
    assert unreadable[1].reason == "not an image" and "No such file" in unreadable[3].reason


def test_images_are_read_as_ingest_reads_them(tmp_path: Path) -> None:
    upright = picture(7, width=24, height=16)
    upright.save(tmp_path / "upright.png")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 270 degrees
    turned.save(tmp_path / "turned.png", exif=exif)
    transparent = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    transparent.save(tmp_path / "transparent.png")
    Image.new("RGB", (16, 16), "white").save(tmp_path / "white.png")
    paths = [tmp_path / f"{name}.png" for name in ("upright", "turned", "transparent", "white")]
    found = [each.classes for each in readable(classify_images(CLIP, paths, [CLASSES], top=3, batch_size=4), [])]
    assert found[0] == found[1] and found[2] == found[3] and found[0] != found[2]
