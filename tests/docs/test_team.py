"""The commands of docs/team.md in their order, with real git, DVC and make, by a team whose remote is S3, or a folder.

The pipeline is a small one (tests/team/toy.py), so that this takes seconds. tests/end_to_end/test_changes.py merges
two branches of the miniature.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clone import Clone, commit, content, stages_in
from tests.datasets.folders import picture
from tests.docs.snippets import install_gift
from tests.imports import ROOT
from tests.team.remote_servers import KEYS, S3, free_port
from tests.team.toy import DRIVERS, new_toy, toy_clone

PAGE = (ROOT / "docs" / "team.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n# ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STORE, ORIGIN, SERVER = "/mnt/shared/gift", "git@host:team/gift.git", "http://localhost:8000"
REMOTE = "s3://bucket/gift ENDPOINT=https://minio.example.org"


class Team:
    """The clones of the page by their names, and what stands for its addresses."""

    def __init__(self, folder: Path, remote: str) -> None:
        self.folder, self.remote = folder, remote
        self.port = str(free_port())
        self.clones = {"ana": self.first_clone()}
        self.ran: dict[str, list[list[str]]] = {"ana": [], "ben": [], "cem": [], "eve": []}
        self.servers: list[subprocess.Popen[bytes]] = []
        self.said = ""

    def first_clone(self) -> Clone:
        """A project with photos of its own, which nobody has run, and an empty repository to push to."""
        clone = new_toy(self.folder / "ana")
        clone.edit("params.yaml", "path: toy.py", "path: data/0_raw/photos")
        for number in range(4):
            picture(clone.folder / "data" / "0_raw" / "photos" / f"{number}.jpg", (60 * number, 1, 2))
        clone.run("git", "init", "--quiet", "--bare", "--initial-branch", "main", str(self.folder / "origin"))
        clone.run("git", "remote", "add", "origin", str(self.folder / "origin"))
        commit(clone, "the project")
        install_gift(clone)
        clone.environment |= KEYS
        return clone

    def follow(self, names: str, block: str) -> None:
        """Runs a block in each clone that its comment names."""
        for name in names.removesuffix(", in the background").split(", "):
            for line in block.splitlines():
                command = line.replace(REMOTE, self.remote).replace(STORE, str(self.folder / "store"))
                command = command.replace(ORIGIN, str(self.folder / "origin")).replace("8000", self.port)
                if names.endswith("background"):
                    self.servers.append(subprocess.Popen(command.split(), stderr=subprocess.DEVNULL))
                    wait = f"until (exec 3<>/dev/tcp/127.0.0.1/{self.port}) 2>/dev/null; do sleep 0.1; done"
                    subprocess.run(["bash", "-c", wait], check=True, timeout=20)
                elif command.startswith("git clone"):
                    self.run(self.folder, self.clones["ana"], command)
                    self.clones[name] = toy_clone(self.folder / name)
                    install_gift(self.clones[name])
                    self.clones[name].environment |= KEYS
                elif not command.startswith("cd "):
                    self.run(self.clones[name].folder, self.clones[name], command, name)

    def run(self, folder: Path, clone: Clone, line: str, name: str = "") -> None:
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=clone.environment, capture_output=True, text=True, timeout=300
        )
        self.said = done.stdout + done.stderr
        assert (done.returncode != 0) == ("# stops" in line), f"{line}\n{self.said[-3000:]}"
        if name and line.startswith(("dvc repro", "dvc exp run")):
            self.ran[name].append(stages_in(self.said))


@pytest.fixture(scope="module", params=["a folder", "s3"])
def team(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The page, followed from its first to its last command. A folder alone can be published by a web server."""
    folder, page = tmp_path_factory.mktemp("team"), PAGE
    if request.param == "s3":
        server, page = S3(), PAGE.partition("## Publish")[0]
        server.bucket("team")
        team = Team(folder, f"s3://team/gift ENDPOINT={server.url}")
    else:
        team = Team(folder, str(folder / "store"))
    try:
        for names, block in BLOCK.findall(page):
            team.follow(names, block)
            if "# stops at params.yaml" in block:
                assert "CONFLICT (content): Merge conflict in params.yaml" in team.said
                assert team.said.count("CONFLICT") == 1
                params = team.clones["ben"].folder / "params.yaml"
                text = re.sub(r"^(<{7}|={7}|>{7}).*\n", "", params.read_text(encoding="utf-8"), flags=re.MULTILINE)
                params.write_text(text, encoding="utf-8")
        yield team
    finally:
        for server in team.servers:
            server.terminate()
            server.wait(timeout=20)


METHODS = ("finetune", "gift", "joint")
FIRST = ["check", "ingest@birds", "start", "finetune@finetune-step0", "report"]


def test_each_run_does_what_the_page_says_and_all_clones_end_with_the_same_data(team: Team) -> None:
    added = {name: ["check", f"finetune@{name}-step0", "report"] for name in ("gift", "joint")}
    assert [sorted(ran) for ran in team.ran["ana"]] == [sorted(FIRST), added["gift"], []]
    ben = [sorted(ran) for ran in team.ran["ben"]]
    assert ben[0] == []  # after make get
    assert ben[1] == ["check", "finetune@finetune-step0", "report"]  # another value
    assert ben[2] == []  # only queued
    assert ben[3] == added["joint"]
    assert ben[4] == ["check", "report"]  # after the merge
    assert ben[5:] == [[]] * 3  # without raw data, and with the results of another machine
    assert team.ran["cem"] == [[]]
    data = {name: content(clone.folder / "data") for name, clone in team.clones.items()}
    assert {name.split("/")[1] for name in data["cem"] if name.startswith("5_models")} == {*METHODS, "pretrained"}
    if "eve" not in data:
        return
    assert team.ran["eve"] == [[]]
    assert len([name for name in data["eve"] if name.startswith("0_raw/photos/")]) == 4
    assert [name for name in data["ben"] if name.startswith("5_models/joint")]
    assert data["eve"] == {name: text for name, text in data["ana"].items() if not name.startswith("5_models/gift")}


def test_what_the_page_says_of_the_merge_is_what_make_sets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"git config merge.{name}.driver" in text for name in DRIVERS for text in (PAGE, makefile))
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert set(re.findall(r"merge=(\S+)", attributes)) == set(DRIVERS)


def test_every_block_of_the_page_is_run() -> None:
    assert len(BLOCK.findall(PAGE)) == PAGE.count("```sh\n")
    assert PAGE.count("```") == 2 * len(BLOCK.findall(PAGE))
