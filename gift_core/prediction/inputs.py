"""What `gift predict` is asked about: image files, class names, templates."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gift_core.artifacts.atomic import read_json, require_fields
from gift_core.artifacts.task import STAGE
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.tasks.images import SUFFIXES

DEFAULT_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Classes:
    """What images are told apart by: each name in each template (`{}` is the name's place)."""

    names: tuple[str, ...]
    templates: tuple[str, ...]


def find_images(places: Sequence[str]) -> list[Path]:
    """The images at `places` (files, folders with all below them, patterns with * ? []), each once, sorted by place.

    UserError for a place where there are none. A file that is named counts whatever its suffix.
    """
    found: dict[Path, None] = {}
    for place in places:
        paths = _images_at(place)
        if not paths:
            kinds = ", ".join(SUFFIXES)
            raise UserError(f"{place}: no image there. Give files, folders with images ({kinds}), or a quoted pattern.")
        found |= dict.fromkeys(paths)
    return list(found)


def read_classes(source: str, templates: Path | None, layout: Layout) -> Classes:
    """The classes that `source` names: a text file with a name a line, a task.json, or an ingested task's name.

    A task brings its templates, a text file has "a photo of a {}."; the file `templates` (one a line) replaces either.
    UserError for names that are missing, few or twice, and for templates without {}.
    """
    names, own_templates = _names_of(source, layout)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if len(names) < 2 or twice:
        what = f"{', '.join(twice[:3])} stands there twice" if twice else f"found {len(names)} class names"
        raise UserError(f"--classes {source}: {what}. Two different ones are needed at least.")
    chosen = _lines(templates, "--templates") if templates else own_templates
    bad = next((template for template in chosen if "{}" not in template), None)
    if bad is not None or not chosen:
        what = f"{bad!r} has no {{}} for the class name" if bad else "holds no template"
        raise UserError(f"--templates {templates or source}: {what}. Write one a line: a photo of a {{}}.")
    return Classes(tuple(names), tuple(chosen))


def _images_at(place: str) -> list[Path]:
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    matches = (Path(match) for match in glob.glob(place, recursive=True))  # noqa: PTH207  (Path.glob is relative)
    return sorted(file for file in matches if file.is_file())


def _names_of(source: str, layout: Layout) -> tuple[list[str], list[str]]:
    path = Path(source)
    if path.is_file() and path.suffix != ".json":
        return _lines(path, "--classes"), list(DEFAULT_TEMPLATES)
    record_file = path if path.is_file() else layout.task(source) / "task.json"
    if not record_file.is_file():
        what = f"neither a file nor a task that was ingested (there is no {record_file})"
        raise UserError(f"--classes {source}: {what}. Give a text file with a name a line, or run `dvc repro ingest`.")
    record = read_json(record_file, STAGE)
    require_fields(record_file, record, {"class_names": list, "templates": list}, STAGE)
    return record["class_names"], record["templates"]


def _lines(path: Path, option: str) -> list[str]:
    if not path.is_file():
        raise UserError(f"{option} {path}: no such file. It should hold one a line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: no UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    return [line.strip() for line in lines if line.strip()]
