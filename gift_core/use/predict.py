"""`gift predict`: the most similar classes of any images, as a table, CSV or JSON.  B images, K classes, D features."""

from __future__ import annotations

import csv
import glob
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.datasets.decoding import SUFFIXES, BadImageError, bad_image_errors, plain_image
from gift_core.datasets.folder_reader import FolderReader, left_out_notes
from gift_core.errors import UserError, no_such_path, printable
from gift_core.use.class_lists import Classes, names_of

# Modules that need torch are imported in the functions that use them: wrong arguments are reported at once.
if TYPE_CHECKING:
    from gift_core.clip.model import Clip

NONE = "none of these"  # the class of an image that is similar to none
BATCH_SIZE = 64  # images, and texts of classes, that are encoded at once
Unreadable = dict[str, list[Path]]  # files that are no images, or damaged ones, by the reason
_DECIMALS = 6  # of a similarity and a score


@dataclass(frozen=True)
class Ranked:
    """A class, its cosine with the image, and its score (0-1): the softmax over all K classes.

    The score compares the given classes. It is no probability, as nothing has calibrated it. NONE has no score.
    """

    name: str
    similarity: float
    score: float | None


Prediction = tuple[Path, tuple[Ranked, ...]]  # the classes of one image, most similar first


def find_images(patterns: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Returns the images of each of `patterns` in order, sorted, without duplicates, and what was left out of folders.

    A pattern is a file (with any suffix), a folder (with its subfolders, without hidden files), or a glob pattern with
    * ? []. UserError for one without images.
    """
    distinct: dict[Path, None] = {}
    notes: list[str] = []
    for pattern in patterns:
        path = Path(pattern)
        left_out: tuple[str, ...] = ()
        if path.is_file():
            paths = [path]
        elif path.is_dir():
            reader = FolderReader(path, pattern)
            paths = sorted(path / name for name in reader.images())
            left_out = left_out_notes(reader.left_out)
        else:
            matches = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207  (Path.glob is relative)
            paths = sorted(file for file in matches if file.is_file())
        if not paths:
            is_missing = not path.exists() and not glob.has_magic(pattern)
            problem = no_such_path(path) if is_missing else f"{printable(pattern)}: no image found."
            remedy = f"Give files, folders with images ({', '.join(SUFFIXES)}), or quoted patterns."
            raise UserError(" ".join([problem, *left_out, remedy]))
        distinct |= dict.fromkeys(paths)
        notes += [f"{printable(pattern)}: {note}" for note in left_out]
    return list(distinct), notes


def read_image(path: Path) -> bytes:
    """Returns the image as PNG or JPEG. BadImageError for any file that is none, or a damaged one."""
    if printable(str(path)) != str(path):
        raise BadImageError("its name is not UTF-8 or has control characters: rename it")
    with bad_image_errors():
        data = path.read_bytes()
    return plain_image(data, "png", shorter_side=None)[0]


def classify_images(
    clip: Clip,
    paths: Sequence[Path],
    classes: Sequence[Classes],
    unreadable: Unreadable,
    *,
    top: int = 1,
    threshold: float = -math.inf,
    read: Callable[[Path], bytes] = read_image,
) -> Iterator[Prediction]:
    """Yields the prediction of each path, in order, as soon as its batch is done; one batch is in memory at a time.

    The classes of each group have its templates. Scores are the softmax of s * cosine over the K classes of all groups;
    a prediction has the `top` largest. The class of an image whose largest similarity is below the threshold is NONE.
    Files are read as `ingest` reads them: turned upright, on white where transparent, the first frame of several. Those
    that are no images are added to `unreadable`, and the others are still classified.
    """
    import torch

    from gift_core.clip.encoding import class_features, image_features, require_unit
    from gift_core.clip.images import evaluation_pixels

    names = names_of(classes)
    heads = [class_features(clip, group.names, group.templates, batch_size=BATCH_SIZE) for group in classes]
    class_KD = torch.cat(heads)
    for start in range(0, len(paths), BATCH_SIZE):
        images: dict[Path, bytes] = {}
        for path in paths[start : start + BATCH_SIZE]:
            try:
                images[path] = read(path)
            except BadImageError as error:
                unreadable.setdefault(str(error), []).append(path)
        if not images:
            continue
        pixels_BCHW = evaluation_pixels(clip, images.values())
        image_BD = require_unit(image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW)), "images")
        similarities_BK = image_BD @ class_KD.T
        scores_BK = (clip.scale * similarities_BK).softmax(dim=1)
        best = similarities_BK.topk(min(top, len(names)), dim=1)
        of_best = (best.indices, best.values, scores_BK.gather(1, best.indices))
        for path, *row in zip(images, *(columns.tolist() for columns in of_best), strict=True):
            ranked = tuple(Ranked(names[column], value, score) for column, value, score in zip(*row, strict=True))
            is_none = ranked[0].similarity < threshold
            yield path, (Ranked(NONE, ranked[0].similarity, None),) if is_none else ranked


def table_lines(predictions: Iterable[Prediction], paths: list[Path]) -> Iterator[str]:
    """Columns: path, similarity, score, class. `paths`, all paths that may come, set the width."""
    width = max((len(str(path)) for path in paths), default=0)
    yield f"{'path':{width}}  similarity  score  class"
    for path, classes in predictions:
        for rank, ranked in enumerate(classes):
            score = "" if ranked.score is None else f"{ranked.score:.3f}"
            yield f"{'' if rank else str(path):{width}}  {ranked.similarity:10.3f}  {score:5}  {ranked.name}"


def csv_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Yields a header, then one row per path and class: path, rank (from 1), class, similarity, score.

    As table_lines, each line as soon as its image is classified.
    """
    yield "path,rank,class,similarity,score"
    for path, classes in predictions:
        for rank, ranked in enumerate(classes, start=1):
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="").writerow((str(path), rank, *record(ranked).values()))
            yield buffer.getvalue()


def record(ranked: Ranked) -> dict[str, Any]:
    """Returns a class of an image as CSV and JSON have it: {"class": ..., "similarity": ..., "score": ...}."""
    score = None if ranked.score is None else round(ranked.score, _DECIMALS)
    return {"class": ranked.name, "similarity": round(ranked.similarity, _DECIMALS), "score": score}
