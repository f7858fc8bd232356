"""Where files are: the artifacts of a project, and what comes with GIFT besides its code.

What comes with GIFT is once in the repository, where a clone needs it. A wheel has it inside the package (setup.py).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

RELEASED = "6_released"  # below data/
CODE = "data/code/"  # what `check` writes of the code that each stage uses, below the project's root
# Folders with files that settings name. `check` depends on all of them, and each stage on the files that it names.
WATCHED = (
    "data/0_raw/generators",
    "data/0_raw/models",
    "data/0_raw/prompts",
    "data/0_raw/reference",
    "data/mini",
)
# What comes with GIFT besides its code: files and whole folders, relative to the root of the repository.
FILES = (
    "dvc.yaml",
    "presets",
    "data/mini",
    "data/0_raw/README.md",
    "data/0_raw/models/README.md",
    "data/0_raw/generators/README.md",
    "data/0_raw/prompts/README.md",
    "data/0_raw/reference/README.md",
    "data/6_probes/README.md",
    ".gitignore",
    ".gitattributes",
    ".dvcignore",
    ".dvc/config",
    ".dvc/plots",
)
GUIDES = "docs/*.md"  # no part of a new project: `gift docs` shows them
EXAMPLES = "examples/*.py"  # the scripts of docs/library.md
IN_WHEEL = "new_project/files"  # below gift_core


@dataclass(frozen=True)
class Layout:
    """Paths below the project's root. Nothing is created or read."""

    root: Path

    def raw(self, name: str) -> Path:
        """The raw data set that the user put there. It is never changed."""
        return self.root / "data" / "0_raw" / name

    def task(self, task: str) -> Path:
        """The ingested task: tars and task.json."""
        return self.root / "data" / "1_tasks" / task

    def prompts(self, task: str) -> Path:
        """The prompts whose images are replayed while this task is learned."""
        return self.root / "data" / "2_prompts" / f"{task}.parquet"

    def vocabulary(self, task: str) -> Path:
        """The class names that can become prompts after this task ("../pretrained": before any task)."""
        return _without_dots(self.root / "data" / "2_prompts" / "vocabularies" / f"{task}.json")

    def base_vocabulary(self) -> Path:
        """The base vocabulary. It is next to the folder of the others, like the pre-trained model."""
        return self.root / "data" / "2_prompts" / "pretrained.json"

    def shards(self, task: str) -> Path:
        """The synthetic image-text pairs that are replayed while this task is learned."""
        return self.root / "data" / "3_shards" / task

    def teacher(self, method: str, task: str) -> Path:
        """What the stage teach wrote for this task ("../pretrained": the empty start of the chain)."""
        return _without_dots(self.root / "data" / "4_teachers" / method / task)

    def first_teacher(self) -> Path:
        """The start of every method's chain of teachers, with nothing in it."""
        return self.root / "data" / "4_teachers" / "pretrained"

    def pretrained(self) -> Path:
        """The pre-trained model."""
        return self.root / "data" / "5_models" / "pretrained"

    def model(self, method: str, task: str) -> Path:
        """The method's model after this task ("../pretrained": before any task)."""
        return _without_dots(self.root / "data" / "5_models" / method / task)

    def accuracy(self, method: str, task: str) -> Path:
        """The accuracies that this step adds ("../pretrained": the empty start of the chain)."""
        return _without_dots(self.root / "data" / "6_accuracy" / method / f"{task}.parquet")

    def pretrained_accuracy(self) -> Path:
        """The start of every method's chain of accuracy files: no rows, the hash of the pre-trained model."""
        return self.root / "data" / "6_accuracy" / "pretrained.parquet"

    def probe(self, task: str) -> Path:
        """The accuracy of the pre-trained model on a task that no step learns (evaluation.probes)."""
        return self.root / "data" / "6_probes" / f"{task}.parquet"

    def released(self, method: str, task: str) -> Path:
        """The method's model after this task as it is tested and handed out: see the slot `release` of a method."""
        return self.root / "data" / RELEASED / method / task

    def predictions(self, method: str, task: str) -> Path:
        """The class that each model of this step's tests gave to each test image."""
        return self.root / "data" / "6_predictions" / method / f"{task}.parquet"

    def reports(self) -> Path:
        """metrics.json, plots and index.html."""
        return self.root / "reports"

    def work(self, stage: str, key: str) -> Path:
        """The partial work of an interrupted stage. It is not an artifact."""
        return self.root / ".gift" / stage / key

    def alpha_curve(self, method: str) -> Path:
        """The tests of the method's last model at several alphas, for a comparison. It is not an artifact."""
        return self.root / ".gift" / "alphas" / f"{method}.json"

    def retired(self, method: str, name: str) -> Path:
        """Accuracies or predictions of a method, task or probe that is no part of the experiment any more."""
        return self.root / ".gift" / "retired" / method / f"{name}.parquet"

    def timings(self) -> Path:
        """The run times of the stages on this machine. They are not artifacts."""
        return self.root / ".gift" / "timings"

    def timing(self, stage: str, *names: str) -> Path:
        """What a stage measured of its last run for a method and a task. Either may be empty or left out."""
        return self.timings() / stage / f"{'-'.join(filter(None, names)) or stage}.json"

    def rehearsal(self) -> Path:
        """The project in which `gift rehearse` runs. It is removed when that ends."""
        return self.root / ".gift" / "rehearsal"

    def measured(self) -> Path:
        """What the last rehearsal measured."""
        return self.root / ".gift" / "rehearsal.json"

    def noted_hashes(self) -> Path:
        """The hashes of files that settings name, with the sizes and times of change for which they hold."""
        return self.root / ".gift" / "hashes.json"


def _without_dots(path: Path) -> Path:
    """Resolves "../" in the text of a path, as DVC does: the folder before it need not exist."""
    return Path(os.path.normpath(path))


def watched_path(name: str, root: Path) -> str:
    """Returns the path below `root` of a file or folder in WATCHED that a setting names; empty for another name."""
    location = name.removeprefix("local-dir:").removeprefix("local-file:")
    path = os.path.relpath(root / location, root)
    return path if any(Path(path).is_relative_to(folder) for folder in WATCHED) else ""


def shipped_root() -> Path:
    """Returns the folder that has FILES: inside the package if it was installed from a wheel, else the repository."""
    package = Path(__file__).resolve().parent
    installed = package / IN_WHEEL
    return installed if installed.is_dir() else package.parent


def shipped_files() -> list[str]:
    """Returns the files of FILES, those of its folders one by one, relative to shipped_root() and sorted."""
    root = shipped_root()
    files = list[Path]()
    for name in FILES:
        path = root / name
        files += [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())
    return sorted(file.relative_to(root).as_posix() for file in files if "__pycache__" not in file.parts)


def guides() -> dict[str, Path]:
    """Returns {name: file} of the guides, sorted: {"adding_a_method": .../docs/adding_a_method.md, ...}."""
    return {file.stem: file for file in sorted(shipped_root().glob(GUIDES))}


def pipeline_root(root: Path) -> Path:
    """Returns the folder whose dvc.yaml is read: the project in `root`, or GIFT's own where it has none."""
    return root if (root / "dvc.yaml").is_file() else shipped_root()
