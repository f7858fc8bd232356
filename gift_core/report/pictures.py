"""Images inside the page: training images of each task, synthetic ones beside them, and the pairs of each step."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from gift_core.artifacts.contract import broken
from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import STAGE as SYNTHESIZE
from gift_core.artifacts.shards import Manifest, missing_tars, read_manifest, read_pairs
from gift_core.artifacts.task import STAGE, StoredImage
from gift_core.report.run_record import MAX_TASKS, Images, RunRecord, Section, a_few, images_by_class

THUMBNAIL_SIDE = 96  # pixels
THUMBNAIL_BYTES = 12_000  # of an image that is shown as it is
JPEG_QUALITY = 80
CLASSES = 6
IMAGES_PER_CLASS = 2
COMPARED_CLASSES = 3
PAIRS_PER_SHEET = 24
MAX_SHEETS = 12
MAX_SOURCES = 8  # shown on a sheet
BASE = "base"  # the source_task of the base vocabulary
Located = tuple[str, int]  # a step and the prompt_id of one of its pairs


@dataclass(frozen=True)
class Thumbnail:
    """An image: what it shows in words, the image as a data URI, its longer side in pixels."""

    text: str
    data_uri: str
    side: int


def thumbnail(text: str, image: bytes, *, file: Path, stage: str) -> Thumbnail:
    """Returns the image unchanged if it is small, else as a JPEG whose longer side is THUMBNAIL_SIDE.

    ContractError that names `file` and the stage that makes it again, if the image cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(image)) as picture:
            side, kind = max(picture.size), (picture.format or "PNG").lower()
            if side > THUMBNAIL_SIDE or len(image) > THUMBNAIL_BYTES or kind not in ("png", "jpeg"):
                decoded, buffer = picture.convert("RGB"), io.BytesIO()
                small = Image.new("RGB", decoded.size)  # without comments and color profiles, which may be of any size
                small.paste(decoded)
                small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                small.save(buffer, "JPEG", quality=JPEG_QUALITY)
                image = buffer.getvalue()
                side, kind = max(small.size), "jpeg"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
        raise broken(file, f"the image of {text!r} should be decodable, but {error}", stage) from error
    return Thumbnail(text, f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}", side)


Groups = list[tuple[str, int, list[Thumbnail]]]  # source, number of its pairs, a few of them
Compared = dict[str, tuple[list[Thumbnail], list[Thumbnail]]]  # by class: real images, synthetic ones


def task_images(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the tasks and the probes. Those whose images are not on this machine are named. A task of
    pairs has captions in place of classes."""
    probes = dict[str, Images]()
    for name in a_few(list(record.probe_infos), MAX_TASKS):
        info = record.probe_infos[name]
        probes[name] = images_by_class(record.layout.task(name), info, "test") if info else {}
    samples = {task: sample_images(record, task, images) for task, images in record.training_images.items()}
    of_probes = {task: sample_images(record, task, images) for task, images in probes.items()}
    yield Section("tasks", "Tasks", "task_images.html.j2", {"samples": samples, "probes": of_probes})


def sample_images(record: RunRecord, task: str, images: Images) -> dict[str, list[Thumbnail]]:
    """Images of a few classes of a task."""
    return {name: class_images(record, task, name, images[name]) for name in a_few(list(images), CLASSES)}


def class_images(record: RunRecord, task: str, name: str, images: Sequence[StoredImage]) -> list[Thumbnail]:
    """The first images of a class of a task."""
    folder = record.layout.task(task)
    return [thumbnail(name, image.read(), file=folder, stage=STAGE) for image in images[:IMAGES_PER_CLASS]]


def synthetic_pairs(record: RunRecord) -> Iterator[Section]:
    """Yields the section of the pairs if a method replays them. ContractError if a manifest or a shard is damaged."""
    if record.replays_pairs:
        compared, missing = compared_classes(record)
        shown = {"compared": compared, "missing": missing, "sheets": contact_sheets(record)}
        yield Section("pairs", "Synthetic pairs", "synthetic_pairs.html.j2", shown)


def compared_classes(record: RunRecord) -> tuple[dict[str, Compared], list[str]]:
    """{task: {class: (real images, synthetic ones)}} of the tasks that later steps replay, a few classes of each.

    Also the steps whose pairs or prompts are not on this machine.
    """
    pairs: dict[str, dict[str, list[Located]]] = {task: defaultdict(list) for task in record.tasks}
    missing, compared = [], {}
    for step in record.tasks[1:]:  # no task comes before the first step
        folder, prompts = record.layout.shards(step), record.layout.prompts(step)
        if not prompts.is_file() or missing_tars(folder, read_manifest(folder)):
            missing.append(step)
            continue
        rows = read_prompts(prompts)
        for prompt_id, task, name in zip(rows["prompt_id"], rows["source_task"], rows["class_name"], strict=True):
            of_class = pairs[task][name] if task in pairs else []
            if len(of_class) < IMAGES_PER_CLASS:
                of_class.append((step, int(prompt_id)))
    for task, images in record.training_images.items():
        both = [name for name in images if name in pairs[task]]
        compared[task] = {
            name: (
                class_images(record, task, name, images[name]),
                [_thumbnails(record.layout.shards(step), [prompt_id])[0] for step, prompt_id in pairs[task][name]],
            )
            for name in a_few(both, COMPARED_CLASSES)
        }
    return {task: classes for task, classes in compared.items() if classes}, missing


def contact_sheets(record: RunRecord) -> dict[str, tuple[Manifest, Groups]]:
    """The manifest and the first pairs of each source, for each task or MAX_SHEETS of them at even distances.

    Prompts are sampled in random order, so these are a fair sample. All sources have the same share of the sheet, and
    what is left of it is for the first ones. No groups if the images are not on this machine.
    """
    sheets, positions = {}, {name: at for at, name in enumerate((BASE, *record.tasks))}
    for task in a_few(record.tasks, MAX_SHEETS):
        folder, prompts = record.layout.shards(task), record.layout.prompts(task)
        manifest, groups = read_manifest(folder), []
        if not missing_tars(folder, manifest):
            known = prompts.is_file()
            sources = read_prompts(prompts)["source_task"] if known else pd.Series("", index=range(manifest.images))
            names = sorted(map(str, sources.unique()), key=lambda name: positions.get(name, -1))
            by_source = {name: list(map(int, sources.index[sources == name])) for name in a_few(names, MAX_SOURCES)}
            share = PAIRS_PER_SHEET // len(by_source)
            counts = {name: min(len(numbers), share) for name, numbers in by_source.items()}
            for name, numbers in by_source.items():
                counts[name] += min(len(numbers) - counts[name], PAIRS_PER_SHEET - sum(counts.values()))
                of_source = "base vocabulary" if name == BASE else name
                groups.append((of_source, len(numbers), _thumbnails(folder, numbers[: counts[name]])))
        sheets[task] = (manifest, groups)
    return sheets


def _thumbnails(folder: Path, prompt_ids: Sequence[int]) -> list[Thumbnail]:
    by_prompt = read_pairs(folder, prompt_ids)
    pairs = [by_prompt[number] for number in prompt_ids]
    return [thumbnail(pair.prompt, pair.image, file=folder, stage=SYNTHESIZE) for pair in pairs]
