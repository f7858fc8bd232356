"""Turns a data set from any source into the task artifact. Each source imports only what it needs.

It notes images that are in both splits or in two classes: the same bytes, under whatever names.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from gift_core.artifacts.task import LabeledImage, TaskInfo, read_task, write_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    OwnDataConfig,
    PairsTaskConfig,
    TableTaskConfig,
    TaskConfig,
    WebDatasetTaskConfig,
    has_captions,
)
from gift_core.datasets.bad_images import BadImageError, bad_image_errors
from gift_core.datasets.dataset import Dataset, PairDataset, Sample, sample_shots
from gift_core.datasets.decoding import ImageSource, decode_dataset, encode_image, in_order, unreadable_heic
from gift_core.errors import ContractError, UserError
from gift_core.progress import progress_bar
from gift_core.quantities import first_names, plural
from gift_core.work.publishing import require_free_bytes

_DIGEST_BYTES = 16
Render = Callable[..., Iterator[tuple[Any, Any]]]  # (split, count, seed) -> images, each with its label or captions
_TWO_CLASSES = "has two classes", "have two classes"
_BYTES_PER_MINI_IMAGE = 6144  # an upper bound for a 32 px image with its share of the tar


class DuplicateWatch:
    """Notes a hash of every image when it is read, so that no image is read twice."""

    def __init__(self, *, pairs: bool = False) -> None:
        self._pairs = pairs  # every copy counts: no caption can distinguish it
        self._first: dict[bytes, tuple[str, str]] = {}  # the split and the label where an image was first read
        self._in_both: list[str] = []
        self._two_classes: list[str] = []

    def watch(self, dataset: Dataset) -> Dataset:
        """Returns the data set with samples that are noted when they are read."""
        return dataclasses.replace(
            dataset, train=self._watch(dataset.train, "train"), test=self._watch(dataset.test, "test")
        )

    def notes(self) -> Iterator[str]:
        """Yields what was found among the images that were read until now."""
        if self._in_both:
            verb = "is" if len(self._in_both) == 1 else "are"
            what = f"{plural(len(self._in_both), 'image')} of the test split {verb} also in the training split"
            yield f"{what}: {first_names(self._in_both)}."
        if self._two_classes:
            one, several = ("is a copy of another", "are copies of others") if self._pairs else _TWO_CLASSES
            verb = one if len(self._two_classes) == 1 else several
            yield f"{plural(len(self._two_classes), 'image')} {verb}: {first_names(self._two_classes)}."

    def _watch(self, samples: Sequence[Sample], split: str) -> tuple[Sample, ...]:
        return tuple(dataclasses.replace(sample, read=self._noted(sample, split)) for sample in samples)

    def _noted(self, sample: Sample, split: str) -> Callable[[], bytes]:
        def read() -> bytes:
            data = sample.read()
            digest = _hash(data)
            label = sample.name if self._pairs else sample.label
            first_split, first_label = self._first.setdefault(digest, (split, label))
            if first_split != split:
                self._in_both.append(sample.name)
            if first_label != label:
                self._two_classes.append(sample.name)
            return data

        return read


ListedTaskConfig = FolderTaskConfig | TableTaskConfig | WebDatasetTaskConfig | PairsTaskConfig | CatalogueTaskConfig


def ingest(
    name: str,
    config: TaskConfig,
    folder: Path,
    *,
    ingest_config: IngestConfig,
    seed: int,
    root: Path = Path(),
) -> TaskInfo:
    """Writes the task into `folder` and returns the content of its task.json. Paths of the config are below `root`.

    UserError if the source is unsound (unknown name, no images, images that cannot be decoded, ...) or if the disk is
    too small. After an error `folder` is as it was before.
    """
    source = _open_images(name, config, stored=ingest_config, seed=seed, root=root)
    require_free_bytes(folder, source.expected_bytes, f"ingest {name}")
    info = TaskInfo(name, source.class_names, source.templates, config.source, notes=source.notes)
    with progress_bar(sum(source.counts.values()), f"ingest {name}") as bar:

        def counted(images: Iterator[LabeledImage]) -> Iterator[LabeledImage]:
            for image in images:
                yield image
                bar.update()

        return write_task(
            folder,
            info,
            counted(source.train),
            counted(source.test),
            images_per_shard=ingest_config.images_per_shard,
            skipped=source.skipped,
            notes=source.late_notes,
        )


def ingested_classes(folder: Path) -> tuple[str, ...]:
    """Returns the class names of the task that `folder` has now, none if it has no sound one."""
    try:
        return read_task(folder).class_names
    except ContractError:
        return ()


def renamed_classes(before: tuple[str, ...], info: TaskInfo) -> tuple[str, ...]:
    """Returns a line on classes whose names are not those of `before`, the last ingest.

    A task with another number of classes is another task.
    """
    changed = [f"{old!r} is now {new!r}" for old, new in zip(before, info.class_names, strict=False) if old != new]
    if not changed or len(before) != len(info.class_names):
        return ()
    remedy = f"To keep the old ones, write them in tasks.{info.name}.class_names"
    return (f"class names changed since the last ingest: {first_names(changed)}. {remedy}.",)


def validation_images(
    name: str, config: TaskConfig, *, stored: IngestConfig, seed: int, root: Path
) -> Iterator[LabeledImage] | None:
    """Returns the images of the validation split that a data set of the user's has, as `ingest` would store them.

    None if it has none, or is not on this machine. UserError as `ingest`.
    """
    if not isinstance(config, OwnDataConfig) or not (root / config.path).is_dir():
        return None
    dataset = open_dataset(name, config, seed=seed, root=root)
    if not dataset.validation:
        return None
    held_out = dataclasses.replace(dataset, test=dataset.validation)
    return decode_dataset(held_out, _location(name, config), on_bad_image=config.on_bad_image, stored=stored).test


def open_dataset(name: str, config: ListedTaskConfig, *, seed: int, root: Path) -> Dataset:
    """Returns the data set of a row of tasks, few-shot and without copies if the row says so. No image is decoded."""
    dataset = _require_readers(_list_images(name, config, seed=seed, root=root), name, config)
    if getattr(config, "on_duplicate", None) == "skip":
        dataset = _without_copies(dataset, _location(name, config))
    if isinstance(config, PairsTaskConfig) or config.shots is None:
        return dataset
    return sample_shots(dataset, config.shots, task=name, seed=seed)


def _without_copies(dataset: Dataset, location: str) -> Dataset:
    """Leaves out images with the same bytes and label as an earlier one, and those outside of training that are in it.

    Of image-caption pairs the label does not count. UserError if no test image is left.
    """
    sizes = Counter(sample.size for part in (dataset.train, dataset.test, dataset.validation) for sample in part)
    first: dict[object, Sample] = {}  # by digest and label, and by the digest of a training image
    copies: list[str] = []

    def without(samples: Sequence[Sample], *, is_train: bool = False) -> Iterator[Sample]:
        alike = [sample for sample in samples if sizes[sample.size] > 1]  # others are no copies
        digest_of = dict(zip(map(id, alike), in_order(_digest_of, alike), strict=True))
        for sample in samples:
            digest = digest_of.get(id(sample), sample.name)
            key = digest, None if isinstance(dataset, PairDataset) else sample.label
            if earlier := first.get(key) or (None if is_train else first.get(digest)):
                copies.append(f"{sample.name} ({earlier.name})")
                continue
            first[key] = sample
            if is_train:
                first.setdefault(digest, sample)
            yield sample

    train, test = tuple(without(dataset.train, is_train=True)), tuple(without(dataset.test))
    validation = tuple(without(dataset.validation))
    if not copies:
        return dataset
    if not test:
        raise UserError(f"{location}: all test images are copies of training images. Add other test images.")
    note = f"{plural(len(copies), 'image')} left out, as on_duplicate: skip says: {first_names(copies)}."
    return dataclasses.replace(dataset, train=train, test=test, validation=validation, notes=(*dataset.notes, note))


def _digest_of(sample: Sample) -> bytes:
    """A hash of the image's bytes. An image that cannot be read has one of its own: decoding names it."""
    try:
        with bad_image_errors():
            return _hash(sample.read())
    except BadImageError:
        return sample.name.encode()


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _location(name: str, config: ListedTaskConfig) -> str:
    return f"params.yaml: tasks.{name}.path: {config.path}"


