"""Images kept from earlier tasks: exemplars.tar, and exemplars.parquet, which lists them and notes the tar's hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from gift_core.artifacts.contract import broken, require_hash, sha256_of
from gift_core.artifacts.tables import read_table, write_table
from gift_core.artifacts.tars import image_extension, read_tar, write_tar

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

    Without exemplars, as before the first task, the table has no rows and there is no tar. ContractError if keys
    repeat or ranks have a gap, ValueError for an image that is neither PNG nor JPEG.
    """
    rows = [{name: getattr(exemplar, name) for name in SCHEMA.names} for exemplar in exemplars]
    _require_sound(folder / TABLE, rows)
    tar = folder / TAR
    if exemplars:
        write_tar(tar, ((exemplar.key, {image_extension(exemplar.image): exemplar.image}) for exemplar in exemplars))
    else:
        tar.unlink(missing_ok=True)
    notes = {HASH: sha256_of(tar)} if exemplars else {}
    write_table(folder / TABLE, pa.Table.from_pylist(rows, schema=SCHEMA), notes)


def read_exemplars(folder: Path) -> list[Exemplar]:
    """Returns the exemplars in the order they were written.

    ContractError if a file is missing or damaged, the tar is not the one the table was written for, keys repeat or
    ranks have a gap.
    """
    table, notes = read_table(folder / TABLE, SCHEMA, STAGE)
    rows = table.to_pylist()
    _require_sound(folder / TABLE, rows)
    if not rows:
        return []
    require_hash(folder / TAR, notes.get(HASH, "none noted"), STAGE)
    images = {key: _image(folder / TAR, key, files) for key, files, _ in read_tar(folder / TAR, STAGE)}
    if list(images) != [row["key"] for row in rows]:
        found = f"there are {len(images)} images and {len(rows)} rows"
        raise broken(folder / TAR, f"its keys should be those of {TABLE} in the same order, {found}", STAGE)
    return [Exemplar(**row, image=images[row["key"]]) for row in rows]


def _image(tar: Path, key: str, files: Mapping[str, bytes]) -> bytes:
    if len(files) != 1 or not set(files) <= {"png", "jpg"}:
        raise broken(tar, f"sample {key} should be one png or jpg, it is {', '.join(files)}", STAGE)
    return next(iter(files.values()))


def _require_sound(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    if any(value is None for row in rows for value in row.values()):
        raise broken(path, "there should be no empty cell", STAGE)
    different = len({row["key"] for row in rows})
    if different != len(rows):
        raise broken(path, f"keys should be unique, but {len(rows)} rows have {different} different keys", STAGE)
    seen: Counter[tuple[object, object]] = Counter()
    for row in rows:
        label = (row["task"], row["label"])
        if row["rank"] != seen[label]:
            what = f"ranks of a class should be 0, 1, 2, ... in this order, but {row['key']} has rank {row['rank']}"
            raise broken(path, f"{what} instead of {seen[label]}", STAGE)
        seen[label] += 1
