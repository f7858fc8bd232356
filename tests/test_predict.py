"""Images, class names and templates as people give them; probabilities, order, and files that are not images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_transform
from gift_core.errors import ContractError, GiftError, UserError
from gift_core.layout import Layout
from gift_core.predict import Classes, Prediction, Unreadable, classify_images, find_images, read_classes, readable
from tests.clip.tiny import picture, tiny_clip
from tests.datasets.damaged_images import damaged_images, tiff_with_odd_offset


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images in a folder and its subfolder, beside other files."""
    for name in ("b.png", "a.JPG", "notes.txt", "deeper/c.webp", "deeper/d.json"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    return tmp_path / "pictures"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_gives_its_images_at_every_depth_sorted(pictures: Path) -> None:
    assert names(find_images([str(pictures)])) == ["a.JPG", "b.png", "c.webp"]


def test_patterns_and_named_files_give_each_image_once_in_order(pictures: Path) -> None:
    asked = [str(pictures / "b.png"), str(pictures / "*.*"), str(pictures / "**" / "c.*")]
    assert names(find_images(asked)) == ["b.png", "a.JPG", "notes.txt", "c.webp"]


@pytest.mark.parametrize("pattern", ["pictures/*.gif", "pictures/deeper/*.tif"])
def test_a_pattern_without_images_is_refused(pattern: str, pictures: Path) -> None:
    with pytest.raises(UserError, match=r"no image found. Give files, folders with images \(.jpg"):
        find_images([str(pictures), str(pictures.parent / pattern)])


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_a_text_file_has_one_name_per_line_and_the_usual_template(tmp_path: Path) -> None:
    file = text(tmp_path / "classes.txt", "\ufeffblack cat\n\n  dog  \r\nnaïve café\n")
    found = read_classes(str(file), None, Layout(tmp_path))
    assert found.names == ("black cat", "dog", "naïve café")
    assert found.templates == ("a photo of a {}.",)


def test_a_task_is_known_by_its_name_and_by_its_file_and_brings_its_templates(tmp_path: Path) -> None:
    folder = Layout(tmp_path).task("pets")
    folder.mkdir(parents=True)
    file = text(folder / "task.json", json.dumps({"class_names": ["cat", "dog"], "templates": ["the {}", "{}!"]}))
    for source in ("pets", str(file)):
        found = read_classes(source, None, Layout(tmp_path))
        assert (found.names, found.templates) == (("cat", "dog"), ("the {}", "{}!"))


def test_a_file_of_templates_replaces_the_tasks_own(tmp_path: Path) -> None:
    file = text(tmp_path / "classes.txt", "cat\ndog\n")
    templates = text(tmp_path / "templates.txt", "art of the {}.\n{}\n")
    assert read_classes(str(file), templates, Layout(tmp_path)).templates == ("art of the {}.", "{}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat\n", "found 1 class names"),
        ("", "found 0 class names"),
        ("cat\ndog\ncat\n", "cat is listed more than once"),
    ],
)
def test_too_few_and_repeated_names_are_refused(content: str, message: str, tmp_path: Path) -> None:
    file = text(tmp_path / "classes.txt", content)
    with pytest.raises(UserError, match=f"--classes .*classes.txt: {message}"):
        read_classes(str(file), None, Layout(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"), [("no braces\n", "'no braces' has no {}"), ("\n", "holds no template")]
)
def test_templates_without_braces_for_the_name_are_refused(content: str, message: str, tmp_path: Path) -> None:
    classes = text(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(UserError, match=f"--templates .*: {message}"):
        read_classes(str(classes), text(tmp_path / "templates.txt", content), Layout(tmp_path))


def test_an_unknown_source_lists_what_it_could_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--classes pets: neither a file nor an ingested task"):
        read_classes("pets", None, Layout(tmp_path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_classes(str(tmp_path / "classes.txt"), None, Layout(tmp_path))


def test_a_task_file_without_classes_breaks_its_contract(tmp_path: Path) -> None:
    file = text(tmp_path / "task.json", "{}")
    with pytest.raises(ContractError, match="there should be a field 'class_names'"):
        read_classes(str(file), None, Layout(tmp_path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([1, 2], "class_names should hold texts, one is 1"),
        ([["cat"], ["dog"]], "class_names should hold texts, one is ['cat']"),
        ([{"a": 1}, None], "class_names should hold texts, one is {'a': 1}"),
        ([], "found 0 class names"),
        (["cat", "dog", "Cat"], "cat, Cat is listed more than once"),
        (["cat", ""], "has an empty name"),
        (["cat", "x" * 300], "has 300 letters, more than 256"),
        (["cat", "d\x1bog"], "has control characters"),
    ],
)
def test_json_that_does_not_hold_different_names_is_refused(names: list[object], message: str, tmp_path: Path) -> None:
    file = text(tmp_path / "task.json", json.dumps({"class_names": names, "templates": ["a {}."]}))
    with pytest.raises(GiftError) as caught:
        read_classes(str(file), None, Layout(tmp_path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "5",
        '"text"',
        "[1, 2]",
        '["cat", "dog"]',
        '{"class_names": 5, "templates": ["a {}."]}',
        '{"class_names": ["cat", "dog"], "templates": [5]}',
        '{"class_names": ["cat", "dog"], "templates": "{}"}',
        '{"class_names": ["cat", "\\ud800"], "templates": ["{}"]}',
        "",
    ],
    ids=range(10),
)
def test_json_of_another_shape_is_refused(content: str, tmp_path: Path) -> None:
    file = text(tmp_path / "task.json", content)
    with pytest.raises(GiftError) as caught:
        read_classes(str(file), None, Layout(tmp_path))
    assert str(file) in str(caught.value) and len(str(caught.value)) < 500


def test_hidden_files_are_not_classified(pictures: Path) -> None:
    for name in ("._b.png", ".cache/x.png", "__MACOSX/b.png"):
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).touch()
    assert names(find_images([str(pictures)])) == ["a.JPG", "b.png", "c.webp"]


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


def test_probabilities_are_the_softmax_of_the_scaled_cosines(files: list[Path]) -> None:
    [found] = classify_images(CLIP, files[:1], CLASSES, top=3, batch_size=8)
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
def test_results_come_in_the_order_of_the_files_whatever_the_batch_size(files: list[Path], batch_size: int) -> None:
    found = list(classify_images(CLIP, files, CLASSES, top=1, batch_size=batch_size))
    assert [each.path for each in found] == files
    assert [isinstance(each, Prediction) for each in found] == [True, True, False, True, True]
    alone = [next(classify_images(CLIP, [path], CLASSES, top=1, batch_size=1)) for path in files]
    for one, other in zip(found, alone, strict=True):
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            assert one.classes[0][0] == other.classes[0][0]
            assert one.classes[0][1] == pytest.approx(other.classes[0][1], abs=1e-5)


def test_unreadable_files_are_collected_with_the_reason(files: list[Path], tmp_path: Path) -> None:
    files[4].write_bytes(files[3].read_bytes()[:60])
    unreadable: list[Unreadable] = []
    results = classify_images(CLIP, [*files, tmp_path / "gone.png"], CLASSES, top=1, batch_size=2)
    assert [each.path for each in readable(results, unreadable)] == [files[0], files[1], files[3]]
    assert [each.path.name for each in unreadable] == ["2.png", "4.png", "gone.png"]
    assert unreadable[0].reason == "not an image"
    assert "No such file" in unreadable[2].reason


def test_a_name_that_is_not_utf8_is_unreadable(files: list[Path], tmp_path: Path) -> None:
    path = files[0].rename(tmp_path / "\udcff.png")
    [found] = classify_images(CLIP, [path], CLASSES, top=1, batch_size=1)
    assert found == Unreadable(path, "its name is not UTF-8 or has control characters: rename it")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    [found] = classify_images(CLIP, find_images([str(tmp_path)]), CLASSES, top=1, batch_size=1)
    assert found == Unreadable(tmp_path / "pipe.png", "not a regular file")


def test_damaged_images_of_any_kind_do_not_end_a_batch(tmp_path: Path) -> None:
    """Those that ended a batch before were damaged TIFF files."""
    for name, image in damaged_images(400, seed=2):
        (tmp_path / name).write_bytes(image)
    (tmp_path / "odd.tif").write_bytes(tiff_with_odd_offset(2))
    paths = find_images([str(tmp_path)])
    found = list(classify_images(CLIP, paths, CLASSES, top=1, batch_size=64))
    assert [each.path for each in found] == paths
    unreadable = [each for each in found if isinstance(each, Unreadable)]
    assert 100 < len(unreadable) < 390 and all(each.reason for each in unreadable)


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
    found = [
        each.classes
        for each in classify_images(CLIP, paths, CLASSES, top=3, batch_size=4)
        if isinstance(each, Prediction)
    ]
    assert found[0] == found[1] and found[2] == found[3] and found[0] != found[2]


def test_the_first_result_needs_only_the_first_batch(files: list[Path]) -> None:
    results = classify_images(CLIP, files, CLASSES, top=1, batch_size=2)
    next(results)
    files[4].unlink()
    assert isinstance(list(results)[-1], Unreadable)
