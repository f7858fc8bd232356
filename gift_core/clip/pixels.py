"""Decoded images, as many as memory is meant to hold; the others are decoded whenever they are drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch

from gift_core.clip.images import evaluation_pixels
from gift_core.clip.model import Clip

Read = Callable[[], bytes]  # of one encoded image
Prepare = Callable[[bytes], torch.Tensor]  # an encoded image to uint8 [3, H, W]

KEPT_BYTES = 2**31  # of decoded pixels: 2 GiB for a step's task images, and as much for what it replays
DECODERS = min(8, os.cpu_count() or 1)
CHUNK = 64  # images that wait encoded while a stream is decoded


class Allowance:
    """Bytes that may still be kept, shared by all who take from it."""

    def __init__(self, free: int = KEPT_BYTES) -> None:
        self.free = free

    def take(self, size: int) -> bool:
        """Whether `size` bytes were free; they are not any more."""
        if size > self.free:
            return False
        self.free -= size
        return True


class PixelStore:
    """Images by their number, decoded when first asked for and kept while the allowance lasts.

    What is kept is kept for good: an epoch asks for every image once in an order of its own, so none is likelier next.
    """

    def __init__(self, reads: Sequence[Read], prepare: Prepare, allowance: Allowance) -> None:
        self._reads, self._prepare, self._allowance = list(reads), prepare, allowance
        self._kept: dict[int, torch.Tensor] = {}

    @classmethod
    def filled(cls, images: Iterable[bytes], prepare: Prepare, allowance: Allowance) -> PixelStore:
        """The store of images that come one after another: decoded at once while there is room, then kept encoded."""
        store = cls([], prepare, allowance)
        remaining = iter(images)
        while chunk := list(islice(remaining, CHUNK)):
            numbers = range(len(store), len(store) + len(chunk))
            has_room = store.kept == len(store)
            store._reads += [in_memory(image) for image in chunk]
            if has_room:
                store.fetch(numbers)
            for number in store._kept.keys() & set(numbers):
                store._reads[number] = in_memory(b"")  # decoded for good: the encoded image may go
        return store

    def __len__(self) -> int:
        """How many images there are."""
        return len(self._reads)

    @property
    def kept(self) -> int:
        """How many of them are decoded already."""
        return len(self._kept)

    def fetch(self, numbers: Iterable[int]) -> list[torch.Tensor]:
        """The pixels of the images asked for, in that order; those not kept are decoded by a few threads."""
        wanted = [int(number) for number in numbers]
        missing = [number for number in dict.fromkeys(wanted) if number not in self._kept]
        fresh = dict(zip(missing, decoded((self._reads[number] for number in missing), self._prepare), strict=True))
        self._kept |= {number: pixels for number, pixels in fresh.items() if self._allowance.take(pixels.nbytes)}
        return [fresh[number] if number in fresh else self._kept[number] for number in wanted]


def decoded(reads: Iterable[Read], prepare: Prepare) -> Iterator[torch.Tensor]:
    """Yields the pixels of each image in turn, decoded by a few threads that are gone when the last one is yielded.

    The images are taken CHUNK at a time. Pillow decodes and resizes without holding Python's lock.
    """
    remaining = iter(reads)
    chunk = list(islice(remaining, CHUNK))
    if len(chunk) < 2:
        yield from (prepare(read()) for read in chunk)
        return
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        while chunk:
            yield from pool.map(lambda read: prepare(read()), chunk)
            chunk = list(islice(remaining, CHUNK))


def in_memory(image: bytes) -> Read:
    """The Read of an encoded image that is there already."""
    return lambda: image


def evaluation_preparation(clip: Clip) -> Prepare:
    """One image at a time under the evaluation transform (clip.images.evaluation_pixels): uint8 [3, S, S]."""
    return lambda image: evaluation_pixels(clip, [image])[0]
