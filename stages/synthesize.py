"""synthesize TASK: a diffusion model draws one image a prompt."""

from __future__ import annotations

from stages.stage import PARAMS, ROOT, Params, Root, Task, open_stage


def synthesize(task: Task, params: Params = PARAMS, root: Root = ROOT) -> None:
    """Draw the task's synthetic image-text pairs with the diffusion model; resumes an interrupted draw."""
    with open_stage("synthesize", params, root, task=task) as stage:
        from gift_core.artifacts.prompts import read_prompts
        from gift_core.clip.device import resolve_device
        from gift_core.generators.gates import REASONS, load_gates
        from gift_core.generators.pipeline import load_pipeline
        from gift_core.generators.sources import check_local_folder
        from gift_core.generators.synthesize import synthesize as draw_pairs

        generator = stage.config.generator
        check_local_folder(generator.pipeline)
        prompts = read_prompts(stage.layout.prompts(task))
        device = resolve_device(stage.config.run.device)
        gates = load_gates(generator.filters, device)
        manifest = draw_pairs(
            prompts,
            load_pipeline(generator, device),
            stage.layout.shards(task),
            work=stage.layout.work("synthesize", task),
            gates=gates,
        )
        rejected = "".join(f", {count} {REASONS[reason]}" for reason, count in manifest.get("rejected", {}).items())
        shards, redrawn = len(manifest["shards"]), manifest["redrawn"]
        stage.say(f"{manifest['images']} pairs in {shards} shards, {redrawn} black ones drawn again{rejected}")
