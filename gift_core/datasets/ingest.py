"""Turns a data set from any source into the task artifact. Each source imports only what it needs.

It notes images that are in both splits or in two classes: the same bytes, under whatever names.
"""

from __future__ import annotations

import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from gift_core.artifacts.task import SPLITS, LabeledImage, TaskInfo, read_task, write_task
from gift_core.config.experiment import IngestConfig
from gift_core.config.tasks import (
    MiniTaskConfig,
    OwnDataConfig,
    OwnTaskConfig,
    PairsTaskConfig,
    TaskConfig,
    has_captions,
)
from gift_core.datasets.bad_images import BadImageError
from gift_core.datasets.catalogue.inventory import list_catalogue
from gift_core.datasets.dataset import Dataset, Listing, PairDataset, Sample, class_dataset, sample_shots
from gift_core.datasets.decoding import Decoder, digest_of, in_order, read_image, unreadable_heic
from gift_core.datasets.image_captions import list_pairs, pair_dataset
from gift_core.datasets.image_folder import list_folder
from gift_core.datasets.image_table import list_table
from gift_core.datasets.webdataset import list_tars
from gift_core.errors import ContractError, UserError
from gift_core.progress import progress_bar
from gift_core.quantities import first_names, plural
from gift_core.work.publishing import require_free_bytes

Render = Callable[..., Iterator[tuple[Any, Any]]]  # (split, count, seed) -> images, each with its label or captions
_TWO_CLASSES = "has two classes", "have two classes"
# By source: (name of the task, its row, the root of the paths) -> what is there. No image is decoded.
READERS: Mapping[str, Callable[[str, Any, Path], Listing]] = {
    "folder": list_folder,
    "table": list_table,
    "webdataset": list_tars,
    "pairs": list_pairs,
    "catalogue": list_catalogue,
}


class DuplicateWatch:
    """Notes images of two splits or of two classes by a hash of each image that was read."""

    def __init__(self, *, pairs: bool = False) -> None:
        self._pairs = pairs  # every copy counts: no caption can distinguish it
        self._first: dict[bytes, tuple[str, str]] = {}  # the split and the label where an image was first read
        self._in_both: list[str] = []
        self._two_classes: list[str] = []

    def add(self, split: str, sample: Sample, digest: bytes) -> None:
        """Notes an image."""
        label = sample.name if self._pairs else sample.label
        first_split, first_label = self._first.setdefault(digest, (split, label))
        if first_split != split:
            self._in_both.append(sample.name)
        if first_label != label:
            self._two_classes.append(sample.name)

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
    dataset = open_dataset(name, config, seed=seed, root=root)
    watch = DuplicateWatch(pairs=has_captions(config))
    on_bad_image = "refuse" if isinstance(config, MiniTaskConfig) else config.on_bad_image
    decoder = Decoder(dataset, _location(name, config), on_bad_image, ingest_config, watch.add)
    require_free_bytes(folder, decoder.expected_bytes(), f"ingest {name}")
    info = TaskInfo(name, dataset.class_names, dataset.templates, config.source, notes=dataset.notes)
    copies = watch.notes() if isinstance(config, OwnDataConfig) else ()  # published data sets are what they are
    with progress_bar(sum(dataset.counts.values()), f"ingest {name}") as bar:

        def counted(images: Iterator[LabeledImage]) -> Iterator[LabeledImage]:
            for image in images:
                yield image
                bar.update()

        return write_task(
            folder,
            info,
            counted(decoder.read_train()),
            counted(decoder.read_test()),
            images_per_shard=ingest_config.images_per_shard,
            skipped=decoder.bad,
            notes=chain(decoder.notes(), copies),
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
    return Decoder(held_out, _location(name, config), config.on_bad_image, stored).read_test()


def open_dataset(name: str, config: TaskConfig, *, seed: int, root: Path) -> Dataset:
    """Returns the data set of a row of tasks, few-shot and without copies if the row says so. No image is decoded."""
    if isinstance(config, MiniTaskConfig):
        return _rendered(name, config, seed=seed)
    if isinstance(config, OwnDataConfig) and not (root / config.path).is_dir():
        raise UserError(f"{_location(name, config)}: there is no such folder. Put the images there, or link it.")
    listing = READERS[config.source](name, config, root)
    if isinstance(config, PairsTaskConfig):
        dataset: Dataset = pair_dataset(listing, config, task=name, seed=seed)
    elif isinstance(config, OwnTaskConfig):
        dataset = class_dataset(listing, config, folder=root / config.path, task=name, seed=seed)
    else:
        train, test = ([each for each in listing.samples if each.split == split] for split in SPLITS)
        dataset = Dataset(listing.classes, listing.templates, train, test, listing.notes)
    if problem := unreadable_heic(dataset):
        if config.on_bad_image == "refuse":
            raise UserError(f"{_location(name, config)}: {problem}")
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, problem))
    if isinstance(config, OwnDataConfig) and config.on_duplicate == "skip":
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
        digest_of = dict(zip(map(id, alike), in_order(_copy_key, alike), strict=True))
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


def _copy_key(sample: Sample) -> bytes:
    """A hash of the image's bytes. An image that cannot be read has one of its own: decoding names it."""
    try:
        return digest_of(read_image(sample))
    except BadImageError:
        return sample.name.encode()


def _location(name: str, config: TaskConfig) -> str:
    return f"params.yaml: tasks.{name}.path: {config.path}"


def _rendered(name: str, config: MiniTaskConfig, *, seed: int) -> Dataset:
    """A task of the embedded miniature benchmark. Its images are made here."""
    from gift_core.mini.scenes import SCENES, render_scenes, scene_captions
    from gift_core.mini.world import mini_task, render_task

    key, count = f"params.yaml: tasks.{name}", config.vocabulary_captions
    counts = {"train": config.train_images, "test": config.test_images}
    if (name == SCENES) != (count is not None):
        what = "needs this key, because it has captions" if name == SCENES else "has classes and no captions"
        raise UserError(f"{key}.vocabulary_captions: the miniature task {name} {what}. Only {SCENES} has captions.")
    if count is None:
        names, templates = (task := mini_task(name)).class_names, task.templates
        least, what = len(names), f"the {len(names)} classes"
        render: Render = partial(render_task, name)
    else:
        names, templates = scene_captions(counts["train"], count, seed=seed), ("{}",)
        least, what = 2, "the 2 that a task of pairs needs"
        render = render_scenes
    for split, images in counts.items():
        if images < least:
            raise UserError(f"{key}.{split}_images: {images} images are fewer than {what}. Write {least} or more.")

    def samples(split: str) -> Iterator[Sample]:
        for number, (image, target) in enumerate(render(split, counts[split], seed=seed)):
            buffer = io.BytesIO()
            image.save(buffer, "PPM")  # no format that is stored as it is: ingest.image_format says which
            label = names[target] if count is None else "\n".join(target)
            yield Sample(label, f"{split} image {number}", buffer.tell(), load=buffer.getvalue)

    kind = Dataset if count is None else PairDataset
    classes = {each: each for each in names}
    return kind(classes, templates, tuple(samples("train")), tuple(samples("test")))
