"""What each stage of an experiment has to do: operations, images to decode, and the seconds until its work begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gift_core.artifacts.task import read_task
from gift_core.config.experiment import TESTED
from gift_core.config.method_options import MethodConfig
from gift_core.config.tasks import CatalogueTaskConfig, FolderTaskConfig, MiniTaskConfig, TaskConfig
from gift_core.datasets.decoding import SUFFIXES
from gift_core.datasets.folder_reader import is_hidden
from gift_core.datasets.spelling import split_of
from gift_core.doctor.finding import Project
from gift_core.doctor.operations import BACKWARD, GUIDED, ClipCount, clip_count, pipeline_count
from gift_core.errors import ContractError
from gift_core.layout import Layout

# Measured on two CPU cores (benchmarks/smoke_full.md, docs/log.md).
START_SECONDS = 0.8  # of a stage that computes with a model, after the imports
START_SECONDS_WITHOUT_MODEL = 0.3
READ_SECONDS = 2.5e-8  # for a weight: reading it and checking its hash; on two machines 1e-8 and 5e-8
WRITE_SECONDS = 2.5e-8
UPDATE_OPERATIONS = 1000.0  # for a weight and an iteration: the optimizer's step takes as long as these
RESIZED_IMAGES = 20  # an image that `ingest` decodes, resizes and encodes takes as long as this many that it copies
TOKENS = 12  # of a prompt, with its start and end: "a photo of a red panda."
OTHERS = "other stages"  # stages of seconds: import_model, write_vocabulary, write_prompts, report
MINI_CLASSES, MINI_TEMPLATES, MINI_BYTES = 20, 3, 2000  # about; the bytes of an image
FLOAT_BYTES = 4
PIXEL_BYTES = {"jpg": 0.4, "png": 1.6}  # per pixel of a generated photo, as stored
CAPTIONS_PER_IMAGE = 2  # about
BASE_NAMES = {"imagenet": 1000, "mini": 708, "none": 0}  # of the base vocabularies


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


TYPICAL_SHARE = 0.2  # of test images, where the splits are not read
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
    sizes, clip, config = task_sizes(project), clip_count(project), project.config
    assumed = "" if sizes else f"one task of {TYPICAL.classes} classes and {TYPICAL.train + TYPICAL.test:,} images"
    steps = _Steps(project, sizes or {"task": TYPICAL})
    generated, unknown = list(steps.synthesize()), []
    if not generated:
        unknown.append(f"synthesize: {config.generator.pipeline} is not on this machine yet, or has no UNet")
    stages = [*steps.ingest(), *generated]
    if clip is None:
        unknown.append(f"teach, finetune, evaluate: the architecture of {config.model.name} is not known yet")
    else:
        stages += [*steps.teach(clip), *steps.finetune(clip), *steps.evaluate(clip)]
    return Workload((*stages, *steps.others(clip.weights if clip else 0)), tuple(unknown), assumed)


def encoded(project: Project, tasks: Sequence[TaskSize], method: MethodConfig) -> tuple[int, int]:
    """Returns about how many images and texts the teacher encodes in the step of the last of `tasks`."""
    prompts = project.config.prompts
    names = BASE_NAMES.get(prompts.base_vocabulary)
    if names is None:  # a file, which may be missing yet
        file = project.root / prompts.base_vocabulary
        names = len(file.read_bytes().splitlines()) if file.is_file() else 0
    return method.replay.encoded(prompts.images_per_task, names, [(size.train, size.classes) for size in tasks])


@dataclass(frozen=True)
class _Steps:
    """The stages of each kind. `sizes` are those of the tasks, in the order of the sequence."""

    project: Project
    sizes: dict[str, TaskSize]

    @cached_property
    def probes(self) -> dict[str, TaskSize]:
        tasks = self.project.config.tasks
        return {
            name: _task_size(name, tasks[name], self.project.root) for name in self.project.config.evaluation.probes
        }

    @property
    def layout(self) -> Layout:
        return Layout(self.project.root)

    def each(self) -> Iterator[tuple[str, MethodConfig, list[TaskSize], str]]:
        """The name and row of each method, with the tasks so far and the name of the last of them."""
        for name in self.project.config.run.methods:
            for step, task in enumerate(self.sizes):
                yield name, self.project.config.methods[name], list(self.sizes.values())[: step + 1], task

    def ingest(self) -> Iterator[StageWork]:
        factor = 1 if self.project.config.ingest.shorter_side is None else RESIZED_IMAGES
        for task, size in {**self.sizes, **self.probes}.items():
            made = (self.layout.task(task) / "task.json").is_file()
            yield StageWork("ingest", "", task, made, images=factor * (size.train + size.test), bytes=size.bytes)

    def others(self, weights: int) -> Iterator[StageWork]:
        start = START_SECONDS + (READ_SECONDS + WRITE_SECONDS) / 2 * weights
        yield StageWork(
            OTHERS, "", "import_model", self.layout.pretrained().is_dir(), start, bytes=FLOAT_BYTES * weights
        )
        yield StageWork(OTHERS, "", "write_vocabulary", self.layout.base_vocabulary().is_file())
        for task in self.sizes:
            yield StageWork(OTHERS, "", task, self.layout.prompts(task).is_file())
        yield StageWork(OTHERS, "", "report", (self.layout.reports() / "index.html").is_file(), START_SECONDS)

    def synthesize(self) -> Iterator[StageWork]:
        generator, pipeline = self.project.config.generator, pipeline_count(self.project)
        if pipeline is None:
            return
        passes = generator.steps * (GUIDED if generator.guidance > 1 else 1)
        image, count = passes * pipeline.denoiser + pipeline.decoder, self.project.config.prompts.images_per_task
        start = START_SECONDS + READ_SECONDS / 4 * (pipeline.parameters["unet"] + pipeline.parameters["vae"])
        size = int(count * generator.size**2 * PIXEL_BYTES[generator.image_format])
        for task in self.sizes:
            made = self.layout.shards(task).is_dir()
            yield StageWork("synthesize", "", task, made, start, count, count * image, generates=True, bytes=size)

    def teach(self, clip: ClipCount) -> Iterator[StageWork]:
        for name, method, tasks, task in self.each():
            images, texts = encoded(self.project, tasks, method)
            fisher = getattr(method.replay, "fisher", None) is not None
            trained = self.project.config.prompts.images_per_task if fisher else 0
            operations = (images + BACKWARD * trained) * clip.image + (texts + BACKWARD * trained) * TOKENS * clip.token
            start = START_SECONDS + READ_SECONDS * clip.weights if images else START_SECONDS_WITHOUT_MODEL
            made = self.layout.teacher(name, task).is_dir()
            size = FLOAT_BYTES * ((images + texts) * clip.embedding + fisher * clip.weights)
            yield StageWork("teach", name, task, made, start, images + trained, operations, bytes=size)

    def finetune(self, clip: ClipCount) -> Iterator[StageWork]:
        training = self.project.config.training
        again = training.gradient_checkpointing or training.micro_batch_size is not None  # one more forward pass
        start = START_SECONDS + (READ_SECONDS + WRITE_SECONDS) * clip.weights
        for name, method, tasks, task in self.each():
            iterations = training.iterations * {"task": 1, "seen": len(tasks), "nothing": 0}[method.learns]
            images, texts = training.batch_size, tasks[-1].trained_texts(training.batch_size)
            if method.losses and encoded(self.project, tasks, method)[0]:
                images += training.replay_batch_size
                texts += training.replay_batch_size if method.replay.pairs else 0
            operations = (BACKWARD + again) * (images * clip.image + texts * TOKENS * clip.token)
            operations += UPDATE_OPERATIONS * clip.weights
            made = self.layout.model(name, task).is_dir()
            size = FLOAT_BYTES * clip.weights
            yield StageWork(
                "finetune", name, task, made, start, iterations * images, iterations * operations, bytes=size
            )

    def evaluate(self, clip: ClipCount) -> Iterator[StageWork]:
        start = START_SECONDS + (READ_SECONDS + WRITE_SECONDS) * clip.weights
        for name, method, tasks, task in self.each():
            pairs = TESTED[self.project.config.evaluation.protocol](len(tasks) - 1)
            if method.keeps_every_model:
                pairs = [(test if test <= model else -1, test) for model, test in pairs]
            elif method.learns == "nothing":
                pairs = [(-1, test) for _, test in pairs]
            tested = [*(tasks[test] for _, test in set(pairs)), *self.probes.values()]
            made, work = self.layout.released(name, task).is_dir(), self._tests(clip, tested)
            yield StageWork("evaluate", name, task, made, start, *work, bytes=FLOAT_BYTES * clip.weights)
        for task, size in self.probes.items():
            yield StageWork("evaluate", "", task, self.layout.probe(task).is_file(), start, *self._tests(clip, [size]))

    def _tests(self, clip: ClipCount, tested: Sequence[TaskSize]) -> tuple[int, float]:
        """The images and operations of testing a model on each of these."""
        most = self.project.config.evaluation.max_images
        images = sum(min(size.test, most or size.test) for size in tested)
        return images, images * clip.image + sum(size.test_texts for size in tested) * TOKENS * clip.token


def task_sizes(project: Project) -> dict[str, TaskSize]:
    """Returns the size of each task of the sequence. What is not known yet is that of TYPICAL."""
    tasks = project.config.tasks
    return {step.task: _task_size(step.task, tasks[step.task], project.root) for step in project.config.sequence}


def _task_size(name: str, task: TaskConfig, root: Path) -> TaskSize:
    folder = Layout(root).task(name)
    if (folder / "task.json").is_file():
        with suppress(ContractError):  # the stages that read it say so
            info = read_task(folder)
            texts, captions = (len(info.class_names), len(info.templates)), info.captions.get("test", 0)
            return TaskSize(info.counts["train"], info.counts["test"], *texts, _bytes_in(folder), captions)
    if isinstance(task, CatalogueTaskConfig):
        from gift_core.datasets.catalogue.row import catalogue_row

        row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
        classes, templates = task.classes.count if task.classes else len(row.classes), task.templates or row.templates
        share = classes / len(row.classes)
        train, test = (round(row.counts[split] * share) for split in ("train", "test"))
        size = int(row.unpacked_bytes * share)
    elif isinstance(task, MiniTaskConfig):
        train, test, classes, templates = task.train_images, task.test_images, MINI_CLASSES, MINI_TEMPLATES * ("",)
        size = MINI_BYTES * (train + test)
    else:
        images = sum(path.suffix.lower() in SUFFIXES for path in (root / task.path).rglob("*"))
        test = round(images * (task.test_fraction or TYPICAL_SHARE)) if images else TYPICAL.test
        train, templates = images - test if images else TYPICAL.train, getattr(task, "templates", ())
        classes = _count_classes(root / task.path) if isinstance(task, FolderTaskConfig) else TYPICAL.classes
        size = _bytes_in(root / task.path)
    if names := getattr(task, "vocabulary_captions", None):
        return TaskSize(train, test, names, 1, size, CAPTIONS_PER_IMAGE * test)
    return TaskSize(min(train, (getattr(task, "shots", None) or train) * classes), test, classes, len(templates), size)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _count_classes(folder: Path) -> int:
    """The sub-folders, or those of the training split."""
    parts = _subfolders(folder)
    train = next((part for part in parts if split_of(part.name) == "train"), None)
    return len(parts if train is None else _subfolders(train)) or TYPICAL.classes


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)] if folder.is_dir() else []
