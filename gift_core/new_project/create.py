"""Makes a project: everything is checked first, and nothing of the user's is overwritten.

Its dvc.yaml is made from the repository's, where the code is a folder and not an installed package.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from gift_core.config.editing import without_tasks
from gift_core.config.experiment import Config
from gift_core.config.loading import parse_config
from gift_core.config.presets import complete_text, find_presets
from gift_core.doctor.storage import BRACES
from gift_core.errors import UserError, lookup
from gift_core.layout import shipped_files, shipped_root
from gift_core.provenance import version_of
from gift_core.quantities import first_names

DISTRIBUTION = "gift-pipeline"
TEMPLATE = Path(__file__).parent / "template"
# What a folder may have already. The user's file stays as it is, or gets our lines at its end.
KEPT = ("README.md", "Makefile", "requirements.txt")
EXTENDED = (".gitignore", ".gitattributes")
HEADING = b"\n# Of GIFT.\n"
DVC_IGNORED = "/config.local\n/tmp\n/cache\n"  # .dvc/.gitignore, as `dvc init` writes it
DVC_FILES = (".dvc", ".dvcignore", "dvc.lock", "presets", "data/mini")  # each makes a folder a project, too


def find_repository(folder: Path) -> Path | None:
    """Returns the root of the git repository that contains `folder`, which need not exist. None if there is none.

    UserError if git is not installed, or refuses the repository.
    """
    if shutil.which("git") is None:
        raise UserError("git: not found. A project keeps its history in git, and DVC needs it. Install git.")
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    if any(os.path.lexists(parent / ".git") for parent in (existing, *existing.parents)):
        return Path(_git(existing, "rev-parse", "--show-toplevel"))
    return None


def set_merge_drivers(repository: Path) -> None:
    """Tells git how to merge dvc.lock and reports/metrics.json (.gitattributes). Drivers that are set already stay."""
    command = Path(sys.executable).with_name("gift")
    gift = shlex.quote(str(command)) if command.is_file() else "gift"
    settings = {
        "merge.dvc-lock.name": "stages of dvc.lock",
        "merge.dvc-lock.driver": f"{gift} merge-lock %O %A %B",
        "merge.ours.driver": "true",
    }
    for name, value in settings.items():
        if name not in _git(repository, "config", "--list", "--name-only").split():
            _git(repository, "config", "--local", name, value)


def _git(folder: Path, *words: str) -> str:
    """Returns what git prints. UserError with its reason where it fails."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        raise UserError(f"git {words[0]}: {done.stderr.strip().removeprefix('fatal: ')}")
    return done.stdout.strip()


def project_pipeline(text: str) -> str:
    """Returns the text of a project's dvc.yaml from that of the repository's. Comments stay.

    The commands start with `gift`. `check` depends on params.yaml alone and runs at every `dvc repro`, so that it sees
    another version of the package. Its outputs are the same bytes as long as the code is the same.
    """
    check = "    cmd: gift check\n"
    remark = "it reads the installed package, which is no file of the project; about a second"
    text = text.replace("python -m stages ", "gift ").replace("      - gift_core\n      - stages\n", "", 1)
    return text.replace(check, f"{check}    always_changed: true   # {remark}\n", 1)


def create_project(folder: Path, preset: str, *, empty: bool) -> tuple[list[str], Config]:
    """Makes a project of `folder`, as `gift init` does. Returns the user's files that were kept, and the experiment.

    An `empty` one has no tasks and probes, and the name of the folder.

    UserError, before anything is written, for an unknown preset, a folder that is a project already or where DVC fails,
    and without git or where GIFT is not installed.
    """
    file = lookup(find_presets(shipped_root()), preset, "--preset")
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file. Name a new folder.")
    if {"{", "}"} & {*str(folder)}:
        raise UserError(f"{folder}: {BRACES}. Name another folder.")
    params = complete_text(file)
    if empty:
        params = without_tasks(params, folder.name)
    files = _files_of_project(params)
    present = [name for name in dict.fromkeys([*files, *DVC_FILES]) if os.path.lexists(folder / name)]
    taken = [name for name in present if name not in (*KEPT, *EXTENDED)]
    if taken:
        named = first_names(sorted(taken, key=lambda name: name.count("/")))
        remedy = "Nothing was changed. Name a new folder, or move them away."
        raise UserError(f"{folder}: has files of a project already: {named}. {remedy}")
    kept = [name for name in present if name in KEPT]
    config = parse_config(params, file.name)
    repository = find_repository(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if repository is None:
        _git(folder, "init", "--quiet", "--initial-branch", "main")
    for name, content in files.items():
        if name in kept:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in EXTENDED and name in present:
            content = _extended(path.read_bytes(), content)
        path.write_bytes(content)
    set_merge_drivers(repository or folder)
    return kept, config


def _files_of_project(params: str) -> dict[str, bytes]:
    """Returns the content of each file of a new project. UserError where GIFT is not installed."""
    version = version_of(DISTRIBUTION)
    if version == "not installed":  # run in a clone: python -m stages init
        problem = f"{DISTRIBUTION} is not installed in {sys.prefix}, and dvc.yaml of a project runs its command, gift"
        raise UserError(f"{problem}. Install it: pip install --editable {shlex.quote(str(shipped_root()))}")
    files = {name: (shipped_root() / name).read_bytes() for name in shipped_files()}
    paths = [path for path in TEMPLATE.rglob("*") if path.is_file()]
    files |= {path.relative_to(TEMPLATE).as_posix(): path.read_bytes() for path in paths}
    written = {
        "dvc.yaml": project_pipeline(files["dvc.yaml"].decode()),
        "params.yaml": params,
        "requirements.txt": f"{DISTRIBUTION}=={version}\n",
        ".dvc/.gitignore": DVC_IGNORED,
    }
    return files | {name: text.encode() for name, text in written.items()}


def _extended(before: bytes, lines: bytes) -> bytes:
    """Returns the content of a user's file with our lines at its end."""
    is_open = bool(before) and not before.endswith(b"\n")
    return before + (b"\n" if is_open else b"") + HEADING + lines
