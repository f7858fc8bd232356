"""Parquet files that hold their images, as the Hugging Face hub and `datasets.to_parquet` write them.

Labels are read at once, images when they are asked for, a row group at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Any

from gift_core.artifacts.table_files import TEXT
from gift_core.config.tasks import HubTaskConfig, PairsTaskConfig, TableTaskConfig
from gift_core.datasets.dataset import VALIDATION, Listing, Sample, validation_note
from gift_core.datasets.spelling import plain_captions, plain_name, require_split, split_within
from gift_core.errors import UserError, did_you_mean, explained
from gift_core.progress import progress
from gift_core.untrusted import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

MAX_GROUP_BYTES = 2 << 30  # of the decoded images of a row group
ROWS = 16  # that are decoded at once: in a small file, an entry of a dictionary can stand for terabytes
KEPT_GROUPS = 2
# The types of columns, as pyarrow spells them.
IMAGES = re.compile(r"(large_)?binary|struct<(.*, )?bytes: (large_)?binary.*")
_LIST, _NUMBER = re.compile(r"(large_)?list<\w+: (large_)?string>"), re.compile(r"u?int\d+")
_PART = re.compile(r"(.+?)-\d{4,6}-of-\d{4,6}")
_NAMES = re.compile(r"(label|class|category|species)?(_?(text|names?|str))?")  # columns of names, also beside numbers


@dataclass(frozen=True)
class Features:
    """The columns of a schema that have images, labels and captions, the likeliest first.

    `labels`: {column: the names of its numbers}, () for texts, None for numbers without names.
    """

    images: list[str]
    labels: Mapping[str, tuple[str, ...] | None]
    captions: list[str]


def features_of(schema: pa.Schema) -> Features:
    """Returns what the types of the columns and the metadata of `datasets` (ClassLabel) say."""
    try:
        known = parse_json((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = {name: tuple(map(str, known[name]["names"])) for name in known if "names" in known[name]}
    except (KeyError, TypeError, ValueError):  # other programs write none
        names = {}

    def columns(kind: re.Pattern[str]) -> list[str]:
        return [column.name for column in schema if kind.fullmatch(str(column.type))]

    texts = sorted(columns(TEXT), key=lambda name: not _NAMES.fullmatch(name))
    numbers = columns(_NUMBER)
    named = {name: names[name] for name in numbers if name in names}
    unnamed = {name: None for name in numbers if name not in names}
    captions = sorted((*columns(_LIST), *texts), key=lambda name: "caption" not in name)
    return Features(columns(IMAGES), {**named, **dict.fromkeys(texts, ()), **unnamed}, captions)


def parquet_errors(path: Path, location: str) -> AbstractContextManager[None]:
    """Turns what pyarrow raises in the block into a UserError that names the file."""
    remedy = "Write it again, or remove the folder and fetch it again."
    return explained(f"{location}: {path.name} cannot be read as Parquet", remedy)


def split_by_name(name: str) -> tuple[str, str]:
    """Returns the config and the split of a file: data/train-00000-of-00002.parquet, <config>/train/0000.parquet, ...

    The config may be empty. A name that says nothing is of the split train.
    """
    path = PurePosixPath(name)
    folders = [folder for folder in path.parts[:-1] if folder != "data"]
    part = _PART.match(path.stem)
    if part:
        split = part[1] if "-" not in part[1] else split_within(part[1]) or part[1]
    elif folders and split_within(path.stem) is None:
        split = folders.pop().removeprefix("partial-")  # of the hub, which converts the first 5 GB
    else:
        split = split_within(path.stem) or "train"
    return "/".join(folders), split


def list_parquet(
    files: Mapping[str, Sequence[Path]],
    config: TableTaskConfig | HubTaskConfig | PairsTaskConfig,
    *,
    folder: Path,
    location: str,
) -> Listing:
    """Returns the images of the files by split, in the order of the rows. No image is read.

    UserError for a damaged file, a missing column or one of a wrong type, a row without label or captions, and numbers
    without names. Several caption columns are joined with "::".
    """
    import pyarrow.parquet as pq

    rows: list[tuple[str, str, str, partial[bytes]]] = []
    read_group = lru_cache(KEPT_GROUPS)(partial(_read_group, str(config.image_column)))
    image = partial(_read_image, read_group, Lock())
    total = 0
    split_column = getattr(config, "split_column", None)
    paths = [(split, path) for split in files for path in files[split]]
    for split, path in progress(paths, len(paths), "list images"):
        name = path.relative_to(folder).as_posix()
        place = f"{location}: {name}"
        with parquet_errors(path, location), pq.ParquetFile(path) as opened:
            texts = _texts(opened, path, config, place)
            counts = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
            total += path.stat().st_size
            splits = _values(path, split_column, (), place) if split_column else [split] * len(texts)
        reads = [partial(image, path, group, row) for group, count in enumerate(counts) for row in range(count)]
        for number, (text, value, read) in enumerate(zip(texts, splits, reads, strict=True), 1):
            of_row = require_split(value, f"{place}: row {number}")
            if text:
                rows.append((text, f"{name}, row {number}", of_row, read))
            elif of_row != VALIDATION:
                raise UserError(f"{place}: row {number} has no label or caption. Fill it in, or remove the row.")
    size = total // max(len(rows), 1)  # the same for all, as copies are looked for among images of one size
    samples = [Sample(text, name, size, read, split) for text, name, split, read in rows]
    return Listing(samples, location, validation_note(f"split {VALIDATION}", (row[2] for row in rows)))


def _texts(opened: Any, path: Path, config: TableTaskConfig | HubTaskConfig | PairsTaskConfig, place: str) -> list[str]:
    """The labels of all rows, or their captions, one a line."""
    schema = opened.schema_arrow
    features = features_of(schema)
    _require_column(schema, str(config.image_column), features.images, place)
    if not isinstance(config, PairsTaskConfig):
        _require_column(schema, config.label_column, [*features.labels], place)
        names = features.labels[config.label_column]
        if names is None and config.class_names is None:
            raise UserError(f"{place}: {unnamed_labels(features, config.label_column)}")
        return _values(path, config.label_column, names or (), place)
    columns = str(config.caption_column).split("::")
    for column in columns:
        _require_column(schema, column, features.captions, place)
    texts = []
    for batch in opened.iter_batches(ROWS, columns=columns, use_threads=False):
        for row in batch.to_pylist():
            captions = list[str | None]()
            for column in columns:
                captions += row[column] if isinstance(row[column], list) else [row[column]]
            texts.append(plain_captions("\n".join(plain_name(caption) for caption in captions if caption is not None)))
    return texts


def _require_column(schema: pa.Schema, column: str, known: Sequence[str], place: str) -> None:
    """Raises UserError if the column is missing or not one of the `known`, those of the type that is needed."""
    if column not in known:
        problem = f"holds {schema.field(column).type}" if column in schema.names else "is missing"
        raise UserError(f"{place}: column {column!r} {problem}. {did_you_mean(column, known)}")


def unnamed_labels(features: Features, column: str) -> str:
    """Returns what is wrong with a column of numbers without names, and the ways out."""
    with_names = next((name for name, names in features.labels.items() if names is not None), None)
    remedy = f", or read names: --label-column {with_names}" if with_names else ""
    problem = f"column {column!r} has numbers, and neither the schema nor README.md has names for them"
    return f"{problem}. Give names in the order of the numbers: --class-names names.txt (class_names){remedy}."


def _values(path: Path, column: str, names: Sequence[str], place: str) -> list[str]:
    """The values of all rows as texts, or their names. Each distinct one is converted once."""
    import pyarrow.parquet as pq

    values = list[str]()
    with pq.ParquetFile(path, read_dictionary=[column]) as opened:
        chunks = opened.read(columns=[column]).column(column).dictionary_encode().chunks
    for chunk in chunks:
        texts = []
        for value in chunk.dictionary.to_pylist():
            if value is None:
                texts.append("")
            elif not names:
                texts.append(plain_name(str(value)))
            elif 0 <= value < len(names):
                texts.append(plain_name(names[value]))
            else:
                problem = f"column {column!r} has the label {value}, but names for 0 to {len(names) - 1}"
                raise UserError(f"{place}: {problem}. If the split has no labels, do not read it (splits).")
        values += ["" if index is None else texts[index] for index in chunk.indices.to_pylist()]
    return values


def _read_group(column: str, path: Path, group: int) -> pa.ChunkedArray | Exception:
    """Returns the images of a row group, or why it cannot be read, which is the same for all of them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    arrays = list[pa.Array]()
    size = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as opened:
            is_struct = pa.types.is_struct(opened.schema_arrow.field(column).type)
            columns = [f"{column}.bytes" if is_struct else column]
            for batch in opened.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False):
                arrays.append(pc.struct_field(batch.column(0), "bytes") if is_struct else batch.column(0))
                size += arrays[-1].nbytes
                if size > MAX_GROUP_BYTES:
                    limit = f"{MAX_GROUP_BYTES >> 30} GiB of images"
                    raise ValueError(f"row group {group} has more than {limit}: write smaller ones (row_group_size)")
    except Exception as error:  # pyarrow.ArrowException, OSError and others
        return error
    return pa.chunked_array(arrays)


def _read_image(read_group: Callable[[Path, int], Any], lock: Lock, path: Path, group: int, row: int) -> bytes:
    """Returns the bytes of an image. ValueError for a missing one, and for a group that cannot be read."""
    with lock:  # several threads read, and nearly in the order of the rows
        images = read_group(path, group)
    if isinstance(images, Exception):
        raise ValueError(str(images))
    data = images[row].as_py()
    if data is None:
        raise ValueError("the table has no bytes of it")
    return bytes(data)
