"""The disk that an experiment takes, by hand, and what is there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.doctor.disk import artifact_bytes, check_disk, judge_disk, read_cache
from tests.doctor.scenes import mini_models, scene

CORE = "[core]\n    no_scm = True\n"


def test_what_mtil_writes_by_hand(tmp_path: Path) -> None:
    found = artifact_bytes(scene(tmp_path, "mtil_order_1"), parameters=149_620_737, embedding=512)
    assert found["shards"] == int(11 * 1000 * 512**2 * 0.4)
    assert found["teachers"] == 11 * 1000 * 2 * 512 * 4  # gift alone replays
    assert found["models"] == 4 * 149_620_737 * (1 + 11 * 2)
    assert 40e9 < found["tasks"] < 70e9  # SUN397 is most of it


def test_a_png_takes_four_times_a_jpg(tmp_path: Path) -> None:
    jpg, png = (
        artifact_bytes(scene(tmp_path, "mtil_order_1", generator__image_format=kind), parameters=1, embedding=1)
        for kind in ("jpg", "png")
    )
    assert png["shards"] == pytest.approx(4 * jpg["shards"], rel=1e-6)


def test_fisher_diagonals_are_as_large_as_the_model(tmp_path: Path) -> None:
    lists = {"methods": ["ewc"], "device": "auto"}
    found = artifact_bytes(scene(tmp_path, "mtil_order_1", run=lists), parameters=1000, embedding=1)
    assert found["teachers"] == 11 * 1000 * 2 * 4 + 11 * 4000


def test_slices_of_one_data_set_add_up_to_it(tmp_path: Path) -> None:
    sizes = {
        preset: artifact_bytes(scene(tmp_path, preset), parameters=1, embedding=1)["tasks"]
        for preset in ("cil_cifar100_10", "cil_cifar100_50")
    }
    assert sizes["cil_cifar100_10"] == pytest.approx(sizes["cil_cifar100_50"], rel=1e-6)


def test_a_data_set_of_ones_own_counts_as_it_lies(tmp_path: Path) -> None:
    examined = scene(tmp_path, "bring_your_own")
    assert artifact_bytes(examined, parameters=1, embedding=1)["tasks"] == 0
    (tmp_path / "data/0_raw/my_task/a").mkdir(parents=True)
    (tmp_path / "data/0_raw/my_task/a/1.png").write_bytes(bytes(700))
    assert artifact_bytes(examined, parameters=1, embedding=1)["tasks"] == 700


@pytest.mark.parametrize(("free", "mark"), [(99, "fail"), (100, "warn"), (109, "warn"), (110, "ok")])
def test_a_tenth_is_to_spare(tmp_path: Path, free: int, mark: str) -> None:
    assert judge_disk(tmp_path, 100, free).mark == mark


def wanted(findings: list[str]) -> str:
    """The line on the disk itself."""
    return next(line for line in findings if "still to be written" in line)


def test_what_is_there_already_is_not_asked_for_again(tmp_path: Path) -> None:
    mini_models(tmp_path)
    before = [finding.found for finding in check_disk(scene(tmp_path))]
    model = tmp_path / "data/5_models/gift/letters"
    model.mkdir(parents=True)
    (model / "open_clip_model.safetensors").write_bytes(bytes(5_000_000))
    after = [finding.found for finding in check_disk(scene(tmp_path))]
    assert before[0] == after[0]  # the whole stays the whole
    sizes = [int(wanted(lines).split(" MB")[0]) for lines in (before, after)]
    assert sizes[0] - sizes[1] in (10, 9, 11)  # in the project and in the cache, rounded


def test_a_cache_of_links_keeps_one_copy(tmp_path: Path) -> None:
    mini_models(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(CORE, encoding="utf-8")
    two = wanted([finding.found for finding in check_disk(scene(tmp_path))])
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    type = symlink\n", encoding="utf-8")
    one = wanted([finding.found for finding in check_disk(scene(tmp_path))])
    assert abs(int(two.split(" MB")[0]) - 2 * int(one.split(" MB")[0])) <= 1


def test_a_model_of_unknown_size_is_said_to_be_unknown(tmp_path: Path) -> None:
    examined = scene(tmp_path, "mtil_order_1", model__name="ViT-B-16-SigLIP", model__pretrained="webli")
    assert "the models' size is not known yet" in next(iter(check_disk(examined))).found
    assert "not known" not in next(iter(check_disk(scene(tmp_path, "mtil_order_1")))).found


def test_a_cache_on_another_disk_is_judged_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini_models(tmp_path)
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk here")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"{CORE}[cache]\n    dir = {shared}\n", encoding="utf-8")
    lines = [finding.found for finding in check_disk(scene(tmp_path))][1:]
    assert [line.split(" at ")[1].split(",")[0] for line in lines] == [str(tmp_path), str(shared)]
    assert len({line.split(" still")[0] for line in lines}) == 1


@pytest.mark.parametrize(
    ("settings", "folder", "links"),
    [
        ("", ".dvc/cache", False),
        ("[cache]\n    dir = ../../shared\n", ".dvc/../../shared", False),
        ("[cache]\n    type = hardlink,copy\n", ".dvc/cache", True),
        ("[cache]\n    type = copy\n['remote \"store\"']\n    url = /a/store\n", ".dvc/cache", False),
    ],
)
def test_dvcs_own_settings_say_where_the_cache_is(tmp_path: Path, settings: str, folder: str, links: bool) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(CORE + settings, encoding="utf-8")
    place, keeps_one = read_cache(tmp_path)
    assert (place.resolve(), keeps_one) == ((tmp_path / folder).resolve(), links)
