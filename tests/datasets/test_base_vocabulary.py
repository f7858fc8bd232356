"""Base vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.config.checks import VOCABULARIES as NAMES_IN_PARAMS
from gift_core.datasets.base_vocabulary import VOCABULARIES, base_vocabulary
from gift_core.errors import UserError
from gift_core.mini.world import base_vocabulary as mini_vocabulary


def test_the_names_are_those_that_open_clip_and_the_miniature_benchmark_give() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    assert base_vocabulary("imagenet") == tuple(IMAGENET_CLASSNAMES)
    assert base_vocabulary("mini") == tuple(mini_vocabulary())
    assert sorted(VOCABULARIES) == sorted(NAMES_IN_PARAMS)


def test_a_file_has_one_name_per_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeff# birds\nwren\n\n  great tit \r\nMöwe".encode())
    assert base_vocabulary(str(path)) == ("wren", "great tit", "Möwe")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has no name. Write one per line"),
        (b"wren\nx\x1b[31m\n", "has control characters"),
        (b"wren\n" + b"x" * 300, "has 300 letters, more than 256"),
    ],
)
def test_an_unsound_file_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        base_vocabulary(str(path))
    assert str(caught.value).startswith(f"params.yaml: prompts.base_vocabulary: {path}")
    with pytest.raises(UserError, match=r"'imagnet' is neither a vocabulary nor a text file\. Did you mean 'imagenet'"):
        base_vocabulary("imagnet")
