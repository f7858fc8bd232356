"""`gift add-task NAME --hub` and `gift data fetch`, with a server that answers like the hub."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from gift_core.config.loading import load_config
from gift_core.datasets.ingest import open_dataset
from tests.artifacts.damage import tree_hash
from tests.datasets.hub_server import COMMIT, Hub, repository, serve
from tests.stages.experiment import Gift

CARD = """---
license: cc-by-sa-4.0
dataset_info:
  features: []
  splits: [{name: train, num_examples: 12}, {name: test, num_examples: 6}]
---
# Pets
"""
LABELS = datasets.ClassLabel(names=["wren", "great_tit"])


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    repository(folder / "timm" / "pets", {"label": ([0, 1], LABELS)})
    (folder / "timm" / "pets" / "README.md").write_text(CARD, encoding="utf-8")
    with serve(folder, tmp_path_factory.mktemp("cache"), monkeypatch) as hub:
        yield hub


def test_a_name_becomes_a_task_and_is_read_without_a_network(hub: Hub, gift: Gift, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    command = ("add-task", "pets", "--hub", "timm/pets")
    before = tree_hash(tmp_path)
    output = gift(*command, "--dry-run").output
    assert tree_hash(tmp_path) == before and "--dry-run: nothing was written" in output
    assert f"timm/pets at {COMMIT[:12]}: 0.0 MB, license: cc-by-sa-4.0\n" in output
    assert "  train: 12 images in 2 files\n  test: 6 images in 1 file\n" in output
    assert "  prompt: a photo of a great tit.\n" in output
    gift(*command)
    row = load_config(tmp_path / "params.yaml").tasks["pets"]
    assert row.model_dump(exclude_unset=True) == {
        "source": "hub", "path": "data/0_raw/pets", "repository": "timm/pets", "revision": COMMIT,
        "splits": {"train": "train", "test": "test"}, "image_column": "image", "label_column": "label",
        "templates": ("a photo of a {}.",), "on_bad_image": "refuse",
    }  # fmt: skip
    assert ". Run: gift data fetch pets\n" in gift("data", "status", expect=1).output
    assert "pets: complete" in gift("data", "fetch", "pets").output
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.shutdown()
    assert "pets: complete" in gift("data", "fetch", "pets").output
    assert json.loads(gift("data", "status", "pets", "--json").stdout)[0]["train"] == {"found": 12, "expected": None}
    names = sorted(path.relative_to(tmp_path / row.path).as_posix() for path in (tmp_path / row.path).rglob("*.*"))
    assert names == ["README.md", "commit.txt", "data/test-00000-of-00001.parquet",
                     "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]  # fmt: skip
    assert open_dataset("pets", row, seed=1, root=tmp_path).classes == {"great_tit": "great tit", "wren": "wren"}
    gift("remove-task", "pets")


@pytest.mark.parametrize(
    ("columns", "words", "expected"),
    [
        ({"label": ([0, 1], datasets.Value("int64"))}, "--class-names names.txt", {"0": "wren", "1": "owl"}),
        ({"label": ([0, 1], LABELS)}, "--class-names names.txt", {"wren": "wren", "great_tit": "owl"}),
        ({"label": ([0, 1], LABELS)}, "--train-split train+test", {"train": "train+test", "test": "test"}),
        ({"label": ([0, 1], LABELS)}, "--revision v1", "Check the name and the revision."),
        ({"label": ([0, 1], LABELS)}, "--label-column x", "label_column: unknown name 'x'. Known: label"),
        ({"one": (["a", "b"], datasets.Value("string")), "two": (["c"], datasets.Value("string"))},
         "--captions --caption-column one::two", {"train": 24, "test": 12}),
        ({"caption": ([["a", "b"], ["c", "d"]], [datasets.Value("string")])}, "--captions", {"train": 24, "test": 12}),
        ({}, "", "no column can be the label_column"),
    ],
)  # fmt: skip
def test_columns_splits_and_names_are_found_or_given(
    columns: dict[str, Any], words: str, expected: Any, hub: Hub, gift: Gift, tmp_path: Path
) -> None:
    """Without a card, the counts are those of the files."""
    repository(hub.folder / "me" / "birds", columns)
    (tmp_path / "names.txt").write_text("wren\nowl\n", encoding="utf-8")
    command = ("add-task", "birds", "--hub", "me/birds", *words.split())
    if isinstance(expected, str):
        before = tree_hash(tmp_path)
        assert expected in gift(*command, expect=1).output and tree_hash(tmp_path) == before
        return
    assert json.loads(gift(*command, "--json").stdout)["splits"] == {"train": 12, "test": 6}
    gift("data", "fetch", "birds")
    row: Any = load_config(tmp_path / "params.yaml").tasks["birds"]
    dataset = open_dataset("birds", row, seed=1, root=tmp_path)
    found = dataset.captions or (row.class_names if "--class-names" in words else row.splits)
    assert found == expected and len(dataset.test) == 6


def test_an_interrupted_download_continues_and_a_wrong_one_is_refused(
    hub: Hub, gift: Gift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole files are kept. The library asks for a broken one again a few times, and says so on stderr."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    gift("add-task", "pets", "--hub", "timm/pets")
    folder, file = tmp_path / "data/0_raw/pets", "data/train-00000-of-00002.parquet"
    hub.broken = "train-00001-of-00002.parquet"
    assert "Check the connection, and try again." in gift("data", "fetch", "pets", expect=1).output
    assert not folder.exists() and {*hub.asked} >= {"train-00000-of-00002.parquet", hub.broken}
    hub.asked.clear()
    hub.broken, hub.lies = "", True
    output = gift("data", "fetch", "pets", expect=1).output
    assert "train-00001-of-00002.parquet does not have the hash that the hub lists. Run it again." in output
    assert hub.asked == ["train-00001-of-00002.parquet"] and not folder.exists()
    hub.lies = False
    gift("data", "fetch", "pets")
    assert (folder / file).read_bytes() == (hub.folder / "timm/pets" / file).read_bytes()
    (folder / file).unlink()
    assert "has 1 of 2 files data/train-*. Remove the folder" in gift("data", "fetch", "pets", expect=1).output


def test_what_the_hub_refuses_is_said_with_the_remedy(
    hub: Hub, gift: Gift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gated, unknown, without data, in another format, or not reached at all."""
    (hub.folder / "me/empty").mkdir(parents=True)
    repository(hub.folder / "me/zipped@", {"label": ([0, 1], LABELS)})
    (hub.folder / "me/zipped").mkdir()
    assert "column 'label': 2 classes" in gift("add-task", "pets", "--hub", "me/zipped", "--dry-run").output
    command, before = ("add-task", "pets", "--hub"), tree_hash(tmp_path)
    assert "Check the name and the revision. A private" in gift(*command, "me/unknown", expect=1).output
    assert "Check the name and the revision" in gift(*command, "me/empty", expect=1).output
    hub.gated.add("timm/pets")
    remedy = "Accept its conditions on its page, then log in: hf auth login."
    assert remedy in gift(*command, "timm/pets", expect=1).output
    assert "--check goes with --images only" in gift(*command, "timm/pets", "--check", expect=2).output
    assert "--revision goes with --hub only" in gift(*command[:2], "--images", "x", "--revision", "v1", expect=2).output
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = gift(*command, "timm/pets", expect=1).output
    assert message == ("error: gift add-task --hub: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE prevents the download. "
                       "Unset them for the first run.\n")  # fmt: skip
    assert tree_hash(tmp_path) == before


