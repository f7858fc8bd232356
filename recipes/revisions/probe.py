"""Runs small experiments with `dvc repro`, with the verified code and with the new one, and compares the outputs.

A stage is compared where dvc.lock has the same inputs of it in both runs. All runs on the CPU with one thread.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gift_core.code.fingerprint import PACKAGES, VERIFIED, Code
from gift_core.code.revisions import STAGES, options_of
from gift_core.config.loading import parse_config
from gift_core.errors import UserError
from gift_core.layout import CODE
from recipes.revisions import tracing
from recipes.revisions.experiments import add_data, params_of

PRESET = Path("presets", "mini.yaml")
SHOWN = 2000  # characters of what a failed run printed
OF_METHODS = ("teach", "finetune", "evaluate")
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "DVC_NO_ANALYTICS": "1",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True)
class Use:
    """A stage of an experiment, of all steps: `owner` is the task or method whose code it runs, "" if all run the same.

    `options` choose the code (gift_core.code.revisions).
    """

    experiment: str
    stage: str
    owner: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.stage} {self.owner}".rstrip()

    def is_one(self, name: str) -> bool:
        """Returns whether a name in dvc.lock is one of its stages."""
        return bool(re.fullmatch(rf"{self.stage}(@{self.owner or '.*'}(-step\d+)?)?", name))


@dataclass(frozen=True)
class Outcome:
    """What a stage did with the new code: in what it differs (empty if in nothing), and the functions that ran.

    It differs in nothing where the verified code refuses it: nobody has results of it.

    A function is (file, the line where it or its first decorator begins). `difference` is None where no run of the
    verified code had the same inputs.
    """

    use: Use
    difference: str | None
    ran: frozenset[tuple[str, int]]


class Probe:
    """An experiment in `folder`/new, and in `folder`/verified with the verified code, where `old` has that."""

    def __init__(self, folder: Path, experiment: str, new: Path, old: Path | None = None) -> None:
        self._folder, self._versions = folder, {"new": new, **({"verified": old} if old else {})}
        text = params_of(experiment, (old or new) / PRESET)
        self._params = dict.fromkeys(self._versions, text)
        try:
            config = parse_config(text, "params.yaml")
        except UserError:  # the new code needs a key more
            self._params["new"] = params_of(experiment, new / PRESET)
            config = parse_config(self._params["new"], "params.yaml")
        self._steps = range(len(config.sequence))
        self.uses = [
            Use(experiment, stage, owner, tuple(options))
            for stage in STAGES
            for owner, options in options_of(stage, config).items()
            if stage != "probe" or config.evaluation.probes
        ]

    def run(self, uses: Collection[Use]) -> Iterator[Outcome]:
        """Yields the outcomes of the stages, and runs those that make their inputs."""
        targets = list[str]()
        for use in uses:
            name = f"{use.stage}@{use.owner}" if use.owner else use.stage
            targets += [f"{name}-step{step}" for step in self._steps] if use.stage in OF_METHODS else [name]
        if not targets:
            return
        with ThreadPoolExecutor() as threads:
            repro = threads.map(lambda name: self._repro(name, targets), self._versions)
            locks = dict(zip(self._versions, repro, strict=True))
        old: Mapping[str, Any] = locks.get("verified", {})
        for use in uses:
            names = [name for name in locks["new"] if use.is_one(name)]
            if not names or any(use.is_one(name) for name in old.keys() - {*names}):
                printed = (self._folder / "new.txt").read_text(encoding="utf-8")
                sys.exit(f"error: {use} failed in the experiment {use.experiment}:\n{printed[-SHOWN:]}")
            found = [_difference(name, locks["new"][name], old[name]) for name in names if name in old]
            lines = {
                line
                for name in names
                for line in (self._folder / "notes" / name).read_text(encoding="utf-8").splitlines()
            }
            ran = frozenset((file, int(number)) for number, _, file in (line.partition(" ") for line in lines))
            yield Outcome(use, next((each for each in found if each), None if None in found else ""), ran)

    def _repro(self, name: str, targets: Collection[str]) -> Mapping[str, Any]:
        """Makes a project, runs the stages in it, again where they were interrupted, and returns its dvc.lock."""
        project, notes = self._folder / name, self._folder / "notes"
        data = self._versions.get("verified", self._versions["new"])
        for each in PACKAGES:
            shutil.copytree(self._versions[name] / each, project / each, ignore=shutil.ignore_patterns("__pycache__"))
        for each in ("data/mini", "data/6_probes", "data/0_raw/models", "data/0_raw/generators"):
            shutil.copytree(data / each, project / each)
        for each in ("dvc.yaml", ".dvcignore"):
            shutil.copy(data / each, project)
        add_data(project / "data" / "0_raw")
        (project / "params.yaml").write_text(self._params[name], encoding="utf-8")
        (project / ".dvc").mkdir()
        (project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment, repro = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": ""}, 'dvc repro --keep-going "$@"'
        if name == "new":
            (project / VERIFIED).write_text(json.dumps(Code(project).record()), encoding="utf-8")
            notes.mkdir()
            shutil.copy(tracing.__file__, notes / "sitecustomize.py")  # every process of the run imports it
            environment |= {"PYTHONPATH": str(notes), tracing.NOTES: str(notes)}
            repro = " || ".join([repro] * (1 + len(tracing.INTERRUPTED_AT)))
        command = [sys.executable, "-m", "stages.dvc.fork_server", "sh", "-c", repro, "sh", *targets]
        with (self._folder / f"{name}.txt").open("w", encoding="utf-8") as printed:
            subprocess.run(command, cwd=project, env=environment, stdout=printed, stderr=printed)
        lock = project / "dvc.lock"
        return yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.is_file() else {}


def _difference(name: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> str | None:
    """Returns which output differs between two entries of dvc.lock, None if the inputs do."""
    for kind in ("deps", "outs"):
        one, other = ({each["path"]: each["md5"] for each in entry.get(kind, ())} for entry in (old, new))
        changed = [path for path in one if not path.startswith(CODE) and one[path] != other.get(path)]
        if changed:
            return None if kind == "deps" else f"{name}: bytes of {changed[0]} differ"
    return ""
