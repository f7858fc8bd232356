"""Signals, a DVC that is killed, two runs at once: real processes, and no pair is lost."""

from __future__ import annotations

import copy
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from gift_core.artifacts.prompt_files import write_prompts
from tests.artifacts.damage import tree_hash
from tests.imports import ROOT
from tests.stages.toy_pipeline import wait

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs the signals of Linux and macOS")

PYTHON = sys.executable
PAINTED = f"{PYTHON} -m tests.stages.painted"
PROMPTS = 16
SOON = 10  # seconds: twice what is promised, for a busy machine
SHARDS, PROMPT_FILE, WORK = Path("data/3_shards/games"), Path("data/2_prompts/games.parquet"), Path(".gift/synthesize")


class Project:
    """A folder with the prompts of one task, and the processes that were started in it."""

    def __init__(self, folder: Path, params: dict[str, Any]) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[str]]()
        params["tasks"] = {"games": {"source": "mini", "path": "data/mini", "train_images": 4, "test_images": 4}}
        params["evaluation"]["probes"] = []
        params["sequence"] = [{"task": "games", "after": "../pretrained", "learning_rate_factor": 1.0}]
        params["generator"] |= {"pipeline": str(ROOT / "data/mini/diffusion"), "images_per_shard": 4, "batch_size": 2}
        folder.mkdir()
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        write_prompts(folder / PROMPT_FILE, prompts())

    def start(self, *command: str, environment: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Starts a process whose output goes to a file, so that whoever survives it can go on writing."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        tools = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
        base = {**inherited, "PYTHONPATH": str(ROOT), "PATH": tools, "DVC_NO_ANALYTICS": "1"}
        log = self.folder / f"log{len(self.processes)}"
        with log.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=self.folder, env={**base, **(environment or {})}, stdout=stream, stderr=stream, text=True,
                **options,
            )  # fmt: skip
        process.log = log  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    def synthesize(self) -> subprocess.Popen[str]:
        return self.start(*PAINTED.split(), "synthesize", "games")

    def finished_shards(self) -> list[Path]:
        """The last file of each finished shard. A shard without it is generated again."""
        return sorted((self.folder / WORK).glob("games/*/[0-9]*_stats.json"))

    def writers(self) -> list[psutil.Process]:
        return [
            process for process in psutil.process_iter(["cmdline", "cwd"])
            if (process.info["cmdline"] or [])[1:3] == PAINTED.split()[1:] and process.info["cwd"] == str(self.folder)
        ]  # fmt: skip

    def end(self) -> None:
        for process in (*self.processes, *self.writers()):
            process.kill()
        for process in self.processes:
            process.wait()


def prompts() -> pd.DataFrame:
    numbers = range(PROMPTS)
    names = [f"thing {number}" for number in numbers]
    return pd.DataFrame({
        "prompt_id": numbers, "source_task": "base", "class_name": names, "template": "a {}.",
        "prompt": [f"a {name}." for name in names], "seed": numbers,
    })  # fmt: skip


def said(process: subprocess.Popen[str]) -> str:
    return " ".join(process.log.read_text().split())  # type: ignore[attr-defined]


def ended(process: subprocess.Popen[str], *, code: int, seconds: float) -> str:
    assert process.wait(seconds) == code, said(process)
    assert "Traceback" not in said(process)
    return said(process)


@pytest.fixture
def project(tmp_path: Path, mini_params: dict[str, Any]) -> Iterator[Project]:
    made = Project(tmp_path / "project", mini_params)
    yield made
    made.end()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _mini_params: dict[str, Any]) -> dict[str, str]:
    made = Project(tmp_path_factory.mktemp("whole") / "project", copy.deepcopy(_mini_params))
    ended(made.synthesize(), code=0, seconds=60)
    return tree_hash(made.folder / SHARDS)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_stage_cleans_up_after_the_first_of_two_signals(project: Project, number: signal.Signals, code: int) -> None:
    process = project.start(*PAINTED.split(), "wait", "30")
    wait(lambda: "started" in said(process), seconds=30)
    process.send_signal(number)
    time.sleep(0.2)
    process.send_signal(number)  # while it cleans up
    assert re.fullmatch(
        r"started cleaned\. stopped( by SIGTERM|: .*)\. Run it again\.", ended(process, code=code, seconds=SOON)
    )


def dvc_project(project: Project, command: str) -> None:
    (project.folder / ".dvc").mkdir()
    (project.folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    block = {"cmd": command, "deps": [str(PROMPT_FILE)], "outs": [str(SHARDS)]}
    (project.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"synthesize": block}}))


@pytest.mark.parametrize(
    ("number", "shell", "command"),
    [
        (signal.SIGTERM, "/bin/bash", f"{PAINTED} synthesize games"),  # bash is replaced by Python
        (signal.SIGKILL, "/bin/sh", f"{PAINTED} synthesize games && true"),  # a shell stays between DVC and Python
    ],
)
def test_a_stage_ends_with_its_dvc_and_the_next_repro_has_all_pairs(
    project: Project, whole: dict[str, str], number: signal.Signals, shell: str, command: str
) -> None:
    dvc_project(project, command)
    first = project.start("dvc", "repro", environment={"SHELL": shell})
    wait(project.finished_shards, seconds=40)
    (stage,) = project.writers()
    assert (stage.ppid() == first.pid) == ("&&" not in command)
    first.send_signal(number)
    first.wait(SOON)
    second = project.start("dvc", "repro", environment={"SHELL": shell})  # at once
    wait(lambda: not stage.is_running(), seconds=SOON)
    assert "stopped: the `dvc repro` that started it has ended. What is finished is kept" in said(first)
    ended(second, code=0, seconds=60)
    assert tree_hash(project.folder / SHARDS) == whole
    assert project.writers() == []


def test_what_was_started_on_purpose_survives_its_parent(project: Project) -> None:
    waiting = f"{PAINTED} wait 3 & sleep 1"
    shells = [
        project.start("/bin/sh", "-c", waiting, start_new_session=True),  # as in a terminal: no stage of DVC
        project.start("/bin/sh", "-c", f"nohup {waiting}", start_new_session=True),
        project.start("/bin/sh", "-c", f"setsid {waiting}", environment={"DVC_STAGE": "a stage that starts a service"}),
    ]
    for shell in shells:
        ended(shell, code=0, seconds=10)
    wait(lambda: all("started" in said(shell) for shell in shells), seconds=20)
    survivors = project.writers()
    assert [survivor.ppid() in [shell.pid for shell in shells] for survivor in survivors] == [False] * 3
    next(survivor for survivor in survivors if os.getpgid(survivor.pid) == shells[1].pid).send_signal(signal.SIGHUP)
    wait(lambda: project.writers() == [], seconds=15)
    assert all(said(shell).endswith("started finished cleaned.") for shell in shells)
