"""`python -m tests.stages.painted COMMAND`: the real command line, but the generator paints colors, 50 ms an image.

torch, which takes seconds to import, takes no part before a run resumes. A command of its own: `wait` sleeps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import typer
from PIL import Image

from gift_core.config.generator import GeneratorConfig
from stages.app import app

SECONDS_PER_IMAGE = 0.05


class Painter:
    """Paints a plain color that encodes the seed."""

    def __init__(self, config: GeneratorConfig) -> None:
        self.config = config

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        time.sleep(SECONDS_PER_IMAGE * len(seeds))
        return [Image.new("RGB", (8, 8), (seed % 255 + 1, seed // 255 % 255, 7)) for seed in seeds]


def wait(seconds: float) -> None:
    """Sleeps, then prints a word. It needs half a second to clean up."""
    typer.echo("started")
    try:
        time.sleep(seconds)
        typer.echo("finished")
    finally:
        time.sleep(0.5)
        typer.echo("cleaned.")


def replaced(name: str, **contents: Any) -> None:
    """A module with other contents, which is imported instead of the real one."""
    module = ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


if __name__ == "__main__":
    replaced("gift_core.clip.device", resolve_device=lambda name: SimpleNamespace(type="cpu"))
    replaced("gift_core.provenance", EDITED="edited files", environment=lambda device: {"device": "painter"})
    replaced("gift_core.generators.pipeline", load_pipeline=lambda config, device: Painter(config))
    app.command()(wait)
    app()
