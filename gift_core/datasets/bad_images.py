"""Images that cannot be decoded, and why."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from gift_core.quantities import byte_size

MAX_FILE_BYTES = 2**31  # more than any image within Pillow's limit on pixels needs


class BadImageError(ValueError):
    """An image that cannot be decoded. The message is the reason, in one line."""


@contextmanager
def bad_image_errors() -> Iterator[None]:
    """Turns whatever an image raises in the block into a BadImageError. Pillow's warnings are not printed.

    A lack of memory stays a MemoryError: it is not the fault of the image, whose number of pixels is limited.
    """
    try:
        with _QUIET:
            yield
    except (MemoryError, BadImageError):
        raise
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadImageError(f"more than {limit / 1e6:.0f} million pixels: shrink it beforehand") from None
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error, KeyError and others
        raise BadImageError(_reason(error)) from None


class _WithoutWarnings:
    """warnings.catch_warnings for blocks of several threads at once: the last one to end restores the filters."""

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._blocks:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._blocks += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                self._saved.__exit__(None, None, None)


_QUIET = _WithoutWarnings()


def _reason(error: Exception) -> str:
    """Why an image cannot be decoded, in one line without the memory addresses that Pillow prints."""
    if "cannot identify" in str(error):
        return "not an image"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__


def require_small_file(size: int) -> None:
    """Raises BadImageError for a file that is larger than an image can be."""
    if size > MAX_FILE_BYTES:
        raise BadImageError(f"{byte_size(size)}: shrink it beforehand")
