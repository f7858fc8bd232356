"""Merges two versions of dvc.lock stage by stage, where git would merge lines.

Whatever the result is, DVC compares each stage with its dependencies and parameters, so a stage that fits nothing runs
again. The merge decides only how much is left to do.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gift_core.errors import UserError

LOCK, METRICS = "dvc.lock", "reports/metrics.json"
_STAGE = re.compile(r"^  (\S.*):\n", re.MULTILINE)  # DVC's layout: names are two spaces from the margin
_HEAD = "schema: '2.0'\nstages:\n"


@dataclass(frozen=True)
class MergedLock:
    """The merged text, and the stages that both sides changed. Of these it has our version."""

    text: str
    stages: int
    both: tuple[str, ...]


def merge_locks(base: str, ours: str, theirs: str) -> MergedLock:
    """Returns dvc.lock with the stages that either side changed since `base`, which may be empty.

    UserError for a text that DVC did not write, for example one with git's conflict markers.
    """
    before = _stages(base, "base") if base else {}
    mine, other = _stages(ours, "ours"), _stages(theirs, "theirs")
    merged: dict[str, str] = {}
    both: list[str] = []
    for name in {**mine, **other}:
        was, own, their = (side.get(name) for side in (before, mine, other))
        if own != their and was not in (own, their):
            both.append(name)
        if chosen := (own or their if name in both else their if own == was else own):
            merged[name] = chosen
    return MergedLock(_HEAD + "".join(merged.values()), len(merged), tuple(both))


def resolve_in_git(root: Path) -> tuple[MergedLock, list[str]]:
    """Merges a dvc.lock that git left in conflict, takes our metrics.json, and adds both to git's index.

    Returns the merge, and the other files that are still in conflict. UserError if dvc.lock is not in conflict.
    """
    listed = _git(root, "ls-files", "--unmerged").splitlines()  # not diff: it has a mode without a repository
    sides: dict[str, dict[str, str]] = {}  # {file: {1 base, 2 ours, 3 theirs: its blob}}
    for line in listed:
        about, _, name = line.partition("\t")
        sides.setdefault(name, {})[about[-1]] = about.split()[1]
    if LOCK not in sides:
        raise UserError(f"{root / LOCK}: is not in conflict. Run this during a git merge that stopped at dvc.lock.")
    blobs = [sides[LOCK].get(side) for side in "123"]
    merge = merge_locks(*(_git(root, "cat-file", "blob", blob) if blob else "" for blob in blobs))
    (root / LOCK).write_text(merge.text, encoding="utf-8", newline="\n")
    if METRICS in sides:
        metrics = _git(root, "cat-file", "blob", sides[METRICS].get("2") or sides[METRICS]["3"])
        (root / METRICS).write_text(metrics, encoding="utf-8", newline="\n")
    resolved = [name for name in (LOCK, METRICS) if name in sides]
    _git(root, "add", "--", *resolved)
    return merge, sorted({*sides} - {*resolved})


def merge_files(base: Path, ours: Path, theirs: Path) -> MergedLock:
    """Merges as a merge driver of git: the result replaces the file `ours`. After an error it is as before."""
    merge = merge_locks(*(path.read_text(encoding="utf-8") for path in (base, ours, theirs)))
    ours.write_text(merge.text, encoding="utf-8", newline="\n")
    return merge


def _stages(text: str, side: str) -> Mapping[str, str]:
    """Returns {stage: its lines} in the order of the file."""
    head, _, body = text.partition("stages:\n")
    lines = body.splitlines(keepends=True)
    strange = [line for line in lines if not line.startswith("  ")]
    if f"{head}stages:\n" != _HEAD or strange or not _STAGE.match(body) or not text.endswith("\n"):
        what = repr((strange or lines[-1:] or [head])[0].strip()[:60])
        remedy = "Take one side: git checkout --ours dvc.lock"
        raise UserError(f"dvc.lock ({side}): is not as DVC writes it ({what}). {remedy}")
    _, *parts = _STAGE.split(body)
    return {name: f"  {name}:\n{rest}" for name, rest in zip(parts[::2], parts[1::2], strict=True)}


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        reason = done.stderr.strip() or "no reason given"
        raise UserError(f"git {words[0]}: {reason}. Run in the project's root, or name it with --root.")
    return done.stdout
