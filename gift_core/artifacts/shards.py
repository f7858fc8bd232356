"""Synthetic image-text pairs in img2dataset's layout. manifest.json is written last and marks a complete folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, Field

from gift_core.artifacts.contract import broken, read, require_hashes, sha256_of, write_json, write_table
from gift_core.artifacts.tars import StoredFile, image_extension, read_tar, stored_samples, write_tar
from gift_core.errors import ContractError

STAGE = "synthesize"
MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"  # in its place while gift_core.generate_pairs fills a folder
SCHEMA = pa.schema([("key", pa.string()), ("prompt_id", pa.int64()), ("caption", pa.string()), ("status", pa.string())])
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a file beside the manifest


class Stats(BaseModel):
    """The content of NNNNN_stats.json. `sha256` has the hashes of the tar and its table.

    `rejected`: a number of images for each reason, with quality filters.
    """

    count: int
    redrawn: int
    rejected: dict[str, int] | None = None
    sha256: dict[FileName, str]


class Shard(BaseModel):
    """A tar, and by name the hashes of its table and stats, which tools for img2dataset's layout read."""

    name: FileName
    sha256: str
    sidecars: dict[FileName, str]

    @property
    def hashes(self) -> dict[str, str]:
        """{name: SHA-256} of the three files."""
        return {self.name: self.sha256, **self.sidecars}


class Manifest(BaseModel):
    """The content of manifest.json. `environment` is that of the generator (gift_core.provenance)."""

    images: int
    prompts: dict[str, int | str]  # prompt_files.prompts_digest
    shards: list[Shard]
    generator: dict[str, Any]
    redrawn: int
    rejected: dict[str, int] | None = None
    environment: dict[str, str | int] | None = None


@dataclass(frozen=True)
class Pair:
    """A synthetic image (encoded, PNG or JPEG) and the prompt it was generated from.

    `read_again` reads the image once more from its file, also in threads. None: the image is in memory alone.
    """

    key: str
    prompt_id: int
    prompt: str
    image: bytes
    read_again: Callable[[], bytes] | None = field(default=None, compare=False, repr=False)


def pair_key(index: int, position: int) -> str:
    """Returns img2dataset's key of a pair: the shard's name, then the pair's position in four or more digits."""
    return f"{index:05d}{position:04d}"


