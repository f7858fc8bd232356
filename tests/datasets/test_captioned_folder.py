"""A user's folder of images and captions, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gift_core.artifacts.shards import Pair
from gift_core.datasets.captioned_folder import SUFFIXES, iterate_folder, require_readable
from gift_core.errors import UserError
from tests.clip.tiny import picture, png
from tests.datasets.damaged_images import damaged_images

KEY = "params.yaml: methods.zscl.replay.folder"


def put(folder: Path, name: str, caption: str | None, *, seed: int = 0) -> bytes:
    """Writes a PNG and its caption; returns the PNG."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(seed))
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path.read_bytes()


def pairs_in(folder: Path) -> list[Pair]:
    return list(iterate_folder(folder, KEY))


def test_pairs_are_sorted_by_path_and_the_path_is_the_key(tmp_path: Path) -> None:
    later = put(tmp_path, "b.png", "a dog", seed=1)
    deeper = put(tmp_path, "a/z.png", "a horse", seed=2)
    first = put(tmp_path, "a/b.png", "a cat", seed=3)
    pairs = pairs_in(tmp_path)
    assert [pair.read_again and pair.read_again() for pair in pairs] == [first, deeper, later]
    assert pairs == [
        Pair("a/b.png", 0, "a cat", first),
        Pair("a/z.png", 1, "a horse", deeper),
        Pair("b.png", 2, "a dog", later),
    ]


def test_images_with_the_same_caption_share_a_prompt_id(tmp_path: Path) -> None:
    for name, caption in {"a.png": "a cat", "b.png": "a dog", "c.png": "a cat", "d.png": "a fox"}.items():
        put(tmp_path, name, caption)
    assert [pair.prompt_id for pair in pairs_in(tmp_path)] == [0, 1, 0, 2]


def test_a_caption_is_one_line_without_extra_spaces(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "  a cat\non a   mat\r\n")
    put(tmp_path, "b.png", "a cat on a mat")
    assert [(pair.prompt, pair.prompt_id) for pair in pairs_in(tmp_path)] == [("a cat on a mat", 0)] * 2


@pytest.mark.parametrize("name", ["a.JPG", "a.Png", "a.webp"])
def test_the_case_of_a_suffix_has_no_effect(tmp_path: Path, name: str) -> None:
    picture(0).save(tmp_path / name)
    (tmp_path / "a.txt").write_text("a cat")
    assert [pair.key for pair in pairs_in(tmp_path)] == [name]


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "a cat")
    put(tmp_path, "._a.png", None)
    put(tmp_path, ".cache/a.png", None)
    (tmp_path / "README.md").write_text("of img2dataset")
    assert [pair.key for pair in pairs_in(tmp_path)] == ["a.png"]


def refusal(folder: Path, read: Callable[[Path], object] = pairs_in) -> str:
    with pytest.raises(UserError) as caught:
        read(folder)
    message = str(caught.value)
    assert message.startswith(f"{KEY}: ")
    return message


def decode_all(folder: Path) -> None:
    require_readable(folder, KEY)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a caption of nothing")
    assert f"{tmp_path} has no images" in refusal(tmp_path)
    assert "nowhere has no images" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (None, "b.png has no caption: b.txt does not exist"),
        (b" \n\t", "b.txt is empty"),
        ("ein Bär".encode("latin-1"), "b.txt is not UTF-8 text"),
    ],
)
def test_an_image_without_a_sound_caption_is_refused(caption: bytes | None, expected: str, tmp_path: Path) -> None:
    put(tmp_path, "a.png", "a cat")
    put(tmp_path, "b.png", None)
    if caption is not None:
        (tmp_path / "b.txt").write_bytes(caption)
    assert expected in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "a.png", "a cat")
    (tmp_path / "a.png").write_bytes(content)
    assert "a.png cannot be read as an image" in refusal(tmp_path, decode_all)


def test_every_damaged_image_is_named_or_read(tmp_path: Path) -> None:
    for name, image in damaged_images(300, seed=6):
        if name.endswith(SUFFIXES):
            (tmp_path / name).write_bytes(image)
            try:
                decode_all(tmp_path)
            except UserError as error:
                assert f"{name} cannot be read as an image (" in str(error)
            (tmp_path / name).unlink()
