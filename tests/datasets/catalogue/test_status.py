"""Verification decodes every image, names the bad ones, and counts the classes."""

from __future__ import annotations

from pathlib import Path

from gift_core.datasets.catalogue.row import CatalogueRow, catalogue_row
from gift_core.datasets.status import Balance, verify
from tests.datasets.catalogue.trees import counts_of, make_tree


def small_row(dataset: str, per_class: int = 1) -> CatalogueRow:
    return catalogue_row(dataset, "tests").model_copy(update={"counts": counts_of(dataset, per_class)})


def test_unreadable_images_are_named_in_their_order_with_the_reason(tmp_path: Path) -> None:
    make_tree("oxford_pet", tmp_path, per_class=2)
    verification = verify(small_row("oxford_pet", per_class=2), tmp_path)
    assert verification.sound
    assert verification.balances == {"train": Balance(2, 2, 2, ()), "test": Balance(2, 2, 2, ())}
    images = tmp_path / "oxford-iiit-pet" / "images"
    (images / "pug_2.jpg").write_bytes(b"")
    (images / "Abyssinian_1.jpg").write_bytes(b"<html>404</html>")
    cut = images / "beagle_4.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    verification = verify(small_row("oxford_pet", per_class=2), tmp_path)
    assert verification.inventory.state == "complete" and not verification.sound
    names = [name for name, _ in verification.unreadable]
    assert names == ["images/Abyssinian_1.jpg", "images/pug_2.jpg", "images/beagle_4.jpg"]  # train before test
    assert [reason for _, reason in verification.unreadable][:2] == ["not an image"] * 2
    assert "0x" not in verification.unreadable[2][1]


def test_the_balance_counts_each_class_and_names_the_empty_ones(tmp_path: Path) -> None:
    make_tree("mnist", tmp_path)
    labels = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:8] + bytes([0, 0, 0, 3, 4, 5, 6, 7, 8, 9]))  # no 1, no 2
    verification = verify(small_row("mnist"), tmp_path)
    assert verification.balances["train"] == Balance(least=0, median=1, most=3, empty=("1", "2"))
    assert verification.balances["test"] == Balance(least=1, median=1, most=1, empty=())
