"""What each stage of an experiment has to do: operations, images to decode, and the seconds until its work begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from gift_core.artifacts.task import read_task
from gift_core.config.experiment import TESTED
from gift_core.config.method_options import MethodConfig
from gift_core.config.tasks import CatalogueTaskConfig, MiniTaskConfig
from gift_core.datasets.captions import base_vocabulary
from gift_core.doctor.finding import Project
from gift_core.doctor.operations import BACKWARD, GUIDED, ClipCount, PipelineCount, clip_count, pipeline_count
from gift_core.errors import ContractError, UserError
from gift_core.layout import Layout

# Measured on two CPU cores (benchmarks/smoke_full.md, docs/log.md).
START_SECONDS = 0.8  # of a stage that computes with a model, after the imports
START_SECONDS_WITHOUT_MODEL = 0.3
FILE_SECONDS = 2.5e-8  # for a weight: reading it and checking its hash, or writing it; on two machines 1e-8 and 5e-8
UPDATE_OPERATIONS = 1000.0  # for a weight and an iteration: the optimizer's step takes as long as these
RESIZED_IMAGES = 20  # an image that `ingest` decodes, resizes and encodes takes as long as this many that it copies
TOKENS = 12  # of a prompt, with its start and end: "a photo of a red panda."
OTHERS = "other stages"  # stages of seconds: import_model, write_vocabulary, write_prompts, report
MINI_CLASSES, MINI_TEMPLATES, MINI_BYTES = 20, 3, 2000  # about; the bytes of an image
FLOAT_BYTES = 4
PIXEL_BYTES = {"jpg": 0.4, "png": 1.6}  # per pixel of a generated photo, as stored
CAPTIONS_PER_IMAGE = 2  # about


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

    @property
    def test_texts(self) -> int:
        """The texts that are encoded to test a model."""
        return self.test_captions or self.classes * self.templates

    def trained_texts(self, batch_size: int) -> int:
        """The texts that are encoded in an iteration: the prompts of all classes, or a caption for each image."""
        return batch_size if self.test_captions else self.classes


TYPICAL = TaskSize(train=1600, test=400, classes=100, templates=1, bytes=0)  # of a task that is not known yet


@dataclass(frozen=True)
class StageWork:
    """A stage instance. `made`: it has its output, of `bytes`. `generates`: the operations are the pipeline's."""

    stage: str
    method: str
    task: str
    made: bool
    start_seconds: float = START_SECONDS_WITHOUT_MODEL
    images: float = 0.0
    operations: float = 0.0
    generates: bool = False
    bytes: int = 0


@dataclass(frozen=True)
class Workload:
    """The stages of an experiment. `unknown` says what is not counted, and why; `assumed`, what the sizes stand for."""

    stages: tuple[StageWork, ...]
    unknown: tuple[str, ...]
    assumed: str


def count_work(project: Project) -> Workload:
    """Returns all stages of the experiment, from scratch. One task of typical size stands for an empty sequence."""
    config, clip, pipeline = project.config, clip_count(project), pipeline_count(project)
    known, probes = task_sizes(project), {name: _task_size(project, name) for name in project.config.evaluation.probes}
    sizes, unknown = known or {"task": TYPICAL}, []
    stages = [*_ingest(project, {**sizes, **probes})]
    if pipeline is None:
        unknown.append(f"synthesize: {config.generator.pipeline} is not on this machine yet, or has no UNet")
    else:
        stages += _synthesize(project, sizes, pipeline)
    if clip is None:
        unknown.append(f"teach, finetune, evaluate: the architecture of {config.model.name} is not known yet")
    else:
        stages += [*_teach(project, sizes, clip), *_finetune(project, sizes, clip)]
        stages += _evaluate(project, sizes, probes, clip)
    stages += _others(project, sizes, clip.weights if clip else 0)
    assumed = "" if known else f"one task of {TYPICAL.classes} classes and {TYPICAL.train + TYPICAL.test:,} images"
    return Workload(tuple(stages), tuple(unknown), assumed)


