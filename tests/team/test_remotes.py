"""The remote is set with checked hashes, and `gift get` says plainly what it does not find there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gift_core.config.loading import parse_config
from gift_core.doctor.finding import Finding
from gift_core.doctor.storage import read_settings
from gift_core.errors import UserError
from gift_core.team.sharing import OF_THIS_MACHINE, SETTINGS, set_remote
from stages.check import missing_raw_data
from tests.clone import Clone, clone_of, commit, content, stages_in
from tests.datasets.folders import folder_row
from tests.stages.experiment import gift
from tests.team.remote_servers import free_port
from tests.team.toy import run_and_push, use_store

UNCHANGED = "Nothing was pulled, nothing was changed. `dvc repro` makes the results on this machine."


@pytest.fixture
def second(first: Clone, tmp_path: Path) -> Clone:
    """A clone of the project without any data."""
    clone = clone_of(first, tmp_path / "second")
    use_store(clone, tmp_path / "store")
    return clone


def get(clone: Clone) -> str:
    return gift("get", "--root", clone.folder).output


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("/mnt/ö", {}, "URL: '/mnt/ö' has other characters than ASCII, which DVC cannot store"),
        ("mnt/gift", {}, "is not an absolute path, it would be another one in each clone"),
        ("ssh://me:secret@host/gift", {}, "URL: contains a password, and .dvc/config is in git"),
        ("ssh://host/gift", {"endpoint": "https://minio"}, "--endpoint: is for s3://, not for ssh://host/gift"),
        ("s3://b/gift", {"endpoint": "minio:9000"}, "--endpoint: 'minio:9000' is no address of a server"),
        ("s3://b/gift", {"region": "ö"}, "--region: 'ö' has other characters than ASCII"),
        ("/mnt/gift", {"key_file": "key"}, "--key-file: is for ssh://, gs://, not for /mnt/gift"),
    ],
)
def test_an_address_that_cannot_be_shared_is_refused(
    url: str, options: dict[str, str | None], expected: str, toy_template: Path
) -> None:
    root = toy_template / "first"
    before = (root / ".dvc" / "config").read_bytes()
    with pytest.raises(UserError) as caught:
        set_remote(root, url, options)
    assert expected in str(caught.value)
    assert "secret" not in str(caught.value)
    assert (root / ".dvc" / "config").read_bytes() == before


@pytest.mark.parametrize(
    ("option", "scheme"), [(option, scheme) for option, schemes in SETTINGS.items() for scheme in schemes]
)
def test_a_remote_is_the_default_with_checked_hashes_and_each_option_is_a_setting_of_dvc(
    option: str, scheme: str, second: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (second.folder / ".dvc" / "config").open("a", encoding="utf-8") as config:
        config.write("    jobs = 3\n")
    monkeypatch.setattr("gift_core.team.sharing.check_remote", lambda root, found: Finding("dvc remote", "ok", ""))
    set_remote(second.folder, f"{scheme}://team/gift", {option: "https://value"})
    settings = read_settings(second.folder)
    assert (settings["core.remote"], settings["remote.store.url"]) == ("store", f"{scheme}://team/gift")
    assert settings["remote.store.verify"].lower() == "true"
    assert settings["remote.store.jobs"] == "3"  # what else is set stays
    assert settings[f"remote.store.{SETTINGS[option][scheme]}"].endswith("value")
    in_git = "value" in (second.folder / ".dvc" / "config").read_text(encoding="utf-8")
    assert in_git == (option not in OF_THIS_MACHINE)


def test_without_results_that_can_be_reached_the_way_on_is_named(second: Clone, tmp_path: Path) -> None:
    (second.folder / ".dvc" / "config").write_text("", encoding="utf-8")
    said = get(second)
    assert "The remote: none. To share results: make remote URL=s3://bucket/gift" in said and UNCHANGED in said
    use_store(second, f"http://127.0.0.1:{free_port()}")
    said = get(second)
    assert "Cannot connect" in said and UNCHANGED in said
    (tmp_path / "empty").mkdir()
    use_store(second, tmp_path / "empty")
    assert "It is empty." in get(second)
    assert not (second.folder / "data").exists()
    use_store(second, tmp_path / "store")
    (second.folder / "dvc.lock").unlink()
    assert "There is nothing to pull: this commit has no dvc.lock." in get(second)


def test_what_is_damaged_is_named_and_the_rest_is_pulled(second: Clone, first: Clone, tmp_path: Path) -> None:
    lock = (second.folder / "dvc.lock").read_text(encoding="utf-8")
    name = lock.split("path: data/5_models/finetune/birds\n")[1].split("md5: ")[1].split()[0]
    stored = tmp_path / "store" / "files" / "md5" / name[:2] / name[2:]
    damaged = b"X" + stored.read_bytes()[1:]
    stored.unlink()  # it is read-only
    stored.write_bytes(damaged)
    said = get(second)
    assert "The remote has no whole copy of data/5_models/finetune/birds. `dvc repro` makes what is missing." in said
    assert (second.folder / "data" / "1_tasks" / "birds").is_file()
    assert second.repro() == ["finetune@finetune-step0"]  # with the same bytes, so the report stays
    assert content(second.folder / "data") == content(first.folder / "data")


def test_get_says_which_raw_data_are_only_linked_and_how_to_run_nothing(first: Clone, tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("raw", encoding="utf-8")
    for name in ("birds", "cats"):
        (first.folder / f"raw_{name}").symlink_to(tmp_path / "photos")
    (first.folder / ".gitignore").open("a", encoding="utf-8").write("raw_*\n")
    rows = "tasks:\n  birds: {path: raw_birds}\n  cats: {path: raw_cats}\n"
    first.edit("params.yaml", "tasks:\n  birds:\n    path: toy.py\n", rows)
    run_and_push(first)
    clone = clone_of(first, tmp_path / "second")
    use_store(clone, tmp_path / "store")
    said = get(clone)
    assert "The remote does not have raw_birds, raw_cats: links, and data without `dvc add`, are not pushed." in said
    assert "Run: dvc repro --allow-missing" in said
    assert stages_in(clone.run("dvc", "repro", "--allow-missing")) == []
    assert json.loads(gift("get", "--json", "--root", clone.folder).stdout)["unshared"] == ["raw_birds", "raw_cats"]
    assert "does not have" not in get(first)


def test_a_merge_that_stopped_in_dvc_lock_is_named(first: Clone) -> None:
    lock = first.folder / "dvc.lock"
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text(encoding='utf-8')}", encoding="utf-8")
    assert "If a git merge stopped there: git merge --abort" in gift("get", "--root", first.folder, expect=1).stderr


def test_share_and_get_name_a_model_of_ones_own_until_it_is_added(first: Clone, tmp_path: Path) -> None:
    model = "data/0_raw/models/mine"
    file = first.folder / model / "weights"
    file.parent.mkdir(parents=True)
    file.write_text("own", encoding="utf-8")
    first.edit("toy.py", '"constant"', f"""'{{"files": {{"{model}": "its hash"}}}}'""")
    first.edit("params.yaml", "seed: 1", "seed: 2")
    run_and_push(first)
    said = f"not have {model}: links, and data without `dvc add`, are not pushed."
    assert said in gift("share", "--root", first.folder).stderr
    clone = clone_of(first, tmp_path / "second")
    use_store(clone, tmp_path / "store")
    assert said in get(clone)
    first.run("dvc", "add", model)
    commit(first, "a model")
    assert said not in gift("share", "--root", first.folder).stderr
    clone.run("git", "pull", "--quiet")
    assert said not in get(clone) and (clone.folder / model).is_dir()


def test_what_a_clone_lacks_of_the_raw_data_is_said_with_the_way_on(tmp_path: Path, mini_params: Any) -> None:
    """tests/docs/test_team.py runs DVC without the raw data."""
    mini_params["tasks"]["photos"] = folder_row("data/0_raw/photos")
    tasks = {"photos": parse_config(yaml.safe_dump(mini_params), "params.yaml").tasks["photos"]}
    (missing,) = missing_raw_data(tmp_path, tasks)
    assert missing == "data/0_raw/photos is missing. To get it: see gift data status"
    (tmp_path / "data/1_tasks/photos").mkdir(parents=True)
    (missing,) = missing_raw_data(tmp_path, tasks)
    assert missing.endswith("To keep data/1_tasks/photos as it is: dvc repro --allow-missing")