IN_CARD = """---
dataset_info:
  features:
  - {name: image, dtype: image}
  - name: label
    dtype:
      class_label:
        names:
          '0': wren
          '1': great_tit
---
"""


def test_a_local_copy_is_read_by_the_command_of_the_error_and_its_card(hub: Hub, gift: Gift, tmp_path: Path) -> None:
    """Without a network. The Parquet files have numbers alone. Names that are given replace those of the card."""
    folder = tmp_path / "copies of" / "birds"
    repository(folder, {"label": ([0, 1], datasets.Value("int64"))})
    (folder / "README.md").write_text(IN_CARD, encoding="utf-8")
    (folder / "names.txt").write_text("Zaunkönig\nKohlmeise\n", encoding="utf-8")
    hub.shutdown()
    message = " ".join(gift("add-task", "birds", "--hub", folder, expect=1).output.split())
    assert message.startswith(f"error: gift add-task --hub: {folder} is a folder of this machine. Read it with: ")
    command = ["add-task", "birds", *shlex.split(message.partition("Read it with: ")[2])]
    renamed = gift(*command, "--class-names", "names.txt", "--dry-run").output
    assert "prompt: a photo of a Zaunkönig." in renamed and "  Kohlmeise      6     3\n" in renamed
    output = gift(*command).output
    assert "birds: 2 classes, 12 training images, 6 test images\n" in output and "  great tit      6     3\n" in output
    (folder / "README.md").unlink()  # as DVC would share the folder
    row: Any = load_config(tmp_path / "params.yaml").tasks["birds"]
    assert row.class_names == {"0": "wren", "1": "great tit"} and open_dataset("birds", row, seed=1, root=tmp_path)


