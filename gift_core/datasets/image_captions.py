"""Images with captions: caption files beside the images, a table with a row for each caption, or WebDataset tars.

A folder of images and caption files is also what replay.images: reference replays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.artifacts.task import SPLITS
from gift_core.config.tasks import PairsTaskConfig
from gift_core.datasets.dataset import (
    VALIDATION,
    Dataset,
    Listing,
    Sample,
    split_listing,
    validation_note,
    vocabulary_captions,
)
from gift_core.datasets.decoding import SUFFIXES, BadImageError, decoded_image, read_image
from gift_core.datasets.folder_reader import FolderReader, split_folders
from gift_core.datasets.spelling import comparison_key, plain_captions, plain_name, split_of
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural

if TYPE_CHECKING:
    from gift_core.artifacts.shards import Pair

MIN_PAIRS = 2  # images of a split: a pair is contrasted with others
TEMPLATE = "{}"  # a caption is a whole prompt
REPLAYED = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # which the model's own transform decodes
REMEDY = "Each image needs a caption: picture.jpg and picture.txt, like the `files` output of img2dataset."


def pair_dataset(listing: Listing, config: PairsTaskConfig, *, task: str, seed: int) -> Dataset:
    """Returns the data set with its splits; all captions of an image are in one. UserError for too few images."""
    location = listing.location
    splits, by_seed = split_listing(listing, config.test_fraction, seed=seed, group=lambda sample: "pairs")
    for split in SPLITS:
        if len(splits[split]) < MIN_PAIRS:
            problem = f"{plural(len(splits[split]), f'{split} image')}, but a task of pairs needs {MIN_PAIRS} or more"
            raise UserError(f"{location}: {problem}, to tell them apart by their captions. Add images with captions.")
    captions = vocabulary_captions(splits["train"], config.vocabulary_captions, task=task, seed=seed)
    if len(captions) < 2:
        raise UserError(f"{location}: all training images have one caption, {captions[0]!r}. Write what differs.")
    counts: Counter[str] = Counter()  # the test images of each caption, by what a text encoder can tell apart
    spelled: dict[str, str] = {}
    for sample in splits["test"]:
        of_image = {comparison_key(caption): caption for caption in sample.captions}
        for key, caption in of_image.items():
            counts[key] += 1
            spelled.setdefault(key, caption)
    shared = [repr(spelled[key]) for key, count in counts.items() if count > 1]
    notes = listing.notes
    if shared:
        note = f"{plural(len(shared), 'test caption')} of several test images, so none of these is the right one alone"
        notes += (f"{note}: {first_names(shared)}.",)
    classes = {caption: caption for caption in captions}
    parts = splits["train"], splits["test"], splits[VALIDATION]
    return Dataset(classes, (TEMPLATE,), *parts, notes, by_seed=by_seed, has_captions=True)


def list_captioned_folder(folder: Path, location: str) -> Listing:
    """Returns the images at any depth of `folder`, or of its folders train and test, with their captions, one a line.

    UserError for no image, an image without captions, text that is not UTF-8, and images beside train and test.
    """
    reader = FolderReader(folder, location)
    names = reader.images()
    captions = _read_captions(folder, names, location, SUFFIXES)
    top = {name: name.partition("/")[0] if "/" in name else "" for name in names}
    folder_of = split_folders(Counter(sorted(top.values())), location)
    samples: list[Sample] = []
    for name, text in zip(names, captions, strict=True):
        samples += reader.samples([name], plain_captions(text), split_of(top[name]) or "")
    used = {f"{name.rpartition('.')[0]}.txt" for name in names}
    reader.left_out = [name for name in reader.left_out if name not in used]
    validation = validation_note(f"{folder_of.get(VALIDATION)}/", (sample.split for sample in samples))
    return Listing(samples, location, (*reader.notes(), *validation))


def iterate_folder(folder: Path, key: str) -> Iterator[Pair]:
    """Yields a pair for each image in `folder` and its subfolders, sorted by path, which is also the pair's key.

    `key` is the key in params.yaml, for errors. UserError for a folder without images, and for captions as
    list_captioned_folder. Images are not decoded here (see require_readable).
    """
    from gift_core.artifacts.shards import Pair  # imports pyarrow

    names, texts = captioned_images(folder, key)
    captions = [plain_name(text) for text in texts]
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    for name, caption in zip(names, captions, strict=True):
        data = (folder / name).read_bytes
        yield Pair(name, numbers[caption], caption, data(), data)


def captioned_images(folder: Path, key: str) -> tuple[list[str], list[str]]:
    """Returns the images of image_files and the text of each one's caption file. UserError as iterate_folder."""
    names = image_files(folder, key)
    return names, _read_captions(folder, names, key, REPLAYED)


def image_files(folder: Path, key: str) -> list[str]:
    """Returns the images at any depth that can be replayed, without hidden files, in the order of their paths."""
    images = FolderReader(folder, f"{key}: {folder}").images() if folder.is_dir() else []
    return sorted((name for name in images if name.lower().endswith(REPLAYED)), key=lambda name: name.split("/"))


def require_readable(folder: Path, key: str) -> None:
    """Raises UserError for the first file in `folder` that cannot be decoded.

    It is slow, so it only runs to name the file after decoding has failed somewhere.
    """
    for sample in FolderReader(folder, key).samples(image_files(folder, key)):
        try:
            decoded_image(read_image(sample))
        except BadImageError as error:
            problem = f"{folder / sample.name} cannot be read as an image ({error})"
            raise UserError(f"{key}: {problem}. Replace it.") from None


def _read_captions(folder: Path, images: Sequence[str], location: str, suffixes: Sequence[str]) -> list[str]:
    """Returns the text of each image's caption file. UserError for one that is missing, empty or not UTF-8."""
    if not images:
        raise UserError(f"{location}: there are no images ({', '.join(suffixes)}) in {folder}. {REMEDY}")
    texts = list[str]()
    for name in images:
        file = (folder / name).with_suffix(".txt")
        why = "it is empty"
        try:
            texts.append(file.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            texts.append("")
            why = str(error)
        if not texts[-1].strip():
            raise UserError(f"{location}: {name} has no caption in {file} as UTF-8 text ({why}). {REMEDY}")
    return texts
