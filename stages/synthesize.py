"""synthesize TASK: a diffusion model generates one image per prompt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .open_stage import open_stage
from .options import PARAMS, ROOT, Params, Root, Task

if TYPE_CHECKING:
    from gift_core.config.experiment import GeneratorConfig
    from gift_core.generators.synthesize import Tools


def synthesize(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Generate the task's synthetic image-text pairs with the diffusion model. Resumes an interrupted run.

    Example: gift synthesize letters
    """
    with open_stage("synthesize", params, root, task=task) as stage:
        from gift_core.artifacts.prompt_files import read_prompts
        from gift_core.generators.cut_prompts import warn_of_cut
        from gift_core.generators.filters import REASONS
        from gift_core.generators.synthesize import synthesize as generate_pairs
        from gift_core.provenance import environment

        prompts = read_prompts(stage.layout.prompts(task))
        stage.phase = "loading the pipeline"
        load = partial(load_tools, stage.config.generator, stage.config.run.device)
        pipeline, filters, device = load()
        warn_of_cut(list(prompts["prompt"]), pipeline.pipeline, pipeline.arguments)
        stage.phase = "generating images"
        manifest = generate_pairs(
            prompts,
            pipeline,
            stage.layout.shards(task),
            work=stage.layout.work("synthesize", task),
            filters=filters,
            device=device,
            environment=environment(device),
            load_tools=load,
        )
        rejected = "".join(f", {count} {REASONS[reason]}" for reason, count in (manifest.rejected or {}).items())
        shards, black = len(manifest.shards), manifest.redrawn
        stage.say(f"{manifest.images} pairs in {shards} shards, {black} black images generated again{rejected}")


def load_tools(generator: GeneratorConfig, device_name: str) -> Tools:
    """Returns the pipeline, the filters, and the device of both. Helpers call it, too."""
    from gift_core.generators.filters import load_filters
    from gift_core.generators.pipeline import load_pipeline
    from gift_core.torch_devices import set_up_device

    device = set_up_device(device_name)
    filters = load_filters(generator.filters, device) if generator.filters else None
    return load_pipeline(generator, device), filters, device
