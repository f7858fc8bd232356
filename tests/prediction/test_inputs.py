"""Images, class names and templates as people give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.prediction.inputs import find_images, read_classes


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images in two levels, beside files that are none."""
    for name in ("b.png", "a.JPG", "notes.txt", "deeper/c.webp", "deeper/d.json"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    return tmp_path / "pictures"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_gives_its_images_at_every_depth_sorted(pictures: Path) -> None:
    assert names(find_images([str(pictures)])) == ["a.JPG", "b.png", "c.webp"]


def test_patterns_and_named_files_give_each_image_once_in_the_order_asked(pictures: Path) -> None:
    asked = [str(pictures / "b.png"), str(pictures / "*.*"), str(pictures / "**" / "c.*")]
    assert names(find_images(asked)) == ["b.png", "a.JPG", "notes.txt", "c.webp"]


@pytest.mark.parametrize("place", ["missing", "pictures/*.gif", "pictures/deeper/*.tif"])
def test_a_place_without_images_is_named(place: str, pictures: Path) -> None:
    with pytest.raises(UserError, match=r"no image there. Give files, folders with images \(.jpg"):
        find_images([str(pictures), str(pictures.parent / place)])


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_a_text_file_has_a_name_a_line_and_the_usual_template(tmp_path: Path) -> None:
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
    [("cat\n", "found 1 class names"), ("", "found 0 class names"), ("cat\ndog\ncat\n", "cat stands there twice")],
)
def test_too_few_and_repeated_names_are_refused(content: str, message: str, tmp_path: Path) -> None:
    file = text(tmp_path / "classes.txt", content)
    with pytest.raises(UserError, match=f"--classes .*classes.txt: {message}"):
        read_classes(str(file), None, Layout(tmp_path))


@pytest.mark.parametrize(("content", "message"), [("no place\n", "'no place' has no {}"), ("\n", "holds no template")])
def test_templates_without_a_place_for_the_name_are_refused(content: str, message: str, tmp_path: Path) -> None:
    classes = text(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(UserError, match=f"--templates .*: {message}"):
        read_classes(str(classes), text(tmp_path / "templates.txt", content), Layout(tmp_path))


def test_a_source_that_is_nothing_says_what_it_could_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--classes pets: neither a file nor a task that was ingested"):
        read_classes("pets", None, Layout(tmp_path))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(UserError, match="no UTF-8 text"):
        read_classes(str(tmp_path / "classes.txt"), None, Layout(tmp_path))


def test_a_task_file_without_classes_breaks_its_contract(tmp_path: Path) -> None:
    file = text(tmp_path / "task.json", "{}")
    with pytest.raises(ContractError, match="there should be a field 'class_names'"):
        read_classes(str(file), None, Layout(tmp_path))
