"""Byte-stable tars of samples in WebDataset's layout: one key a sample, one file an extension."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gift_core.artifacts.atomic import broken, require_file, write_atomically

Sample = tuple[str, Mapping[str, bytes]]


def write_tar(path: Path, samples: Iterable[Sample]) -> None:
    """Writes samples (key, {extension: bytes}) in the order given; the same samples give the same bytes.

    Time, owner and mode are fixed and extensions sorted. Keys must have no dot, slash or leading underscores
    (WebDataset would read them otherwise), and must not come twice.
    """
    seen: set[str] = set()
    with write_atomically(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, files in samples:
            assert key and not set("./") & set(key) and not key.startswith("__"), f"{key!r} is no WebDataset key"
            assert key not in seen, f"sample {key!r} comes twice"
            seen.add(key)
            for extension in sorted(files):
                _add_file(tar, f"{key}.{extension}", files[extension])


def read_tar(path: Path, stage: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the samples of a tar as WebDataset groups them; ContractError where it is missing or damaged.

    `stage` is the one that makes the tar again.
    """
    from webdataset import tariterators  # imports torch

    require_file(path, stage)
    with path.open("rb") as stream:
        # an open stream and no URL: WebDataset would take braces and colons in a folder's name for its own syntax
        source = [{"url": path.name, "stream": stream}]
        try:
            for sample in tariterators.group_by_keys(tariterators.tar_file_expander(source)):
                yield sample["__key__"], {name: data for name, data in sample.items() if not name.startswith("__")}
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            what = f"it should be a whole tar of samples, but reading it failed ({error.args[0]})"
            raise broken(path, what, stage) from error


def _add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(data))  # TarInfo's own defaults: mtime 0, uid and gid 0, no names
