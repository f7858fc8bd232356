"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gift_core.config.experiment import Config

Mark = Literal["ok", "info", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    `fail`: something that params.yaml or the DVC settings ask for cannot work. `warn`: it may not work, or not well.
    `remedy` is a sentence that says what to do, or empty. `group` is the title above the line: what the check is about.
    """

    subject: str
    mark: Mark
    found: str
    remedy: str = ""
    group: str = ""

    @property
    def sentence(self) -> str:
        """What was found and the remedy, as sentences."""
        found = self.found if self.found.endswith((".", "?")) else f"{self.found}."
        return f"{found} {self.remedy}".rstrip()


@dataclass(frozen=True)
class Project:
    """What is checked: the folder of the project and its experiment. `is_active`: it is that of params.yaml.

    `quick`: only what `dvc repro` would find while it runs is checked, and nothing is asked on a network.
    """

    root: Path
    config: Config
    is_active: bool = False
    quick: bool = False
