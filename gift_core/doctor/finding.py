"""What a check says: a line, a mark, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gift_core.config.experiment import Config

Mark = Literal["ok", "info", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line. `fail`: what params.yaml or DVC's settings ask for cannot work; `warn`: it may not, or not well.

    `remedy` is what to do, a sentence; empty where there is nothing to do.
    """

    subject: str
    mark: Mark
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Scene:
    """What is examined: the project's folder, and its experiment."""

    root: Path
    config: Config


Check = Callable[[Scene], Iterable[Finding]]


def gigabytes(size: float) -> str:
    """Returns a number of bytes as people read it: "1.5 GB", "20 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
