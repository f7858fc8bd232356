"""Probabilities, order, and files that are no images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.prediction.answers import Prediction, Unreadable, answer, readable
from gift_core.prediction.inputs import Classes
from tests.clip.tiny import picture, tiny_clip

CLIP = tiny_clip()
CLASSES = Classes(("cat", "dog", "owl"), ("a photo of a {}.",))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five files: pictures of many sizes, and in the middle one that is none."""
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        picture(number, width=20 + 3 * number, height=17).save(path)
    paths[2].write_text("no picture")
    return paths


def test_probabilities_are_the_softmax_of_the_scaled_cosines(files: list[Path]) -> None:
    [found] = answer(CLIP, files[:1], CLASSES, top=3, batch_size=8)
    with torch.no_grad():
        image_BD = encode_images(CLIP, evaluation_transform(CLIP)(Image.open(files[0]))[None])
        text_KD = encode_tokens(CLIP, tokenize(CLIP, [f"a photo of a {name}." for name in CLASSES.names]))
    expected = (CLIP.model.logit_scale.exp() * image_BD @ text_KD.T).softmax(dim=1)[0].tolist()
    by_name = dict(zip(CLASSES.names, expected, strict=True))
    assert isinstance(found, Prediction)
    assert [name for name, _ in found.classes] == sorted(by_name, key=by_name.__getitem__, reverse=True)
    assert dict(found.classes) == pytest.approx(by_name, abs=1e-5)
    assert sum(value for _, value in found.classes) == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_answers_come_in_the_order_of_the_files_whatever_the_batch(files: list[Path], batch_size: int) -> None:
    found = list(answer(CLIP, files, CLASSES, top=1, batch_size=batch_size))
    assert [each.path for each in found] == files
    assert [isinstance(each, Prediction) for each in found] == [True, True, False, True, True]
    alone = [next(answer(CLIP, [path], CLASSES, top=1, batch_size=1)) for path in files]
    for one, other in zip(found, alone, strict=True):
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            assert one.classes[0][0] == other.classes[0][0]
            assert one.classes[0][1] == pytest.approx(other.classes[0][1], abs=1e-5)


def test_unreadable_files_are_set_aside_with_the_reason(files: list[Path], tmp_path: Path) -> None:
    files[4].write_bytes(files[3].read_bytes()[:60])
    unreadable: list[Unreadable] = []
    answers = answer(CLIP, [*files, tmp_path / "gone.png"], CLASSES, top=1, batch_size=2)
    assert [each.path for each in readable(answers, unreadable)] == [files[0], files[1], files[3]]
    assert [each.path.name for each in unreadable] == ["2.png", "4.png", "gone.png"]
    assert unreadable[0].reason == "no image of a kind that Pillow reads"
    assert "No such file" in unreadable[2].reason


def test_images_are_read_as_ingest_reads_them(tmp_path: Path) -> None:
    upright = picture(7, width=24, height=16)
    upright.save(tmp_path / "upright.png")
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees to stand upright
    turned.save(tmp_path / "turned.png", exif=exif)
    transparent = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    transparent.save(tmp_path / "transparent.png")
    Image.new("RGB", (16, 16), "white").save(tmp_path / "white.png")
    paths = [tmp_path / f"{name}.png" for name in ("upright", "turned", "transparent", "white")]
    found = [each.classes for each in answer(CLIP, paths, CLASSES, top=3, batch_size=4) if isinstance(each, Prediction)]
    assert found[0] == found[1] and found[2] == found[3] and found[0] != found[2]


def test_the_first_answer_needs_the_first_batch_alone(files: list[Path]) -> None:
    answers = answer(CLIP, files, CLASSES, top=1, batch_size=2)
    next(answers)
    files[4].unlink()
    assert isinstance(list(answers)[-1], Unreadable)
