"""Runs a small experiment with `dvc repro`, with the verified code and then with the new one, and compares the outputs.

The verified code makes everything, but its results of an earlier run come from DVC's run cache. In the same project the
new code then runs the stages in question alone. All runs on the CPU with one thread.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

ROOT = Path(__file__).resolve().parents[2]
PRESET = Path("presets", "mini.yaml")
PRINTED, SHOWN = "printed.txt", 2000  # what the last run printed, and how many characters of it are shown
SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}


@dataclass
class Use:
    """A stage of an experiment, of all steps that run the same code, and what it did with the new code.

    `names` is the pattern of its names for DVC: finetune@gift-*. `options` choose the code (gift_core.code.revisions),
    and `changes` are {part: its units and data files that changed}. `difference` says in what it differs. It is empty
    if in nothing, also where the verified code fails: nobody has results of it. It is None where it read something else
    than with the verified code. `ran` has the functions that ran: "FILE:LINE", where the function or its first
    decorator begins.
    """

    stage: str
    names: str = ""
    options: Sequence[str] = ()
    changes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    difference: str | None = ""
    ran: Collection[str] = ()


class Probe:
    """An experiment in `project`, a copy of the repository with the verified code, whose results are kept in `kept`.

    Without `kept` nothing is compared: the code of this repository runs alone.
    """

    def __init__(self, project: Path, experiment: str, kept: Path | None = None) -> None:
        self._project, self._experiment, self._compares = project, experiment, kept is not None
        config = f"[core]\n    no_scm = true\n    analytics = false\n[cache]\n    dir = {kept or 'cache'}\n"
        (project / ".dvc" / "config").write_text(config, encoding="utf-8")
        self._params = self._new_params = params_of(experiment, project / PRESET)
        try:
            settings = parse_config(self._params, "params.yaml")
        except UserError:  # the new code needs a key more
            self._new_params = params_of(experiment, ROOT / PRESET)
            settings = parse_config(self._new_params, "params.yaml")
        self.uses = list[Use]()
        for stage in STAGES:
            for owner, options in options_of(stage, settings).items():
                names = f"{stage}@{owner}{'-*' if owner in settings.methods else ''}" if owner else f"{stage}*"
                self.uses.append(Use(stage, names, options))

    def run(self, uses: Sequence[Use]) -> Iterator[Use]:
        """Yields the stages with what they did. Ends the program where one of them fails with the new code alone."""
        lock, pipeline = self._project / "dvc.lock", self._project / "dvc.yaml"
        lock.unlink(missing_ok=True)
        blocks = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"]
        for body in (block.get("do", block) for block in blocks.values()):
            body["cmd"] = f"{body['cmd']} || {body['cmd']}"  # the second one continues what was interrupted
        pipeline.write_text(yaml.safe_dump({"stages": blocks}, sort_keys=False), encoding="utf-8")
        add_data(self._project / "data" / "0_raw")
        targets, before = [use.names for use in uses], dict[str, Any]()
        if self._compares:
            before = self._repro(self._params, *targets)
            if "check" not in before:
                self._stop("the verified code refuses params.yaml (add what is new to it after `make revisions`)")
            again = {name for target in targets for name in fnmatch.filter(before, target)}
            others = {"schema": "2.0", "stages": {name: row for name, row in before.items() if name not in again}}
            lock.write_text(yaml.safe_dump(others, sort_keys=False), encoding="utf-8")
        self._install()
        notes = self._project / tracing.NOTES
        notes.mkdir()
        after = self._repro(self._new_params, "--no-run-cache", "--no-commit", *targets)  # nothing is kept
        for use in uses:
            names, known = (fnmatch.filter(stages, use.names) for stages in (after, before))
            if not names or not {*known} <= {*names}:
                self._stop(f"{use.names} failed")
            found = [_difference(name, after[name], before[name]) for name in known]
            use.difference = next((each for each in found if each), None if None in found else "")
            use.ran = {line for name in names for line in (notes / name).read_text(encoding="utf-8").splitlines()}
            yield use

    def _repro(self, params: str, *arguments: str) -> Any:
        """Runs stages with the code that is in the project, and returns the stages in dvc.lock."""
        (self._project / "params.yaml").write_text(params, encoding="utf-8")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": ""}
        command = [sys.executable, "-m", "stages.dvc.fork_server", "dvc", "repro", "--glob", "--keep-going", *arguments]
        with (self._project / PRINTED).open("w", encoding="utf-8") as printed:
            subprocess.run(command, cwd=self._project, env=environment, stdout=printed, stderr=printed)
        lock = self._project / "dvc.lock"
        return yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.is_file() else {}

    def _install(self) -> None:
        """Puts the code of this repository into the project, traced, and as if it were the verified one."""
        for each in (".gift", *PACKAGES):  # .gift has what a stage keeps for later ones
            shutil.rmtree(self._project / each, ignore_errors=True)
        for each in PACKAGES:
            shutil.copytree(ROOT / each, self._project / each, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(tracing.__file__, self._project / "gift_core" / "__init__.py")
        (self._project / VERIFIED).write_text(json.dumps(Code(self._project).record()), encoding="utf-8")

    def _stop(self, why: str) -> NoReturn:
        printed = (self._project / PRINTED).read_text(encoding="utf-8")[-SHOWN:]
        sys.exit(f"error: {why} in the experiment {self._experiment}:\n{printed}")


def _difference(name: str, new: Mapping[str, Any], old: Mapping[str, Any]) -> str | None:
    """Returns which output differs between two entries of dvc.lock, None if the inputs do."""
    for kind in ("deps", "outs"):
        one, other = ({each["path"]: each["md5"] for each in entry.get(kind, ())} for entry in (new, old))
        if changed := [path for path in one if not path.startswith(CODE) and one[path] != other.get(path)]:
            return None if kind == "deps" else f"{name}: bytes of {changed[0]} differ"
    return ""
