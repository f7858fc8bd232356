"""Synthetic image-text pairs in img2dataset's layout. manifest.json is written last and marks a complete folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from gift_core.artifacts.atomic import broken, read_json, require_fields, require_hash, sha256_of, write_json
from gift_core.artifacts.tables import write_table
from gift_core.artifacts.tars import image_extension, read_tar, write_tar

STAGE = "synthesize"
MANIFEST = "manifest.json"
SCHEMA = pa.schema([("key", pa.string()), ("prompt_id", pa.int64()), ("caption", pa.string()), ("status", pa.string())])
_FIELDS: dict[str, type | tuple[type, ...]] = {"images": int, "shards": list, "generator": dict, "redrawn": int}


@dataclass(frozen=True)
class Pair:
    """A synthetic image (encoded, PNG or JPEG) and the prompt it was generated from."""

    key: str
    prompt_id: int
    prompt: str
    image: bytes


def shard_name(index: int) -> str:
    """Returns img2dataset's name of a shard without extension, such as "00003"."""
    return f"{index:05d}"


def pair_key(index: int, position: int) -> str:
    """Returns img2dataset's key of a pair: the shard's name, then the pair's position in four or more digits."""
    return f"{shard_name(index)}{position:04d}"


def write_shard(folder: Path, index: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> None:
    """Writes a shard: the tar, its table, and last NNNNN_stats.json, which marks the shard as finished.

    `stats` is added to the counts in the stats file. The manifest sums its "redrawn" (a number) and, if present, its
    "rejected" (a number for each reason).
    """
    name = shard_name(index)
    write_tar(folder / f"{name}.tar", ((pair.key, _files(pair)) for pair in pairs))
    rows = [{"key": p.key, "prompt_id": p.prompt_id, "caption": p.prompt, "status": "success"} for p in pairs]
    write_table(folder / f"{name}.parquet", pa.Table.from_pylist(rows, schema=SCHEMA), {})
    counts = {"count": len(pairs), "successes": len(pairs), "status_dict": {"success": len(pairs)}}
    write_json(folder / f"{name}_stats.json", {**counts, "redrawn": 0, **stats})


def read_shard_stats(folder: Path, index: int) -> dict[str, Any] | None:
    """Returns NNNNN_stats.json of a finished shard, None if the shard is not finished."""
    path = folder / f"{shard_name(index)}_stats.json"
    return read_json(path, STAGE) if path.is_file() else None


def read_shard(folder: Path, index: int) -> Iterator[Pair]:
    """Yields the pairs of a finished shard in their order; the manifest is not needed. ContractError if damaged."""
    tar = folder / f"{shard_name(index)}.tar"
    stats = read_json(folder / f"{shard_name(index)}_stats.json", STAGE)
    count = 0
    for key, files in read_tar(tar, STAGE):
        yield _pair(tar, key, files)
        count += 1
    if count != stats["count"]:
        raise broken(tar, f"there should be {stats['count']} pairs, there are {count}", STAGE)


def write_manifest(folder: Path, generator: Mapping[str, Any]) -> dict[str, Any]:
    """Writes and returns the manifest of all shards in `folder`: images, the tars' hashes, generator, redrawn.

    "rejected" (a number of images for each reason) is there if the shards' stats have it, that is with quality filters.
    """
    shards = {tar.name: sha256_of(tar) for tar in sorted(folder.glob("*.tar"))}
    stats = [read_json(folder / f"{Path(name).stem}_stats.json", STAGE) for name in shards]
    manifest = {
        "images": sum(each["count"] for each in stats),
        "shards": [{"name": name, "sha256": digest} for name, digest in shards.items()],
        "generator": dict(generator),
        "redrawn": sum(each["redrawn"] for each in stats),
        **_rejected(stats),
    }
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest. ContractError if it is missing or damaged, or a tar it names is missing."""
    path = folder / MANIFEST
    manifest = read_json(path, STAGE)
    require_fields(path, manifest, _FIELDS, STAGE)
    _require_rejected(path, manifest.get("rejected", {}))
    for shard in manifest["shards"]:
        require_fields(path, shard, {"name": str, "sha256": str}, STAGE)
        if not (folder / shard["name"]).is_file():
            raise broken(folder / shard["name"], "the file is missing, but manifest.json names it", STAGE)
    return manifest


def iterate_pairs(folder: Path) -> Iterator[Pair]:
    """Yields all pairs in their order. ContractError for a changed tar, an incomplete pair or a wrong count."""
    manifest = read_manifest(folder)
    count = 0
    for shard in manifest["shards"]:
        tar = folder / shard["name"]
        require_hash(tar, shard["sha256"], STAGE)
        for key, files in read_tar(tar, STAGE):
            yield _pair(tar, key, files)
            count += 1
    if count != manifest["images"]:
        raise broken(folder / MANIFEST, f"there should be {manifest['images']} pairs, there are {count}", STAGE)


def first_pairs(folder: Path, count: int) -> list[Pair]:
    """Returns the first `count` pairs of the first shard, fewer if it has fewer. Hashes are not checked."""
    tar = folder / read_manifest(folder)["shards"][0]["name"]
    return [_pair(tar, key, files) for key, files in islice(read_tar(tar, STAGE), count)]


def _rejected(stats: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    filtered = [each["rejected"] for each in stats if "rejected" in each]
    reasons = sorted({reason for each in filtered for reason in each})
    return (
        {"rejected": {reason: sum(each.get(reason, 0) for each in filtered) for reason in reasons}} if filtered else {}
    )


def _require_rejected(path: Path, rejected: object) -> None:
    if not isinstance(rejected, dict) or not all(type(count) is int for count in rejected.values()):
        raise broken(path, f"'rejected' should be a number for each reason, it is {rejected!r}", STAGE)


def _files(pair: Pair) -> dict[str, bytes]:
    note = {"key": pair.key, "prompt_id": pair.prompt_id, "caption": pair.prompt, "status": "success"}
    return {
        image_extension(pair.image): pair.image,
        "txt": pair.prompt.encode(),
        "json": json.dumps(note, ensure_ascii=False).encode(),
    }


def _pair(tar: Path, key: str, files: Mapping[str, bytes]) -> Pair:
    images: Iterable[bytes] = (files[extension] for extension in ("png", "jpg") if extension in files)
    image = next(iter(images), None)
    if image is None or not {"txt", "json"} <= set(files):
        raise broken(tar, f"sample {key} should be an image, a txt and a json, it is {', '.join(files)}", STAGE)
    try:
        return Pair(key, int(json.loads(files["json"])["prompt_id"]), files["txt"].decode(), image)
    except (ValueError, KeyError, TypeError) as error:
        raise broken(tar, f"sample {key} should have a json with a prompt_id ({error!r})", STAGE) from error