def _require_readers(dataset: Dataset, name: str, config: ListedTaskConfig) -> Dataset:
    """Refuses HEIC images without their reader before anything is decoded, or notes them if they are to be skipped."""
    problem = unreadable_heic(dataset)
    if problem is None:
        return dataset
    if config.on_bad_image == "refuse":
        raise UserError(f"{_location(name, config)}: {problem}")
    return dataclasses.replace(dataset, notes=(*dataset.notes, problem))


def _open_images(name: str, config: TaskConfig, *, stored: IngestConfig, seed: int, root: Path) -> ImageSource:
    if isinstance(config, MiniTaskConfig):
        return _mini_images(name, config, image_format=stored.image_format, seed=seed)
    dataset = open_dataset(name, config, seed=seed, root=root)
    watch = DuplicateWatch(pairs=has_captions(config))
    if isinstance(config, OwnDataConfig):  # published data sets are what they are
        dataset = watch.watch(dataset)
    source = decode_dataset(dataset, _location(name, config), on_bad_image=config.on_bad_image, stored=stored)
    return dataclasses.replace(source, late_notes=chain(source.late_notes, watch.notes()))


def _list_images(name: str, config: ListedTaskConfig, *, seed: int, root: Path) -> Dataset:
    if isinstance(config, FolderTaskConfig):
        from gift_core.datasets.image_folder import folder_dataset

        return folder_dataset(name, config, root=root, seed=seed)
    if isinstance(config, TableTaskConfig):
        from gift_core.datasets.image_table import table_dataset

        return table_dataset(name, config, root=root, seed=seed)
    if isinstance(config, WebDatasetTaskConfig):
        from gift_core.datasets.webdataset import tar_dataset

        return tar_dataset(name, config, root=root, seed=seed)
    if isinstance(config, PairsTaskConfig):
        from gift_core.datasets.image_captions import pairs_dataset

        return pairs_dataset(name, config, root=root, seed=seed)
    from gift_core.datasets.catalogue.inventory import catalogue_dataset

    return catalogue_dataset(name, config, root=root)