def test_the_card_of_a_repository_names_the_numbers_that_its_files_do_not(hub: Hub, gift: Gift, tmp_path: Path) -> None:
    folder = hub.folder / "me" / "birds"
    repository(folder, {"label": ([0, 1], datasets.Value("int64"))})
    (folder / "README.md").write_text(IN_CARD, encoding="utf-8")
    output = gift("add-task", "birds", "--hub", "me/birds").output
    assert "  column 'label': 2 classes: wren, great_tit\n  prompt: a photo of a great tit.\n" in output
    gift("data", "fetch", "birds")
    row = load_config(tmp_path / "params.yaml").tasks["birds"]
    assert open_dataset("birds", row, seed=1, root=tmp_path).classes == {"0": "wren", "1": "great tit"}


@pytest.mark.parametrize("table", ["data/*.parquet", "data/train-00000-of-00001.parquet"])
def test_a_table_of_ones_own_that_holds_its_images_becomes_a_task(table: str, gift: Gift, tmp_path: Path) -> None:
    """Several files have the splits that their names say, one has them by seed."""
    repository(tmp_path / "data/0_raw/birds", {"label": ([0, 1], LABELS)}, parts=1)
    output = gift("add-task", "birds", "--images", "data/0_raw/birds", "--table", table, "--check").output
    counts = "12 training images, 6 test images" if "*" in table else "10 training images, 2 test images"
    assert f"birds: 2 classes, {counts}\n" in output and "great tit" in output
    row: Any = load_config(tmp_path / "params.yaml").tasks["birds"]
    assert (row.source, row.table, row.test_fraction) == ("table", table, None if "*" in table else 0.2)


def test_a_published_data_set_is_fetched_from_the_hub(hub: Hub, gift: Gift, tmp_path: Path) -> None:
    """The small copies have other counts than the row, which are refused."""
    digits = datasets.ClassLabel(names=[str(number) for number in range(10)])
    for name in ("ufldl-stanford/svhn", "ylecun/mnist"):
        repository(hub.folder / name, {"label": (list(range(10)), digits)})
    (hub.folder / "ufldl-stanford/svhn/data").rename(hub.folder / "ufldl-stanford/svhn/cropped_digits")
    for words in (["svhn"], ["mnist", "--hub"]):
        output = gift("data", "fetch", *words, expect=1).output
        assert f"the copy in data/0_raw/{words[0]} is partial: 12 of " in " ".join(output.split())
    assert "svhn" in gift("data", "status", "svhn").output and (tmp_path / "data/0_raw/svhn/commit.txt").is_file()
    assert "the catalogue knows no copy with these counts" in gift("data", "fetch", "dtd", "--hub", expect=1).output
