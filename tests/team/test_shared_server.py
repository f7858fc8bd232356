"""Permissions on a server with real DVC: the commands of docs/team.md for a group."""

from __future__ import annotations

import grp
import json
import os
import re
import shlex
import sys
from pathlib import Path

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
CONFIG = "[core]\n    no_scm = true\n"
FILES = {"dvc.yaml": PIPELINE, "stage.py": STAGE, ".dvc/config": CONFIG, ".dvc/.gitignore": "/tmp\n"}


def modes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o7777 for path in folder.rglob("*")}


# Runs several commands of DVC in one process: each alone starts for seconds.
DVC = """
import json, os, sys
from dvc.cli import main
os.umask(0o002)
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


def test_the_commands_of_the_page_let_a_group_share_cache_and_remote(tmp_path: Path) -> None:
    clone, store = toy_clone(tmp_path / "clone"), f"{tmp_path}/gift/store"
    (clone.folder / ".dvc").mkdir(parents=True)
    for name, text in FILES.items():
        (clone.folder / name).write_text(text, encoding="utf-8")
    group = grp.getgrgid(os.getgid()).gr_name
    lines = [line.replace("/srv", str(tmp_path)).replace("chgrp team", f"chgrp {group}") for line in COMMANDS]
    assert lines[0] == "umask 002" and lines[4] == f"make remote URL={store}" and len(lines) == 8
    clone.run("bash", "-ec", "\n".join(lines[:4]))
    settings = [line.removeprefix("dvc ") for line in lines[5:]]
    commands = [f"remote add --default store {store}", *settings, "repro --quiet", "push --quiet"]
    clone.run(sys.executable, "-c", DVC, json.dumps([shlex.split(command) for command in commands]))
    for folder in ("cache", "store"):
        found = modes(tmp_path / "gift" / folder / "files")
        assert len(found) == 7
        for name, mode in found.items():
            assert mode == (0o444 if name.count("/") == 2 else 0o2775), f"{folder}/{name}"
    files = modes(clone.folder / "data")
    assert (files["model"], files["model/model.safetensors"], files["rows.json"]) == (0o775, 0o664, 0o664)
    assert (clone.folder / "dvc.lock").stat().st_mode & 0o777 == 0o664
