"""The most likely classes of many images, a batch at a time.  B images, K classes, D features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import UnidentifiedImageError

from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip
from gift_core.clip.zero_shot import class_features, image_features
from gift_core.prediction.inputs import Classes
from gift_core.tasks.images import plain_image


@dataclass(frozen=True)
class Prediction:
    """The classes of one image, most likely first, each with its probability (0-1) among all classes asked for."""

    path: Path
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image, or a damaged one."""

    path: Path
    reason: str


Answer = Prediction | Unreadable


def answer(clip: Clip, paths: Sequence[Path], classes: Classes, *, top: int, batch_size: int) -> Iterator[Answer]:
    """Yields one answer a path, in their order, as soon as its batch is done; memory holds one batch.

    Probabilities are the softmax of s * cosine over the K classes. Images are read as `ingest` reads them: turned
    upright, on white where transparent, the first frame of several.
    """
    class_KD = class_features(clip, classes.names, classes.templates, batch_size=batch_size)
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        images = [_read(path) for path in batch]
        pixels_BCHW = evaluation_pixels(clip, (image for image in images if isinstance(image, bytes)))
        rows = iter(_most_likely(clip, pixels_BCHW, classes.names, class_KD, top=top))
        for path, image in zip(batch, images, strict=True):
            yield Prediction(path, next(rows)) if isinstance(image, bytes) else image


def readable(answers: Iterable[Answer], unreadable: list[Unreadable]) -> Iterator[Prediction]:
    """The predictions among `answers`; the others are added to `unreadable`."""
    for each in answers:
        if isinstance(each, Prediction):
            yield each
        else:
            unreadable.append(each)


def _read(path: Path) -> bytes | Unreadable:
    try:
        return plain_image(path.read_bytes(), "png", shorter_side=None)[0]
    except UnidentifiedImageError:  # Pillow names its own buffer
        return Unreadable(path, "no image of a kind that Pillow reads")
    except (OSError, ValueError, SyntaxError) as error:
        return Unreadable(path, " ".join(str(error).split()) or type(error).__name__)


@torch.no_grad()
def _most_likely(
    clip: Clip, pixels_BCHW: torch.Tensor, class_names: Sequence[str], class_KD: torch.Tensor, *, top: int
) -> list[tuple[tuple[str, float], ...]]:
    if not len(pixels_BCHW):
        return []
    image_BD = image_features(clip, pixels_BCHW, batch_size=len(pixels_BCHW))
    probabilities_BK = (clip.scale * image_BD @ class_KD.T).softmax(dim=1)
    best = probabilities_BK.topk(min(top, len(class_names)), dim=1)
    return [
        tuple((class_names[column], value) for column, value in zip(columns, values, strict=True))
        for columns, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
