"""Errors suggest the nearest name, of a table or of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.errors import ContractError, GiftError, UserError, did_you_mean, lookup, no_such_path


def test_the_nearest_name_is_suggested_and_all_are_listed_in_order() -> None:
    assert did_you_mean("distil", ["distill", "align"]) == "Did you mean 'distill'? Known: align, distill."


def test_nothing_is_suggested_where_no_name_is_near() -> None:
    assert did_you_mean("xyz", ["distill", "align"]) == "Known: align, distill."


def test_an_empty_list_of_names_says_so() -> None:
    assert did_you_mean("xyz", []) == "Known: none."


def test_lookup_returns_the_entry() -> None:
    assert lookup({"a": 1, "b": 2}, "b", "params.yaml") == 2


def test_lookup_of_an_unknown_name_says_where_it_is() -> None:
    with pytest.raises(UserError) as caught:
        lookup({"gift": 1}, "gitf", "params.yaml: methods")
    assert str(caught.value) == "params.yaml: methods: unknown name 'gitf'. Did you mean 'gift'? Known: gift."


def test_both_errors_are_caught_as_one() -> None:
    assert issubclass(UserError, GiftError)
    assert issubclass(ContractError, GiftError)


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
