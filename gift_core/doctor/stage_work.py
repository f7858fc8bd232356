"""What each stage of an experiment has to do: operations, images to decode, and the seconds until its work begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import write_json
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.config.experiment import TESTED
from gift_core.config.tasks import CatalogueTaskConfig, MiniTaskConfig, UserDataConfig
from gift_core.datasets.captions import base_vocabulary
from gift_core.datasets.catalogue.inventory import catalogue_row
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.ingest import open_dataset
from gift_core.doctor.finding import Project
from gift_core.doctor.inputs import known_models, model_config_of, pipeline_folder
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout
from gift_core.untrusted import read_json_file

BACKWARD = 3  # forward and backward pass together cost three times the forward pass
GUIDED = 2  # with guidance, each step runs the denoiser on the prompt and on the negative one
# Measured on two CPU cores (benchmarks/smoke_full.md, docs/log.md).
START_SECONDS = 0.8  # of a stage that computes with a model, after the imports
START_SECONDS_WITHOUT_MODEL = 0.3
FILE_SECONDS = 2.5e-8  # for a weight: reading it and checking its hash, or writing it; on two machines 1e-8 and 5e-8
UPDATE_OPERATIONS = 1000.0  # for a weight and an iteration: the optimizer's step takes as long as these
RESIZED_IMAGES = 20  # an image that `ingest` decodes, resizes and encodes takes as long as this many that it copies
TOKENS = 12  # of a prompt, with its start and end: "a photo of a red panda."
BRIEF = ("import_model", "write_vocabulary", "write_prompts", "report")  # stages of seconds
MINI_CLASSES, MINI_TEMPLATES, MINI_BYTES = 20, 3, 2000  # about; the bytes of an image
FLOAT_BYTES = 4
PIXEL_BYTES = {"jpg": 0.4, "png": 1.6}  # per pixel of a generated photo, as stored
CAPTIONS_PER_IMAGE = 2  # about


@dataclass(frozen=True)
class ClipCount:
    """Of a CLIP: the operations of a forward pass on an image and on a token of a text, the bytes that training keeps
    for each of both in float32, the number of weights, and the size of an embedding."""

    image: float
    token: float
    image_bytes: float
    token_bytes: float
    weights: int
    embedding: int


@dataclass(frozen=True)
class PipelineCount:
    """Of a pipeline: the parameters of each part, and for an image the operations and the peak of bytes in float32 of a
    pass of the denoiser and of the decoder."""

    parameters: dict[str, int]
    denoiser: float
    decoder: float
    denoiser_bytes: float
    decoder_bytes: float


@dataclass(frozen=True)
class TaskSize:
    """The numbers of training and test images, of classes, and of templates for each class in testing.

    `bytes`: of its data. A task of pairs has `test_captions`. Its classes are the captions in the vocabulary.
    """

    train: int
    test: int
    classes: int
    templates: int
    bytes: int
    test_captions: int = 0

    def trained_texts(self, batch_size: int) -> int:
        """The texts that are encoded in an iteration: the prompts of all classes, or a caption for each image."""
        return batch_size if self.test_captions else self.classes


TYPICAL = TaskSize(train=1600, test=400, classes=100, templates=1, bytes=0)  # of a task that is not known yet


@dataclass(frozen=True)
class StageWork:
    """A stage instance. `made`: it has its output, of `bytes`. The operations of synthesize are the pipeline's."""

    stage: str
    method: str
    task: str
    made: bool
    start_seconds: float = START_SECONDS_WITHOUT_MODEL
    images: float = 0.0
    operations: float = 0.0
    bytes: int = 0


def type_of(stage: str) -> str:
    """Returns what a stage is counted as in tables: all of BRIEF are one row."""
    return "other stages" if stage in BRIEF else stage


@dataclass(frozen=True)
class Workload:
    """The stages of an experiment. `unknown` says what is not counted, and why; `assumed`, what the sizes stand for."""

    stages: tuple[StageWork, ...]
    unknown: tuple[str, ...]
    assumed: str


def clip_count(project: Project) -> ClipCount | None:
    """Returns what is counted of the model of params.yaml, or None if its configuration is not on this machine."""
    config, model = model_config_of(project), project.config.model
    if config is None:
        return None
    checkpointing = project.config.training.gradient_checkpointing
    return ClipCount(**_kept(project, "count_clip", config, checkpointing, model.name, model.pretrained))


