"""Runs a small experiment with `dvc repro`, with the verified code and then with the new one, and compares the outputs.

The verified code makes everything, but its results of an earlier run come from DVC's run cache. In the same project the
new code then runs the stages in question alone. All runs on the CPU with one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from gift_core.code.fingerprint import PACKAGES, VERIFIED, Code
from gift_core.code.revisions import STAGES, options_of
from gift_core.config.loading import parse_config
from gift_core.errors import UserError
from gift_core.layout import CODE
from recipes.revisions import tracing
from recipes.revisions.experiments import add_data, params_of

PRESET = Path("presets", "mini.yaml")
OF_METHODS = ("teach", "finetune", "evaluate")
REPRO = 'dvc repro --keep-going "$@"'
PRINTED, SHOWN = "printed.txt", 2000  # what the last run printed, and how many characters of it are shown
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

    `options` choose the code (gift_core.code.revisions), `targets` are its names for DVC.
    """

    stage: str
    owner: str
    options: tuple[str, ...]
    targets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.stage} {self.owner}".rstrip()

    def among(self, names: Collection[str]) -> list[str]:
        """Returns which names in dvc.lock are its own."""
        return [name for name in names if not {name, name.partition("@")[0]}.isdisjoint(self.targets)]


@dataclass(frozen=True)
class Outcome:
    """What a stage did with the new code: in what it differs (empty if in nothing), and the functions that ran.

    It differs in nothing where the verified code fails in it: nobody has results of it. `difference` is None where it
    read something else than with the verified code. A function is "FILE:LINE", where it or its first decorator
    begins.
    """

    use: Use
    difference: str | None
    ran: frozenset[str]


class Probe:
    """An experiment in `project`, a copy of the repository with the verified code. Its results are kept in `kept`.

    `new` has the code to compare with it. Without it the one in `project` runs alone.
    """

    def __init__(self, project: Path, experiment: str, new: Path | None = None, kept: Path | None = None) -> None:
        self._project, self._experiment, self._new = project, experiment, new
        self._own_cache = project / ".dvc" / "cache"
        self._kept = kept or self._own_cache
        self._params = params_of(experiment, project / PRESET)
        self._new_params = self._params
        try:
            config = parse_config(self._params, "params.yaml")
        except UserError:  # the new code needs a key more
            self._new_params = params_of(experiment, (new or project) / PRESET)
            config = parse_config(self._new_params, "params.yaml")
        self.uses = list[Use]()
        for stage in STAGES if config.evaluation.probes else (each for each in STAGES if each != "probe"):
            for owner, options in options_of(stage, config).items():
                name = f"{stage}@{owner}" if owner else stage
                steps = [f"-step{step}" for step in range(len(config.sequence))] if stage in OF_METHODS else [""]
                self.uses.append(Use(stage, owner, tuple(options), tuple(f"{name}{step}" for step in steps)))

    def run(self, uses: Collection[Use]) -> Iterator[Outcome]:
        """Yields the outcomes of the stages. Ends the program where one of them fails with the new code alone."""
        if not uses:
            return
        (self._project / "dvc.lock").unlink(missing_ok=True)
        add_data(self._project / "data" / "0_raw")
        targets, before = [target for use in uses for target in use.targets], dict[str, Any]()
        if self._new:
            before = self._repro(targets, self._params, self._kept, REPRO)
            if "check" not in before:
                self._stop("the verified code refuses params.yaml (add what is new to it after `make revisions`)")
            self._install(self._new, before, [name for use in uses for name in use.among(before)])
        notes = self._project / "notes"
        notes.mkdir()
        shutil.copy(tracing.__file__, notes / "sitecustomize.py")  # every process of this run imports it
        repeated = " || ".join([f"{REPRO} --no-run-cache"] * (1 + len(tracing.INTERRUPTED_AT)))
        traced = {"PYTHONPATH": str(notes), tracing.NOTES: str(notes)}
        after = self._repro(targets, self._new_params, self._own_cache, repeated, **traced)
        for use in uses:
            names = use.among(after)
            if not names or not {*use.among(before)} <= {*names}:
                self._stop(f"{use} failed")
            found = [_difference(name, after[name], before[name]) for name in names if name in before]
            ran = {line for name in names for line in (notes / name).read_text(encoding="utf-8").splitlines()}
            yield Outcome(use, next((each for each in found if each), None if None in found else ""), frozenset(ran))

    def _repro(self, targets: Collection[str], params: str, cache: Path, command: str, **variables: str) -> Any:
        """Runs stages with the code that is in the project, and returns the stages in dvc.lock."""
        (self._project / "params.yaml").write_text(params, encoding="utf-8")
        config = f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n"
        (self._project / ".dvc" / "config").write_text(config, encoding="utf-8")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": "", **variables}
        server = [sys.executable, "-m", "stages.dvc.fork_server", "sh", "-c", command, "sh", *targets]
        with (self._project / PRINTED).open("w", encoding="utf-8") as printed:
            subprocess.run(server, cwd=self._project, env=environment, stdout=printed, stderr=printed)
        lock = self._project / "dvc.lock"
        return yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.is_file() else {}

    def _install(self, code: Path, before: Mapping[str, Any], again: Collection[str]) -> None:
        """Puts the new code into the project, where the stages `again` have not run. No result of it is kept."""
        for out in [out for name in again for out in before[name]["outs"]]:
            path = self._project / out["path"]
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        lock = {"schema": "2.0", "stages": {name: row for name, row in before.items() if name not in again}}
        (self._project / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")
        shutil.copytree(self._kept, self._own_cache)
        for each in (".gift", *PACKAGES):  # .gift has what a stage keeps for later ones
            shutil.rmtree(self._project / each)
        for each in PACKAGES:
            shutil.copytree(code / each, self._project / each, ignore=shutil.ignore_patterns("__pycache__"))
        (self._project / VERIFIED).write_text(json.dumps(Code(self._project).record()), encoding="utf-8")

    def _stop(self, why: str) -> NoReturn:
        printed = (self._project / PRINTED).read_text(encoding="utf-8")[-SHOWN:]
        sys.exit(f"error: {why} in the experiment {self._experiment}:\n{printed}")


def _difference(name: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> str | None:
    """Returns which output differs between two entries of dvc.lock, None if the inputs do."""
    for kind in ("deps", "outs"):
        one, other = ({each["path"]: each["md5"] for each in entry.get(kind, ())} for entry in (new, old))
        changed = [path for path in one if not path.startswith(CODE) and one[path] != other.get(path)]
        if changed:
            return None if kind == "deps" else f"{name}: bytes of {changed[0]} differ"
    return ""
