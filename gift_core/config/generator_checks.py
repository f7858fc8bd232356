"""What params.yaml's generator and prompts must agree on: settings that contradict each other, files nobody watches."""

from __future__ import annotations

from collections.abc import Iterator

from gift_core.config.experiment import Config
from gift_core.config.generator import GatesConfig, GeneratorConfig

PROMPT_FILES = "data/0_raw/prompts/"
GENERATOR_FILES = "data/0_raw/generators/"
# Schedulers whose noise is drawn by torchsde, not by the images' own generators.
UNSEEDED = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")
LOCAL = "local-dir:"


def check_generator(config: Config) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, "what is wrong. Remedy") for the section generator."""
    generator = config.generator
    yield from _check_guidance(generator)
    if generator.scheduler in UNSEEDED:
        what = f"{generator.scheduler} draws noise that does not follow the images' seeds"
        yield "generator.scheduler", f"{what}. Use DPMSolverMultistepScheduler, or EulerAncestralDiscreteScheduler."
    memory = generator.memory
    if memory is not None and memory.offload != "none" and config.run.device == "cpu":
        what = f"{memory.offload}, but run.device is cpu, where all is already"
        yield "generator.memory.offload", f"{what}. Write offload: none, or run on a GPU."
    if generator.gates is not None:
        yield from _check_gates(generator.gates)


def check_prompts(config: Config) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, "what is wrong. Remedy") for the section prompts."""
    strategy, captions = config.prompts.strategy, config.prompts.captions
    if strategy == "captions" and captions is None:
        yield "prompts.captions", f"strategy captions needs a file. Write captions: {PROMPT_FILES}captions.csv."
    if strategy != "captions" and captions is not None:
        what = f"{captions} is not read by strategy {strategy}"
        yield "prompts.captions", f"{what}. Write captions: null, or strategy: captions."
    if captions is not None and not is_watched(captions, PROMPT_FILES):
        yield "prompts.captions", unwatched(captions, PROMPT_FILES)


def is_watched(path: str, folder: str) -> bool:
    """Returns whether `path` lies in `folder`, which the pipeline watches for changes."""
    return path.startswith(folder) and ".." not in path.split("/")


def unwatched(path: str, folder: str) -> str:
    """Returns what is wrong with a file outside the folder that the pipeline watches, and the remedy."""
    return f"{path} lies outside {folder}, where the pipeline watches for changes. Move or link it there."


def _check_guidance(generator: GeneratorConfig) -> Iterator[tuple[str, str]]:
    text, guidance = generator.negative_prompt, generator.guidance
    if isinstance(text, str) and text and guidance <= 1:
        what = f"{text!r} has no effect at guidance {guidance}: from 1 down nothing guides"
        yield "generator.negative_prompt", f'{what}. Write negative_prompt: "", or a guidance above 1.'


def _check_gates(gates: GatesConfig) -> Iterator[tuple[str, str]]:
    if gates.min_clip_score is None and gates.max_similarity is None:
        what = "neither min_clip_score nor max_similarity is set, so every image would pass"
        yield "generator.gates", f"{what}. Set one, or write gates: null."
    folder = gates.judge.name.removeprefix(LOCAL)
    if folder != gates.judge.name and not is_watched(folder, GENERATOR_FILES):
        yield "generator.gates.judge.name", unwatched(folder, GENERATOR_FILES)
