"""Merges two versions of dvc.lock stage by stage, where git would merge lines.

Whatever the result is, DVC compares each stage with its dependencies and parameters, so a stage that fits nothing runs
again. The merge decides only how much is left to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gift_core.errors import UserError

_STAGE = re.compile(r"^  (\S.*):\n", re.MULTILINE)  # DVC's layout: names are two spaces from the margin
_HEAD = "schema: '2.0'\nstages:\n"


def merge_locks(base: str, ours: str, theirs: str) -> tuple[str, list[str]]:
    """Returns dvc.lock with the stages that either side changed since `base`, which may be empty.

    Also the stages that both sides changed. Of these it has our version. UserError for a text that DVC did not write,
    for example one with git's conflict markers.
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
    return _HEAD + "".join(merged.values()), both


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
