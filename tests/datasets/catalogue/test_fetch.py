"""Downloads from a local server: torchvision's downloaders end to end, and what a failed download leaves."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from torchvision import datasets

from gift_core.datasets.catalogue.fetch import fetch, how_to_get
from gift_core.datasets.catalogue.inventory import Archive, CatalogueRow, take_inventory
from gift_core.errors import UserError
from tests.datasets.catalogue.trees import make_tree, small_row
from tests.datasets.hub_server import Hub
from tests.mounts import small_disk


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "served").mkdir()
    with Hub(tmp_path / "served") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def dtd(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CatalogueRow:
    """Serves a small DTD, packed as the official archive is."""
    tree, archive = make_tree("dtd", tmp_path / "official"), server.folder / "dtd-r1.0.1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree / "dtd" / "dtd", "dtd")
    monkeypatch.setattr(datasets.DTD, "_URL", f"{server.url}/{archive.name}")
    monkeypatch.setattr(datasets.DTD, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    return small_row("dtd")


def test_torchvision_downloads_a_complete_data_set_once(dtd: CatalogueRow, server: Hub, tmp_path: Path) -> None:
    get(dtd, tmp_path / "raw" / "dtd")
    inventory = take_inventory(dtd, tmp_path / "raw" / "dtd")
    assert (inventory.state, inventory.faults) == ("complete", ())
    first = inventory.dataset.train[0]
    data = (tmp_path / "official" / "dtd" / "dtd" / first.name).read_bytes()
    assert (first.read(), first.size) == (data, len(data))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["dtd"]
    assert not list((tmp_path / "raw").rglob("*.tar.gz"))
    asked = len(server.asked)
    get(dtd, tmp_path / "raw" / "dtd")
    assert asked > 0 and len(server.asked) == asked


def test_data_may_be_on_another_disk_than_the_work(dtd: CatalogueRow, tmp_path: Path) -> None:
    with small_disk(tmp_path / "work", 4000):
        get(dtd, tmp_path / "raw" / "dtd")
    assert take_inventory(dtd, tmp_path / "raw" / "dtd").state == "complete"


def test_tiny_imagenet_comes_from_its_own_archive(server: Hub, tmp_path: Path) -> None:
    make_tree("tinyimagenet", tmp_path / "tree")
    archive = Path(shutil.make_archive(str(server.folder / "tiny-imagenet-200"), "zip", tmp_path / "tree"))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    served = Archive(name=archive.name, bytes=1, url=f"{server.url}/{archive.name}", md5=md5)
    row = small_row("tinyimagenet", archives=(served,))
    get(row, tmp_path / "raw" / "tiny")
    assert take_inventory(row, tmp_path / "raw" / "tiny").state == "complete"
    assert [path.name for path in (tmp_path / "raw" / "tiny").iterdir()] == ["tiny-imagenet-200"]


def get(row: CatalogueRow, path: Path) -> None:
    fetch(row, path, path.parents[1] / "work")


def refused(row: CatalogueRow, path: Path) -> str:
    with pytest.raises(UserError) as error:
        get(row, path)
    return str(error.value)


@pytest.mark.parametrize("continues", [True, False])
def test_an_interrupted_download_continues_and_a_wrong_one_is_refused(
    dtd: CatalogueRow, server: Hub, tmp_path: Path, continues: bool
) -> None:
    path, size = tmp_path / "raw" / "dtd", (server.folder / "dtd-r1.0.1.tar.gz").stat().st_size
    server.broken, server.continues = "dtd-r1.0.1.tar.gz", continues
    assert f"broke off, {size - size // 2:,} bytes are missing; the next run continues there" in refused(dtd, path)
    assert not path.exists()
    server.broken = ""
    get(dtd, path)
    assert take_inventory(dtd, path).state == "complete"
    assert server.starts == ([size // 2] if continues else [])
    assert not (tmp_path / "work").exists() or not any((tmp_path / "work").rglob("[!.]*"))


def test_a_tar_that_leads_out_of_its_folder_is_refused(
    dtd: CatalogueRow, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = server.folder / "dtd-r1.0.1.tar.gz"
    (tmp_path / "evil").write_text("evil")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "official" / "dtd" / "dtd", "dtd")
        tar.add(tmp_path / "evil", "../../../stolen")
    monkeypatch.setattr(datasets.DTD, "_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert "'../../../stolen' would be extracted to" in refused(dtd, tmp_path / "raw" / "dtd")
    assert not list(tmp_path.rglob("stolen")) and not list((tmp_path / "raw").iterdir())


def test_a_python_that_unpacks_tars_unsafely_is_refused_before_the_download(
    dtd: CatalogueRow, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(UserError, match="unpacks tars unsafely. Use 3.10.12, 3.11.4, 3.12 or a newer one. By hand:"):
        get(dtd, tmp_path / "raw" / "dtd")
    assert not server.asked


def test_a_download_that_fails_leaves_nothing_and_says_how(dtd: CatalogueRow, server: Hub, tmp_path: Path) -> None:
    path, archive = tmp_path / "raw" / "dtd", server.folder / "dtd-r1.0.1.tar.gz"
    other = dtd.model_copy(update={"counts": {"train": 50, "test": 47}})
    assert "the unpacked data set is partial: 47 of 50 training images" in refused(other, path)
    archive.write_bytes(archive.read_bytes()[:-100])
    assert "(File not found or corrupted.)" in refused(dtd, path)
    archive.unlink()
    text = refused(dtd, path)
    assert text.startswith("gift data fetch dtd: dtd-r1.0.1.tar.gz could not be downloaded and unpacked (HTTP Error 4")
    assert how_to_get(dtd, path) in text
    assert not list((tmp_path / "raw").iterdir())
