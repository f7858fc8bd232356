"""Pairs to replay, made from names: prompts as the stage write_prompts samples them, images as synthesize does."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.prompt_files import VocabularyEntry, prompts_digest
from gift_core.artifacts.shards import UNFINISHED, columns_of, write_manifest
from gift_core.config.experiment import GeneratorConfig, check_generator
from gift_core.config.loading import parse_part
from gift_core.datasets.captions import Captions, base_vocabulary
from gift_core.datasets.stored_pairs import StoredPairs, read_pairs
from gift_core.errors import UserError, did_you_mean
from gift_core.generators.cut_prompts import warn_of_cut
from gift_core.generators.filters import load_filters
from gift_core.generators.kept_shards import ShardFolder, ShardsInMemory, ShardStore, is_complete
from gift_core.generators.own_settings import own_settings
from gift_core.generators.pipeline import check_lora, place_pipeline, prepared_pipeline, pretrained_pipeline
from gift_core.generators.synthesize import generate, identity, shards_of
from gift_core.library.given_model import NAME, are_texts, refused, require_number
from gift_core.method.replay.prompts import sample_prompts as sample
from gift_core.progress import progress_bar
from gift_core.provenance import environment
from gift_core.torch_devices import full_float32, resolve_device

if TYPE_CHECKING:
    from gift_core.generators.synthesize import Tools

LISTS = ("imagenet", "mini")
# Settings of params.yaml: generator that `generate_pairs` takes by name, too.
DEFAULTS: Mapping[str, Any] = {
    "revision": None, "dtype": None, "scheduler": None, "negative_prompt": "", "images_per_shard": 50,
    "image_format": "jpg", "max_redraws": 100, "lora": None, "memory": None, "filters": None,
}  # fmt: skip
OF_LOADING = ("revision", "dtype", "lora", "memory")  # not for a pipeline that the caller has loaded
OWN = {"steps": 1, "guidance": 0.0, "size": 8}  # what may be left to the pipeline, and what is checked in its place
OF_HUB = r"write into params\.yaml:\n  generator:\n    pipeline: (\S+)\n.*"  # the remedy of a download


def vocabulary(name: str | Path) -> list[str]:
    """Return general class names, which stand for what a pre-trained model knows. UserError for an unknown list.

    Args:
        name: "imagenet" (the 1,000 names of CLIP's authors), "mini" (the symbols of the miniature), or the path of a
            text file with a name a line.
    """
    if str(name) not in LISTS and not Path(name).is_file():
        problem = f"{str(name)[:80]!r} is no list and no file. {did_you_mean(str(name), LISTS)}"
        raise UserError(f"{NAME}: vocabulary: {problem} Or pass the path of a text file.")
    return list(base_vocabulary(str(name), location=f"{NAME}: vocabulary"))


def sample_prompts(names: Sequence[str], count: int, *, template: str = "a photo of a {}.", seed: int = 0) -> list[str]:
    """Return `count` prompts of names that are sampled uniformly, with replacement (GIFT, section 3.1).

    UserError for no names, a template without {}, and a count or seed out of range.

    Args:
        names: of the classes that the model learned before, and general ones: learned + vocabulary("imagenet").
        count: 1,000 for each task in the paper.
        template: {} stands for the name. Where classes have different ones, write prompts as names, and template="{}".
        seed: another one for each task.
    """
    if not are_texts(names):
        raise UserError(f'{NAME}: names: {repr(names)[:80]}, expected texts. Write ["cat", "dog"].')
    if not isinstance(template, str) or "{}" not in template:
        raise UserError(f'{NAME}: template: {template!r} has no {{}} for the name. Write "a photo of a {{}}."')
    require_number("count", count, 1, 10**8, example=1000)
    require_number("seed", seed, 0, 2**63 - 1, example=0)
    entries = [VocabularyEntry("library", name, (template,)) for name in names]
    rows = sample(entries, count, task="library", seed=seed, strategy="class_template", captions=Captions())
    return list(rows["prompt"])


def generate_pairs(
    prompts: Sequence[str],
    *,
    pipeline: Any,
    folder: str | Path | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    size: int | None = None,
    seed: int = 0,
    batch_size: int = 8,
    device: str | torch.device = "auto",
    **settings: Any,
) -> StoredPairs:
    """Return a pair (RGB Pillow image, prompt) for each prompt, which `finetune` takes as `pairs`.

    Black images, as of a safety checker, are generated again. Equal prompts have different images. UserError for what
    does not fit: a pipeline or setting, a folder with other files, an image that stays black.

    Args:
        prompts: texts, such as those of sample_prompts.
        pipeline: a name on the hub, a folder of diffusers, or a loaded pipeline, which stays as and where it is.
        folder: where the pairs are kept as shards (img2dataset's layout); an interrupted call continues after the last
            whole shard, and a finished folder is read. None: the pairs are in memory.
        steps: denoising steps of an image; None: the pipeline's default, as for the next two.
        guidance: the scale of classifier-free guidance; 0 to 1 is none.
        size: height and width in pixels, a multiple of 8.
        seed: another one gives other images.
        batch_size: images at once.
        device: auto, cpu, cuda, cuda:<number> or mps; of a pipeline that is loaded here.
        settings: others of `generator` in params.yaml, by name, as in DEFAULTS: negative_prompt, scheduler, memory,
            images_per_shard, dtype (None: float16 on CUDA devices, else float32), ...
    """
    rows, own = _rows_of(prompts), {"steps": steps, "guidance": guidance, "size": size}
    with _own_messages(), full_float32():
        source = _checked(pipeline, device, {**settings, **own, "seed": seed, "batch_size": batch_size})
        if folder is not None:
            _fill(Path(folder), rows, source)
            return read_pairs(folder)
        memory = ShardsInMemory()
        _generate(rows, source.load(), memory)
        return StoredPairs(*columns_of(memory.pairs))


def _fill(folder: Path, rows: pd.DataFrame, source: _Source) -> None:
    """Generates the shards that the folder does not have. The manifest comes last."""
    digest, settings = prompts_digest(rows), source.asked
    asked = {"prompts": digest, "generator": settings}
    if is_complete(folder, asked):
        return
    tools = source.load()
    write_json(folder / UNFINISHED, asked)
    _generate(rows, tools, ShardFolder(folder))
    write_manifest(folder, settings, digest, environment(source.device))
    (folder / UNFINISHED).unlink()


@dataclass(frozen=True)
class _Source:
    """A pipeline, or the name of one, and its settings. Those in `left` are the pipeline's own."""

    pipeline: Any
    is_name: bool
    config: GeneratorConfig
    left: frozenset[str]
    device: torch.device

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the images and their shards, with None for what is left to the pipeline."""
        named = identity(self.config) | {"images_per_shard": self.config.images_per_shard}
        return {name: None if name in self.left else value for name, value in named.items()}

    def load(self) -> Tools:
        """Returns the pipeline, the filters and the device. Of the caller's pipeline only the networks are shared."""
        check_lora(self.config.lora)
        pipeline = pretrained_pipeline(self.config) if self.is_name else copy.copy(self.pipeline)
        config = self.config.model_copy(update=own_settings(pipeline, self.left))
        for key, problem in check_generator(config.model_copy(update={"filters": None})):
            raise UserError(f"{key}: {problem}")
        prepared = prepared_pipeline(pipeline, config)
        if self.is_name:
            place_pipeline(pipeline, config.memory, self.device)
        filters = load_filters(config.filters, self.device) if config.filters else None
        return prepared, filters, self.device


def _rows_of(prompts: Any) -> pd.DataFrame:
    """The rows of artifacts.prompt_files that decide the images. UserError for what is no list of texts."""
    if not are_texts(prompts):
        problem = f'{repr(prompts)[:80]}, expected ["a photo of a zebra.", ...]'
        raise UserError(f"{NAME}: prompts: {problem}. gift_core.sample_prompts makes some.")
    numbers = range(len(prompts))
    return pd.DataFrame({"prompt_id": numbers, "prompt": list(prompts), "seed": numbers})


def _checked(pipeline: Any, device: Any, settings: Mapping[str, Any]) -> _Source:
    """Returns the source after all checks that need no loaded pipeline."""
    is_name = isinstance(pipeline, (str, Path))
    if is_name:
        name, where = str(pipeline), resolve_device(str(device))
    else:
        _require_pipeline(pipeline, settings)
        name, where = f"{type(pipeline).__name__} {pipeline.name_or_path or ''}".strip(), pipeline.device
    given = {key: value for key, value in settings.items() if value is not None}
    dtype = "float16" if where.type == "cuda" else "float32"
    raw = {**DEFAULTS, **OWN, "dtype": dtype, **given, "pipeline": name}
    config = parse_part(GeneratorConfig, raw, name=NAME, key="generate_pairs")
    return _Source(pipeline, is_name, config, frozenset(OWN) - given.keys(), where)


def _require_pipeline(pipeline: Any, settings: Mapping[str, Any]) -> None:
    from diffusers import DiffusionPipeline

    if not isinstance(pipeline, DiffusionPipeline):
        problem = "a pipeline of diffusers, its folder, or its name on the hub"
        raise refused("pipeline", pipeline, f'{problem}. Write "stable-diffusion-v1-5/stable-diffusion-v1-5".')
    behind = [name for name in OF_LOADING if settings.get(name) is not None]
    if behind:
        raise UserError(f"{behind[0]}: the pipeline is loaded already. Leave it out, or pass the pipeline's name.")


def _generate(rows: pd.DataFrame, tools: Tools, store: ShardStore) -> None:
    """Generates the shards that `store` does not have."""
    text_to_image = tools[0]
    warn_of_cut(list(rows["prompt"]), text_to_image.pipeline, text_to_image.arguments)
    with progress_bar(len(rows), "generating images") as bar:
        generate(shards_of(rows, text_to_image.config.images_per_shard), tools, store, bar.update)


@contextmanager
def _own_messages() -> Iterator[None]:
    """Within the block, what the stage says of params.yaml is said of the arguments."""
    try:
        yield
    except UserError as error:
        text = re.sub(OF_HUB, r"pass pipeline='\1'.", str(error), flags=re.DOTALL)
        text = re.sub(r"params\.yaml: generator(\.|: )|synthesize: |^generator\.", "", text)
        raise UserError(text if text.startswith(NAME) else f"{NAME}: {text}") from error