def _mini_images(name: str, config: MiniTaskConfig, *, image_format: str, seed: int) -> ImageSource:
    """Renders a task of the embedded miniature benchmark."""
    from gift_core.mini.scenes import SCENES, render_scenes, scene_captions
    from gift_core.mini.world import MiniTask, mini_task, render_task

    key, count = f"params.yaml: tasks.{name}", config.vocabulary_captions
    counts = {"train": config.train_images, "test": config.test_images}
    if (name == SCENES) != (count is not None):
        what = "needs this key, because it has captions" if name == SCENES else "has classes and no captions"
        raise UserError(f"{key}.vocabulary_captions: the miniature task {name} {what}. Only {SCENES} has captions.")
    if count is None:
        task = mini_task(name)
        render: Render = partial(render_task, name)
        _require_images(counts, len(task.class_names), f"the {len(task.class_names)} classes", key)
    else:
        _require_images(counts, 2, "the 2 that a task of pairs needs", key)
        task = MiniTask(name, scene_captions(counts["train"], count, seed=seed), ("{}",))
        render = render_scenes

    def images(split: str) -> Iterator[LabeledImage]:
        for image, target in render(split, counts[split], seed=seed):
            yield encode_image(image, image_format), image_format, target

    expected = sum(counts.values()) * _BYTES_PER_MINI_IMAGE
    return ImageSource(task.class_names, task.templates, counts, expected, images("train"), images("test"))


def _require_images(counts: Mapping[str, int], least: int, what: str, key: str) -> None:
    for split, count in counts.items():
        if count < least:
            remedy = f"Write {least} or more"
            raise UserError(f"{key}.{split}_images: {count} images are fewer than {what}. {remedy}.")
