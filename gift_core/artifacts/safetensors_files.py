"""The header of a safetensors file, read and checked without loading a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

_WRONG_LENGTH = ("not fully covered", "MetadataIncompleteBuffer")  # of safetensors' errors, by version


class DamagedFileError(ValueError):
    """A file that is not a safetensors file, or is incomplete."""


class StoredTensor(NamedTuple):
    """What the header says of a tensor. `floating`: whether its numbers are floating-point numbers of any precision."""

    shape: tuple[int, ...]
    floating: bool


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor in the file by name, sorted.

    The whole header is checked, and the file's length against it, so a file that was copied only in part is found.
    DamagedFileError says what is wrong, but not the path or the remedy, which the caller knows. OSError where there is
    no file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in sorted(file.keys())}
            return {
                name: StoredTensor(tuple(part.get_shape()), "F" in part.get_dtype()) for name, part in parts.items()
            }
    except SafetensorError as error:
        if any(words in str(error) for words in _WRONG_LENGTH):
            raise DamagedFileError("it was cut short, or has bytes at its end that its header does not list") from error
        raise DamagedFileError(f"its header is damaged: {error}") from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in the file by name, sorted; errors as read_header."""
    return {name: tensor.shape for name, tensor in read_header(path).items()}
