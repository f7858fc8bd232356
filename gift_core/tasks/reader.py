"""Decodes the images of a listing in their order, and says of each that cannot be decoded what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gift_core.artifacts.task import LabelledImage
from gift_core.config.experiment import IngestConfig
from gift_core.errors import UserError
from gift_core.tasks.images import plain_image
from gift_core.tasks.listing import Item, Listing
from gift_core.tasks.source import TaskSource

NAMED = 5  # bad files that an error names
_GROWTH = 3  # at most, of a file that must be encoded again as PNG
_SHRUNK_PIXELS = 2  # of an image of ratio 2:1, in squares of its shorter side


def read_listing(listing: Listing, place: str, *, on_bad_image: str, stored: IngestConfig) -> TaskSource:
    """Returns the listing as a source: images are read when they are asked for, and stored as `stored` says.

    `place` begins the errors. UserError, while the streams are consumed: for images that cannot be decoded, where
    on_bad_image is "refuse" (after the last, naming the first five), and where a class has none left, where "skip".
    """
    reader = _Reader(listing, place, on_bad_image, stored)
    return TaskSource(
        class_names=listing.class_names,
        templates=listing.templates,
        counts={"train": len(listing.train), "test": len(listing.test)},
        expected_bytes=sum(_expected_bytes(item, stored) for item in (*listing.train, *listing.test)),
        train=reader.read_train(),
        test=reader.read_test(),
        notes=listing.notes,
        skipped=reader.bad,
    )


@dataclass
class _Reader:
    """Decodes both splits, and keeps the images that could not be decoded: (name, reason)."""

    listing: Listing
    place: str
    on_bad_image: str
    stored: IngestConfig
    bad: list[tuple[str, str]] = field(default_factory=list)

    def read_train(self) -> Iterator[LabelledImage]:
        """Yields the images to learn from; UserError where a class has none left after skipping."""
        seen = [0] * len(self.listing.class_names)
        for image in self._decode(self.listing.train):
            seen[image[2]] += 1
            yield image
        if self.on_bad_image == "skip" and 0 in seen:
            name = self.listing.class_names[seen.index(0)]
            what = f"no image of class {name!r} can be decoded, so it cannot be learned"
            raise UserError(f"{self.place}: {what}. Replace its images, or remove the class.")

    def read_test(self) -> Iterator[LabelledImage]:
        """Yields the images to test on; UserError for bad images of either split where refused, or for none."""
        read = 0
        for image in self._decode(self.listing.test):
            read += 1
            yield image
        if self.bad and self.on_bad_image == "refuse":
            raise UserError(self._refusal())
        if not read:
            raise UserError(f"{self.place}: no test image can be decoded. Replace the images.")

    def _decode(self, items: Sequence[Item]) -> Iterator[LabelledImage]:
        stored = self.stored
        for item in items:
            try:
                image, extension = plain_image(item.read(), stored.image_format, shorter_side=stored.shorter_side)
            except MemoryError:
                raise  # no fault of the image
            except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error and others
                self.bad.append((item.name, _reason(error)))
            else:
                yield image, extension, item.label

    def _refusal(self) -> str:
        named = ", ".join(f"{file} ({reason})" for file, reason in self.bad[:NAMED])
        more = f" and {len(self.bad) - NAMED} more" if len(self.bad) > NAMED else ""
        images = "image" if len(self.bad) == 1 else "images"
        what = f"{len(self.bad)} {images} cannot be decoded: {named}{more}"
        return f"{self.place}: {what}. Repair or remove them, or set on_bad_image: skip."


def _expected_bytes(item: Item, stored: IngestConfig) -> int:
    """At most so many bytes are stored of the image, as far as its file's size tells."""
    whole = _GROWTH * item.size
    return whole if stored.shorter_side is None else min(whole, 3 * _SHRUNK_PIXELS * stored.shorter_side**2)


def _reason(error: Exception) -> str:
    """The error's first line without the bytes and addresses that Pillow puts into it: the same on each run."""
    return "not an image" if "cannot identify" in str(error) else (str(error).splitlines() or [type(error).__name__])[0]
