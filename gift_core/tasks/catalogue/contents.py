"""What an unpacked archive holds: images under the data set's own labels. And how readers list and open its files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.errors import UserError
from gift_core.tasks.found import Found

Pair = tuple[str, str]  # label, path below the archive's folder


@dataclass(frozen=True)
class Contents:
    """The images of both splits; `absent` are files that the archive's own lists name and that are not there."""

    train: Sequence[Found]
    test: Sequence[Found]
    absent: tuple[str, ...] = ()


def contents_of(folder: Path, *, train: Iterable[Pair], test: Iterable[Pair]) -> Contents:
    """Returns the files that the pairs name, in their order."""
    absent: list[str] = []
    return Contents(list(_present(folder, train, absent)), list(_present(folder, test, absent)), tuple(absent))


def list_classes(folder: Path, pattern: str) -> list[Pair]:
    """Returns the files folder/<class>/<pattern> under their class, both sorted by name, hidden ones left out."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [
        (label, file.relative_to(folder).as_posix())
        for label in classes
        for file in sorted((folder / label).glob(pattern))
        if not file.name.startswith(".")
    ]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong with a file of the archive into one UserError that names the file."""
    try:
        yield
    except Exception as error:  # scipy, json, pickle and numpy raise a dozen kinds for a file that is not what it was
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as the official file ({type(error).__name__}: {reason})") from None


def read_lines(path: Path) -> list[str]:
    """Returns the file's lines without white space around them, empty ones left out."""
    return [stripped for line in path.read_text(encoding="utf-8").splitlines() if (stripped := line.strip())]


def read_mat(path: Path) -> dict[str, Any]:
    """Returns the variables of a MATLAB file, without dimensions of length 1."""
    from scipy.io import loadmat  # type: ignore[import-untyped]

    variables: dict[str, Any] = loadmat(path, squeeze_me=True)
    return variables


def _present(folder: Path, pairs: Iterable[Pair], absent: list[str]) -> Iterator[Found]:
    for label, name in pairs:
        path = folder / name
        try:
            yield Found(label, name, path.read_bytes, path.stat().st_size)
        except FileNotFoundError:
            absent.append(name)
