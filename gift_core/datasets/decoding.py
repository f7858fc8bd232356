"""Decodes the images of a data set, and stores them as plain RGB: upright, without palette or transparency, one frame.

H, W: the height and width of an image.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps

from gift_core.artifacts.tars import encode_image
from gift_core.artifacts.task import LabeledImage
from gift_core.config.experiment import IngestConfig
from gift_core.datasets.dataset import Dataset, Sample
from gift_core.errors import UserError
from gift_core.quantities import first_names, plural
from gift_core.work.overlap import in_order

HEIC_SUFFIXES = (".heic", ".heif", ".hif")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", *HEIC_SUFFIXES, ".bmp", ".gif", ".tif", ".tiff")
HEIC_REMEDY = "make setup EXTRAS=heic, or pip install 'gift-pipeline[heic]'"
MAX_ASPECT = 200  # a model's transform makes the shorter side as large as its images, so the longer one explodes


class BadImageError(ValueError):
    """An image that cannot be decoded. The message is the reason, in one line."""


@contextmanager
def bad_image_errors() -> Iterator[None]:
    """Turns whatever an image raises in the block into a BadImageError.

    A lack of memory stays a MemoryError: it is not the fault of the image, whose number of pixels is limited.
    """
    try:
        yield
    except (MemoryError, BadImageError):
        raise
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadImageError(f"more than {limit / 1e6:.0f} million pixels: shrink it beforehand") from None
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error, KeyError and others
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = "not an image" if "cannot identify" in text else text  # without the memory address
        raise BadImageError((text.splitlines() or [""])[0] or type(error).__name__) from None


@dataclass
class Decoder:
    """Decodes the images of a data set, and encodes them as `stored` says. `location` begins the error messages.

    `bad` collects the images that cannot be decoded: (name, reason); `first_of_several` those that have other frames or
    pages behind the one that is stored. Of images with the same bytes as an earlier one, `in_both` are those of another
    split, and `relabeled` those with another label (of pairs: all).
    """

    dataset: Dataset
    location: str
    on_bad_image: str
    stored: IngestConfig
    bad: list[tuple[str, str]] = field(default_factory=list)
    first_of_several: list[str] = field(default_factory=list)
    in_both: list[str] = field(default_factory=list)
    relabeled: list[str] = field(default_factory=list)
    _first: dict[bytes, tuple[str, str]] = field(default_factory=dict)  # split and label where bytes were first read

    def images(self, split: str, samples: Sequence[Sample]) -> Iterator[LabeledImage]:
        """Yields the images of a split in their order.

        After the last test image UserError if bad images of any split are refused, and after the last one of a split if
        skipping leaves none of it, or none of a class for training.
        """
        has_captions = self.dataset.has_captions
        sound = set[str]()
        numbers = {label: number for number, label in enumerate(self.dataset.classes)}
        for sample, (digest, stored) in zip(samples, in_order(self._stored, samples), strict=True):
            if digest:
                self._compare_with_first(sample, split, digest)
            if isinstance(stored, BadImageError):
                self.bad.append((sample.name, str(stored)))
                continue
            image, extension, has_others = stored
            if has_others:
                self.first_of_several.append(sample.name)
            sound.add(sample.label)
            yield image, extension, sample.captions if has_captions else numbers[sample.label]
        self._require_enough(split, samples, sound)

    def _compare_with_first(self, sample: Sample, split: str, digest: bytes) -> None:
        label = sample.name if self.dataset.has_captions else sample.label
        first_split, first_label = self._first.setdefault(digest, (split, label))
        if first_split != split:
            self.in_both.append(sample.name)
        if first_label != label:
            self.relabeled.append(sample.name)

    def _require_enough(self, split: str, samples: Sequence[Sample], sound: Collection[str]) -> None:
        """Raises UserError as `images` says. `sound`: the labels of images of the split that can be decoded."""
        if self.on_bad_image == "refuse":
            if self.bad and split != "train":  # the error names the bad training images, too
                named = first_names([f"{file} ({reason})" for file, reason in self.bad])
                problem = f"{plural(len(self.bad), 'image')} cannot be decoded: {named}"
                raise UserError(f"{self.location}: {problem}. Repair or remove them, or set on_bad_image: skip.")
            return
        kind = "training" if split == "train" else split
        lost = [sample.label for sample in samples if sample.label not in sound]
        if lost and not sound:
            raise UserError(f"{self.location}: no {kind} image can be decoded. Replace the images.")
        if lost and split == "train" and not self.dataset.has_captions:
            problem = f"no training image of class {self.dataset.classes[lost[0]]!r} can be decoded"
            raise UserError(f"{self.location}: {problem}. Replace the images, or remove the class.")

    def _stored(self, sample: Sample) -> tuple[bytes, tuple[bytes, str, bool] | BadImageError]:
        """A hash of the file, and the encoded image, its extension, and whether the file has other frames or pages."""
        digest = b""
        try:
            data = read_image(sample)
            digest = digest_of(data)
            return digest, plain_image(data, self.stored.image_format, shorter_side=self.stored.shorter_side)
        except BadImageError as error:
            return digest, error


def read_image(sample: Sample) -> bytes:
    """Returns the bytes of an image file. BadImageError if it cannot be read."""
    with bad_image_errors():
        return sample.read()


def digest_of(data: bytes) -> bytes:
    """Returns the hash of an image file, 16 bytes, by which copies are found."""
    return hashlib.blake2b(data, digest_size=16).digest()


def plain_image(data: bytes, image_format: str, *, shorter_side: int | None) -> tuple[bytes, str, bool]:
    """Returns (encoded image, its extension, whether the file has other frames or pages).

    The image is the file's own bytes if they are plain, otherwise a new encoding.

    Plain is an upright RGB JPEG, or a PNG with 8 bits per channel and one frame. Everything else is encoded as
    `image_format` (png or jpg) of 8-bit RGB: upright, on white, the first frame. A shorter side above `shorter_side`
    pixels is shrunk to it; None shrinks nothing. The content of a file decides its format, not its name.
    BadImageError if Pillow cannot decode the file, or if the image has too many pixels or is too narrow.
    """
    with _decoded(data) as image:
        kind = {"JPEG": "jpg", "PNG": "png"}.get(image.format or "")
        upright = image.getexif().get(0x0112, 1) == 1  # the orientation
        has_others = bool(getattr(image, "is_animated", False))
        plain = image.mode == "RGB" and "transparency" not in image.info and not has_others
        small = shorter_side is None or min(image.size) <= shorter_side
        has_16_bits = kind == "png" and data[24] == 16  # the bit depth, which Pillow does not show
        if kind and upright and plain and small and not has_16_bits:
            return data, kind, False
        image = _to_rgb(image)
        if shorter_side is not None and not small:
            width, height = (round(side * shorter_side / min(image.size)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BICUBIC)  # with antialiasing
        return encode_image(image, image_format), image_format, has_others


def decoded_image(data: bytes) -> Image.Image:
    """Returns the whole image as upright RGB. BadImageError as plain_image."""
    with _decoded(data) as image:
        return _to_rgb(image)


@contextmanager
def _decoded(data: bytes) -> Iterator[Image.Image]:
    with bad_image_errors(), _open(data) as image:
        shorter, longer = sorted(image.size)
        if longer > MAX_ASPECT * shorter:
            size = f"{image.width} x {image.height} pixels"
            raise BadImageError(f"{size}: one side is more than {MAX_ASPECT} times the other, crop it")
        image.load()  # decodes the whole file, so a truncated one is noticed here
        yield image


def _open(data: bytes) -> Image.Image:
    """Pillow reads HEIC if pillow-heif is installed. AVIF begins alike, and is Pillow's own."""
    if data[4:11] in (b"ftyphei", b"ftyphev", b"ftypmif", b"ftypmsf") and b"avif" not in data[8:64]:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise BadImageError(f"HEIC is read by pillow-heif ({error}): {HEIC_REMEDY}") from None
        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return Image.open(io.BytesIO(data))


def _to_rgb(image: Image.Image) -> Image.Image:
    """The image as viewers show it, as 8-bit RGB: upright, and on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_wide_gray(image)
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _from_wide_gray(image: Image.Image) -> Image.Image:
    """Converts gray with more than 8 bits. 16-bit values keep their upper byte; Pillow's own convert would clip at 255.

    Floats up to 1 are fractions of white. A transparent gray value, which PNG names in its header, becomes white.
    BadImageError for values that are not numbers.
    """
    values_HW = np.asarray(image).astype(np.float64)
    if not np.isfinite(values_HW).all():
        raise BadImageError("it has values that are infinite or not numbers")
    gray_HW = values_HW
    if image.mode.startswith("I;16") or values_HW.max() > 255:
        gray_HW = values_HW / 257  # 65535 -> 255
    elif image.mode == "F" and values_HW.max() <= 1:
        gray_HW = values_HW * 255
    if "transparency" in image.info:
        gray_HW = np.where(values_HW == image.info["transparency"], 255, gray_HW)
    return Image.fromarray(np.clip(np.rint(gray_HW), 0, 255).astype(np.uint8)).convert("RGB")
