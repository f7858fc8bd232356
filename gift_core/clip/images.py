"""Encoded images to pixels: decoding, the evaluation transform, a cache of pixels.

B images, C channels, H W pixels, S side of the model's images.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from gift_core.clip.model import Clip
from gift_core.work.overlap import in_order

Read = Callable[[], bytes]  # returns one encoded image; may be called from several threads at once
Prepare = Callable[[bytes], torch.Tensor]  # one encoded image to uint8 [3, H, W]

CACHE_BYTES = 2**31  # of decoded pixels: 2 GiB for the images of a step's task, and as much for its replay


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
        self._reads = list(reads)
        self._prepare = prepare
        self._budget = cache_budget
        self._cached: dict[int, torch.Tensor] = {}

    def fetch(self, numbers: Iterable[int]) -> list[torch.Tensor]:
        """The pixels of the images `numbers`, in that order. A few threads decode those that are not cached."""
        wanted = [int(number) for number in numbers]
        missing = [number for number in dict.fromkeys(wanted) if number not in self._cached]
        fresh = dict(zip(missing, decoded((self._reads[number] for number in missing), self._prepare), strict=True))
        self._cached |= {number: pixels for number, pixels in fresh.items() if self._budget.take(pixels.nbytes)}
        return [fresh[number] if number in fresh else self._cached[number] for number in wanted]


def decoded(reads: Iterable[Read], prepare: Prepare) -> Iterator[torch.Tensor]:
    """Yields the pixels of each image in order, decoded by a few threads that end with the last image."""
    return in_order(lambda read: prepare(read()), reads)


def in_memory(image: bytes) -> Read:
    """A Read that returns `image`. It can be pickled."""
    return partial(bytes, image)
