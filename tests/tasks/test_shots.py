"""Few-shot draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gift_core.artifacts.task import iterate_task
from gift_core.errors import UserError
from gift_core.tasks.listing import Item, Listing
from gift_core.tasks.shots import draw_shots
from tests.tasks.folders import birds, ingest_birds, picture


def listing(*counts: int) -> Listing:
    """Classes "class 0", "class 1", ... of so many training images, which take turns."""
    items = [
        Item(label, f"{label}/{number}", bytes, 0)
        for number in range(max(counts))
        for label, count in enumerate(counts)
        if number < count
    ]
    return Listing(tuple(f"class {label}" for label in range(len(counts))), ("{}",), items, items[:3], ("a note",))


def drawn(shots: int, *, counts: tuple[int, ...] = (9, 12), task: str = "birds", seed: int = 42) -> list[str]:
    return [item.name for item in draw_shots(listing(*counts), shots, task=task, seed=seed).train]


def test_each_class_gives_so_many_images_and_none_twice() -> None:
    found = drawn(5)
    assert Counter(name[0] for name in found) == {"0": 5, "1": 5}
    assert len(set(found)) == 10


def test_the_images_keep_their_order() -> None:
    order = [item.name for item in listing(9, 12).train]
    assert drawn(5) == [name for name in order if name in drawn(5)]


def test_the_draw_depends_on_the_seed_the_task_and_the_class() -> None:
    assert drawn(5) == drawn(5)
    assert drawn(5, seed=43) != drawn(5)
    assert drawn(5, task="flowers") != drawn(5)
    same_size = drawn(3, counts=(9, 9))
    assert [name[2:] for name in same_size if name[0] == "0"] != [name[2:] for name in same_size if name[0] == "1"]


def test_another_class_does_not_move_the_draw_of_this_one() -> None:
    assert [name for name in drawn(4, counts=(9, 12, 30)) if name[0] < "2"] == drawn(4)


def test_as_many_shots_as_images_take_them_all() -> None:
    assert len(drawn(9, counts=(9, 9))) == 18


def test_the_test_split_and_the_notes_stay() -> None:
    whole = listing(9, 12)
    few = draw_shots(whole, 1, task="birds", seed=42)
    assert (few.test, few.notes, few.class_names) == (whole.test, whole.notes, whole.class_names)


def test_a_class_with_fewer_images_is_named_with_its_count() -> None:
    with pytest.raises(UserError) as caught:
        drawn(10)
    expected = (
        "params.yaml: tasks.birds.shots: 10 shots cannot be drawn of class 'class 0', which has 9 images to learn"
    )
    assert str(caught.value).startswith(expected)


def test_a_folder_is_learned_from_few_shots_and_tested_whole(tmp_path: Path) -> None:
    birds(tmp_path, train=5, test=3)
    assert ingest_birds(tmp_path, shots=2).counts == {"train": 4, "test": 6}
    assert [label for _, label in iterate_task(tmp_path / "task", "train")] == [0, 0, 1, 1]


def test_images_that_were_not_drawn_are_not_read(tmp_path: Path) -> None:
    folder = birds(tmp_path, train=1)
    bad = picture(folder / "train" / "wren" / "9.png")
    bad.write_bytes(b"no image")
    outcomes = set()
    for seed in range(20):
        try:
            ingest_birds(tmp_path, shots=1, seed=seed)
            outcomes.add("not read")
        except UserError as error:
            assert "train/wren/9.png" in str(error)
            outcomes.add("drawn")
    assert outcomes == {"not read", "drawn"}
