"""Images per second of a pipeline with the shapes of SD v1.5, by batch size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.experiment import read_experiment
from benchmarks.gpu.meter import taken_by
from benchmarks.gpu.plan import Plan
from benchmarks.smoke.experiment import PRESET
from benchmarks.smoke.sizes import Size
from gift_core.clip.device import resolve_device
from gift_core.config.generator import GeneratorConfig
from gift_core.errors import UserError
from gift_core.generators.pipeline import TextToImage, load_pipeline

Row = tuple[str, str, int, float | None, float | None]


def generation_rows(folder: Path, size: Size, plan: Plan, *, device: str) -> Iterator[Row]:
    """Yields one row per batch size, up to the first that does not fit in memory. The numbers of that one are None."""
    text_to_image = load_pipeline(generator_config(folder, size, plan, device=device), resolve_device(device))
    setting = f"{text_to_image.config.dtype}, {plan.denoising_steps} steps, {size.pixels} px"
    generate(text_to_image, 1)  # the first call selects kernels
    for count in plan.batch_sizes:
        try:
            taken = taken_by(lambda count=count: generate(text_to_image, count), device)  # type: ignore[misc]
        except UserError as error:
            print(f"batch size {count}: {error}")
            yield "images generated", setting, count, None, None
            return
        yield "images generated", setting, count, count / taken.seconds, taken.peak_gib


def generate(text_to_image: TextToImage, count: int) -> None:
    """Generates one batch of `count` images."""
    list(text_to_image.generate(["a photo of a lighthouse."] * count, list(range(count))))  # waits for the GPU


def generator_config(folder: Path, size: Size, plan: Plan, *, device: str) -> GeneratorConfig:
    """Returns the preset's generator section with the random pipeline, in float32 on a CPU, where float16 is slow."""
    section: dict[str, Any] = read_experiment(PRESET)["generator"]
    changed = {"pipeline": str(folder), "revision": None, "size": size.pixels, "steps": plan.denoising_steps}
    return GeneratorConfig(**{**section, **changed, "dtype": "float32" if device == "cpu" else section["dtype"]})
