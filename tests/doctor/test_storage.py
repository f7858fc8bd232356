"""Disk space by hand, and the repository and remote of DVC with the real DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.doctor import storage
from gift_core.doctor.storage import check_dvc, check_remote, read_settings
from gift_core.errors import UserError

CLASSES = (100, 101, 100, 47, 10, 102, 101, 10, 37, 196, 397)  # of the tasks of mtil_order_1
CORE = "[core]\n    no_scm = True\n"


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
    (repository / ".gitattributes").write_text("dvc.lock merge=dvc-lock\n", encoding="utf-8")
    _, driver, _ = check_dvc(repository)
    assert driver.found == "it does not know how to merge dvc.lock: a merge would stop there"
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
