"""Remotes on S3, SSH, GCS and Azure, with servers that speak the protocol, and with faults in between."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gift_core.doctor.finding import Finding
from gift_core.doctor.storage import check_bucket
from tests.clone import Clone, clone_of, commit, content, copy_of, new_project, small
from tests.datasets.folders import picture
from tests.mounts import small_disk
from tests.team.remote_servers import KEYS, S3, Fault, azure_server, gcs_server, objects_of, ssh_server
from tests.team.toy import toy_clone


@pytest.fixture(scope="module")
def s3() -> S3:
    pytest.importorskip("moto", reason="moto[server] is an extra of development")
    return S3()


@pytest.fixture
def bucket(s3: S3, tmp_path: Path) -> Any:
    return s3.bucket(re.sub(r"\W|_", "-", f"{tmp_path.parent.name}-{tmp_path.name}".lower())[-60:].strip("-"))


def at_home(clone: Clone, home: Path) -> Clone:
    """The clone of somebody with an empty home and one try for each request, who has keys in the environment."""
    home.mkdir(exist_ok=True)
    clone.environment |= KEYS | {"AWS_MAX_ATTEMPTS": "2"}
    clone.environment |= {"HOME": str(home), "DVC_SITE_CACHE_DIR": str(home)}
    return clone


@pytest.fixture
def ana(first: Clone, tmp_path: Path) -> Clone:
    """The project that has run, with photos that are added to DVC, and without a remote."""
    for number in range(4):
        picture(first.folder / "data" / "0_raw" / "photos" / f"{number}.jpg", (60 * number, 1, 2))
    (first.folder / "data" / "0_raw" / "photos" / "large.bin").write_bytes(random.Random(0).randbytes(300_000))
    (first.folder / ".dvc" / "config").write_text("", encoding="utf-8")
    first.run("dvc", "add", "--quiet", "data/0_raw/photos")
    return at_home(first, tmp_path / "home")


def gift(clone: Clone, *words: str, expect: int = 0, **variables: str) -> str:
    return clone.run("gift", *words, expect=expect, **variables)


def another(ana: Clone, folder: Path, address: Sequence[str] = ()) -> Clone:
    """A clone without data. Its own key is set if the address needs one."""
    clone = at_home(toy_clone(clone_of(ana, folder).folder), folder.with_name(f"home_of_{folder.name}"))
    if "--key-file" in address:
        gift(clone, "remote", *address)
    return clone


@pytest.fixture
def machine(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and with the profile `team` for the server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    files = {"config": f"[profile team]\nendpoint_url = {s3.url}\nregion = eu-west-1\n"}
    files["credentials"] = "[team]\naws_access_key_id = a\naws_secret_access_key = b\n"
    (tmp_path / ".aws").mkdir()
    for name, text in files.items():
        (tmp_path / ".aws" / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def checked(bucket: str, **settings: str) -> Finding:
    settings["url"] = f"s3://{bucket}/gift"
    return check_bucket("store", {f"remote.store.{name}": value for name, value in settings.items()})


PROFILE = {"profile": "team"}
GIVEN = {"access_key_id": "a", "secret_access_key": "b"}


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        (PROFILE, {}),
        ({}, {"AWS_PROFILE": "team"}),
        (GIVEN, {"AWS_ENDPOINT_URL": "SERVER"}),
        ({"endpointurl": "SERVER"}, KEYS),
    ],
)
def test_a_bucket_is_found_with_what_a_machine_has(
    settings: dict[str, str],
    variables: dict[str, str],
    s3: S3,
    bucket: Any,
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("SERVER", s3.url))
    settings = {name: value.replace("SERVER", s3.url) for name, value in settings.items()}
    finding = checked(bucket.name, **settings)
    assert (finding.mark, finding.remedy) == ("ok", "It is empty. To share results: make share")
    bucket.Object("gift/files/md5/00/0").put(Body=b"0")
    assert checked(bucket.name, **settings).remedy == ""


NO_KEYS = "SERVER with no credentials, profile default: Unable to locate"
NO_BUCKET = "credentials from shared-credentials-file, profile team: An error occurred (NoSuchBucket)"
NOBODY_THERE = "127.0.0.1:9 with the key in DVC's settings: Could not connect"


@pytest.mark.parametrize(
    ("settings", "found", "remedy"),
    [
        ({"endpointurl": "SERVER"}, NO_KEYS, "aws configure"),
        ({"profile": "nobody"}, "profile (nobody) could not be found", "aws configure"),
        (PROFILE, NO_BUCKET, "Create it"),
        (GIVEN | {"endpointurl": "http://127.0.0.1:9"}, NOBODY_THERE, "ENDPOINT="),
    ],
)
def test_a_failure_names_what_was_tried_and_the_next_command(
    settings: dict[str, str], found: str, remedy: str, s3: S3, machine: Path
) -> None:
    settings = {name: value.replace("SERVER", s3.url) for name, value in settings.items()}
    finding = checked("nosuch", **settings)
    assert finding.mark == "fail" and found.replace("SERVER", s3.url) in finding.found and remedy in finding.remedy


@pytest.fixture(params=["s3", "ssh", "gs", "azure"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The arguments of `gift remote`. Tests name it first: clones take the environment as it is when they are made."""
    if request.param == "s3":
        yield [f"s3://{request.getfixturevalue('bucket').name}/gift", "--endpoint", request.getfixturevalue("s3").url]
    elif request.param == "ssh":
        pytest.importorskip("sshfs", reason="needs the extra ssh")
        if not shutil.which("sshd"):
            pytest.skip("needs sshd: apt-get install openssh-server")
        with ssh_server(tmp_path / "ssh") as (port, key):
            yield [f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/remote", "--key-file", str(key)]
    elif request.param == "gs":
        pytest.importorskip("gcsfs", reason="needs the extra gs")
        pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator is an extra of development")
        with gcs_server(tmp_path / "gcs") as (url, key):
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            yield ["gs://team/gift", "--key-file", str(key)]
    else:
        pytest.importorskip("adlfs", reason="needs the extra azure")
        if not shutil.which("azurite-blob"):
            pytest.skip("needs azurite-blob: npm install --global azurite")
        with azure_server(tmp_path / "azure") as connection:
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
            yield ["azure://team/gift", "--account", "devstoreaccount1"]


def test_what_one_shares_another_gets_and_has_nothing_to_run(address: list[str], ana: Clone, tmp_path: Path) -> None:
    """docs/test_team.py has what else a team does, with a folder and S3."""
    gift(ana, "remote", *address)
    assert str(tmp_path / "ssh") not in (ana.folder / ".dvc" / "config").read_text(encoding="utf-8")
    commit(ana, "where results are shared")
    gift(ana, "share")
    ben = another(ana, tmp_path / "ben", address)
    gift(ben, "get")
    assert ben.repro() == []
    assert content(ben.folder / "data") == content(ana.folder / "data")


DAMAGE = """
import sys
from dvc.repo import Repo
remote = Repo().cloud.get_remote_odb()
remote.fs.pipe_file(remote.oid_to_path(sys.argv[1]), b"other")
"""


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a real task."""
    project = new_project(tmp_path_factory.mktemp("ingested") / "project")
    project.write_params(small(project.params))
    project.run(sys.executable, "-m", "stages.dvc.fork_server", "dvc", "repro", "ingest@letters")
    commit(project, "a task")
    return project.folder


def test_a_damaged_object_is_found_and_replaced(address: list[str], ingested: Path, tmp_path: Path) -> None:
    ana = at_home(toy_clone(copy_of(ingested, tmp_path / "ana").folder), tmp_path / "home")
    gift(ana, "remote", *address)
    commit(ana, "the remote")
    gift(ana, "share")
    ben = another(ana, tmp_path / "ben", address)
    shard = min((ana.folder / "data" / "1_tasks" / "letters").rglob("*.tar"))
    name = hashlib.md5(shard.read_bytes()).hexdigest()
    ana.run("python", "-c", DAMAGE, name)
    assert "no whole copy of data/1_tasks/letters" in gift(ben, "get")
    assert f"on the remote: {name}" in gift(ben, "verify", "--remote", expect=1)
    assert "in a clone that has them" in gift(ben, "verify", "--remote", "--heal", expect=1)
    assert "the remote: 1 objects replaced, 0 broken" in gift(ana, "verify", "--remote", "--heal")
    gift(ben, "get")
    assert content(ben.folder / "data") == content(ana.folder / "data")
    assert "0 broken" in gift(ben, "verify", "--remote")


FAILS = "The server or the network fails. What has arrived is kept: run gift"


def first_of_each(count: int) -> Fault:
    """The first requests for `count` different objects fail."""
    seen: set[str] = set()

    def fails(method: str, path: str, number: int) -> bool:
        is_new = "/files/md5/" in path and method in ("GET", "PUT") and path not in seen and len(seen) < count
        seen.update([path] if is_new else [])
        return is_new

    return fails


FAULTS: dict[str, Callable[[], Fault]] = {
    "four objects": lambda: first_of_each(4),
    "objects": lambda: lambda method, path, number: "/files/md5/" in path and method in ("GET", "PUT"),
    "early": lambda: lambda method, path, number: number <= 5,
    "late": lambda: lambda method, path, number: number > 12,
    "no list": lambda: lambda method, path, number: "list-type" in path,
}


@pytest.fixture
def shared(ana: Clone, bucket: Any, s3: S3) -> Clone:
    """The project, which has its remote in the bucket. Nothing is pushed."""
    gift(ana, "remote", f"s3://{bucket.name}/gift", "--endpoint", s3.url)
    commit(ana, "the remote")
    return ana


def whole_objects(cache: Path) -> dict[str, bytes]:
    """The objects of a cache, after it is sure that each is what its name says."""
    found = {name.replace("/", ""): text for name, text in content(cache / "files" / "md5").items()}
    assert all(hashlib.md5(text).hexdigest() == name.removesuffix(".dir") for name, text in found.items())
    return found


@pytest.mark.parametrize(
    ("command", "kind", "fails", "expect", "said"),
    [
        ("get", "503", "four objects", 0, ""),
        ("get", "503", "early", 0, "Nothing was pulled"),
        ("get", "cut", "four objects", 0, ""),
        ("get", "503", "objects", 1, FAILS),
        ("get", "cut", "objects", 1, FAILS),
        ("get", "short", "objects", 0, "The remote has no whole copy of"),
        ("get", "other", "objects", 0, "The remote has no whole copy of"),
        ("get", "other than the checksum", "objects", 1, "Other bytes have arrived than were sent"),
        ("get", "expired", "late", 1, "Renew the credentials. What has arrived is kept: run gift get again."),
        ("get", "denied", "no list", 0, "The credentials may not do this"),
        ("get", "denied", "objects", 1, "The credentials may not do this"),
        ("share", "503", "four objects", 0, "The remote has everything"),
        ("share", "503", "early", 1, "nothing was pushed"),
        ("share", "cut", "four objects", 0, "The remote has everything"),
        ("share", "503", "objects", 1, FAILS),
        ("share", "cut", "objects", 1, FAILS),
        ("share", "expired", "late", 1, "Renew the credentials"),
        ("share", "denied", "objects", 1, "The credentials may not do this"),
        ("share", "denied", "no list", 1, "nothing was pushed"),
    ],
)
def test_after_a_fault_nothing_is_half_there_and_running_again_finishes(
    command: str, kind: str, fails: str, expect: int, said: str, shared: Clone, s3: S3, bucket: Any, tmp_path: Path
) -> None:
    if command == "get":
        gift(shared, "share")
    ben = another(shared, tmp_path / "ben")
    with s3.failing(kind, FAULTS[fails]()):
        assert said in gift(ben if command == "get" else shared, command, expect=expect)
    whole_objects(ben.folder / ".dvc" / "cache")
    pushed = objects_of(bucket)
    for name, text in pushed.items():
        assert not name.endswith(".dir") or {each["md5"] for each in json.loads(text)} <= {*pushed}
    gift(shared, "share")
    assert {*pushed} <= {*objects_of(bucket)}
    gift(ben, "get")
    assert content(ben.folder / "data") == content(shared.folder / "data")


def test_a_full_disk_is_named_and_get_finishes_when_there_is_space(shared: Clone, tmp_path: Path) -> None:
    gift(shared, "share")
    ben = another(shared, tmp_path / "ben")
    with small_disk(ben.folder / ".dvc" / "cache", 200):
        assert "No space left on device" in (said := gift(ben, "get", expect=1)) and "Free some space" in said
        whole_objects(ben.folder / ".dvc" / "cache")
    gift(ben, "get")
    assert content(ben.folder / "data") == content(shared.folder / "data")


ROUNDS = int(os.environ.get("GIFT_PUSH_ROUNDS", "2"))  # 20 once, before a release


def test_two_who_push_at_once_while_a_third_pulls_lose_nothing(shared: Clone, bucket: Any, tmp_path: Path) -> None:
    gift(shared, "share")
    ben, cem = (another(shared, tmp_path / name) for name in ("ben", "cem"))
    for number in range(ROUNDS):
        expected = set(objects_of(bucket))
        for clone in (shared, ben):
            photos = clone.folder / "data" / "0_raw" / "photos"
            photos.mkdir(parents=True, exist_ok=True)
            (photos / f"of_{clone.folder.name}.bin").write_bytes(random.randbytes(9_000))
            (photos / "of_both.bin").write_bytes(bytes([number]) * 90_000)
            clone.run("dvc", "add", "--quiet", "data/0_raw/photos")
            expected |= {hashlib.md5(file.read_bytes()).hexdigest() for file in photos.iterdir()}
        with ThreadPoolExecutor(3) as at_once:
            list(at_once.map(gift, (shared, ben, cem), ("share", "share", "get")))
        assert expected <= set(objects_of(bucket))
    for clone in (shared, ben):
        shutil.copy(clone.folder / "data" / "0_raw" / "photos.dvc", cem.folder / "data" / "0_raw")
        gift(cem, "get")
        assert content(cem.folder / "data" / "0_raw") == content(clone.folder / "data" / "0_raw")
