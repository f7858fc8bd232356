"""Files of a data set by their names below its folder: found, or missed with the nearest name."""

from __future__ import annotations

import difflib
from pathlib import Path

from gift_core.errors import UserError


def require_folder(folder: Path, place: str) -> None:
    """Raises UserError where the data set's folder is not there."""
    if not folder.is_dir():
        raise UserError(f"{place}: there is no such folder. Put the data there, or link it.")


def nearest_name(folder: Path, name: str) -> str | None:
    """Returns the file of the same sub-folder whose name is nearest to the missing `name`, below `folder`, or None."""
    wanted = folder / name
    if not wanted.parent.is_dir():
        return None
    names = sorted(path.name for path in wanted.parent.iterdir())
    near = difflib.get_close_matches(wanted.name, names, n=1)
    return (wanted.parent / near[0]).relative_to(folder).as_posix() if near else None