def _ingest(project: Project, sizes: dict[str, TaskSize]) -> Iterator[StageWork]:
    factor = 1 if project.config.ingest.shorter_side is None else RESIZED_IMAGES
    for task, size in sizes.items():
        made = (Layout(project.root).task(task) / "task.json").is_file()
        yield StageWork("ingest", "", task, made, images=factor * (size.train + size.test), bytes=size.bytes)


def _synthesize(project: Project, sizes: dict[str, TaskSize], pipeline: PipelineCount) -> Iterator[StageWork]:
    generator, count = project.config.generator, project.config.prompts.images_per_task
    passes = generator.steps * (GUIDED if generator.guidance > 1 else 1)
    image = passes * pipeline.denoiser + pipeline.decoder
    start = START_SECONDS + FILE_SECONDS / 4 * (pipeline.parameters["unet"] + pipeline.parameters["vae"])
    size = int(count * generator.size**2 * PIXEL_BYTES[generator.image_format])
    for task in sizes:
        made = Layout(project.root).shards(task).is_dir()
        yield StageWork("synthesize", "", task, made, start, count, count * image, generates=True, bytes=size)


def _each(project: Project, sizes: dict[str, TaskSize]) -> Iterator[tuple[str, MethodConfig, list[TaskSize], str]]:
    """The name and row of each method, with the tasks so far and the name of the last of them."""
    for name in project.config.run.methods:
        for step, task in enumerate(sizes, start=1):
            yield name, project.config.methods[name], list(sizes.values())[:step], task


def _encoded(project: Project, tasks: Sequence[TaskSize], method: MethodConfig) -> tuple[int, int]:
    """About how many images and texts the teacher encodes in the step of the last of `tasks`."""
    prompts, names = project.config.prompts, 0
    with suppress(UserError):  # write_vocabulary says so
        names = len(base_vocabulary(prompts.base_vocabulary, project.root))
    return method.replay.encoded(prompts.images_per_task, names, [(size.train, size.classes) for size in tasks])


def _teach(project: Project, sizes: dict[str, TaskSize], clip: ClipCount) -> Iterator[StageWork]:
    for name, method, tasks, task in _each(project, sizes):
        images, texts = _encoded(project, tasks, method)
        fisher = getattr(method.replay, "fisher", None) is not None
        trained = project.config.prompts.images_per_task if fisher else 0
        operations = (images + BACKWARD * trained) * clip.image + (texts + BACKWARD * trained) * TOKENS * clip.token
        start = START_SECONDS + FILE_SECONDS * clip.weights if images else START_SECONDS_WITHOUT_MODEL
        made = Layout(project.root).teacher(name, task).is_dir()
        size = FLOAT_BYTES * ((images + texts) * clip.embedding + fisher * clip.weights)
        yield StageWork("teach", name, task, made, start, images + trained, operations, bytes=size)


def _finetune(project: Project, sizes: dict[str, TaskSize], clip: ClipCount) -> Iterator[StageWork]:
    training, size = project.config.training, FLOAT_BYTES * clip.weights
    again = training.gradient_checkpointing or training.micro_batch_size is not None  # one more forward pass
    start = START_SECONDS + 2 * FILE_SECONDS * clip.weights
    for name, method, tasks, task in _each(project, sizes):
        iterations = training.iterations * {"task": 1, "seen": len(tasks), "nothing": 0}[method.learns]
        images, texts = training.batch_size, tasks[-1].trained_texts(training.batch_size)
        if method.losses and _encoded(project, tasks, method)[0]:
            images += training.replay_batch_size
            texts += training.replay_batch_size if method.replay.pairs else 0
        operations = (BACKWARD + again) * (images * clip.image + texts * TOKENS * clip.token)
        operations += UPDATE_OPERATIONS * clip.weights
        made = Layout(project.root).model(name, task).is_dir()
        yield StageWork("finetune", name, task, made, start, iterations * images, iterations * operations, bytes=size)


