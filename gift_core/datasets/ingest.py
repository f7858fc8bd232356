"""Turns a data set from any source into the task artifact. Each source imports only what it needs.

It notes images that are in both splits or in two classes: the same bytes, under whatever names.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gift_core.artifacts.task import SPLITS, LabeledImage, TaskInfo, write_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    MiniTaskConfig,
    PairsTaskConfig,
    TaskConfig,
    UserDataConfig,
    has_captions,
)
from gift_core.datasets.catalogue.inventory import catalogue_dataset
from gift_core.datasets.dataset import (
    VALIDATION,
    Dataset,
    Listing,
    Sample,
    class_dataset,
    require_caption_key,
    sample_shots,
    vocabulary_captions,
)
from gift_core.datasets.decoding import BadImageError, Decoder, digest_of, read_image
from gift_core.datasets.hub_dataset import list_hub
from gift_core.datasets.image_captions import TEMPLATE, list_captioned_folder, pair_dataset
from gift_core.datasets.image_folder import list_folder
from gift_core.datasets.image_table import list_table
from gift_core.datasets.webdataset import list_tars
from gift_core.errors import UserError
from gift_core.progress import progress
from gift_core.quantities import first_names, plural
from gift_core.work.overlap import in_order
from gift_core.work.publishing import require_free_bytes


def list_pairs(name: str, config: PairsTaskConfig, root: Path) -> Listing:
    """Returns the images of the task with their captions. UserError as the reader of each form."""
    if config.repository is not None:
        return list_hub(name, config, root)
    if config.table is None and config.train is None:
        return list_captioned_folder(root / config.path, _location(name, config))
    return list_table(name, config, root) if config.table is not None else list_tars(name, config, root)


# By source: (name of the task, its row, the root of the paths) -> what is there. No image is decoded.
READERS: Mapping[str, Callable[[str, Any, Path], Listing]] = {
    "folder": list_folder,
    "table": list_table,
    "webdataset": list_tars,
    "hub": list_hub,
    "pairs": list_pairs,
}


def ingest(
    name: str,
    config: TaskConfig,
    folder: Path,
    *,
    ingest_config: IngestConfig,
    seed: int,
    root: Path = Path(),
    prepare: Callable[[Dataset], Dataset] = lambda dataset: dataset,
) -> TaskInfo:
    """Writes the task into `folder` and returns the content of its task.json. Paths of the config are below `root`.

    `prepare` may refuse the data set, or leave out images, before one is decoded. UserError if the source is unsound
    (unknown name, no images, images that cannot be decoded, ...) or if the disk is too small for the files as they are.
    After an error `folder` is as it was before.
    """
    dataset = prepare(open_dataset(name, config, seed=seed, root=root))
    on_bad_image = "refuse" if isinstance(config, MiniTaskConfig) else config.on_bad_image
    decoder = Decoder(dataset, _location(name, config), on_bad_image, ingest_config)
    require_free_bytes(folder, dataset.size, f"ingest {name}")
    info = TaskInfo(name, tuple(dataset.classes.values()), dataset.templates, config.source, notes=dataset.notes)
    return write_task(
        folder,
        info,
        progress(decoder.images("train", dataset.train), len(dataset.train), f"ingest {name}: training images"),
        progress(decoder.images("test", dataset.test), len(dataset.test), f"ingest {name}: test images"),
        images_per_shard=ingest_config.images_per_shard,
        skipped=decoder.bad,
        notes=_notes(decoder, config),
    )


def _notes(decoder: Decoder, config: TaskConfig) -> Iterator[str]:
    """Yields notes on images with several frames, of two splits and of two classes, when all are decoded.

    Of image-caption pairs every copy counts: no caption can distinguish it. Published data sets are what they are.
    """
    several = "several frames or pages, of which only the first is read"
    in_both = "also in the training split"
    notes = [(decoder.first_of_several, f"has {several}", f"have {several}")]
    if isinstance(config, UserDataConfig):
        notes.append((decoder.in_both, f"of the test split is {in_both}", f"of the test split are {in_both}"))
        if has_captions(config):
            notes.append((decoder.relabeled, "is a copy of another", "are copies of others"))
        else:
            notes.append((decoder.relabeled, "has two classes", "have two classes"))
    for names, one, many in notes:
        if names:
            yield f"{plural(len(names), 'image')} {one if len(names) == 1 else many}: {first_names(names)}."


def validation_images(
    name: str, config: TaskConfig, *, stored: IngestConfig, seed: int, root: Path
) -> Iterator[LabeledImage] | None:
    """Returns the images of the validation split that a data set of the user's has, as `ingest` would store them.

    None if it has none, or is not on this machine. UserError as `ingest`.
    """
    if not isinstance(config, UserDataConfig) or not (root / config.path).is_dir():
        return None
    dataset = open_dataset(name, config, seed=seed, root=root)
    if not dataset.validation:
        return None
    return Decoder(dataset, _location(name, config), config.on_bad_image, stored).images(VALIDATION, dataset.validation)


def open_dataset(name: str, config: TaskConfig, *, seed: int, root: Path) -> Dataset:
    """Returns the data set of a row of tasks, few-shot and without copies if the row says so. No image is decoded."""
    if isinstance(config, MiniTaskConfig):
        return _rendered(name, config, seed=seed)
    if isinstance(config, UserDataConfig) and not (root / config.path).is_dir():
        raise UserError(f"{_location(name, config)}: there is no such folder. Put the images there, or link it.")
    if isinstance(config, CatalogueTaskConfig):
        dataset = catalogue_dataset(name, config, seed=seed, root=root)
    elif isinstance(config, PairsTaskConfig):
        dataset = pair_dataset(READERS[config.source](name, config, root), config, task=name, seed=seed)
    else:
        listing = READERS[config.source](name, config, root)
        dataset = class_dataset(listing, config, folder=root / config.path, task=name, seed=seed)
    if isinstance(config, UserDataConfig) and config.on_duplicate == "skip":
        dataset = _without_copies(dataset, _location(name, config))
    if isinstance(config, PairsTaskConfig) or config.shots is None:
        return dataset
    return sample_shots(dataset, config.shots, task=name, seed=seed)


def _without_copies(dataset: Dataset, location: str) -> Dataset:
    """Leaves out images with the same bytes and label as an earlier one, and those outside of training that are in it.

    Of image-caption pairs the label does not count. UserError if no test image is left.
    """
    samples = [(split, sample) for split in (*SPLITS, VALIDATION) for sample in getattr(dataset, split)]
    sizes = Counter(sample.size for _, sample in samples)

    def identity(item: tuple[str, Sample]) -> object:
        """The digest, or something unique for an image that is no copy because of its size, or that cannot be read."""
        _, sample = item
        with suppress(BadImageError):
            if sizes[sample.size] > 1:
                return digest_of(read_image(sample))
        return object()

    kept: dict[str, list[Sample]] = {split: [] for split in (*SPLITS, VALIDATION)}
    first_with_label: dict[tuple[object, str | None], Sample] = {}
    first_in_training: dict[object, Sample] = {}
    copies: list[str] = []
    for (split, sample), digest in zip(samples, in_order(identity, samples), strict=True):
        key = digest, None if dataset.has_captions else sample.label
        earlier = first_with_label.get(key)
        if earlier is None and split != "train":
            earlier = first_in_training.get(digest)
        if earlier is not None:
            copies.append(f"{sample.name} ({earlier.name})")
            continue
        first_with_label[key] = sample
        if split == "train":
            first_in_training.setdefault(digest, sample)
        kept[split].append(sample)
    if not kept["test"]:
        raise UserError(f"{location}: all test images are copies of training images. Add other test images.")
    note = f"{plural(len(copies), 'image')} left out, as on_duplicate: skip says: {first_names(copies)}."
    notes = (*dataset.notes, note) if copies else dataset.notes
    train, test, validation = kept.values()
    return dataclasses.replace(dataset, train=train, test=test, validation=validation, notes=notes)


def _location(name: str, config: TaskConfig) -> str:
    return f"params.yaml: tasks.{name}.path: {config.path}"


def _rendered(name: str, config: MiniTaskConfig, *, seed: int) -> Dataset:
    """A task of the embedded miniature benchmark. Its images are made here."""
    from gift_core.mini.world import SCENES, mini_task, render_scenes, render_task

    key = f"params.yaml: tasks.{name}"
    count = config.vocabulary_captions
    require_caption_key(key, count, has_captions=name == SCENES)
    task = mini_task(name) if count is None else None
    names, templates = (task.class_names, task.templates) if task else ((), (TEMPLATE,))
    splits: dict[str, list[Sample]] = {"train": [], "test": []}
    for split, images in (("train", config.train_images), ("test", config.test_images)):
        if images < len(names):
            problem = f"{images} images are fewer than the {len(names)} classes. Write {len(names)} or more."
            raise UserError(f"{key}.{split}_images: {problem}")
        rendered: Iterable[tuple[Any, Any]] = (
            render_task(name, split, images, seed=seed) if task else render_scenes(split, images, seed=seed)
        )
        for number, (image, target) in enumerate(rendered):
            buffer = io.BytesIO()
            image.save(buffer, "PPM")  # no format that is stored as it is: ingest.image_format says which
            label = names[target] if task else "\n".join(target)
            splits[split].append(Sample(label, f"{split} image {number}", buffer.tell(), buffer.getvalue))
    if count is not None:
        names = vocabulary_captions(splits["train"], count, task=name, seed=seed)
    classes = {class_name: class_name for class_name in names}
    return Dataset(classes, templates, splits["train"], splits["test"], has_captions=task is None)
