"""Permissions on a server with real DVC: what docs/team.md says of the umask, and its commands for a group."""

from __future__ import annotations

import grp
import json
import os
import re
import shlex
import sys
from pathlib import Path

from tests.clone import Clone
from tests.imports import ROOT
from tests.team.toy import toy_clone

PAGE = (ROOT / "docs" / "team.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## On one server")[2].partition("\n## ")[0]
COMMANDS = [line.split(" #")[0].strip() for line in re.findall(r"^    (.*)$", SECTION, re.MULTILINE)]
PIPELINE = """\
stages:
  finetune:
    cmd: python stage.py
    outs: [data/model, data/rows.json]
    metrics: [metrics.json: {cache: false}]
"""
STAGE = """\
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from gift_core.artifacts.contract import write_json
from gift_core.work.publishing import build_folder
with build_folder(Path("data/model")) as folder:
    save_file({"weight": np.zeros(2)}, folder / "model.safetensors")
write_json(Path("data/rows.json"), [1])
write_json(Path("metrics.json"), {"last": 1.0})
"""


def modes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o7777 for path in folder.rglob("*")}


def new_clone(folder: Path) -> Clone:
    files = {"dvc.yaml": PIPELINE, "stage.py": STAGE, ".dvc/config": "[core]\n    no_scm = true\n",
             ".dvc/.gitignore": "/tmp\n"}  # fmt: skip
    (folder / ".dvc").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return toy_clone(folder)


# Runs several commands of DVC in one process: each alone starts for seconds.
DVC = """
import json, os, sys
from dvc.cli import main
os.umask(int(sys.argv[1], 8))
for words in json.loads(sys.argv[2]):
    assert main(words) == 0, words
"""


def run_dvc(clone: Clone, umask: int, *commands: str) -> None:
    words = json.dumps([shlex.split(command) for command in commands])
    clone.run(sys.executable, "-c", DVC, f"{umask:o}", words)


def test_results_have_the_modes_of_the_umask_and_objects_cannot_be_changed(tmp_path: Path) -> None:
    umask = 0o027
    clone = new_clone(tmp_path / "clone")
    run_dvc(clone, umask, "repro --quiet")
    found = modes(clone.folder / "data") | modes(clone.folder / ".dvc" / "cache")
    assert {"model/model.safetensors", "rows.json", "files/md5"} <= set(found)
    for name, mode in found.items():
        is_object = name.startswith("files/md5/") and name.count("/") == 3
        is_folder = name == "model" or (name.startswith("files") and not is_object)
        assert mode == (0o444 if is_object else (0o777 if is_folder else 0o666) & ~umask), name


def test_the_commands_of_the_page_let_a_group_share_cache_and_remote(tmp_path: Path) -> None:
    clone = new_clone(tmp_path / "clone")
    group = grp.getgrgid(os.getgid()).gr_name
    lines = [line.replace("/srv", str(tmp_path)).replace("chgrp team", f"chgrp {group}") for line in COMMANDS]
    assert lines[0] == "umask 002" and lines[4] == f"make remote URL={tmp_path}/gift/store"
    clone.run("bash", "-ec", "\n".join(lines[:4]))
    settings = [line.removeprefix("dvc ") for line in lines[5:]]
    assert len(settings) == 3
    run_dvc(
        clone, 0o002, f"remote add --default store {tmp_path}/gift/store", *settings, "repro --quiet", "push --quiet"
    )
    for folder in ("cache", "store"):
        found = modes(tmp_path / "gift" / folder / "files")
        assert len(found) == 7
        for name, mode in found.items():
            assert mode == (0o444 if name.count("/") == 2 else 0o2775), f"{folder}/{name}"
    assert modes(clone.folder / "data")["model/model.safetensors"] == 0o664
    assert (clone.folder / "dvc.lock").stat().st_mode & 0o777 == 0o664
