"""Runs `dvc repro` in a copy of the project and measures every stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from benchmarks.experiment import Experiment
from benchmarks.smoke.measure import Measured, read_notes, write_shim
from gift_core.errors import UserError
from gift_core.layout import Layout

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("dvc.yaml", ".dvcignore", "stages", "gift_core", "data/mini", "data/6_probes/README.md")
NOTES = "measured.jsonl"


class Pipeline:
    """A copy of the project in `folder`. An existing folder is replaced."""

    def __init__(
        self, folder: Path, experiment: Experiment, *, threads: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.layout = folder, Layout(folder)
        self.experiment, self._threads, self._added = experiment, threads, environment or {}

    def prepare(self, models: Mapping[str, Path], make_data: Callable[[Path], None]) -> None:
        """Copies the code, links the models, makes the raw data, writes params.yaml, and initializes DVC.

        `models`: where a model is to be in the copy, and its folder.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in (*COPIED, *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("data/0_raw/*/README.md")))):
            _copy(ROOT / name, self.folder / name)
        for name, model in models.items():
            _link(model, self.folder / name)
        make_data(self.folder)
        text = yaml.safe_dump(self.experiment, sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")
        write_shim(self.folder / "bin", self.folder / NOTES)
        self._run("-m", "dvc", "init", "--no-scm", "--quiet")

    def repro(self) -> list[Measured]:
        """Runs `dvc repro` with its output shown, and returns what each stage took. UserError if it fails."""
        before = len(self.measured())
        self._run("-m", "dvc", "repro")
        return self.measured()[before:]

    def rehearse(self) -> None:
        """Runs `gift rehearse`, and then all stages as `make repro` does. UserError if one of them fails."""
        self._run("-m", "stages", "rehearse")
        self._run("-m", "stages.dvc.fork_server", "dvc", "repro")

    def measured(self) -> list[Measured]:
        """Returns what each stage that ran in the folder took."""
        return read_notes(self.folder / NOTES)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([sys.executable, *arguments], cwd=self.folder, env=self._environment())
        if done.returncode:
            raise UserError(f"python {' '.join(arguments)} in {self.folder} failed. See its message above.")

    def _environment(self) -> dict[str, str]:
        shim = (self.folder / "bin").resolve()
        path = f"{shim}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        fixed = {"PATH": path, "PYTHONPATH": "", "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1"}
        return os.environ | threads | fixed | self._added


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    """Hard-links the files of `source`, which are gigabytes, instead of copying them."""
    shutil.copytree(source, target, copy_function=_hard_link)


def _hard_link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copy2(source, target)
