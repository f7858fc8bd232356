"""Settings, random generators and resumable checkpoints of the pre-training stages."""

import json
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
"""The repository's root. Paths in params.yaml are relative to it."""


@cache
def settings() -> dict[str, Any]:
    """Returns the params.yaml of this folder."""
    loaded: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "params.yaml").read_text(encoding="utf-8"))
    return loaded


def work_file(name: str) -> Path:
    """Returns the path of a file in the work area and creates the folder."""
    folder = ROOT / str(settings()["work_area"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def generator(*name: object) -> torch.Generator:
    """Returns the random generator of a name such as ("clip", step)."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(map(str, (settings()["seed"], *name))).encode()))


class Checkpoint:
    """Saves the training state regularly and resumes from it."""

    def __init__(self, name: str, parts: dict[str, nn.Module | torch.optim.Optimizer], recipe: dict[str, Any]) -> None:
        self.recipe = json.dumps({key: value for key, value in recipe.items() if "steps" not in key})
        self.path = work_file(f"{name}.pt")
        self.parts = parts
        self.every_s = float(settings()["checkpoint_every_s"])
        self.saved_at = time.monotonic()

    def resume(self) -> int:
        """Loads the saved state and returns the next step; 0 where nothing was saved, or with other settings.

        Settings with "steps" in their name may differ.
        """
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        if state.get("recipe") != self.recipe:
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def save_if_due(self, step: int) -> bool:
        """Saves after `step` finished steps if the last save is old enough. Returns whether it saved."""
        if time.monotonic() - self.saved_at < self.every_s:
            return False
        self.save(step)
        return True

    def save(self, step: int) -> None:
        """Writes a temporary file and then replaces the old one, so that an interruption leaves a complete file."""
        partial = self.path.with_suffix(".partial")
        torch.save({"step": step, "recipe": self.recipe} | self._states(), partial)
        partial.replace(self.path)
        self.saved_at = time.monotonic()

    def _states(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}
