"""Where finished shards are kept: in a folder, which an interrupted run continues, or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gift_core.artifacts.shards import MANIFEST, UNFINISHED, Pair, finished_pairs, write_shard
from gift_core.errors import UserError
from gift_core.untrusted import leaves, read_json_file


@dataclass(frozen=True)
class Request:
    """One row of the prompts. The seeds of its images are derived from `seed`."""

    prompt_id: int
    prompt: str
    seed: int


@dataclass(frozen=True)
class Shard:
    """The unit of the work: the number of a shard, and what is in it."""

    number: int
    requests: Sequence[Request]


class ShardStore(Protocol):
    """Where finished shards are kept."""

    def finished(self, shard: Shard) -> Sequence[Pair] | None:
        """Returns the pairs of a shard; None: it is not finished yet."""

    def keep(self, number: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> None:
        """Keeps the pairs of the shard with this number. `stats` as in write_shard."""


@dataclass(frozen=True)
class ShardFolder:
    """Keeps finished shards as files. An interrupted run finds them there."""

    folder: Path

    def finished(self, shard: Shard) -> Sequence[Pair] | None:
        return finished_pairs(
            self.folder, shard.number, [(request.prompt_id, request.prompt) for request in shard.requests]
        )

    def is_finished(self, shard: Shard) -> bool:
        return self.finished(shard) is not None

    def keep(self, number: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> None:
        write_shard(self.folder, number, pairs, stats)


@dataclass(frozen=True)
class ShardsInMemory:
    """Keeps the pairs alone, in the order of their shards."""

    pairs: list[Pair] = field(default_factory=list)

    def finished(self, shard: Shard) -> None:
        """No shard is there before it is generated."""

    def keep(self, number: int, pairs: Sequence[Pair], stats: Mapping[str, Any]) -> None:
        self.pairs.extend(pairs)


def is_complete(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Returns whether the folder has all shards of what is asked for, or else none of them yet, or some.

    `asked` has the fields prompts and generator of a manifest. UserError for a folder of other prompts or settings, and
    for one with other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"folder: {folder} is a file. Name a new folder.")
    for file in (folder / MANIFEST, folder / UNFINISHED):
        if file.is_file():
            _require_same(folder, read_json_file(file), asked)
            return file.name == MANIFEST
    others = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if others:
        raise UserError(f"folder: {folder} has other files ({others[0]}). Name a new folder.")
    return False


def _require_same(folder: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    if stored.get("prompts") != asked["prompts"]:
        raise UserError(f"folder: {folder} has the images of other prompts. Pass those prompts, or name a new folder.")
    old, new = dict(leaves(stored.get("generator"))), dict(leaves(asked["generator"]))
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            problem = f"{folder} has images with {name}={old.get(name)!r}, and {new.get(name)!r} is asked for"
            raise UserError(f"folder: {problem}. Pass that value, or name a new folder.")