def _evaluate(
    project: Project, sizes: dict[str, TaskSize], probes: dict[str, TaskSize], clip: ClipCount
) -> Iterator[StageWork]:
    layout, most, size = Layout(project.root), project.config.evaluation.max_images, FLOAT_BYTES * clip.weights
    start = START_SECONDS + 2 * FILE_SECONDS * clip.weights

    def testing(tested: Sequence[TaskSize]) -> tuple[int, float]:
        """The images and operations of testing a model on each of these."""
        images = sum(min(each.test, most or each.test) for each in tested)
        return images, images * clip.image + sum(each.test_texts for each in tested) * TOKENS * clip.token

    for name, method, tasks, task in _each(project, sizes):
        pairs = TESTED[project.config.evaluation.protocol](len(tasks) - 1)
        if method.keeps_every_model:
            pairs = [(test if test <= model else -1, test) for model, test in pairs]
        elif method.learns == "nothing":
            pairs = [(-1, test) for _, test in pairs]
        tested = [*(tasks[test] for _, test in set(pairs)), *probes.values()]
        made = layout.released(name, task).is_dir()
        yield StageWork("evaluate", name, task, made, start, *testing(tested), bytes=size)
    for task, probe in probes.items():
        yield StageWork("evaluate", "", task, layout.probe(task).is_file(), start, *testing([probe]))


def _others(project: Project, sizes: dict[str, TaskSize], weights: int) -> Iterator[StageWork]:
    layout, start = Layout(project.root), START_SECONDS + FILE_SECONDS * weights
    made = layout.pretrained().is_dir()
    yield StageWork(OTHERS, "", "import_model", made, start, bytes=FLOAT_BYTES * weights)
    yield StageWork(OTHERS, "", "write_vocabulary", layout.base_vocabulary().is_file())
    for task in sizes:
        yield StageWork(OTHERS, "", task, layout.prompts(task).is_file())
    yield StageWork(OTHERS, "", "report", (layout.reports() / "index.html").is_file(), START_SECONDS)


def task_sizes(project: Project) -> dict[str, TaskSize]:
    """Returns the size of each task of the sequence. What is not known yet is that of TYPICAL."""
    return {step.task: _task_size(project, step.task) for step in project.config.sequence}


def _task_size(project: Project, name: str) -> TaskSize:
    task, folder = project.config.tasks[name], Layout(project.root).task(name)
    if (folder / "task.json").is_file():
        with suppress(ContractError):  # the stages that read it say so
            info, size = read_task(folder), sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            texts = len(info.class_names), len(info.templates)
            return TaskSize(info.counts["train"], info.counts["test"], *texts, size, info.captions.get("test", 0))
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.datasets.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        classes, templates = task.classes.count if task.classes else len(row.classes), task.templates or row.templates
        share = classes / len(row.classes)
        train, test = (round(row.counts[split] * share) for split in ("train", "test"))
        train = min(train, (task.shots or train) * classes)
        return TaskSize(train, test, classes, len(templates), int(row.unpacked_bytes * share))
    captions = getattr(task, "vocabulary_captions", None)
    if isinstance(task, MiniTaskConfig):
        train, test, size = task.train_images, task.test_images, MINI_BYTES * (task.train_images + task.test_images)
        if captions:
            return TaskSize(train, test, captions, 1, size, CAPTIONS_PER_IMAGE * test)
        return TaskSize(train, test, MINI_CLASSES, MINI_TEMPLATES, size)
    from gift_core.datasets.ingest import open_dataset

    try:
        dataset = open_dataset(name, task, seed=project.config.seed, root=project.root)
    except UserError:  # check_data says so
        tested = CAPTIONS_PER_IMAGE * TYPICAL.test if captions else 0
        return replace(TYPICAL, classes=captions or TYPICAL.classes, test_captions=tested)
    size = sum(sample.size for sample in (*dataset.train, *dataset.test))
    texts = len(dataset.classes), len(dataset.templates)
    return TaskSize(len(dataset.train), len(dataset.test), *texts, size, dataset.captions.get("test", 0))