def pipeline_count(project: Project) -> PipelineCount | None:
    """Returns what is counted of the pipeline of params.yaml, or None if it is not known, or has no UNet."""
    generator, folder = project.config.generator, pipeline_folder(project)
    # of diffusers: a UNet that needs other inputs, or a damaged configuration, which the finding `generator` reports
    with suppress(Exception):
        files = folder.glob("*/config.json") if folder else ()
        parts = {file.parent.name: read_json_file(file) for file in files} or known_models().get(generator.pipeline, {})
        if {"unet", "vae"} <= set(parts):
            return PipelineCount(**_kept(project, "count_pipeline", parts, generator.size))
    return None


def _kept(project: Project, count: str, *inputs: Any) -> dict[str, Any]:
    """Returns what a function of gift_core.doctor.counting counts for these arguments, or what it counted earlier."""
    code = Path(__file__).with_name("counting.py").read_text(encoding="utf-8")
    key = hashlib.sha256(json.dumps([code, count, inputs], sort_keys=True).encode()).hexdigest()
    file = Layout(project.root).work("doctor", f"{key[:16]}.json")
    with suppress(OSError, ValueError):  # there is none, or it is damaged
        return dict(read_json_file(file))
    from gift_core.doctor import counting

    counted = asdict(getattr(counting, count)(*inputs))
    with suppress(OSError):  # the folder may be read-only
        write_json(file, counted)
    return counted


def count_work(project: Project) -> Workload:
    """Returns all stages of the experiment, from scratch. One task of typical size stands for an empty sequence."""
    config, layout, unknown = project.config, Layout(project.root), []
    clip, pipeline, generator = clip_count(project), pipeline_count(project), config.generator
    known = {step.task: task_size(project, step.task) for step in config.sequence}
    probes = {name: task_size(project, name) for name in config.evaluation.probes}
    sizes, pairs = known or {"task": TYPICAL}, config.prompts.images_per_task
    stages = []
    for task, size in {**sizes, **probes}.items():
        images = (size.train + size.test) * (1 if config.ingest.shorter_side is None else RESIZED_IMAGES)
        made = (layout.task(task) / "task.json").is_file()
        stages.append(StageWork("ingest", "", task, made, images=images, bytes=size.bytes))
    if pipeline is None:
        unknown.append(f"synthesize: {generator.pipeline} is not on this machine yet, or has no UNet")
    else:
        passes = generator.steps * (GUIDED if generator.guidance > 1 else 1)
        drawing = pairs * (passes * pipeline.denoiser + pipeline.decoder)
        start = START_SECONDS + FILE_SECONDS / 4 * (pipeline.parameters["unet"] + pipeline.parameters["vae"])
        written = int(pairs * generator.size**2 * PIXEL_BYTES[generator.image_format])
        for task in sizes:
            made = layout.shards(task).is_dir()
            stages.append(StageWork("synthesize", "", task, made, start, pairs, drawing, bytes=written))
    if clip is None:
        unknown.append(f"teach, finetune, evaluate: the architecture of {config.model.name} is not known yet")
    else:
        stages += _with_clip(project, sizes, probes, clip)
    stages.append(StageWork("write_vocabulary", "", "", layout.base_vocabulary().is_file()))
    stages += [StageWork("write_prompts", "", task, layout.prompts(task).is_file()) for task in sizes]
    stages.append(StageWork("report", "", "", (layout.reports() / "index.html").is_file(), START_SECONDS))
    assumed = "" if known else f"one task of {TYPICAL.classes} classes and {TYPICAL.train + TYPICAL.test:,} images"
    return Workload(tuple(stages), tuple(unknown), assumed)


