"""Disk space by hand, and the repository and remote of DVC with the real DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.doctor import storage
from gift_core.doctor.storage import (
    artifact_bytes,
    check_braces,
    check_disk,
    check_dvc,
    check_remote,
    disk_finding,
    read_cache,
    read_settings,
)
from gift_core.errors import UserError
from tests.doctor.projects import link_models, make_project, own_project

CORE = "[core]\n    no_scm = True\n"


def test_the_bytes_of_mtil_by_hand(tmp_path: Path) -> None:
    found = artifact_bytes(make_project(tmp_path, "mtil_order_1"), parameters=149_620_737, embedding=512)
    assert found["shards"] == int(11 * 1000 * 512**2 * 0.4)
    assert found["teachers"] == 11 * 1000 * 3 * 512 * 4  # gift alone replays
    assert found["models"] == 4 * 149_620_737 * (1 + 11 * 2)
    assert 40e9 < found["tasks"] < 70e9  # SUN397 is most of it


def test_fisher_information_is_as_large_as_the_model_and_earlier_pairs_are_encoded_again(tmp_path: Path) -> None:
    found = {}
    for name in ("ewc", "gift_vocabulary"):
        project = make_project(tmp_path, "mtil_order_1", run={"methods": [name], "device": "auto"})
        found[name] = artifact_bytes(project, parameters=1000, embedding=1)["teachers"]
    pairs = sum(range(1, 12)) * 1000  # 1 to 11 steps, the present one among them
    assert found == {"ewc": 11 * 1000 * 3 * 4 + 11 * 4000, "gift_vocabulary": (2 * pairs + 11 * 1000) * 4}


def test_a_folder_of_images_counts_with_its_size(tmp_path: Path) -> None:
    project = own_project(tmp_path)
    assert artifact_bytes(project, parameters=1, embedding=1)["tasks"] == 0
    (tmp_path / "data/0_raw/my_task/a").mkdir(parents=True)
    (tmp_path / "data/0_raw/my_task/a/1.png").write_bytes(bytes(700))
    assert artifact_bytes(project, parameters=1, embedding=1)["tasks"] == 700


@pytest.mark.parametrize(("free", "mark"), [(99, "fail"), (109, "warn"), (110, "ok")])
def test_a_tenth_must_be_to_spare(tmp_path: Path, free: int, mark: str) -> None:
    assert disk_finding(tmp_path, 100, free).mark == mark


def wanted(findings: list[str]) -> str:
    """The line with the missing space."""
    return next(line for line in findings if "still to be written" in line)


def test_existing_artifacts_need_no_more_space(tmp_path: Path) -> None:
    link_models(tmp_path)
    before = [finding.found for finding in check_disk(make_project(tmp_path))]
    model = tmp_path / "data/5_models/gift/letters"
    model.mkdir(parents=True)
    (model / "open_clip_model.safetensors").write_bytes(bytes(5_000_000))
    after = [finding.found for finding in check_disk(make_project(tmp_path))]
    assert before[0] == after[0]  # the total does not change
    sizes = [int(wanted(lines).split(" MB")[0]) for lines in (before, after)]
    assert sizes[0] - sizes[1] in (10, 9, 11)  # in the project and in the cache, rounded


def test_a_cache_of_links_keeps_one_copy(tmp_path: Path) -> None:
    link_models(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(CORE, encoding="utf-8")
    two = wanted([finding.found for finding in check_disk(make_project(tmp_path))])
    (tmp_path / ".dvc/config.local").write_text("[cache]\n    type = symlink\n", encoding="utf-8")
    one = wanted([finding.found for finding in check_disk(make_project(tmp_path))])
    assert abs(int(two.split(" MB")[0]) - 2 * int(one.split(" MB")[0])) <= 1


@pytest.mark.parametrize(
    ("settings", "folder", "links"),
    [
        ("", ".dvc/cache", False),
        ("[cache]\n    dir = ../../shared\n", ".dvc/../../shared", False),
        ("[cache]\n    type = hardlink,copy\n", ".dvc/cache", True),
        ("[cache]\n    type = copy\n['remote \"store\"']\n    url = /a/store\n", ".dvc/cache", False),
    ],
)
def test_the_cache_folder_is_read_from_dvc(tmp_path: Path, settings: str, folder: str, links: bool) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(CORE + settings, encoding="utf-8")
    folder_of_cache, keeps_one = read_cache(tmp_path)
    assert (folder_of_cache.resolve(), keeps_one) == ((tmp_path / folder).resolve(), links)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository without a remote. Its remotes have time, however busy the machine is."""
    monkeypatch.setattr(storage, "REMOTE_TIMEOUT", 900.0)
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    configure(root, "")
    return root


def configure(root: Path, remote: str, *, core: str = "") -> None:
    (root / ".dvc" / "config").write_text(f"[core]\n    no_scm = True\n{core}{remote}", encoding="utf-8")


def with_remote(root: Path, url: str) -> None:
    configure(root, f"['remote \"store\"']\n    url = {url}\n", core="    remote = store\n")


def test_a_folder_without_dvc_is_a_fail(tmp_path: Path) -> None:
    (finding,) = check_dvc(tmp_path)
    assert (finding.mark, finding.remedy) == ("fail", "Run in the project's root, or: dvc init")


def test_a_repository_without_a_remote_is_fine(repository: Path) -> None:
    first, second = check_dvc(repository)
    assert (first.mark, second.mark) == ("ok", "info")
    assert "make remote" in second.remedy


@pytest.mark.parametrize(
    ("url", "mark", "words"),
    [
        ("store", "ok", "answers"),
        ("nowhere", "warn", "there is nothing at"),
        ("nosuchscheme://bucket/gift", "fail", "nosuchscheme"),
    ],
)
def test_a_remote_answers_or_the_reason_of_dvc_is_said(
    repository: Path, tmp_path: Path, url: str, mark: str, words: str
) -> None:
    (tmp_path / "store").mkdir()
    with_remote(repository, url if "://" in url else str(tmp_path / url))
    finding = check_remote(repository, read_settings(repository))
    assert (finding.mark, words in finding.found, "Traceback" in finding.found) == (mark, True, False)


def test_a_broken_configuration_is_an_error_with_its_location(repository: Path) -> None:
    (repository / ".dvc" / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(UserError, match="at line 1.*Correct .dvc/config"):
        list(check_dvc(repository))


def test_a_repository_outside_git_is_a_fail_unless_no_scm_is_set(repository: Path) -> None:
    (repository / ".dvc" / "config").write_text("", encoding="utf-8")
    (finding,) = check_dvc(repository)
    assert (finding.mark, finding.remedy) == ("fail", "Run: git init")
    (repository / ".git").mkdir()
    assert [finding.mark for finding in check_dvc(repository)] == ["ok", "info"]


@pytest.mark.parametrize("name", ["a{b,c}d", "}x"])
def test_a_path_with_braces_in_which_dvc_fails_is_reported(name: str, tmp_path: Path) -> None:
    found = list(check_braces({"the project": tmp_path / name, "the cache of DVC": tmp_path / "cache"}))
    assert [finding.mark for finding in found] == ["fail"]
    assert name in found[0].found and found[0].remedy == "Rename or move that folder."
    assert not list(check_braces({"the project": tmp_path / "a b*'\n[x]"}))