def columns_of(pairs: Iterable[Pair]) -> tuple[list[str], list[str], list[Callable[[], bytes]]]:
    """Returns the keys, the prompts, and functions that read the images when they are used, which can be pickled."""
    rows = [(pair.key, pair.prompt, pair.read_again or partial(bytes, pair.image)) for pair in pairs]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def write_shard(folder: Path, index: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> Path:
    """Writes a shard: the tar, its table, and last NNNNN_stats.json, which marks the shard as finished. Returns it.

    `stats` is added to the counts in the stats file, and so are the hashes of the other two files. The manifest sums
    its "redrawn" (a number) and, if present, its "rejected" (a number for each reason).
    """
    tar, table, note = _files_of_shard(folder, index)
    rows = [{"key": p.key, "prompt_id": p.prompt_id, "caption": p.prompt, "status": "success"} for p in pairs]
    notes = (json.dumps(row, ensure_ascii=False).encode() for row in rows)
    files = (
        (pair.key, {image_extension(pair.image): pair.image, "txt": pair.prompt.encode(), "json": note})
        for pair, note in zip(pairs, notes, strict=True)
    )
    write_tar(tar, files)
    write_table(table, pa.Table.from_pylist(rows, schema=SCHEMA), {})
    counts = {"count": len(pairs), "successes": len(pairs), "status_dict": {"success": len(pairs)}}
    hashes = {file.name: sha256_of(file) for file in (tar, table)}
    write_json(note, {**counts, "redrawn": 0, **stats, "sha256": hashes})
    return note


def finished_pairs(folder: Path, index: int, prompts: Sequence[tuple[int, str]]) -> list[Pair] | None:
    """Returns the pairs of a finished shard that holds exactly `prompts` (prompt_id, prompt) in their order.

    None if it is unfinished, damaged or another one.
    """
    try:
        tar, _, note = _files_of_shard(folder, index)
        require_hashes(folder, read(Stats, note, STAGE).sha256, STAGE)
        pairs = [_pair(*sample) for sample in read_tar(tar, STAGE)]
    except ContractError:
        return None
    expected = [(pair_key(index, position), *prompt) for position, prompt in enumerate(prompts)]
    return pairs if [(pair.key, pair.prompt_id, pair.prompt) for pair in pairs] == expected else None


def copy_shard(folder: Path, index: int, target: Path) -> None:
    """Copies the files of a finished shard into the folder `target`."""
    for file in _files_of_shard(folder, index):
        shutil.copyfile(file, target / file.name)


def write_manifest(
    folder: Path,
    generator: Mapping[str, Any],
    prompts: Mapping[str, Any],
    environment: Mapping[str, str | int] | None = None,
) -> Manifest:
    """Writes and returns the manifest of the finished shards in `folder`. `prompts` is their prompts_digest."""
    shards = []
    stats_of_shards = []
    for index, _ in enumerate(sorted(folder.glob("*.tar"))):
        tar, table, note = _files_of_shard(folder, index)
        stats = read(Stats, note, STAGE)
        sidecars = {table.name: stats.sha256[table.name], note.name: sha256_of(note)}
        shards.append(Shard(name=tar.name, sha256=stats.sha256[tar.name], sidecars=sidecars))
        stats_of_shards.append(stats)
    filtered = [stats.rejected for stats in stats_of_shards if stats.rejected is not None]
    rejected: Counter[str] = Counter()
    for counts in filtered:
        rejected.update(counts)
    manifest = Manifest(
        images=sum(stats.count for stats in stats_of_shards),
        prompts=dict(prompts),
        shards=shards,
        generator=dict(generator),
        redrawn=sum(stats.redrawn for stats in stats_of_shards),
        rejected=dict(sorted(rejected.items())) if filtered else None,
        environment=None if environment is None else dict(environment),
    )
    write_json(folder / MANIFEST, manifest.model_dump(exclude_none=True))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Returns the manifest. ContractError if it is missing or damaged. The tars may be missing on this machine."""
    return read(Manifest, folder / MANIFEST, STAGE)


def missing_tars(folder: Path, manifest: Manifest) -> list[Path]:
    """Returns the tars that the manifest names and that are not on this machine."""
    tars = [folder / shard.name for shard in manifest.shards]
    return [tar for tar in tars if not tar.is_file()]


def iterate_pairs(folder: Path) -> Iterator[Pair]:
    """Yields all pairs in their order. ContractError for a missing or changed file, or an incomplete pair."""
    for shard in read_manifest(folder).shards:
        require_hashes(folder, shard.hashes, STAGE)
        for sample in read_tar(folder / shard.name, STAGE):
            yield _pair(*sample)


def read_pairs(folder: Path, prompt_ids: Collection[int]) -> dict[int, Pair]:
    """Returns the pairs of these prompts by prompt_id, and reads no further than the last of them.

    ContractError for a tar that is damaged or not the one of the manifest.
    """
    wanted = set(prompt_ids)
    pairs = dict[int, Pair]()
    for shard in read_manifest(folder).shards:
        if pairs.keys() == wanted:
            break
        require_hashes(folder, {shard.name: shard.sha256}, STAGE)
        for key, files in stored_samples(folder / shard.name, STAGE):
            if json.loads(files["json"].read())["prompt_id"] in wanted:
                pair = _pair(key, files, {extension: file.read() for extension, file in files.items()})
                pairs[pair.prompt_id] = pair
    return pairs


def _files_of_shard(folder: Path, index: int) -> tuple[Path, Path, Path]:
    """The tar, its table, and the stats file, which is written last."""
    return folder / f"{index:05d}.tar", folder / f"{index:05d}.parquet", folder / f"{index:05d}_stats.json"


def _pair(key: str, files: Mapping[str, StoredFile], content: Mapping[str, bytes]) -> Pair:
    """The pair of a sample, with its image. It can be read again."""
    try:
        image = "png" if "png" in files else "jpg"
        prompt_id = int(json.loads(content["json"])["prompt_id"])
        return Pair(key, prompt_id, content["txt"].decode(), content[image], files[image].read)
    except (LookupError, TypeError, ValueError) as error:
        problem = f"sample {key} should be an image, a txt and a json with a prompt_id ({error!r})"
        raise broken(next(iter(files.values())).tar, problem, STAGE) from error
