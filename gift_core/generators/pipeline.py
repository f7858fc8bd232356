"""Loads a diffusers text-to-image pipeline from a hub name or a local folder and draws seeded batches with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gift_core.errors import UserError, lookup

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gift_core.config import GeneratorConfig

DTYPES = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}


@dataclass(frozen=True)
class TextToImage:
    """A loaded pipeline and the settings every image is drawn with."""

    pipeline: Any
    config: GeneratorConfig
    device: torch.device

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image.Image]:
        """Returns one RGB image a prompt, of config.size x config.size px.

        Each image has its own generator, seeded with its own seed on the CPU, so that neither its place in the batch
        nor the device decides its noise (diffusers' guide to reproducible pipelines).
        """
        import torch

        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        with torch.inference_mode(), _quiet(self.pipeline):
            output = self.pipeline(
                prompt=list(prompts),
                generator=generators,
                num_inference_steps=self.config.steps,
                guidance_scale=self.config.guidance,
                height=self.config.size,
                width=self.config.size,
                **self._negative_prompts(len(prompts)),
            )
        return [image.convert("RGB") for image in output.images]

    def _negative_prompts(self, count: int) -> dict[str, list[str]]:
        return {"negative_prompt": [self.config.negative_prompt] * count} if self.config.negative_prompt else {}


def load_pipeline(config: GeneratorConfig, device: torch.device) -> TextToImage:
    """Returns the pipeline of `config.pipeline` (a diffusers folder or a hub name) on `device`.

    Raises UserError where the folder is missing or damaged, where the hub does not answer, or where the scheduler's
    name is unknown to diffusers.
    """
    check_local_folder(config.pipeline)
    import torch
    from diffusers import AutoPipelineForText2Image, DiffusionPipeline

    _hide_loading_bars()
    name = lookup(DTYPES, config.dtype, "params.yaml: generator.dtype")
    options = {"dtype": getattr(torch, name), "revision": config.revision}
    try:
        try:
            pipeline = AutoPipelineForText2Image.from_pretrained(config.pipeline, **options)
        except ValueError:  # a class that the text-to-image table does not know: its own from_pretrained may
            pipeline = DiffusionPipeline.from_pretrained(config.pipeline, **options)
    except Exception as error:
        raise UserError(_cannot_load(config, error)) from error
    if config.scheduler is not None:
        pipeline.scheduler = _scheduler(config.scheduler, pipeline.scheduler.config)
    pipeline.to(device)
    return TextToImage(pipeline, config, device)


def check_local_folder(name: str) -> None:
    """Raises UserError when `name` is a folder without model_index.json, or looks like a path and is not there."""
    folder = Path(name)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise UserError(
            f"params.yaml: generator.pipeline: {name} holds no model_index.json, so it is no diffusers pipeline. "
            "Save one there with pipeline.save_pretrained(folder), or restore the folder (git checkout / dvc pull)."
        )
    looks_like_path = name.startswith((".", "/", "data/")) or name.count("/") > 1
    if not folder.exists() and looks_like_path:
        raise UserError(
            f"params.yaml: generator.pipeline: there is no folder {name}. "
            "Name a diffusers folder that exists, or a hub name such as stable-diffusion-v1-5/stable-diffusion-v1-5."
        )


def _hide_loading_bars() -> None:
    """Weights load in seconds, a bar for each of their files only hides ours; a hub's download keeps its own."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _scheduler(name: str, settings: Any) -> Any:
    import diffusers

    schedulers = {entry: entry for entry in dir(diffusers) if entry.endswith("Scheduler")}
    return getattr(diffusers, lookup(schedulers, name, "params.yaml: generator.scheduler")).from_config(settings)


def _cannot_load(config: GeneratorConfig, error: Exception) -> str:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    remedy = (
        "The folder is incomplete or damaged: restore it (git checkout / dvc pull)."
        if Path(config.pipeline).is_dir()
        else "Check the name and the revision, the connection to the hub, and `hf auth login` for a gated model."
    )
    return f"params.yaml: generator.pipeline: {config.pipeline} cannot be loaded ({first_line}). {remedy}"


@contextlib.contextmanager
def _quiet(pipeline: Any) -> Iterator[None]:
    """The pipeline's own bar counts the denoising steps of one batch; ours counts images, so only ours is shown."""
    pipeline.set_progress_bar_config(disable=True)
    yield
