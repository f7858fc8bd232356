"""`gift predict`: the most likely classes of any images, as a table, CSV or JSON.  B images, K classes, D features."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.atomic import read_json, require_fields
from gift_core.artifacts.task import STAGE, require_texts
from gift_core.datasets.bad_images import BadImageError, bad_image_errors, require_small_file
from gift_core.datasets.decoding import SUFFIXES, plain_image
from gift_core.datasets.folder_reader import FolderReader
from gift_core.datasets.spelling import comparison_key, plain_name, printable, require_sound_labels
from gift_core.errors import UserError, nearest, no_such_path
from gift_core.layout import Layout

# Modules that need torch are imported in the functions that use them: wrong arguments are reported at once.
if TYPE_CHECKING:
    import torch

    from gift_core.clip.model import Clip

DEFAULT_TEMPLATES = ("a photo of a {}.",)
_CSV_HEADER = ("path", "rank", "class", "probability")
_DECIMALS = 6  # of a probability


@dataclass(frozen=True)
class Classes:
    """Class names, and templates in which `{}` stands for the name."""

    names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The classes of one image, most likely first, each with its probability (0-1) among all K classes."""

    path: Path
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Unreadable:
    """A file that is not an image, or a damaged one."""

    path: Path
    reason: str


Lines = Callable[[Iterable[Prediction], list[Path]], Iterator[str]]


