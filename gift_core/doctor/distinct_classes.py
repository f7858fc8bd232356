"""Whether the model can tell all classes apart, asked as soon as their names and its tokenizer are on this machine.

Imports torch only where two classes could have the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gift_core.artifacts.model_folder import CONFIG, read_provenance
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.clip.same_tokens import Tokenizer
from gift_core.config.experiment import LOCAL
from gift_core.config.tasks import MiniTaskConfig
from gift_core.datasets.dataset import Dataset
from gift_core.datasets.ingest import open_dataset
from gift_core.doctor.finding import Finding, Project
from gift_core.doctor.inputs import CONTEXT, kind_of_model, model_config_of, read_model_config
from gift_core.errors import ContractError, GiftError, UserError
from gift_core.layout import Layout
from gift_core.method.class_texts import require_distinct_classes, require_distinct_texts


def check_classes(project: Project) -> Iterator[Finding]:
    """Yields a problem if two classes are the same to the model, of raw data and of what is ingested.

    What is ingested belongs to params.yaml, and may be other data than those of a preset.
    """
    if project.quick:
        return
    before = ingested(project) if project.is_active else {}
    try:
        require_distinct(project, before | in_raw_data(project))
    except UserError as error:
        yield Finding("classes", "fail", str(error).removeprefix("params.yaml: "))


def require_known_classes(project: Project, *, new: TaskInfo | None = None, tokenizer: Tokenizer | None = None) -> None:
    """Raises UserError if two classes of the ingested tasks, and of the `new` one, are the same to the model.

    `tokenizer` is that of the model, if it is loaded. A task.json that is about to be made again does not count: before
    this refuses, it reads the names in the raw data.
    """
    of_new = {} if new is None else {new.name: new}
    infos = ingested(project)
    try:
        require_distinct(project, infos | of_new, tokenizer)
    except UserError:
        require_distinct(project, infos | in_raw_data(project) | of_new, tokenizer)


def require_distinct(project: Project, infos: Mapping[str, TaskInfo], tokenizer: Tokenizer | None = None) -> None:
    """Raises UserError if two classes of these tasks are the same to the model of params.yaml.

    The texts of the miniature's tasks are not compared: they are short, and all differ.
    """
    config, evaluation = project.config, project.config.evaluation
    if not evaluation.protocol.has_matrix:
        require_distinct_classes([infos[step.task] for step in config.sequence if step.task in infos])
    compared = [info for name, info in infos.items() if not isinstance(config.tasks[name], MiniTaskConfig)]
    if not compared:
        return
    tokenizer = tokenizer or known_tokenizer(project)
    if tokenizer is not None:
        require_distinct_texts(compared, probes=evaluation.probes, protocol=evaluation.protocol, tokenizer=tokenizer)


def ingested(project: Project) -> dict[str, TaskInfo]:
    """Returns what is in the task.json of each task that is used and ingested."""
    infos = {}
    for name in project.config.used_tasks:
        with suppress(ContractError):  # missing, or to be made again
            infos[name] = read_task(Layout(project.root).task(name))
    return infos


def in_raw_data(project: Project) -> dict[str, TaskInfo]:
    """Returns the classes of each task as `ingest` would write them, where there are sound raw data on this machine."""
    infos, config = {}, project.config
    for name in config.used_tasks:
        row = config.tasks[name]
        if isinstance(row, MiniTaskConfig):  # all its images would be made
            continue
        with suppress(GiftError):  # check_data says it, and so does ingest
            dataset = open_dataset(name, row, seed=config.seed, root=project.root)
            infos[name] = described(name, dataset)
    return infos


def described(name: str, dataset: Dataset) -> TaskInfo:
    """Returns the classes of a data set that is no task yet."""
    return TaskInfo(name, tuple(dataset.classes.values()), dataset.templates, "", captions=dataset.captions)


def repeated_captions(project: Project, dataset: Dataset) -> dict[str, int]:
    """Returns how many different captions of each split have the tokens of another one there.

    Empty for classes, and where the tokenizer is not on this machine.
    """
    tokenizer = known_tokenizer(project) if dataset.has_captions else None
    if tokenizer is None:
        return {}
    repeated = {}
    for split, samples in {"train": dataset.train, "test": dataset.test}.items():
        repeated[split] = tokenizer.count_repeated(caption for sample in samples for caption in sample.captions)
    return repeated


def known_tokenizer(project: Project) -> Tokenizer | None:
    """Returns the tokenizer of the model of params.yaml. None if it is not on this machine, or only in a file.

    It is read from data/5_models/pretrained where that is this model, else from a folder, or it is open_clip's own.
    """
    folder = Layout(project.root).pretrained()
    kind, location = kind_of_model(project.config.model.name)
    if _is_of(folder, project):
        source = f"{LOCAL}{folder}"
        config: dict[str, Any] | None = read_model_config(folder / CONFIG)
    else:
        source = f"{LOCAL}{project.root / location}" if kind else location
        config = model_config_of(project) if kind in ("local-dir", "") else None
        if not kind and config and config["text_cfg"].get("hf_tokenizer_name"):
            return None  # it comes from the hub
    if config is None:
        return None

    def load() -> Any:
        from gift_core.clip.architectures import load_tokenizer

        return load_tokenizer(source)

    return Tokenizer(config["text_cfg"].get("context_length", CONTEXT), load)


def _is_of(folder: Path, project: Project) -> bool:
    """Whether the imported model in the folder is that of params.yaml."""
    model = project.config.model
    with suppress(GiftError):
        source = read_provenance(folder)
        return (source.get("name"), source.get("pretrained")) == (model.name, model.pretrained)
    return False
