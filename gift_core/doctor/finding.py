"""The result of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
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

    def record(self) -> dict[str, str]:
        """Returns the line as `gift doctor --json` prints it."""
        return asdict(self)


@dataclass(frozen=True)
class Project:
    """What is checked: the folder of the project and its experiment."""

    root: Path
    config: Config


Check = Callable[[Project], Iterable[Finding]]


def gigabytes(size: float) -> str:
    """Returns a number of bytes as text: "1.5 GB", "20 MB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def duration(seconds: float) -> str:
    """Returns a time as text with two digits: "40 s", "12 min", "5.3 hours", "17 days"."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("min", 60)):
        if seconds >= length * (2 if unit == "days" else 1):
            count = seconds / length
            return f"{count:,.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"
