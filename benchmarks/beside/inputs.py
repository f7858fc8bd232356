"""The inputs of the measured stages: models, a data set of files, a task, image-text pairs, prompts."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from benchmarks.experiment import read_experiment
from benchmarks.smoke.random_models import require_models
from benchmarks.smoke.sizes import FULL
from gift_core.artifacts.shards import Pair, pair_key
from gift_core.artifacts.task import TaskInfo, read_own_task, write_task
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.config.generator import GeneratorConfig
from gift_core.config.method_options import MethodConfig
from gift_core.generators.pipeline import TextToImage, load_pipeline
from gift_core.interop.importing import load_clip

TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "a picture of the {}.")
WORK = Path(".gift/bench")  # random models are kept here


@dataclass(frozen=True)
class Size:
    """How much is measured. `pixels`: the side of the photos, `photos`: how many are ingested, `images`: how many the
    models see; `trained`: the class prompts of training, of which `classes` have images; `batch`: its B = M; `steps`:
    denoising steps."""

    preset: str
    pixels: int
    photos: int
    images: int
    classes: int
    trained: int
    batch: int
    generated: int
    steps: int
    rounds: int


SIZES = {
    "mini": Size(
        "mini", pixels=32, photos=256, images=256, classes=20, trained=20, batch=64, generated=32, steps=10, rounds=5
    ),
    "full": Size(
        "mtil_order_1",
        pixels=500,
        photos=100,
        images=16,
        classes=20,
        trained=100,
        batch=16,
        generated=2,
        steps=4,
        rounds=3,
    ),
}


@dataclass(frozen=True)
class Inputs:
    """Everything a stage is measured on. What takes long is made when it is first needed."""

    size: Size
    device: torch.device
    folder: Path
    precision: str
    models: Callable[[], tuple[str, str]]

    @cached_property
    def preset(self) -> Mapping[str, Any]:
        """The content of the preset."""
        return read_experiment(Path("presets") / f"{self.size.preset}.yaml")

    @cached_property
    def clip(self) -> Clip:
        """The CLIP on the device, in the precision."""
        return load_clip(f"local-dir:{self.models()[0]}", None, device=self.device, precision=self.precision)

    @cached_property
    def plain_clip(self) -> Clip:
        """The same CLIP in fp32, for the naive way."""
        return replace(self.clip, precision="fp32")

    @cached_property
    def text_to_image(self) -> TextToImage:
        """The pipeline on the device, in float32 on a CPU."""
        changed = {"pipeline": self.models()[1], "revision": None, "steps": self.size.steps}
        if self.device.type == "cpu":
            changed["dtype"] = "float32"
        return load_pipeline(GeneratorConfig(**{**self.preset["generator"], **changed}), self.device)

    @property
    def training(self) -> TrainingConfig:
        """The training settings of the preset, with the batches of the size."""
        batches = {"batch_size": self.size.batch, "replay_batch_size": self.size.batch, "warmup_iterations": 0}
        return TrainingConfig(**{**self.preset["training"], **batches})

    @property
    def gift(self) -> MethodConfig:
        """The row of GIFT."""
        return MethodConfig(**self.preset["methods"]["gift"])

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(f"thing number {number}" for number in range(self.size.classes))

    @cached_property
    def photos(self) -> list[tuple[bytes, int]]:
        """JPEG files and their labels."""
        return self._photos(self.size.images)

    def _photos(self, count: int) -> list[tuple[bytes, int]]:
        random = np.random.default_rng(0)
        return [(_photo(random, self.size.pixels), at % self.size.classes) for at in range(count)]

    @cached_property
    def data_set(self) -> Path:
        """A folder with the photos, half of them for training: data_set/{train,test}/<class>/<number>.jpg."""
        for at, (photo, label) in enumerate(self._photos(self.size.photos)):
            split = "train" if at < self.size.photos // 2 else "test"
            name = self.class_names[label % (self.size.photos // 2)]  # so that each class has a photo in both
            file = self.folder / "data_set" / split / name / f"{at}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(photo)
        return self.folder / "data_set"

    @cached_property
    def task(self) -> tuple[Path, TaskInfo]:
        """The folder of a task whose images are the photos, in both splits."""
        folder, images = self.folder / "things", [(photo, "jpg", label) for photo, label in self.photos]
        write_task(
            folder, TaskInfo("things", self.class_names, TEMPLATES, "folder"), images, images, images_per_shard=1000
        )
        return folder, read_own_task(folder)

    @cached_property
    def pairs(self) -> list[Pair]:
        """The photos as synthetic pairs."""
        prompts = [TEMPLATES[0].replace("{}", self.class_names[label]) for _, label in self.photos]
        rows = zip(prompts, self.photos, strict=True)
        return [Pair(pair_key(0, at), at, prompt, photo) for at, (prompt, (photo, _)) in enumerate(rows)]

    @cached_property
    def prompts(self) -> pd.DataFrame:
        """The prompts of the images to generate, of which every second one is repeated."""
        names = [self.class_names[at // 2 % self.size.classes] for at in range(self.size.generated)]
        prompts = [TEMPLATES[0].replace("{}", name) for name in names]
        columns = {"source_task": "base", "class_name": names, "template": TEMPLATES[0], "prompt": prompts}
        return pd.DataFrame({"prompt_id": range(len(names)), **columns, "seed": range(len(names))})


def inputs_of(size: str, device: torch.device, folder: Path, precision: str = "fp32") -> Inputs:
    """Returns the inputs of a size, whose files are written below `folder`. `precision`: of the CLIP."""
    small = ("data/mini/clip", "data/mini/diffusion")
    return Inputs(SIZES[size], device, folder, precision, lambda: small if size == "mini" else _random_models())


def _random_models() -> tuple[str, str]:
    clip, diffusion = require_models(WORK / "models", FULL)
    return str(clip), str(diffusion)


def _photo(random: np.random.Generator, side: int) -> bytes:
    """A JPEG file of smooth colors and some noise, about as large as one of a photo."""
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse).astype(np.int16) + random.integers(-12, 13, (side, side, 3))
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