def _with_clip(
    project: Project, sizes: dict[str, TaskSize], probes: dict[str, TaskSize], clip: ClipCount
) -> Iterator[StageWork]:
    """Yields the stages of each method and step, and the tests of the pre-trained model on the probes."""
    config, layout, tasks = project.config, Layout(project.root), list(sizes.values())
    training, pairs, size = config.training, config.prompts.images_per_task, FLOAT_BYTES * clip.weights
    again = training.gradient_checkpointing or training.micro_batch_size is not None  # one more forward pass
    start, names = START_SECONDS + FILE_SECONDS * clip.weights, 0
    with suppress(UserError):  # write_vocabulary says so
        names = len(base_vocabulary(config.prompts.base_vocabulary, project.root))

    def encoding(images: float, texts: float) -> float:
        return images * clip.image + texts * TOKENS * clip.token

    def testing(stage: str, method: str, task: str, made: bool, tested: Sequence[TaskSize]) -> StageWork:
        images = sum(min(each.test, config.evaluation.max_images or each.test) for each in tested)
        texts = sum(each.test_captions or each.classes * each.templates for each in tested)
        operations = encoding(images, texts)
        return StageWork(stage, method, task, made, start + FILE_SECONDS * clip.weights, images, operations)

    for name, (step, task) in product(config.run.methods, enumerate(sizes)):
        method = config.methods[name]
        images, texts = method.replay.encoded(pairs, names, [(each.train, each.classes) for each in tasks[: step + 1]])
        trained = pairs if getattr(method.replay, "fisher", None) else 0
        operations = encoding(images + BACKWARD * trained, texts + BACKWARD * trained)
        taught = FLOAT_BYTES * ((images + texts) * clip.embedding + (clip.weights if trained else 0))
        begin, made = start if images else START_SECONDS_WITHOUT_MODEL, layout.teacher(name, task).is_dir()
        yield StageWork("teach", name, task, made, begin, images + trained, operations, bytes=taught)

        iterations = training.iterations * {"task": 1, "seen": step + 1, "nothing": 0}[method.learns]
        replayed = training.replay_batch_size if method.losses and images else 0
        images, texts = training.batch_size + replayed, tasks[step].trained_texts(training.batch_size)
        operations = (BACKWARD + again) * encoding(images, texts + (replayed if method.replay.pairs else 0))
        operations = iterations * (operations + UPDATE_OPERATIONS * clip.weights)
        begin, made = start + FILE_SECONDS * clip.weights, layout.model(name, task).is_dir()
        yield StageWork("finetune", name, task, made, begin, iterations * images, operations, bytes=size)

        tests = TESTED[config.evaluation.protocol](step)
        if method.keeps_every_model:
            tests = [(tested if tested <= model else -1, tested) for model, tested in tests]
        elif method.learns == "nothing":
            tests = [(-1, tested) for _, tested in tests]
        tested = [*(tasks[position] for _, position in set(tests)), *probes.values()]
        yield replace(testing("evaluate", name, task, layout.released(name, task).is_dir(), tested), bytes=size)
    for task, probe in probes.items():
        yield testing("probe", "", task, layout.probe(task).is_file(), [probe])
    yield StageWork("import_model", "", "", layout.pretrained().is_dir(), start, bytes=size)


def task_size(project: Project, name: str) -> TaskSize:
    """Returns the size of a task. What is not known yet is that of TYPICAL."""
    task, folder = project.config.tasks[name], Layout(project.root).task(name)
    with suppress(ContractError):  # there is none yet, or it is damaged, and the stages that read it say so
        info, files = read_task(folder), (path for path in folder.rglob("*") if path.is_file())
        return _sized(info, len(info.class_names), sum(path.stat().st_size for path in files))
    if isinstance(task, UserDataConfig) or getattr(task, "allow_partial", False):  # what is there is all of it
        with suppress(UserError):  # check_data says so
            dataset = open_dataset(name, task, seed=project.config.seed, root=project.root)
            return _sized(dataset, len(dataset.classes), sum(each.size for each in (*dataset.train, *dataset.test)))
    size = TYPICAL
    if isinstance(task, CatalogueTaskConfig):
        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        whole, templates = len(row.classes) or 1, task.templates or row.templates
        classes = task.classes.count if task.classes else whole
        share = classes / whole
        train, test = (round(row.counts.get(split, 0) * share) for split in ("train", "test"))
        train = min(train, (task.shots or train) * classes)
        size = TaskSize(train, test, classes, len(templates), int(row.unpacked_bytes * share))
    elif isinstance(task, MiniTaskConfig):
        stored = MINI_BYTES * (task.train_images + task.test_images)
        size = TaskSize(task.train_images, task.test_images, MINI_CLASSES, MINI_TEMPLATES, stored)
    if (vocabulary := getattr(task, "vocabulary_captions", None)) is None:
        return size
    return replace(size, classes=vocabulary, test_captions=CAPTIONS_PER_IMAGE * size.test)


def _sized(task: TaskInfo | Dataset, classes: int, size: int) -> TaskSize:
    counts = task.counts["train"], task.counts["test"], classes, len(task.templates)
    return TaskSize(*counts, size, task.captions.get("test", 0))
