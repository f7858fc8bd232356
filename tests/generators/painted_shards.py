"""A stage that paints shards: `python -m tests.generators.painted_shards FOLDER SHARDS`.

It is gift_core.generators.synthesize with a toy in place of the pipeline. A file FOLDER/hold makes helpers wait in the
middle of a shard. Each helper notes its process in FOLDER/helpers.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from PIL import Image

from gift_core.generators.filters import NoFilters
from gift_core.generators.synthesize import synthesize
from gift_core.work import spread as module
from stages.interruption import interruptible
from tests.generators.test_synthesize import CONFIG, Painter, image_seed


class SlowPainter(Painter):
    """Paints as Painter. Some images are black at first. Helpers wait in the second batch of a shard."""

    def __init__(self, folder: Path, stage: int) -> None:
        super().__init__(black_seeds=[image_seed(prompt) for prompt in range(0, 60, 7)])
        self.folder, self.helps = folder, os.getpid() != stage

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        if self.helps:
            (self.folder / "helpers" / str(os.getpid())).touch()
        if self.batches % 2:
            while (self.folder / ("hold-helpers" if self.helps else "hold-stage")).exists():
                time.sleep(0.02)
        return super().generate(prompts, seeds)


def tools(folder: Path, stage: int) -> Any:
    return SlowPainter(folder, stage), NoFilters(), torch.device("cpu")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Paints the shards of the arguments, three images each."""
    folder, shards = sys.argv[1:]
    module.PATIENCE_SECONDS = module.SETTLE_SECONDS = 0.1
    count = int(shards) * CONFIG.images_per_shard
    prompts = pd.DataFrame({"prompt_id": range(count), "prompt": [f"image {i}" for i in range(count)]})
    load = partial(tools, Path(folder), os.getpid())
    painter, filters, device = load()
    with interruptible():
        synthesize(
            prompts.assign(seed=range(count)),
            painter,
            Path(folder, "shards"),
            work=Path(folder, "work"),
            filters=filters,
            device=device,
            load_tools=load,
            say=say,
        )


if __name__ == "__main__":
    main()
