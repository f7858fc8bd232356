"""DVC's repository and remote, asked of real DVC."""

from __future__ import annotations

from pathlib import Path

import pytest

from gift_core.doctor import store
from gift_core.doctor.finding import Finding
from gift_core.doctor.store import check_remote, check_store, read_settings
from gift_core.errors import UserError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A DVC repository without a remote."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    configure(root, "")
    return root


def configure(root: Path, remote: str, *, core: str = "") -> None:
    (root / ".dvc" / "config").write_text(f"[core]\n    no_scm = True\n{core}{remote}", encoding="utf-8")


def with_remote(root: Path, url: str) -> None:
    configure(root, f"['remote \"store\"']\n    url = {url}\n", core="    remote = store\n")


def remote_of(root: Path) -> Finding:
    return check_remote(root, read_settings(root))


def test_a_folder_without_dvc_is_a_fail(tmp_path: Path) -> None:
    (finding,) = check_store(tmp_path)
    assert (finding.mark, finding.remedy) == ("fail", "Run in the project's root, or: dvc init")


def test_a_repository_without_a_remote_is_fine(repository: Path) -> None:
    first, second = check_store(repository)
    assert (first.mark, second.mark) == ("ok", "info")
    assert "dvc remote add" in second.remedy


def test_a_remote_that_is_there_answers(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with_remote(repository, str(tmp_path / "store"))
    finding = remote_of(repository)
    assert (finding.mark, finding.found) == ("ok", f"store ({tmp_path / 'store'}) answers")


def test_the_settings_of_a_remote_are_read_whole_however_long(repository: Path) -> None:
    address = "/a" + "/very/long/place" * 20
    with_remote(repository, address)
    assert read_settings(repository)["remote.store.url"] == address


def test_a_remote_that_is_not_there_is_a_warning(repository: Path, tmp_path: Path) -> None:
    with_remote(repository, str(tmp_path / "nowhere"))
    finding = remote_of(repository)
    assert (finding.mark, "nothing lies at" in finding.found) == ("warn", True)


def test_a_remote_that_cannot_be_used_is_a_fail_with_dvcs_reason(repository: Path) -> None:
    with_remote(repository, "nosuchscheme://bucket/gift")
    finding = remote_of(repository)
    assert finding.mark == "fail"
    assert "nosuchscheme" in finding.found
    assert "Traceback" not in finding.found


def test_a_remote_that_is_no_default_is_not_asked(repository: Path) -> None:
    configure(repository, "['remote \"spare\"']\n    url = /nowhere\n")
    assert remote_of(repository).found == "none"


def test_a_broken_configuration_is_met_with_its_place(repository: Path) -> None:
    (repository / ".dvc" / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(UserError, match="at line 1.*Correct .dvc/config"):
        list(check_store(repository))


def test_a_repository_outside_git_is_a_fail_unless_it_is_set_up_so(repository: Path) -> None:
    (repository / ".dvc" / "config").write_text("", encoding="utf-8")
    (finding,) = check_store(repository)
    assert (finding.mark, finding.remedy) == ("fail", "Run: git init")
    (repository / ".git").mkdir()
    assert [finding.mark for finding in check_store(repository)] == ["ok", "info"]


def test_a_remote_that_takes_too_long_is_given_up(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_remote(repository, str(tmp_path))
    monkeypatch.setattr(store, "PATIENCE", 0.01)
    finding = remote_of(repository)
    assert (finding.mark, "did not answer within" in finding.found) == ("fail", True)
