"""The files that come with GIFT besides its code: dvc.yaml, the presets, the miniature models, settings of git and DVC,
and the guides, which messages name.

The repository has each of them once, where a clone needs it. A wheel has them inside the package (setup.py).
"""

from __future__ import annotations

from pathlib import Path

# Files and whole folders, relative to the root of the repository.
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
IN_WHEEL = "new_project/files"  # below gift_core


def shipped_root() -> Path:
    """Returns the folder that has FILES: inside the package if it was installed from a wheel, else the repository."""
    package = Path(__file__).resolve().parent
    installed = package / IN_WHEEL
    return installed if installed.is_dir() else package.parent


def shipped_files() -> list[str]:
    """Returns the files of FILES, those of its folders one by one, relative to shipped_root() and sorted."""
    root = shipped_root()
    found = [root / name for name in FILES]
    files = [file for path in found for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sorted(file.relative_to(root).as_posix() for file in files if "__pycache__" not in file.parts)


def guides() -> dict[str, Path]:
    """Returns {name: file} of the guides, sorted: {"adding_a_method": .../docs/adding_a_method.md, ...}."""
    return {file.stem: file for file in sorted(shipped_root().glob(GUIDES))}


def pipeline_root(root: Path) -> Path:
    """Returns the folder whose dvc.yaml is read: the project in `root`, or GIFT's own where it has none."""
    return root if (root / "dvc.yaml").is_file() else shipped_root()
