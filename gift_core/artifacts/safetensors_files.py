"""The header of a safetensors file, read and checked without loading a tensor."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

_WRONG_LENGTH = ("not fully covered", "MetadataIncompleteBuffer")  # of safetensors' errors, by version


class DamagedFileError(ValueError):
    """A file that is not a safetensors file, or is incomplete."""


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the file by name, sorted.

    The whole header is checked, and the file's length against it, so a file that was copied only in part is found.
    DamagedFileError says what is wrong, but not the path or the remedy, which the caller knows. OSError where there is
    no file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    except SafetensorError as error:
        if any(words in str(error) for words in _WRONG_LENGTH):
            raise DamagedFileError("it was cut short, or has bytes at its end that its header does not list") from error
        raise DamagedFileError(f"its header is damaged: {error}") from error
