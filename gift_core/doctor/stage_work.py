"""What each stage of an experiment has to do: operations, images to decode, and the seconds until its work begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gift_core.artifacts.task import read_task
from gift_core.config.method_options import MethodConfig
from gift_core.config.tasks import (
    CatalogueTaskConfig,
    FolderTaskConfig,
    MiniTaskConfig,
    OwnTaskConfig,
    PairsTaskConfig,
    TaskConfig,
)
from gift_core.datasets.folder_reader import is_hidden
from gift_core.doctor.data_checks import class_count
from gift_core.doctor.finding import Project
from gift_core.doctor.operations import BACKWARD, GUIDED, ClipOperations, clip_operations, pipeline_operations
from gift_core.errors import ContractError
from gift_core.layout import Layout

# Measured on two CPU cores (benchmarks/smoke_full.md, benchmarks/startup.md).
START_SECONDS = 0.8  # of a stage that computes with a model, after the imports
START_SECONDS_WITHOUT_MODEL = 0.3
READ_SECONDS = 2.5e-8  # for a weight: reading it and checking its hash; on two machines 1e-8 and 5e-8
WRITE_SECONDS = 2.5e-8
UPDATE_OPERATIONS = 1000.0  # for a weight and an iteration: the optimizer's step takes as long as these
RESIZED_IMAGES = 20  # an image that `ingest` decodes, resizes and encodes takes as long as this many that it copies
TOKENS = 12  # of a prompt, with its start and end: "a photo of a red panda."
OTHERS = "other stages"  # stages of seconds: import_model, write_vocabulary, write_prompts, report
MINI_CLASSES, MINI_TEMPLATES = 20, 3  # about
CAPTIONS_PER_IMAGE = 2  # about
BASE_NAMES = {"imagenet": 1000, "mini": 708, "none": 0}  # of the base vocabularies


@dataclass(frozen=True)
class TaskSize:
    """The numbers of training and test images, of classes, and of templates for each class in testing.

    A task of pairs has `test_captions`. Its classes are the captions in the vocabulary.
    """

    train: int
    test: int
    classes: int
    templates: int
    test_captions: int = 0

    @property
    def test_texts(self) -> int:
        """The texts that are encoded to test a model."""
        return self.test_captions or self.classes * self.templates


TYPICAL_SHARE = 0.2  # of test images, where the splits are not read
TYPICAL = TaskSize(train=1600, test=400, classes=100, templates=1)  # of a task that is not known yet


@dataclass(frozen=True)
class StageWork:
    """A stage instance. `generates`: its operations are the pipeline's, not the CLIP's. `made`: it has its output."""

    stage: str
    method: str
    task: str
    made: bool
    start_seconds: float = START_SECONDS_WITHOUT_MODEL
    images: float = 0.0
    operations: float = 0.0
    generates: bool = False


@dataclass(frozen=True)
class Workload:
    """The stages of an experiment. `unknown` says what is not counted, and why; `assumed`, what the sizes stand for."""

    stages: tuple[StageWork, ...]
    unknown: tuple[str, ...]
    assumed: str


def count_work(project: Project) -> Workload:
    """Returns all stages of the experiment, from scratch. One task of typical size stands for an empty sequence."""
    config = project.config
    sizes = {step.task: task_size(step.task, config.tasks[step.task], project.root) for step in config.sequence}
    assumed = "" if sizes else f"one task of {TYPICAL.classes} classes and {TYPICAL.train + TYPICAL.test:,} images"
    counted = _Counted(project, sizes or {"task": TYPICAL}, clip_operations(project))
    stages, unknown = [*counted.ingest()], []
    generated = list(counted.synthesize())
    stages += generated
    if not generated:
        unknown.append(f"synthesize: {config.generator.pipeline} is not on this machine yet, or has no UNet")
    if counted.clip is None:
        unknown.append(f"teach, finetune, evaluate: the architecture of {config.model.name} is not known yet")
    else:
        stages += [*counted.teach(counted.clip), *counted.finetune(counted.clip), *counted.evaluate(counted.clip)]
    return Workload((*stages, *counted.others()), tuple(unknown), assumed)


@dataclass(frozen=True)
class _Counted:
    """The stages of each kind. `sizes` are those of the tasks, in the order of the sequence."""

    project: Project
    sizes: dict[str, TaskSize]
    clip: ClipOperations | None

    @property
    def layout(self) -> Layout:
        return Layout(self.project.root)

    @property
    def methods(self) -> dict[str, MethodConfig]:
        return {name: self.project.config.methods[name] for name in self.project.config.run.methods}

    def ingest(self) -> Iterator[StageWork]:
        factor = 1 if self.project.config.ingest.shorter_side is None else RESIZED_IMAGES
        for task, size in self.sizes.items():
            made = (self.layout.task(task) / "task.json").is_file()
            yield StageWork("ingest", "", task, made, images=factor * (size.train + size.test))

    def others(self) -> Iterator[StageWork]:
        weights = self.clip.weights if self.clip else 0.0
        reading = (READ_SECONDS + WRITE_SECONDS) / 2 * weights
        yield StageWork(OTHERS, "", "import_model", self.layout.pretrained().is_dir(), START_SECONDS + reading)
        yield StageWork(OTHERS, "", "write_vocabulary", self.layout.base_vocabulary().is_file())
        for task in self.sizes:
            yield StageWork(OTHERS, "", task, self.layout.prompts(task).is_file())
        yield StageWork(OTHERS, "", "report", (self.layout.reports() / "index.html").is_file(), START_SECONDS)

    def synthesize(self) -> Iterator[StageWork]:
        generator, pipeline = self.project.config.generator, pipeline_operations(self.project)
        if pipeline is None:
            return
        passes = generator.steps * (GUIDED if generator.guidance > 1 else 1)
        image = passes * pipeline.denoiser.of(generator.size) + pipeline.decoder.of(generator.size)
        start, count = START_SECONDS + READ_SECONDS / 4 * pipeline.weights, self.project.config.prompts.images_per_task
        for task in self.sizes:
            made = self.layout.shards(task).is_dir()
            yield StageWork("synthesize", "", task, made, start, count, count * image, generates=True)

    def teach(self, clip: ClipOperations) -> Iterator[StageWork]:
        for name, method in self.methods.items():
            for step, task in enumerate(self.sizes):
                made = self.layout.teacher(name, task).is_dir()
                images, texts, trained = self._taught(method, step)
                operations = images * clip.image + texts * TOKENS * clip.token
                operations += BACKWARD * trained * (clip.image + TOKENS * clip.token)
                start = START_SECONDS + READ_SECONDS * clip.weights if images else START_SECONDS_WITHOUT_MODEL
                yield StageWork("teach", name, task, made, start, images + trained, operations)

    def _taught(self, method: MethodConfig, step: int) -> tuple[int, int, int]:
        """Images and texts that the teacher encodes, and pairs whose gradients give the Fisher information."""
        replay, count = method.replay, self.project.config.prompts.images_per_task
        sizes = list(self.sizes.values())
        if replay.images == "none":
            return 0, 0, 0
        if replay.images == "task":
            return sizes[step].train, getattr(replay.texts, "count", sizes[step].classes), 0
        if replay.images == "exemplars":
            return (sizes[step - 1].train + replay.memory, sizes[step - 1].classes, 0) if step else (0, 0, 0)
        pairs = count * (1 + min(step, getattr(replay, "keep_earlier", 0)))
        names = self.base_names() + sum(size.classes for size in sizes[:step]) if replay.images == "synthetic" else 0
        return pairs, pairs + names, count if replay.fisher else 0

    def base_names(self) -> int:
        """The names of the base vocabulary: those of the table, or the lines of a file, which may be missing yet."""
        name = self.project.config.prompts.base_vocabulary
        if name in BASE_NAMES:
            return BASE_NAMES[name]
        file = self.project.root / name
        return len(file.read_bytes().splitlines()) if file.is_file() else 0

    def finetune(self, clip: ClipOperations) -> Iterator[StageWork]:
        training = self.project.config.training
        again = training.gradient_checkpointing or training.micro_batch_size is not None  # one more forward pass
        for name, method in self.methods.items():
            for step, (task, size) in enumerate(self.sizes.items()):
                iterations = training.iterations * {"task": 1, "seen": step + 1, "nothing": 0}[method.learns]
                images, texts = training.batch_size, training.batch_size if size.test_captions else size.classes
                if method.replay.images != "none" and (step or method.replay.images != "exemplars"):
                    images += training.replay_batch_size
                    texts += training.replay_batch_size if method.replay.pairs else 0
                encoded = images * clip.image + texts * TOKENS * clip.token
                operations = iterations * ((BACKWARD + again) * encoded + UPDATE_OPERATIONS * clip.weights)
                made = self.layout.model(name, task).is_dir()
                start = START_SECONDS + (READ_SECONDS + WRITE_SECONDS) * clip.weights
                yield StageWork("finetune", name, task, made, start, iterations * images, operations)

    def evaluate(self, clip: ClipOperations) -> Iterator[StageWork]:
        for name, method in self.methods.items():
            for step, task in enumerate(self.sizes):
                tested = list(self._tested(method, step))
                images = sum(size.test for size in tested)
                texts = sum(size.test_texts for size in tested)
                start = START_SECONDS + READ_SECONDS * clip.weights
                operations = images * clip.image + texts * TOKENS * clip.token
                made = self.layout.accuracy(name, task).is_file()
                yield StageWork("evaluate", name, task, made, start, images, operations)

    def _tested(self, method: MethodConfig, step: int) -> Iterator[TaskSize]:
        """A test set for each model that is tested on it: see gift_core.evaluation."""
        most = self.project.config.evaluation.max_images
        sizes = [replace(size, test=min(size.test, most or size.test)) for size in self.sizes.values()][: step + 1]
        yield from sizes  # the newest model, on every task so far
        if self.project.config.evaluation.protocol == "class_incremental":
            yield sizes[-1]  # and the pre-trained model on the new one: features of the others are kept
        elif method.learns != "nothing":  # every earlier model on the new task: one or all of them
            yield from [sizes[-1]] * (1 if method.keeps_every_model else step + 1)


def task_size(name: str, task: TaskConfig, root: Path) -> TaskSize:
    """Returns the size of a task, from its ingested data where they exist. What is not known yet is that of TYPICAL."""
    if isinstance(task, MiniTaskConfig):
        if task.vocabulary_captions is not None:
            captions = CAPTIONS_PER_IMAGE * task.test_images
            return TaskSize(task.train_images, task.test_images, task.vocabulary_captions, 1, captions)
        return TaskSize(task.train_images, task.test_images, MINI_CLASSES, MINI_TEMPLATES)
    ingested = _ingested(Layout(root).task(name))
    if ingested is not None:
        return ingested
    if isinstance(task, CatalogueTaskConfig):
        return _published(name, task)
    if isinstance(task, PairsTaskConfig):
        images = _count_files(root / task.path) // 2 if task.table is None and task.train is None else 0
        test = round(images * (task.test_fraction or TYPICAL_SHARE)) or TYPICAL.test
        train, captions = images - test if images else TYPICAL.train, CAPTIONS_PER_IMAGE * test
        return TaskSize(train, test, task.vocabulary_captions, 1, captions)
    classes, templates = class_count(name, task, root) or TYPICAL.classes, len(task.templates)
    images = _count_files(root / task.path) if isinstance(task, FolderTaskConfig) else 0
    if not images:
        return TaskSize(TYPICAL.train, TYPICAL.test, classes, templates)
    test = round(images * (task.test_fraction or TYPICAL_SHARE))
    return TaskSize(_limited(images - test, task, classes), test, classes, templates)


def _ingested(folder: Path) -> TaskSize | None:
    if not (folder / "task.json").is_file():
        return None
    try:
        info = read_task(folder)
    except ContractError:  # the stages that read it say so
        return None
    texts = len(info.class_names), len(info.templates)
    return TaskSize(info.counts["train"], info.counts["test"], *texts, info.captions.get("test", 0))


def _published(name: str, task: CatalogueTaskConfig) -> TaskSize:
    from gift_core.datasets.catalogue.row import catalogue_row

    row = catalogue_row(task.dataset, f"params.yaml: tasks.{name}.dataset")
    classes = task.classes.count if task.classes else len(row.classes)
    share = classes / len(row.classes)
    train, test = (round(row.counts[split] * share) for split in ("train", "test"))
    return TaskSize(_limited(train, task, classes), test, classes, len(task.templates or row.templates))


def _limited(train: int, task: OwnTaskConfig | CatalogueTaskConfig, classes: int) -> int:
    """The training images that are left with `shots` of each class."""
    return train if task.shots is None else min(train, task.shots * classes)


def _count_files(folder: Path) -> int:
    return sum(path.is_file() and not is_hidden(path.name) for path in folder.rglob("*"))
