"""Class names from the labels, a file or a mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gift_core.errors import UserError
from gift_core.tasks.class_names import name_classes, name_folders
from tests.tasks.folders import config

LABELS = ["great_tit", "heron", "wren"]


def names(labels: list[str], class_names: Any, folder: Path = Path()) -> dict[str, str]:
    return name_classes(labels, config(class_names=class_names), folder=folder, task="birds")


def refusal(labels: list[str], class_names: Any, folder: Path = Path()) -> str:
    with pytest.raises(UserError) as caught:
        names(labels, class_names, folder)
    assert str(caught.value).startswith("params.yaml: tasks.birds.class_names")
    return str(caught.value)


def write(folder: Path, text: str) -> Path:
    (folder / "names.txt").write_bytes(text.encode())
    return folder


def test_without_names_labels_stay_as_they_stand() -> None:
    assert list(names(LABELS, None).values()) == LABELS


def test_without_names_folders_have_spaces_for_underscores() -> None:
    assert list(name_folders(LABELS, config(), folder=Path(), task="birds").values()) == ["great tit", "heron", "wren"]


def test_a_mapping_names_each_label_whatever_its_order() -> None:
    found = names(LABELS, {"wren": "Zaunkönig", "great_tit": "Kohlmeise", "heron": "Reiher"})
    assert list(found.items()) == [("great_tit", "Kohlmeise"), ("heron", "Reiher"), ("wren", "Zaunkönig")]


def test_a_mapping_that_names_an_unknown_label_is_refused_with_the_nearest() -> None:
    message = refusal(LABELS, {"great_tit": "a", "heron": "b", "wrem": "c"})
    assert message.startswith(
        "params.yaml: tasks.birds.class_names.wrem: the data has no such label. Did you mean 'wren'?"
    )


def test_a_mapping_that_leaves_labels_out_is_refused() -> None:
    message = refusal(LABELS, {"heron": "b"})
    assert "'great_tit' and 1 more labels have no name there. Add a line: \"great_tit\": <its name>" in message


def test_a_mapping_of_two_labels_to_one_name_is_refused() -> None:
    assert "great_tit, wren give the same class name, 'bird'" in refusal(
        LABELS, {"great_tit": "bird", "heron": "b", "wren": "bird "}
    )


def test_the_lines_of_a_file_name_numbers_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, "\ufeff# birds\r\nzero\r\n\r\none\r\ntwo\r\n")
    labels = ["0", "1", "10"]
    assert names(labels, "names.txt", tmp_path) == {"0": "zero", "1": "one", "10": "two"}


def test_numbers_are_named_by_value_where_the_folders_are_in_the_order_of_texts(tmp_path: Path) -> None:
    write(tmp_path, "one\ntwo\nten")
    assert names(["1", "10", "2"], "names.txt", tmp_path) == {"1": "one", "10": "ten", "2": "two"}


def test_the_lines_of_a_file_name_labels_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    write(tmp_path, "Kohlmeise\nReiher\nZaunkönig\n")
    assert list(names(LABELS, "names.txt", tmp_path).values()) == ["Kohlmeise", "Reiher", "Zaunkönig"]


def test_a_file_that_lists_the_labels_themselves_renames_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, "wren\ngreat_tit\nheron\n")
    assert names(LABELS, "names.txt", tmp_path) == {label: label for label in LABELS}


def test_a_file_that_gives_a_label_another_ones_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "wren\nheron\nKohlmeise\n")
    assert "'wren' is a label of the data, but stands where 'great_tit' is named" in refusal(
        LABELS, "names.txt", tmp_path
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n", "2 names for 3 labels (great_tit, heron, wren). Write a name a line, in the order of the labels."),
        ("a\nb\nb\n", "heron, wren give the same class name, 'b'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(LABELS, "names.txt", write(tmp_path, text))


def test_a_missing_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "a")
    assert "there is no such file in the task's path. Did you mean 'names.txt'?" in refusal(
        LABELS, "nams.txt", tmp_path
    )


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(LABELS, "names.txt", tmp_path)
