"""Samples, few-shot samples, class names, captions and vocabularies."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gift_core.config.checks import VOCABULARIES
from gift_core.datasets.captions import Captions, base_vocabulary, read_captions
from gift_core.datasets.dataset import Dataset, Sample, few_images, name_classes, sample_shots
from gift_core.errors import UserError
from gift_core.mini.world import base_vocabulary as mini_vocabulary
from tests.datasets.folders import config

LABELS, GERMAN = ["great_tit", "heron", "wren"], ["Kohlmeise", "Reiher", "Zaunkönig"]


def names(labels: list[str], class_names: Any, folder: Path) -> dict[str, str]:
    return name_classes(labels, config(class_names=class_names), folder=folder, task="birds")


def write(folder: Path, text: str) -> Path:
    (folder / "names.txt").write_bytes(text.encode())
    return folder / "names.txt"


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (["t-shirt", "great_tit", "_sea__bird_", "-1", "1"], None, ["t-shirt", "great tit", "sea bird", "-1", "1"]),
        (["Zaunko\u0308nig"], None, ["Zaunk\u00f6nig"]),
        (LABELS, {"wren": "Zaunkönig", "great_tit": "Kohlmeise", "heron": "Reiher"}, GERMAN),
        (["0", "1", "10"], "\ufeff# birds\r\nzero\r\n\r\none\r\nten\r\n", ["zero", "one", "ten"]),
        (["1", "10", "2"], "one\ntwo\nten", ["one", "ten", "two"]),  # by value
        (LABELS, "Kohlmeise\nReiher\nZaunkönig\n", GERMAN),
        (LABELS, "wren\ngreat_tit\nheron\n", LABELS),  # a list of the labels renames none of them
    ],
)
def test_labels_are_named_by_a_mapping_by_the_lines_of_a_file_or_by_themselves(
    labels: list[str], given: Any, expected: list[str], tmp_path: Path
) -> None:
    given = write(tmp_path, given).name if isinstance(given, str) else given
    assert list(names(labels, given, tmp_path).items()) == list(zip(labels, expected, strict=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"great_tit": "a", "heron": "b", "wrem": "c"}, "class_names: unknown name 'wrem'. Did you mean 'wren'?"),
        ({"heron": "b"}, '2 labels without a name: great_tit, wren. Add a line: "great_tit": <its name>'),
        (None, "names.txt cannot be read ("),
        ("a\nb\n", "2 names for 3 labels (great_tit, heron, wren). Write one name per line"),
        ("wren\nheron\nKohlmeise\n", "'wren' is itself a label of the data, but its line names the label 'great_tit'"),
        ("a\nb\nb\n", "CLIP cannot tell apart the class names ['b', 'b'] of heron, wren."),
    ],
)
def test_a_mapping_or_a_file_that_does_not_fit_is_refused(given: Any, expected: str, tmp_path: Path) -> None:
    if isinstance(given, str):
        write(tmp_path, given)
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        names(LABELS, given if isinstance(given, dict) else "names.txt", tmp_path)
    assert str(caught.value).startswith("params.yaml: tasks.birds.class_names")


def dataset(*counts: int) -> Dataset:
    """Labels "0", "1", ... of classes "class 0", "class 1", ... with `counts` training samples each, interleaved."""
    samples = [
        Sample(str(label), f"{label}/{number}", 0, bytes)
        for number in range(max(counts))
        for label, count in enumerate(counts)
        if number < count
    ]
    classes = {str(label): f"class {label}" for label in range(len(counts))}
    return Dataset(classes, ("{}",), samples, samples[:3], notes=("a note",))


def sampled(shots: int, *, counts: tuple[int, ...] = (9, 12), task: str = "birds", seed: int = 42) -> list[str]:
    return [sample.name for sample in sample_shots(dataset(*counts), shots, task=task, seed=seed).train]


def test_shots_samples_that_many_images_of_each_class_by_the_seed_the_task_and_the_class() -> None:
    whole, found = dataset(9, 12), sampled(5)
    assert Counter(name[0] for name in found) == {"0": 5, "1": 5}
    assert len(set(found)) == 10
    assert sampled(5) == found != sampled(5, seed=43)
    assert sampled(5, task="flowers") != found
    assert [name for name in sampled(5, counts=(9, 12, 30)) if name[0] < "2"] == found  # another class moves nothing
    same_size = sampled(3, counts=(9, 9))
    assert [name[2:] for name in same_size if name[0] == "0"] != [name[2:] for name in same_size if name[0] == "1"]
    few = sample_shots(whole, 1, task="birds", seed=42)
    assert (few.test, few.notes, few.classes) == (whole.test, whole.notes, whole.classes)
    with pytest.raises(UserError, match=r"birds.shots: 10 shots are more than class 'class 0' has \(9 training images"):
        sampled(10)


TABLE = 'class_name,caption\nwren,a wren in the rain\ngreat tit,"it sings, loudly"\n wren ," a {} \n on  a wall"\n'


def test_a_table_has_captions_for_class_names(tmp_path: Path) -> None:
    """Other kinds of tables: artifacts/test_table_files.py. Unknown names: stages/test_stages.py."""
    (tmp_path / "captions.csv").write_text(TABLE)
    captions = read_captions("captions.csv", tmp_path)
    by_class = {"wren": ("a wren in the rain", "a {} on a wall"), "great tit": ("it sings, loudly",)}
    assert captions == Captions(by_class=by_class)
    assert captions.cover("wren") and not captions.cover("robin")


def test_a_text_file_has_captions_of_no_class_each_once_and_one_without_any_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("\ufeff# mine\ntwo dogs on a beach\n\n  a café \r\ntwo dogs on a beach\n".encode())
    captions = read_captions(str(path))
    assert captions == Captions(general=("two dogs on a beach", "a café"))
    assert captions.cover("a café")
    path.write_text("# nothing\n\n")
    with pytest.raises(UserError, match=r"^params.yaml: prompts.captions: .*\.txt has no caption\. Write one per line"):
        read_captions(str(path))


def test_the_names_of_a_vocabulary_are_those_that_open_clip_and_the_miniature_benchmark_give() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    assert base_vocabulary("imagenet") == tuple(IMAGENET_CLASSNAMES)
    assert base_vocabulary("mini") == tuple(mini_vocabulary())
    assert [name for name in VOCABULARIES if not base_vocabulary(name)] == ["none"]


def test_few_images_are_of_all_classes_and_the_same_for_a_seed() -> None:
    labels = ["common"] * 50 + ["rare", "rarest"]
    samples = [Sample(label, str(number), 1, bytes) for number, label in enumerate(labels)]
    dataset = Dataset({label: label for label in sorted(set(labels))}, ("{}",), samples, samples)
    few = few_images(dataset, {"train": 10, "test": 1}, task="a", seed=0)
    assert (few.counts, few.classes) == ({"train": 10, "test": 3}, dataset.classes)
    assert {sample.label for sample in few.train} == {sample.label for sample in few.test} == set(labels)
    assert few == few_images(dataset, {"train": 10, "test": 1}, task="a", seed=0)
