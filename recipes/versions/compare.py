"""Finds the stages that write something else than before at the same version, which somebody forgot to raise.

Small experiments run with the code of the commit that last changed the table of versions. Then each stage whose code is
not the same runs with the present code, on what the former code wrote. All run on the CPU with one thread, so only an
edit can change a byte.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from gift_core.code.versions import TABLE, Code, digest_of
from recipes.versions.experiments import Experiment, add_data, params_of
from recipes.versions.record import record

FOLDERS = ("gift_core", "stages", "presets")  # the present ones replace the former ones, and so does dvc.yaml
SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
SHOWN = 2000  # characters of what a failed run printed


def forgotten(root: Path, experiments: Mapping[str, Experiment]) -> list[str]:
    """Returns a sentence for each output that differs at the same version. `root` is a clone of the repository.

    What the former code wrote stays in .gift/versions until the table changes again.
    """
    log = ["git", "log", "-1", "--format=%H", "--", TABLE]
    commit = subprocess.run(log, cwd=root, check=True, capture_output=True, text=True).stdout.strip()
    libraries = sorted((each.name, each.version) for each in distributions())
    key = digest_of(repr((commit, experiments, platform.uname(), libraries)).encode())
    kept = root / ".gift" / "versions" / key
    for other in {*kept.parent.glob("*")} - {kept}:
        shutil.rmtree(other)
    kept.mkdir(parents=True, exist_ok=True)

    def compared(name: str) -> list[str]:
        project = kept / name
        if not project.is_dir():
            run_former(root, commit, project, experiments[name])
        return list(differences(root, project, experiments[name]))

    with ThreadPoolExecutor(2) as threads:
        return [sentence for found in threads.map(compared, experiments) for sentence in found]


def run_former(root: Path, commit: str, project: Path, experiment: Experiment) -> None:
    """Runs an experiment in the new folder `project` with the code of a commit."""
    with tempfile.TemporaryDirectory(dir=project.parent, prefix=".") as name:
        folder, archive = Path(name, "project"), Path(name, "code.tar")
        subprocess.run(["git", "archive", "--output", archive, commit], cwd=root, check=True)
        shutil.unpack_archive(archive, folder)
        add_data(folder / "data" / "0_raw")
        record(folder)  # a result names files that are edited
        done = _repro(folder, experiment)
        if done.returncode:
            sys.exit(f"error: the experiment {project.name} fails with the code of {commit}:\n{done.stdout[-SHOWN:]}")
        folder.rename(project)


def differences(root: Path, former: Path, experiment: Experiment) -> Iterator[str]:
    """Yields a sentence for each output that the code below `root` writes differently than that in `former` did."""
    before, stages = _locked(former), stages_to_compare(Code(former), Code(root))
    names = [name for name in before if name.partition("@")[0] in stages]
    if not names:
        return
    with tempfile.TemporaryDirectory(prefix="gift-versions-") as temporary:
        project = Path(shutil.copytree(former, Path(temporary, "project"), symlinks=True))
        shutil.rmtree(project / ".gift", ignore_errors=True)  # what a stage keeps for later ones
        for each in FOLDERS:
            shutil.rmtree(project / each)
            shutil.copytree(root / each, project / each, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "dvc.yaml", project)
        record(project)
        lock = {"schema": "2.0", "stages": {name: row for name, row in before.items() if name not in names}}
        (project / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
        # The last one first, so that each reads what the former code wrote.
        backwards = ["--single-item", "--force", "--no-commit", "--keep-going", "check", *reversed(names)]
        printed, after = _repro(project, experiment, *backwards).stdout, _locked(project)
    for name in names:
        if name not in after:
            yield f"{name} fails on what the former code wrote: raise its version in {TABLE}.\n{printed[-SHOWN:]}"
            continue
        written, now = ({each["path"]: each["md5"] for each in row[name]["outs"]} for row in (before, after))
        for path in sorted(dict(written.items() ^ now.items())):
            stage = name.partition("@")[0]
            yield f"{path}: {stage} writes other bytes at the same version: raise its version in {TABLE}."


def stages_to_compare(former: Code, present: Code) -> set[str]:
    """Returns the stages whose code is not the same, although their version is."""

    def hashes(code: Code, stage: str) -> dict[str, str]:
        return {file: code.hash_of(file) for file in code.reached(stage)}

    same = [
        stage
        for stage in former.versions.keys() & present.versions
        if max(former.versions[stage]) == max(present.versions[stage])
    ]
    return {stage for stage in same if hashes(former, stage) != hashes(present, stage)}


def _repro(project: Path, experiment: Experiment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `dvc repro` with the code in the project."""
    (project / "params.yaml").write_text(params_of(experiment, project / "presets" / "mini.yaml"), encoding="utf-8")
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": ""}
    command = [sys.executable, "-m", "stages.dvc.fork_server", "dvc", "repro", *arguments]
    return subprocess.run(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _locked(project: Path) -> dict[str, Any]:
    """The stages in dvc.lock, in the order in which they ran."""
    text = (project / "dvc.lock").read_text(encoding="utf-8")
    return yaml.safe_load(text)["stages"]  # type: ignore[no-any-return]
