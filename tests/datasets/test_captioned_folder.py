"""A user's folder of images and captions, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.artifacts.shards import Pair
from gift_core.datasets.captioned_folder import iterate_folder
from gift_core.errors import UserError
from tests.clip.tiny import png

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


def test_pairs_are_sorted_by_path_and_those_with_one_caption_share_a_prompt(tmp_path: Path) -> None:
    """A caption is one line without extra spaces."""
    later = put(tmp_path, "b.png", "a dog", seed=1)
    deeper = put(tmp_path, "a/z.png", "  a cat\non a   mat\r\n", seed=2)
    first = put(tmp_path, "a/b.png", "a cat on a mat", seed=3)
    pairs = pairs_in(tmp_path)
    assert [pair.read_again and pair.read_again() for pair in pairs] == [first, deeper, later]
    assert pairs == [
        Pair("a/b.png", 0, "a cat on a mat", first),
        Pair("a/z.png", 0, "a cat on a mat", deeper),
        Pair("b.png", 1, "a dog", later),
    ]


def test_other_and_hidden_files_are_ignored_and_a_suffix_may_have_any_case(tmp_path: Path) -> None:
    put(tmp_path, "a.PNG", "a cat")
    put(tmp_path, "._a.png", None)
    put(tmp_path, ".cache/a.png", None)
    (tmp_path / "README.md").write_text("of img2dataset")
    assert [pair.key for pair in pairs_in(tmp_path)] == ["a.PNG"]


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        pairs_in(folder)
    message = str(caught.value)
    assert message.startswith(f"{KEY}: ")
    return message


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (None, "1 image without a caption: b.png. Each image needs"),
        (b" \n\t", "b.txt is empty"),
        ("ein Bär".encode("latin-1"), "b.txt is not UTF-8 text"),
    ],
)
def test_a_folder_without_images_or_captions_is_refused(caption: bytes | None, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a caption of nothing")
    assert f"{tmp_path} has no images" in refusal(tmp_path)
    put(tmp_path, "a.png", "a cat")
    put(tmp_path, "b.png", None)
    if caption is not None:
        (tmp_path / "b.txt").write_bytes(caption)
    assert expected in refusal(tmp_path)
