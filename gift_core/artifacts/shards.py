"""Synthetic image-text pairs in img2dataset's layout. manifest.json is written last and marks a complete folder."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa

from gift_core.artifacts.contract import broken, read_json, require_fields, require_hash, sha256_of, write_json
from gift_core.artifacts.prompt_files import prompts_digest, read_prompts
from gift_core.artifacts.tables import write_table
from gift_core.artifacts.tars import StoredFile, image_extension, index_tar, read_tar, write_tar
from gift_core.errors import ContractError

STAGE = "synthesize"
MANIFEST = "manifest.json"
SCHEMA = pa.schema([("key", pa.string()), ("prompt_id", pa.int64()), ("caption", pa.string()), ("status", pa.string())])
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "images": int,
    "prompts": dict,
    "shards": list,
    "generator": dict,
    "redrawn": int,
}


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


def shard_name(index: int) -> str:
    """Returns img2dataset's name of a shard without extension, such as "00003"."""
    return f"{index:05d}"


def pair_key(index: int, position: int) -> str:
    """Returns img2dataset's key of a pair: the shard's name, then the pair's position in four or more digits."""
    return f"{shard_name(index)}{position:04d}"


def write_shard(folder: Path, index: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> Path:
    """Writes a shard: the tar, its table, and last NNNNN_stats.json, which marks the shard as finished. Returns it.

    `stats` is added to the counts in the stats file, and so are the hashes of the other two files. The manifest sums
    its "redrawn" (a number) and, if present, its "rejected" (a number for each reason).
    """
    tar, table, note = _files_of_shard(folder, index)
    write_tar(tar, ((pair.key, _files(pair)) for pair in pairs))
    rows = [{"key": p.key, "prompt_id": p.prompt_id, "caption": p.prompt, "status": "success"} for p in pairs]
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
        read_shard_stats(folder, index)
        tar = _files_of_shard(folder, index)[0]
        pairs = [_pair(tar, key, files) for key, files, _ in read_tar(tar, STAGE)]
    except ContractError:
        return None
    expected = [(pair_key(index, position), *prompt) for position, prompt in enumerate(prompts)]
    return pairs if [(pair.key, pair.prompt_id, pair.prompt) for pair in pairs] == expected else None


def read_shard_stats(folder: Path, index: int) -> dict[str, Any]:
    """Returns NNNNN_stats.json. ContractError unless tar and table have the hashes noted when they were written."""
    *files, note = _files_of_shard(folder, index)
    stats = read_json(note, STAGE)
    require_fields(note, stats, {"count": int, "redrawn": int, "sha256": dict}, STAGE)
    _require_rejected(note, stats.get("rejected", {}))
    require_fields(note, stats["sha256"], {file.name: str for file in files}, STAGE)
    for file in files:
        require_hash(file, stats["sha256"][file.name], STAGE)
    return stats


def copy_shard(folder: Path, index: int, target: Path) -> None:
    """Copies the files of a finished shard into the folder `target`."""
    for file in _files_of_shard(folder, index):
        shutil.copyfile(file, target / file.name)


def write_manifest(
    folder: Path,
    generator: Mapping[str, Any],
    prompts: Mapping[str, Any],
    environment: Mapping[str, str | int] | None = None,
) -> dict[str, Any]:
    """Checks all shards in `folder`; writes and returns the manifest: images, the tars' hashes, generator, redrawn.

    `prompts` is their prompts_digest. ContractError for a damaged shard, or unless there is one pair for each prompt.
    "rejected" (a number of images for each reason) is there if the shards' stats have it, that is with quality filters.
    `environment` is that of the generator (gift_core.provenance).
    """
    tars = sorted(folder.glob("*.tar"))
    stats = [read_shard_stats(folder, index) for index in range(len(tars))]
    manifest = {
        "images": sum(each["count"] for each in stats),
        "prompts": dict(prompts),
        "shards": [
            {"name": tar.name, "sha256": each["sha256"][tar.name], "sidecars": _sidecar_hashes(folder, tar.name)}
            for tar, each in zip(tars, stats, strict=True)
        ],
        "generator": dict(generator),
        "redrawn": sum(each["redrawn"] for each in stats),
        **_rejected(stats),
        **({} if environment is None else {"environment": dict(environment)}),
    }
    _require_count(folder / MANIFEST, manifest, prompts["count"], "its prompts")
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path, prompts: Path | None = None) -> dict[str, Any]:
    """Returns the manifest. ContractError if it is missing or damaged, or a tar it names is missing.

    With `prompts` (a file of the stage write_prompts), pairs of other prompts are a ContractError, too. It need not be
    on this machine: the count that the manifest has of its prompts is always compared.
    """
    manifest = describe_shards(folder, prompts)
    for tar in missing_tars(folder, manifest):
        raise broken(tar, "the file is missing, but manifest.json names it", STAGE)
    return manifest


