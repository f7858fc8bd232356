"""The project's code as the fingerprints read it: what a file imports, at any depth, without type-checking imports."""

from __future__ import annotations

from pathlib import Path

from gift_core.fingerprint import CodeBase

ROOT = Path(__file__).resolve().parents[1]
CODE = CodeBase(ROOT)


def imported_modules(file: Path) -> frozenset[str]:
    """Returns the dotted names that `file` imports when it runs, also inside functions."""
    return CODE.module(file).imports


def closure(file: Path) -> list[Path]:
    """Returns every file of ours that running `file` may import, itself included."""
    return CODE.closure(file)