def find_images(patterns: Sequence[str]) -> list[Path]:
    """The images of each of `patterns` in order, sorted, without duplicates.

    A pattern is a file (with any suffix), a folder (with its subfolders, without hidden files), or a glob pattern with
    * ? []. UserError for one without images.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = _images_of(pattern)
        if not paths:
            kinds = ", ".join(SUFFIXES)
            if not Path(pattern).exists() and not glob.has_magic(pattern):
                raise UserError(no_such_path(Path(pattern)))
            what = f"{printable(pattern)}: no image found"
            raise UserError(f"{what}. Give files, folders with images ({kinds}), or quoted patterns.")
        found |= dict.fromkeys(paths)
    return list(found)


def read_classes(source: str, templates: Path | None, layout: Layout) -> Classes:
    """The classes of `source`: a text file with one name per line, a task.json, or the name of an ingested task.

    Templates come from the file `templates` (one per line), else from the task; a text file gets "a photo of a {}.".
    UserError for missing, too few or repeated names, and for templates without {}.
    """
    names, own_templates = _names_of(source, layout)
    require_sound_labels(names, f"--classes {source}")
    counts = Counter(map(comparison_key, names))
    repeated = list(dict.fromkeys(name for name in names if counts[comparison_key(name)] > 1))
    if len(names) < 2 or repeated or not all(names):
        what = "one class has an empty name" if not all(names) else f"found {len(names)} class names"
        what = f"{', '.join(repeated[:3])} is listed more than once" if any(repeated) else what
        raise UserError(f"--classes {source}: {what}. Give at least two different ones.")
    chosen = _lines(templates, "--templates") if templates else own_templates
    bad = next((template for template in chosen if "{}" not in template), None)
    if bad is not None or not chosen:
        what = f"{bad!r} has no {{}} for the class name" if bad else "holds no template"
        raise UserError(f"--templates {templates or source}: {what}. Write one per line: a photo of a {{}}.")
    return Classes(tuple(names), tuple(chosen))


def classify_images(
    clip: Clip, paths: Sequence[Path], classes: Classes, *, top: int, batch_size: int
) -> Iterator[Prediction | Unreadable]:
    """Yields the result of each path, in order, as soon as its batch is done; one batch is in memory at a time.

    Probabilities are the softmax of s * cosine over the K classes; a prediction has the `top` largest. Images are read
    as `ingest` reads them: turned upright, on white where transparent, the first frame of several.
    """
    from gift_core.clip.encoding import class_features
    from gift_core.clip.images import evaluation_pixels

    class_KD = class_features(clip, classes.names, classes.templates, batch_size=batch_size)
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        images = [_read(path) for path in batch]
        pixels_BCHW = evaluation_pixels(clip, (image for image in images if isinstance(image, bytes)))
        rows = iter(_most_likely(clip, pixels_BCHW, classes.names, class_KD, top=top))
        for path, image in zip(batch, images, strict=True):
            yield Prediction(path, next(rows)) if isinstance(image, bytes) else image


def readable(results: Iterable[Prediction | Unreadable], unreadable: list[Unreadable]) -> Iterator[Prediction]:
    """Yields the predictions among `results`, and appends the others to `unreadable`."""
    for each in results:
        if isinstance(each, Prediction):
            yield each
        else:
            unreadable.append(each)


def table_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """Columns: path, probability in percent, class. `paths`, all paths that may come, set the width."""
    width = max((len(str(path)) for path in paths), default=0)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes):
            yield f"{'' if rank else str(prediction.path):{width}}  {probability:6.1%}  {name}"


def csv_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """A header, then one row per path and class: path, rank (from 1), class, probability (0-1)."""
    del paths
    yield _csv_row(_CSV_HEADER)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes, start=1):
            yield _csv_row((str(prediction.path), rank, name, round(probability, _DECIMALS)))


def json_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """One array, one object per line: {"path": ..., "classes": [{"class": ..., "probability": 0-1}, ...]}."""
    del paths
    pending = "["  # a comma follows an object only if another object comes
    for prediction in predictions:
        yield pending if pending == "[" else f"{pending},"
        classes = [{"class": name, "probability": round(value, _DECIMALS)} for name, value in prediction.classes]
        pending = json.dumps({"path": os.fspath(prediction.path), "classes": classes}, ensure_ascii=False)
    yield pending
    yield "]"


# Each yields a line as soon as its image is classified.
FORMATS: dict[str, Lines] = {"table": table_lines, "csv": csv_lines, "json": json_lines}


def _images_of(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file, _ in FolderReader(path, pattern).files(path) if file.suffix.lower() in SUFFIXES)
    matches = (Path(match) for match in glob.glob(pattern, recursive=True))  # noqa: PTH207  (Path.glob is relative)
    return sorted(file for file in matches if file.is_file())


def _names_of(source: str, layout: Layout) -> tuple[list[str], list[str]]:
    """(class names, templates)."""
    path = Path(source)
    if path.is_file() and path.suffix != ".json":
        return [plain_name(name) for name in _lines(path, "--classes")], list(DEFAULT_TEMPLATES)
    record_file = path if path.is_file() else layout.task(source) / "task.json"
    if not record_file.is_file():
        tasks = sorted(task.parent.name for task in layout.task(source).parent.glob("*/task.json"))
        what = no_such_path(path) if "/" in source or path.suffix else f"{source}: neither a file nor an ingested task."
        known = f"Ingested tasks: {', '.join(tasks)}." if tasks else "No task is ingested yet: dvc repro ingest."
        raise UserError(f"--classes {what} {nearest(source, tasks)}{known} Or give a text file with one name per line.")
    record = read_json(record_file, STAGE)
    require_fields(record_file, record, {"class_names": list, "templates": list}, STAGE)
    names, templates = (require_texts(record_file, name, record[name]) for name in ("class_names", "templates"))
    return [plain_name(name) for name in names], list(templates)


def _lines(path: Path, option: str) -> list[str]:
    if not path.is_file():
        raise UserError(f"{option} {no_such_path(path, 'file')} Give a text file with one entry per line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{option} {path}: not UTF-8 text ({error.reason}). Save it as UTF-8.") from error
    return [line.strip() for line in lines if line.strip()]


def _read(path: Path) -> bytes | Unreadable:
    """The image as PNG or JPEG. Any damaged file is Unreadable, so that the others are still classified."""
    try:
        if printable(str(path)) != str(path):
            raise BadImageError("its name is not UTF-8 or has control characters: rename it")
        if path.exists() and not path.is_file():  # a pipe would never end
            raise BadImageError("not a regular file")
        with bad_image_errors():
            require_small_file(path.stat().st_size)
            data = path.read_bytes()
        return plain_image(data, "png", shorter_side=None)[0]
    except BadImageError as error:
        return Unreadable(path, str(error))


def _most_likely(
    clip: Clip, pixels_BCHW: torch.Tensor, class_names: Sequence[str], class_KD: torch.Tensor, *, top: int
) -> list[tuple[tuple[str, float], ...]]:
    from gift_core.clip.encoding import image_features

    if not len(pixels_BCHW):
        return []
    image_BD = image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW))
    probabilities_BK = (clip.scale * image_BD @ class_KD.T).softmax(dim=1)
    best = probabilities_BK.topk(min(top, len(class_names)), dim=1)
    return [
        tuple((class_names[column], value) for column, value in zip(columns, values, strict=True))
        for columns, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _csv_row(values: Iterable[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return buffer.getvalue()
