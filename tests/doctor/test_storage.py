"""Disk space by hand, and the repository and remote of DVC with the real DVC."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gift_core.doctor import storage
from gift_core.doctor.finding import Project
from gift_core.doctor.stage_work import Workload, count_work, task_size
from gift_core.doctor.storage import check_disk, check_dvc, check_remote, read_settings
from gift_core.errors import UserError
from tests.datasets.catalogue.trees import make_tree
from tests.doctor.projects import make_project, own_project

CLASSES = (100, 101, 100, 47, 10, 102, 101, 10, 37, 196, 397)  # of the tasks of mtil_order_1
CORE = "[core]\n    no_scm = True\n"


def written(project: Project, *stages: str) -> int:
    return sum(each.bytes for each in count_work(project).stages if each.stage in stages)


def test_the_bytes_of_mtil_by_hand(tmp_path: Path) -> None:
    project = make_project(tmp_path, "mtil_order_1")
    assert written(project, "synthesize") == 11 * int(1000 * 512**2 * 0.4)
    joined = sum(count * (10 - step) for step, count in enumerate(CLASSES))  # names in the vocabulary of later steps
    # pairs, and names; gift alone replays
    assert written(project, "teach") == (11 * 1000 * 2 + 11 * 1000 + joined) * 512 * 4
    assert written(project, "finetune", "evaluate", "import_model") == 4 * 149_620_737 * (1 + 11 * 2 * 2)
    assert 40e9 < written(project, "ingest") < 70e9  # SUN397 is most of it
    row = {"source": "catalogue", "dataset": "flickr30k", "path": "data/0_raw/a", "vocabulary_captions": 200}
    assert task_size(own_project(tmp_path, tasks={"my_task": row}), "my_task").classes == 200  # in the vocabulary


def test_a_folder_of_images_counts_with_its_size_and_a_tenth_must_be_to_spare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = own_project(tmp_path)
    assert written(project, "ingest") == 0
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        file = tmp_path / "data/0_raw/my_task" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(700))
    assert written(project, "ingest") == 2800
    needed, marks = 2 * sum(each.bytes for each in count_work(project).stages), []  # in the project and the cache
    for free in (needed - 1, int(1.09 * needed), int(1.1 * needed) + 1):
        monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        info, finding = check_disk(project)
        marks.append(finding.mark)
    assert marks == ["fail", "warn", "ok"] and "tasks 0.0 MB" in info.found
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    monkeypatch.setattr(storage, "count_work", lambda project: Workload((), (), ""))
    assert [finding.mark for finding in check_disk(project)] == ["info", "ok"]  # a full disk, and nothing to write


def test_a_part_of_a_published_data_set_counts_with_what_is_there(tmp_path: Path) -> None:
    row = {"source": "catalogue", "dataset": "aircraft", "path": "data/0_raw/aircraft", "allow_partial": True}
    project = own_project(tmp_path, tasks={"my_task": row})
    assert task_size(project, "my_task").train == 3334  # nothing is there: gift data fetch gets all
    make_tree("aircraft", tmp_path / "data" / "0_raw" / "aircraft", classes=3)
    size = task_size(project, "my_task")
    assert (size.train, size.test, size.bytes < 1e6) == (3, 3, True)


@pytest.mark.parametrize(("value", "verified"), [("True", True), ("false", False), ("ca.pem", "ca.pem")])
def test_ssl_verify_is_a_truth_value_or_a_certificate(value: str, verified: bool | str) -> None:
    pytest.importorskip("botocore", reason="needs the extra s3")
    client, _ = storage._s3_client({"ssl_verify": value, "region": "eu-west-1"})
    assert client._endpoint.http_session._verify == verified


def configure(root: Path, text: str) -> None:
    (root / ".dvc" / "config").write_text(text, encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository without a remote. Its remotes have time, however busy the machine is."""
    monkeypatch.setattr(storage, "REMOTE_TIMEOUT", 900.0)
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    configure(root, CORE)
    return root


def test_a_repository_needs_dvc_and_git_and_no_remote(repository: Path, tmp_path: Path) -> None:
    (finding,) = check_dvc(tmp_path)
    assert (finding.mark, finding.remedy) == ("fail", "Run in the project's root, or: dvc init")
    first, second = check_dvc(repository)
    assert (first.mark, second.mark, "make remote" in second.remedy) == ("ok", "info", True)
    (repository / ".dvc" / "tmp").mkdir(exist_ok=True)
    (repository / storage.RUNNING).touch()
    _, damaged, _ = check_dvc(repository)
    assert (damaged.mark, damaged.remedy) == ("fail", "If nothing runs here, remove it: rm .dvc/tmp/rwlock")
    (repository / storage.RUNNING).unlink()
    configure(repository, "")
    (finding,) = check_dvc(repository)
    assert (finding.mark, finding.remedy) == ("fail", "Run: git init")
    (repository / ".git").mkdir()
    assert [finding.mark for finding in check_dvc(repository)] == ["ok", "info"]
    configure(repository, "[core\n")
    with pytest.raises(UserError, match=r"at line 1.*Correct .dvc/config"):
        list(check_dvc(repository))


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
    address = url if "://" in url else tmp_path / url
    configure(repository, f"{CORE}    remote = store\n['remote \"store\"']\n    url = {address}\n")
    finding = check_remote(repository, read_settings(repository))
    assert (finding.mark, words in finding.found, "Traceback" in finding.found) == (mark, True, False)
