"""A data set of a user's own becomes the next task: what would change in params.yaml, and then the change."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.artifacts.atomic import build_folder, require_free_bytes, write_atomically
from gift_core.config.editing import append_task
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.tasks import MiniTaskConfig
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.tasks.listing import Listing
from gift_core.tasks.opening import open_listing


@dataclass(frozen=True)
class Addition:
    """A task about to be added. `place` brings the images to `target`, where they do not lie there already."""

    params: Path
    before: str
    after: str
    config: Config
    listing: Listing
    images: Path
    target: Path
    place: Callable[[Path, Path], None] | None

    def difference(self) -> list[str]:
        """Returns the lines of a unified diff of params.yaml, with three lines of context."""
        name = self.params.name
        return list(difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), name, name, lineterm=""))

    def carry_out(self) -> None:
        """Brings the images into place, then replaces params.yaml in one move; an error leaves all as it was."""
        if self.place is not None:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self.place(self.images, self.target)
        try:
            with write_atomically(self.params) as unfinished:
                unfinished.write_bytes(self.after.encode())
        except BaseException:
            if self.place is not None:
                _remove(self.target)
            raise


def plan_task(
    name: str, row: Mapping[str, Any], images: Path, *, params: Path, root: Path, factor: float, place: str | None
) -> Addition:
    """Returns the addition of the data set in the folder `images`, described by `row` (all but its path).

    `place` is link or copy for images outside data/0_raw, which are brought there; None for those within. Nothing is
    written. UserError for a name that is taken, images in the wrong place, a row that params.yaml's checks refuse, and
    what the data set lacks to be a task.
    """
    target = _target(name, images, root, place)
    source, *rest = row.items()
    row = dict([source, ("path", target.relative_to(root).as_posix()), *rest])
    before = _read(params)
    after = append_task(before, name, row, learning_rate_factor=factor)
    new = _load(after, params.name)
    task = new.tasks[name]
    assert not isinstance(task, MiniTaskConfig)
    here = task.model_copy(update={"path": str(images.absolute())})
    listing = open_listing(name, here, seed=new.seed, root=root)
    return Addition(params, before, after, new, listing, images, target, PLACES[place] if place else None)


def _target(name: str, images: Path, root: Path, place: str | None) -> Path:
    """Where the images lie, or will lie: a folder of data/0_raw."""
    if not images.is_dir():
        raise UserError(f"--images {images}: there is no such folder. Name the one that holds the images.")
    raw = Layout(root).raw("")
    place_of_images = Path(os.path.normpath(images.absolute()))
    inside = os.path.relpath(place_of_images.parent.resolve() / place_of_images.name, raw.resolve())
    if not inside.startswith(".."):
        if inside == ".":
            raise UserError(f"--images {images}: holds all data sets. Name the folder of one of them.")
        if place is not None:
            raise UserError(f"--{place}: {images} lies in {raw} already. Leave --{place} out.")
        return raw / inside
    if place is None:
        what = f"lies outside {raw}, where DVC watches the data sets under names that are the same on every machine"
        remedy = f"Add --link (a link in {raw}, nothing is copied) or --copy"
        raise UserError(f"--images {images}: {what}. {remedy}.")
    target = Layout(root).raw(name)
    if os.path.lexists(target):
        raise UserError(f"--{place}: {target} is there already. Choose another name, or add it with --images {target}.")
    return target


def _read(params: Path) -> str:
    try:
        return params.read_bytes().decode()  # bytes: the ends of the lines stay as they are
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--params {params}: cannot be read ({error}). Run in the project's root.") from None


def _load(text: str, name: str) -> Config:
    """Reads the new text as a file of the same name would be: the errors name it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode())
        return load_config(path)


def _link(images: Path, target: Path) -> None:
    target.symlink_to(images.resolve(), target_is_directory=True)


def _copy(images: Path, target: Path) -> None:
    needed = sum(path.stat().st_size for path in images.rglob("*") if path.is_file())
    require_free_bytes(target, needed, "gift add-task --copy")
    with build_folder(target) as unfinished:
        shutil.copytree(images, unfinished, dirs_exist_ok=True)


def _remove(target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    else:
        shutil.rmtree(target, ignore_errors=True)


PLACES: Mapping[str, Callable[[Path, Path], None]] = {"link": _link, "copy": _copy}
