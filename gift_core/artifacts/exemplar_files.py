"""Images kept from earlier tasks: exemplars.tar, and exemplars.parquet, which lists them and notes the tar's hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from gift_core.artifacts.contract import require_hashes, sha256_of
from gift_core.artifacts.tables import read_table, write_table
from gift_core.artifacts.tars import image_extension, stored_samples, write_tar

STAGE = "teach"
TAR, TABLE = "exemplars.tar", "exemplars.parquet"
HASH = "tar_sha256"  # in the table's metadata; missing if there is no tar
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("task", pa.string()),
        ("label", pa.int64()),
        ("class_name", pa.string()),
        ("prompt", pa.string()),
        ("rank", pa.int64()),  # 0: chosen first within its class
    ]
)


@dataclass(frozen=True)
class Exemplar:
    """A kept image (encoded, PNG or JPEG) of class `label` of `task`, with the class's prompt.

    `rank` counts within the class from 0, the image chosen first. To keep fewer images of a class, keep those of the
    lowest ranks.
    """

    key: str
    task: str
    label: int
    class_name: str
    prompt: str
    rank: int
    image: bytes


def write_exemplars(folder: Path, exemplars: Sequence[Exemplar]) -> None:
    """Writes exemplars.tar and then exemplars.parquet. The same exemplars give the same bytes.

    Without exemplars, as before the first task, the table has no rows and there is no tar. ValueError for an image
    that is neither PNG nor JPEG.
    """
    tar = folder / TAR
    if exemplars:
        write_tar(tar, ((exemplar.key, {image_extension(exemplar.image): exemplar.image}) for exemplar in exemplars))
    else:
        tar.unlink(missing_ok=True)
    rows = [{name: getattr(exemplar, name) for name in SCHEMA.names} for exemplar in exemplars]
    notes = {HASH: sha256_of(tar)} if exemplars else {}
    write_table(folder / TABLE, pa.Table.from_pylist(rows, schema=SCHEMA), notes)


def read_exemplars(folder: Path) -> list[Exemplar]:
    """Returns the exemplars in the order they were written.

    ContractError if a file is missing or damaged, or the tar is not the one the table was written for.
    """
    table, notes = read_table(folder / TABLE, SCHEMA, STAGE)
    rows = table.to_pylist()
    if not rows:
        return []
    require_hashes(folder, {TAR: notes.get(HASH, "none noted")}, STAGE)
    images = [image.read() for _, files in stored_samples(folder / TAR, STAGE) for image in files.values()]
    return [Exemplar(**row, image=image) for row, image in zip(rows, images, strict=True)]
