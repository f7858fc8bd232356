"""Pairs of an image and its prompt: in memory, in a folder of shards, or in one of images with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gift_core.artifacts.shards import MANIFEST, UNFINISHED, columns_of, iterate_pairs
from gift_core.clip.images import Read, decode
from gift_core.datasets.image_captions import iterate_folder
from gift_core.datasets.spelling import plain_name
from gift_core.datasets.webdataset import tar_samples
from gift_core.errors import UserError, no_such_path

LOCATION = "gift_core: folder"  # of read_pairs, which callers of the library use


@dataclass(frozen=True)
class StoredPairs(Sequence[tuple[Image.Image, str]]):
    """Pairs (RGB image, prompt). An image is read and decoded when its pair is asked for; a slice has pairs, too.

    `names` are those of the images in errors, `reads` return the bytes of their files.
    """

    names: Sequence[str]
    prompts: Sequence[str]
    reads: Sequence[Read]

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return StoredPairs(self.names[number], self.prompts[number], self.reads[number])
        try:
            return decode(self.reads[number]()), self.prompts[number]
        except OSError as error:
            reason = error.strerror or "no image, or a damaged one"
            problem = f"{self.names[number]}: {reason}. Replace it, or generate the pairs again."
            raise UserError(f"gift_core: pairs[{number}]: {problem}") from None


def read_pairs(folder: str | Path) -> StoredPairs:
    """Return the pairs of a folder, in their order: a sequence of (RGB Pillow image, prompt) that `finetune` takes.

    Prompts are in memory; an image is read when its pair is asked for.

    Args:
        folder: what generate_pairs wrote; data/3_shards/<task> of a pipeline run; or img2dataset's output as
            webdataset (tars) or files (images, each with a text file of its caption).

    Raises:
        UserError: no such folder, one that is unfinished or has no images, and an image without a text.
        GiftError: shards that changed since they were written.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{LOCATION}: {no_such_path(path, 'folder')}")
    if (path / MANIFEST).is_file():
        return StoredPairs(*columns_of(iterate_pairs(path)))
    if (path / UNFINISHED).is_file():
        remedy = "Call gift_core.generate_pairs again with the same arguments, which continues it"
        raise UserError(f"{LOCATION}: {path} is unfinished. {remedy}.")
    tars = sorted(path.rglob("*.tar"))
    if not tars:
        return StoredPairs(*columns_of(iterate_folder(path, LOCATION)))
    samples = [sample for tar in tars for sample in tar_samples(tar, None, LOCATION, [])]
    if not samples:
        raise UserError(f"{LOCATION}: the tars in {path} have no images. Each needs its text: 0001.jpg and 0001.txt.")
    names = [sample.name for sample in samples]
    prompts = [plain_name(sample.label) for sample in samples]
    return StoredPairs(names, prompts, [sample.read for sample in samples])