def describe_shards(folder: Path, prompts: Path | None = None) -> dict[str, Any]:
    """Returns what read_manifest returns. The tars may be missing on this machine."""
    path = folder / MANIFEST
    manifest = read_json(path, STAGE)
    require_fields(path, manifest, _FIELDS, STAGE)
    require_fields(path, manifest["prompts"], {"count": int, "sha256": str}, STAGE)
    _require_rejected(path, manifest.get("rejected", {}))
    for shard in manifest["shards"]:
        require_fields(path, shard, {"name": str, "sha256": str, "sidecars": dict}, STAGE)
        require_fields(path, shard["sidecars"], dict.fromkeys(shard["sidecars"], str), STAGE)
        for name in (shard["name"], *shard["sidecars"]):
            if PurePath(name).name != name or name == "..":
                raise broken(path, f"it should name files beside it, it names {name!r}", STAGE)
    _require_count(path, manifest, manifest["prompts"]["count"], "its prompts")
    if prompts is not None and prompts.is_file():
        digest = prompts_digest(read_prompts(prompts))
        _require_count(path, manifest, digest["count"], str(prompts))
        if manifest["prompts"] != digest:
            raise broken(path, f"the pairs should be of the prompts in {prompts}, they are of other prompts", STAGE)
    return manifest


def missing_tars(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Returns the tars that the manifest names and that are not on this machine."""
    tars = [folder / shard["name"] for shard in manifest["shards"]]
    return [tar for tar in tars if not tar.is_file()]


def iterate_pairs(folder: Path, prompts: Path | None = None, *, first: int = 0) -> Iterator[Pair]:
    """Yields all pairs in their order but the `first` ones. The tars that have only these are not read.

    ContractError for a changed file, an incomplete pair, or as in read_manifest.
    """
    manifest = read_manifest(folder, prompts)
    count = 0
    for shard in manifest["shards"]:
        tar = folder / shard["name"]
        for name, digest in shard["sidecars"].items():
            require_hash(folder / name, digest, STAGE)
        if count < first and count + (size := _count_of(folder, tar)) <= first:
            count += size
            continue
        require_hash(tar, shard["sha256"], STAGE)
        for key, files, stored in read_tar(tar, STAGE):
            if count >= first:
                yield _pair(tar, key, files, stored)
            count += 1
    if count != manifest["images"]:
        raise broken(folder / MANIFEST, f"there should be {manifest['images']} pairs, there are {count}", STAGE)


def _count_of(folder: Path, tar: Path) -> int:
    return int(read_json(_files_of_shard(folder, int(tar.stem))[2], STAGE)["count"])


def read_pairs(folder: Path, prompt_ids: Collection[int]) -> dict[int, Pair]:
    """Returns the pairs of these prompts by prompt_id, and reads no further than the last of them.

    ContractError for a tar that is damaged or not the one of the manifest, and if there is no such pair.
    """
    wanted, found = set(prompt_ids), dict[int, Pair]()
    for shard in read_manifest(folder)["shards"]:
        if found.keys() == wanted:
            break
        require_hash(folder / shard["name"], shard["sha256"], STAGE)
        found |= _read_pairs_of(folder / shard["name"], wanted - found.keys())
    if found.keys() != wanted:
        what = f"there should be a pair of prompt {min(wanted - found.keys())}, there is none"
        raise broken(folder / MANIFEST, what, STAGE)
    return found


def _read_pairs_of(tar: Path, wanted: set[int]) -> dict[int, Pair]:
    found: dict[int, Pair] = {}
    try:
        for key, files in index_tar(tar):
            if len(found) == len(wanted):
                break
            number = _prompt_id(tar, key, files["json"].read() if "json" in files else b"")
            if number in wanted:
                found[number] = _pair(tar, key, {extension: file.read() for extension, file in files.items()})
    except (tarfile.TarError, OSError) as error:
        raise broken(tar, f"it should be a whole tar of samples, but reading it failed ({error})", STAGE) from error
    return found


def _files_of_shard(folder: Path, index: int) -> tuple[Path, Path, Path]:
    """The tar, its table, and the stats file, which is written last."""
    name = shard_name(index)
    return folder / f"{name}.tar", folder / f"{name}.parquet", folder / f"{name}_stats.json"


def _require_count(path: Path, manifest: Mapping[str, Any], count: int, prompts: str) -> None:
    if manifest["images"] != count:
        found = f"there should be {count} pairs, one for each of {prompts}, there are {manifest['images']}"
        raise broken(path, found, STAGE)


def _sidecar_hashes(folder: Path, tar: str) -> dict[str, str]:
    """The table and the stats of the shard, which tools for img2dataset's layout read."""
    names = (f"{Path(tar).stem}{end}" for end in (".parquet", "_stats.json"))
    return {name: sha256_of(folder / name) for name in names}


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


def _pair(tar: Path, key: str, files: Mapping[str, bytes], stored: Mapping[str, StoredFile] | None = None) -> Pair:
    """The pair of a sample. It can be read again if `stored` has its files."""
    extension = next((each for each in ("png", "jpg") if each in files), None)
    if extension is None or not {"txt", "json"} <= set(files):
        raise broken(tar, f"sample {key} should be an image, a txt and a json, it is {', '.join(files)}", STAGE)
    number = _prompt_id(tar, key, files["json"])
    try:
        prompt = files["txt"].decode()
    except ValueError as error:
        raise broken(tar, f"sample {key} should have a txt in UTF-8 ({error!r})", STAGE) from error
    return Pair(key, number, prompt, files[extension], partial(_read, stored[extension]) if stored else None)


def _read(file: StoredFile) -> bytes:
    try:
        return file.read()
    except tarfile.ReadError as error:
        raise broken(file.tar, str(error), STAGE) from error


def _prompt_id(tar: Path, key: str, note: bytes) -> int:
    try:
        return int(json.loads(note)["prompt_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise broken(tar, f"sample {key} should have a json with a prompt_id ({error!r})", STAGE) from error
