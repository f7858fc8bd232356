"""Reads the tensors of a TorchScript archive without TorchScript. Nothing in the file is executed."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

_DTYPES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}


def is_torchscript(path: Path) -> bool:
    """Whether torch.jit.save wrote the file: a zip archive with code and constants next to the tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """All parameters and buffers of the archive's modules by dotted name, on the CPU.

    UnpicklingError where the archive's pickle names anything but modules, tensors and lists of numbers. ValueError,
    KeyError or BadZipFile where the archive is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} files data.pkl in the archive, expected 1")
        with archive.open(pickles[0]) as file:
            root = _TensorsOnly(file, archive, pickles[0].removesuffix("/data.pkl")).load()
    return _tensors_of(root, "")


class _Module:
    """Replaces any module of the archive. It has its attributes without its code."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


class _TensorsOnly(pickle.Unpickler):
    """Accepts only the few names that a TorchScript archive needs, and replaces them by harmless ones."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of a name in the pickle; UnpicklingError for every name that tensors do not need."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":
            return _first
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no CLIP archive needs")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The storage that `pid` names in the archive, as a one-dimensional tensor."""
        _, dtype, key, _, count = pid
        data = bytearray(self._archive.read(f"{self._folder}/data/{key}"))
        return torch.frombuffer(data, dtype=dtype)[:count] if count else torch.empty(0, dtype=dtype)


def _rebuild(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _first(value: object, *_: object) -> object:
    """Functions of torch.jit._pickle only add the type to a list of numbers: the list is their first argument."""
    return value


def _tensors_of(module: _Module, prefix: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, value in module.attributes.items():
        if isinstance(value, torch.Tensor):
            found[f"{prefix}{name}"] = value
        elif isinstance(value, _Module):
            found |= _tensors_of(value, f"{prefix}{name}.")
    return found
