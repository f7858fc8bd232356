"""Errors suggest the nearest name, of a table or of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.errors import UserError, did_you_mean, lookup, no_such_path


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("distil", ["distill", "align"], "Did you mean 'distill'? Known: align, distill."),
        ("xyz", ["distill", "align"], "Known: align, distill."),
        ("xyz", [], "Known: none."),
    ],
)
def test_the_nearest_name_is_suggested_and_all_are_listed_in_order(name: str, known: list[str], expected: str) -> None:
    assert did_you_mean(name, known) == expected


def test_lookup_returns_the_entry_or_says_where_an_unknown_name_is() -> None:
    assert lookup({"a": 1, "b": 2}, "b", "params.yaml") == 2
    with pytest.raises(UserError) as caught:
        lookup({"gift": 1}, "gitf", "params.yaml: methods")
    assert str(caught.value) == "params.yaml: methods: unknown name 'gitf'. Did you mean 'gift'? Known: gift."


PATHS = [
    ("gift/garment", "folder", "gift/garment: no such folder. Beside it: garments, birds."),
    ("gift/garment", "file", "gift/garment: no such file. Beside it: garments, garment.txt, birds."),
    ("gfit", "folder", "gfit: no such folder. Beside it: gift, empty."),
    (
        "gfit/birds/x",
        "file or folder",
        "gfit/birds/x: no such file or folder. This folder has no gfit, it has gift, empty.",
    ),
    ("empty/x", "file", "empty/x: no such file. There is nothing beside it."),
    ("file/x/y", "file", "file/x/y: no such file. file is a file."),
    ("file", "folder", "file: it is a file, expected a folder."),
    ("gift", "file", "gift: it is a folder, expected a file."),
    ("/dev/null", "file", "/dev/null: it is a device, expected a file."),
]


@pytest.mark.parametrize(("name", "kind", "expected"), PATHS)
def test_a_missing_or_wrong_path_is_answered_with_what_is_there_the_nearest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, expected: str
) -> None:
    for folder in ("empty", "gift/birds", "gift/garments", "gift/.hidden", "gift/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "gift" / "garment.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert no_such_path(Path(name), kind) == expected
