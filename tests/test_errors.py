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


def test_a_missing_path_names_what_is_beside_it_the_nearest_first(tmp_path: Path) -> None:
    for name in ("birds", "garments", ".hidden", "__pycache__"):
        (tmp_path / "gift" / name).mkdir(parents=True)
    (tmp_path / "gift" / "garment.txt").touch()
    missing = tmp_path / "gift" / "garment"
    assert no_such_path(missing, "folder") == f"{missing}: no such folder. Beside it: garments, birds."
    assert no_such_path(missing) == f"{missing}: no such file or folder. Beside it: garments, garment.txt, birds."


def test_a_missing_folder_above_is_named_with_what_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gift").mkdir()
    (tmp_path / "notes.txt").touch()
    missing = tmp_path / "gfit" / "birds" / "x"
    assert no_such_path(missing) == f"{missing}: no such file or folder. {tmp_path} has no gfit, it has gift."
    monkeypatch.chdir(tmp_path)
    assert no_such_path(Path("gfit/birds"), "folder") == (
        "gfit/birds: no such folder. This folder has no gfit, it has gift."
    )
    assert no_such_path(Path("gfit"), "folder") == "gfit: no such folder. Beside it: gift."


def test_a_path_below_a_file_or_in_an_empty_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert no_such_path(tmp_path / "empty" / "x").endswith("/x: no such file or folder. There is nothing beside it.")
    (tmp_path / "file").touch()
    assert no_such_path(tmp_path / "file" / "x" / "y").endswith(
        f"y: no such file or folder. {tmp_path / 'file'} is a file."
    )


def test_a_path_of_the_wrong_kind_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert no_such_path(tmp_path / "file", "folder") == f"{tmp_path / 'file'}: it is a file, expected a folder."
    assert no_such_path(tmp_path, "file") == f"{tmp_path}: it is a folder, expected a file."
    assert no_such_path(Path("/dev/null"), "file") == "/dev/null: it is a device, expected a file."


def test_a_full_folder_is_shown_in_part_and_names_are_escaped(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"run_{number}").mkdir()
    (tmp_path / "run\n9").mkdir()
    shown = no_such_path(tmp_path / "run\x1b9")
    assert "run\\x1b9: no such file or folder. Beside it: run\\n9, run_0, " in shown
    assert shown.endswith(" and 4 more.")
    assert shown.isprintable()
