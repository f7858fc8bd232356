"""A user's captions and base vocabulary: every kind of file, and every way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.config.checks import VOCABULARIES as NAMES_IN_PARAMS
from gift_core.datasets.captions import VOCABULARIES, Captions, base_vocabulary, read_captions
from gift_core.errors import UserError
from gift_core.mini.world import base_vocabulary as mini_vocabulary

TABLE = 'class_name,caption\nwren,a wren in the rain\ngreat tit,"it sings, loudly"\n wren ," a {} \n on  a wall"\n'


def test_a_table_has_captions_for_class_names_and_unknown_ones_are_named(tmp_path: Path) -> None:
    """Other kinds of tables: artifacts/test_table_files.py."""
    (tmp_path / "captions.csv").write_text(TABLE)
    captions = read_captions("captions.csv", tmp_path)
    by_class = {"wren": ("a wren in the rain", "a {} on a wall"), "great tit": ("it sings, loudly",)}
    assert captions == Captions(by_class=by_class)
    assert captions.cover("wren") and not captions.cover("robin")
    assert captions.unknown_classes(["wren", "great tit", "robin"]) == ()
    hints = ("'wren' (Did you mean 'wrens'?)", "'great tit' (Did you mean 'Great tit'?)")
    assert captions.unknown_classes(["wrens", "Great tit"]) == hints
    assert captions.unknown_classes(["robin"]) == ("'wren'", "'great tit'")


def test_a_text_file_has_captions_of_no_class(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeff# mine\ntwo dogs on a beach\n\n  a café \r\n".encode())
    captions = read_captions(str(path))
    assert captions == Captions(general=("two dogs on a beach", "a café"))
    assert captions.cover("a café")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "class_name,caption\nwren,x\nwren, x \n", r"c\.csv: line 3: 'x' of 'wren' is also on line 2,"),
        ("c.txt", "# nothing\n\n", r"c\.txt has no caption\. Write one per line"),
        ("c.xlsx", "", r"kind of file \(or \.txt\): unknown name '\.xlsx'\. Known: \.csv, \.jsonl, \.parquet, \.tsv"),
    ],
)
def test_an_unsound_file_is_refused_by_its_row(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_captions(name, tmp_path)
    assert str(caught.value).startswith("params.yaml: prompts.captions: ")


def test_the_names_of_a_vocabulary_are_those_that_open_clip_and_the_miniature_benchmark_give() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    assert base_vocabulary("imagenet") == tuple(IMAGENET_CLASSNAMES)
    assert base_vocabulary("mini") == tuple(mini_vocabulary())
    assert sorted(VOCABULARIES) == sorted(NAMES_IN_PARAMS)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has no name. Write one per line"),
        (b"wren\nx\x1b[31m\n", "has control characters"),
        (b"wren\n" + b"x" * 300, "has 300 letters, more than 256"),
    ],
)
def test_an_unsound_vocabulary_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        base_vocabulary(str(path))
    assert str(caught.value).startswith(f"params.yaml: prompts.base_vocabulary: {path}")
    with pytest.raises(UserError, match=r"'imagnet' is neither a vocabulary nor a text file\. Did you mean 'imagenet'"):
        base_vocabulary("imagnet")
