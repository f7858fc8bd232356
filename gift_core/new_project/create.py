"""Makes a project: everything is checked first, nothing of the user's is overwritten, and a failure leaves no trace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gift_core.config.overlays import complete_text
from gift_core.doctor.storage import check_braces
from gift_core.errors import UserError, lookup
from gift_core.new_project.pipeline_file import project_pipeline
from gift_core.new_project.repositories import find_repository, set_merge_drivers, start_dvc, start_git
from gift_core.presets import load_preset, needs_of
from gift_core.shipped import shipped_files, shipped_root

DISTRIBUTION = "gift-pipeline"
DEFAULT = "mini_quick"
TEMPLATE = Path(__file__).parent / "template"
# What a folder may have already. The user's file stays as it is, or gets our lines at its end.
KEPT = ("README.md", "Makefile", "requirements.txt")
EXTENDED = (".gitignore", ".gitattributes")
HEADING = b"\n# Of GIFT.\n"
DVC_FILES = (".dvc", ".dvcignore", "dvc.lock", "presets", "data/mini")  # each makes a folder a project, too
SHOWN = 5


@dataclass(frozen=True)
class NewProject:
    """A project about to be made. `files`: {path relative to the folder: its bytes}, without those that are `kept`.

    `repository` is the root of the git repository that contains the folder, None if there is none yet. `needs` is what
    the preset needs in addition to this machine (gift_core.presets.needs_of).
    """

    folder: Path
    files: Mapping[str, bytes]
    kept: tuple[str, ...]
    repository: Path | None
    needs: tuple[str, ...]

    def create(self) -> None:
        """Makes the project. After an error or an interruption, what was made is removed again."""
        with ExitStack() as undo:
            _make_folder(self.folder, undo)
            if self.repository is None:
                start_git(self.folder, undo)
            start_dvc(self.folder, self.repository or self.folder, undo)
            for name, content in self.files.items():
                _write(self.folder / name, content, undo)
            set_merge_drivers(self.repository or self.folder)
            undo.pop_all()


def plan_project(folder: Path, preset: str) -> NewProject:
    """Returns the project that `gift init` makes of `folder`; nothing is written.

    UserError for an unknown preset, a folder that is a project already or where DVC does not work, and without git.
    """
    file = lookup({path.stem: path for path in (shipped_root() / "presets").glob("*.yaml")}, preset, "--preset")
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file. Name a new folder.")
    for finding in check_braces({"the project": folder}):
        raise UserError(f"{finding.found}. Name another folder.")
    files = _files(complete_text(file))
    found = [name for name in dict.fromkeys([*files, *DVC_FILES]) if os.path.lexists(folder / name)]
    taken = [name for name in found if name not in (*KEPT, *EXTENDED)]
    if taken:
        names = [name for name in taken if not any(name.startswith(f"{other}/") for other in taken)]
        names.sort(key=lambda name: (name.count("/"), name.startswith("."), name))  # dvc.yaml and params.yaml first
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        what = f"has files of a project already: {', '.join(names[:SHOWN])}{more}"
        raise UserError(f"{folder}: {what}. Nothing was changed. Name a new folder, or move them away.")
    kept = tuple(name for name in found if name in KEPT)
    new = {name: _after(folder / name) + content for name, content in files.items() if name not in kept}
    return NewProject(folder, new, kept, find_repository(folder), needs_of(load_preset(file)))


def _files(params: str) -> dict[str, bytes]:
    """Returns {path: bytes} of all files of a new project, where the folder is empty."""
    shipped = {name: (shipped_root() / name).read_bytes() for name in shipped_files()}
    pipeline = project_pipeline(shipped["dvc.yaml"].decode())
    template = {
        file.relative_to(TEMPLATE).as_posix(): file.read_bytes() for file in TEMPLATE.rglob("*") if file.is_file()
    }
    required = f"{DISTRIBUTION}=={version(DISTRIBUTION)}\n"
    made = {"dvc.yaml": pipeline, "params.yaml": params, "requirements.txt": required}
    return {**shipped, **template, **{name: text.encode() for name, text in made.items()}}


def _after(path: Path) -> bytes:
    """Returns what a file of EXTENDED has before our lines: the user's, a line break and a heading."""
    if not path.exists():
        return b""
    before = path.read_bytes()
    return before + (b"" if before.endswith(b"\n") or not before else b"\n") + HEADING


def _make_folder(folder: Path, undo: ExitStack) -> None:
    for parent in reversed((folder, *folder.parents)):
        if not parent.exists():
            parent.mkdir()
            undo.callback(_remove_if_empty, parent)


def _write(path: Path, content: bytes, undo: ExitStack) -> None:
    _make_folder(path.parent, undo)
    if path.exists():
        undo.callback(path.write_bytes, path.read_bytes())
    else:
        undo.callback(path.unlink, missing_ok=True)
    path.write_bytes(content)


def _remove_if_empty(folder: Path) -> None:
    """A folder into which somebody else wrote in the meantime stays."""
    if not any(folder.iterdir()):
        folder.rmdir()
