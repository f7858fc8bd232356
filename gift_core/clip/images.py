"""Encoded images to pixels: decoding, the evaluation transform, a cache of pixels.

B images, C channels, H W pixels, S side of the model's images.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from gift_core.clip.model import Clip

Read = Callable[[], bytes]  # returns one encoded image; may be called from several threads at once
Prepare = Callable[[bytes], torch.Tensor]  # one encoded image to uint8 [3, H, W]

CACHE_BYTES = 2**31  # of decoded pixels: 2 GiB for the images of a step's task, and as much for its replay
DECODERS = min(8, os.cpu_count() or 1)
CHUNK = 64  # encoded images that are in memory at once while a stream is decoded


def decode(image_bytes: bytes) -> Image.Image:
    """The RGB image in `image_bytes` (any format that Pillow reads). OSError if it is damaged."""
    try:
        with Image.open(io.BytesIO(image_bytes)) as image:
            rgb: Image.Image = image.convert("RGB")
            return rgb
    except (MemoryError, OSError):
        raise
    except Exception as error:  # Pillow raises ValueError, SyntaxError, struct.error and others
        raise OSError(f"the image cannot be decoded ({type(error).__name__}: {error})") from None


def pixels_of(image: Image.Image) -> torch.Tensor:
    """uint8 [3, H, W] of an RGB image, at its own size."""
    data = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return data.reshape(image.height, image.width, 3).permute(2, 0, 1).contiguous()


def evaluation_transform(clip: Clip) -> Callable[[Image.Image], torch.Tensor]:
    """open_clip's transform for evaluation: resize, center crop, normalize. RGB image to float32 [3, S, S]."""
    transform: Callable[[Image.Image], torch.Tensor] = image_transform_v2(
        PreprocessCfg(**clip.config["preprocess_cfg"]), is_train=False
    )
    return transform


def evaluation_preparation(clip: Clip) -> Prepare:
    """A function from one encoded image to uint8 [3, S, S], under the evaluation transform.

    `normalize` of the result equals open_clip's transform exactly. Its last two steps convert to float and normalize;
    all steps before them take and return Pillow images, so their result is whole gray levels.
    """
    resizing = evaluation_transform(clip).transforms[:-2]  # type: ignore[attr-defined]

    def prepare(image_bytes: bytes) -> torch.Tensor:
        image = decode(image_bytes)
        for step in resizing:
            image = step(image)
        return pixels_of(image)

    return prepare


def evaluation_pixels(clip: Clip, images: Iterable[bytes]) -> torch.Tensor:
    """uint8 [B, 3, S, S] of encoded images, under the evaluation transform: a quarter of the memory of float32."""
    rows = list(decoded(map(in_memory, images), evaluation_preparation(clip)))
    return torch.stack(rows) if rows else torch.empty(0, 3, clip.image_size, clip.image_size, dtype=torch.uint8)


def normalize(clip: Clip, pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """float32 on the model's device, normalized by the model's own mean and deviation per channel.

    `pixels_BCHW` holds gray levels 0-255, uint8 or float.
    """
    preprocess = clip.config["preprocess_cfg"]
    mean_C11, std_C11 = (_per_channel(tuple(preprocess[name]), clip.device) for name in ("mean", "std"))
    return (pixels_BCHW.to(clip.device).float() / 255 - mean_C11) / std_C11


@cache  # made once: a copy from Python's numbers waits for all that is queued on a GPU
def _per_channel(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, device=device).reshape(-1, 1, 1)


class CacheBudget:
    """Bytes of memory that several caches share."""

    def __init__(self, free: int = CACHE_BYTES) -> None:
        self.free = free

    def take(self, size: int) -> bool:
        """Reserves `size` bytes; False, and nothing reserved, where fewer are free."""
        if size > self.free:
            return False
        self.free -= size
        return True


class PixelCache:
    """Pixels of numbered images. They are decoded when first requested, and kept while the budget lasts.

    Nothing is evicted: each epoch requests every image once in a new order, so no image is more likely to come next.
    """

    def __init__(self, reads: Sequence[Read], prepare: Prepare, cache_budget: CacheBudget) -> None:
        self._reads, self._prepare, self._budget = list(reads), prepare, cache_budget
        self._cached: dict[int, torch.Tensor] = {}

    @classmethod
    def filled(
        cls, images: Iterable[tuple[bytes, Read | None]], prepare: Prepare, cache_budget: CacheBudget
    ) -> PixelCache:
        """A cache of a stream of (encoded image, a reader of it or None), decoded at once while the budget lasts.

        The others are read again when they are requested. Those that nothing reads again stay in memory, encoded.
        """
        cache = cls([], prepare, cache_budget)
        remaining = iter(images)
        while chunk := list(islice(remaining, CHUNK)):
            numbers = range(len(cache), len(cache) + len(chunk))
            has_room = cache.cached_count == len(cache)
            cache._reads += [in_memory(image) for image, _ in chunk]
            if has_room:
                cache.fetch(numbers)
            for number, (_, read_again) in zip(numbers, chunk, strict=True):
                if read_again or number in cache._cached:
                    cache._reads[number] = read_again or in_memory(b"")  # frees the encoded image
        return cache

    def __len__(self) -> int:
        """Number of images."""
        return len(self._reads)

    @property
    def cached_count(self) -> int:
        """Number of images whose pixels are cached."""
        return len(self._cached)

    def fetch(self, numbers: Iterable[int]) -> list[torch.Tensor]:
        """The pixels of the images `numbers`, in that order. A few threads decode those that are not cached."""
        wanted = [int(number) for number in numbers]
        missing = [number for number in dict.fromkeys(wanted) if number not in self._cached]
        fresh = dict(zip(missing, decoded((self._reads[number] for number in missing), self._prepare), strict=True))
        self._cached |= {number: pixels for number, pixels in fresh.items() if self._budget.take(pixels.nbytes)}
        return [fresh[number] if number in fresh else self._cached[number] for number in wanted]


def decoded(reads: Iterable[Read], prepare: Prepare) -> Iterator[torch.Tensor]:
    """Yields the pixels of each image in order, decoded by a few threads that end with the last image.

    CHUNK images are read at a time. Threads suffice: Pillow decodes and resizes without holding Python's lock.
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
    """A Read that returns `image`."""
    return lambda: image
