"""The README.md of a model or of synthetic shards on the Hugging Face hub, written from what the pipeline recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gift_core.artifacts.accuracy import PRETRAINED_STEP, read_accuracy
from gift_core.artifacts.atomic import sha256_of
from gift_core.artifacts.model_folder import PROVENANCE, read_provenance
from gift_core.artifacts.report_json import METRICS, one_decimal, read_metrics
from gift_core.artifacts.task import TaskInfo, read_task
from gift_core.errors import UserError
from gift_core.layout import Layout

Accuracy = tuple[float, float]  # percent of the pre-trained model, and of this one
TAGS = ("clip", "continual-learning", "gift")
HUB = "hf-hub:"
_SETTINGS = ("iterations", "batch_size", "replay_batch_size", "weight_decay", "label_smoothing")
_SOURCES = {
    "none": "no replay",
    "synthetic": "synthetic image-text pairs",
    "task": "the images of the task itself, with other texts",
    "exemplars": "stored images of earlier tasks",
    "reference": "pairs from a reference folder",
}
USAGE = """\
```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("hf-hub:{repository}")
tokenizer = open_clip.get_tokenizer("hf-hub:{repository}")
```
"""
LOADING = """\
```python
from datasets import load_dataset

pairs = load_dataset("{repository}", "{task}", split="train")   # columns png (or jpg), txt, json
```
"""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model.

    Attributes:
        provenance: the content of provenance.json.
        tasks: the tasks it has learned, the newest last, as far as they are on this machine.
        accuracies: by task, top-1 in percent. Empty if the model was not evaluated here.
        metrics: Transfer, Avg, Last and Forgetting of the method, if this is its last model.
        start: the name of the pre-trained model, empty if it is not known.
        generator: of the synthetic pairs that were replayed, if there were any.
    """

    provenance: Mapping[str, Any]
    tasks: Sequence[TaskInfo] = ()
    accuracies: Mapping[str, Accuracy] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    start: str = ""
    generator: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Empty for a model that no stage finetune wrote."""
        return str(self.provenance.get("method", ""))


def model_facts(folder: Path, layout: Layout) -> ModelFacts:
    """Collects what `layout` knows of the model in `folder`. Accuracies of other weights are left out."""
    provenance = read_provenance(folder) if (folder / PROVENANCE).is_file() else {}
    method, task = str(provenance.get("method", "")), str(provenance.get("task", ""))
    pretrained = layout.pretrained()
    start = str(read_provenance(pretrained).get("name", "")) if (pretrained / PROVENANCE).is_file() else ""
    if not method or not layout.accuracy(method, task).is_file():
        return ModelFacts(provenance, _tasks(layout, [task]), start=start if method else "")
    own, metadata = read_accuracy(layout.accuracy(method, task))
    if metadata.get("provenance") != sha256_of(folder / PROVENANCE):
        return ModelFacts(provenance, _tasks(layout, [task]), start=start)
    rows = pd.concat(
        [read_accuracy(file)[0] for file in sorted(layout.accuracy(method, task).parent.glob("*.parquet"))]
    )
    learned = list(dict.fromkeys(rows[rows.step.between(0, provenance["step"])].sort_values("step").trained_task))
    last = provenance["step"] == rows.step.max()
    return ModelFacts(
        provenance,
        _tasks(layout, learned),
        _accuracies(rows, own, task),
        _metrics(layout, method) if last else {},
        start,
        _generator(layout, provenance, task),
    )


def model_card(facts: ModelFacts, repository: str, license: str | None) -> str:
    """Returns the card, with YAML that the hub validates. `license` is an identifier of the hub, such as mit."""
    from huggingface_hub import EvalResult, ModelCardData

    name = repository.rpartition("/")[2]
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=task,
            dataset_name=task,
            dataset_split="test",
            metric_type="accuracy",
            metric_name="top-1 accuracy (percent)",
            metric_value=round(after, 2),
        )
        for task, (_, after) in facts.accuracies.items()
    ]
    data = ModelCardData(
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=list(TAGS),
        license=license,
        base_model=facts.start.removeprefix(HUB) if facts.start.startswith(HUB) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    sections = [
        f"# {name}\n\n{_summary(facts)}",
        f"## Use\n\n{USAGE.format(repository=repository)}".rstrip(),
        _section("Training data", _training_data(facts)),
        _section("Method", _method(facts)),
        _section("Accuracy", _results(facts)),
        _section("Made with", _versions(facts.provenance.get("environment", {}))),
        _license(license),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(text for text in sections if text) + "\n"


def dataset_card(manifests: Mapping[str, Mapping[str, Any]], repository: str, license: str | None) -> str:
    """Returns the card of synthetic shards by the task before which they are replayed, with a config for each."""
    from huggingface_hub import DatasetCardData

    count = sum(manifest["images"] for manifest in manifests.values())
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": "*/*.tar"}], "default": True}]
    configs += [
        {"config_name": task, "data_files": [{"split": "train", "path": f"{task}/*.tar"}]} for task in manifests
    ]
    data = DatasetCardData(
        license=license,
        task_categories=["text-to-image", "zero-shot-image-classification"],
        tags=["synthetic", "webdataset", *TAGS],
        annotations_creators=["machine-generated"],
        configs=configs,
    )
    name, first = repository.rpartition("/")[2], next(iter(manifests))
    rows = "".join(f"| {task} | {manifest['images']} |\n" for task, manifest in manifests.items())
    generators = {
        json.dumps(manifest["generator"], sort_keys=True): manifest["generator"] for manifest in manifests.values()
    }
    lines = "\n\n".join(_listed(_generator_facts(generator)) for generator in generators.values())
    sections = [
        f"# {name}\n\n{count} synthetic image-text pairs that were generated from prompts. They contain no image of a "
        "real data set. A model that learns a task replays them, so that it keeps what it knew before.",
        f"## Use\n\n{LOADING.format(repository=repository, task=first)}".rstrip(),
        f"## Content\n\n| replayed while learning | pairs |\n|---|---|\n{rows}".rstrip(),
        _section("Generator", lines),
        _license(license),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(text for text in sections if text) + "\n"


def _tasks(layout: Layout, names: Sequence[str]) -> list[TaskInfo]:
    return [read_task(layout.task(name)) for name in names if (layout.task(name) / "task.json").is_file()]


def _accuracies(rows: pd.DataFrame, own: pd.DataFrame, task: str) -> dict[str, Accuracy]:
    before = rows[rows.step == PRETRAINED_STEP].drop_duplicates("eval_task").set_index("eval_task").top1
    after = own[own.trained_task == task].set_index("eval_task").top1
    return {name: (100 * float(before[name]), 100 * float(after[name])) for name in after.index if name in before.index}


def _metrics(layout: Layout, method: str) -> Mapping[str, float | None]:
    path = layout.reports() / "metrics.json"
    return read_metrics(path).get(method, {}) if path.is_file() else {}


def _generator(layout: Layout, provenance: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    from gift_core.artifacts.shards import MANIFEST, read_manifest

    synthetic = provenance["settings"]["replay"]["images"] == "synthetic"
    folder = layout.shards(task)
    found: Mapping[str, Any] = read_manifest(folder)["generator"] if synthetic and (folder / MANIFEST).is_file() else {}
    return found


def _summary(facts: ModelFacts) -> str:
    if not facts.method:
        return "A CLIP model in open_clip's format."
    step, start = int(facts.provenance["step"]) + 1, facts.start or "a pre-trained CLIP"
    position = "the first task" if step == 1 else f"{step} tasks, one after another"
    return (
        f"A CLIP model in open_clip's format. It started from `{start}` and learned {position}, with the method "
        f"`{facts.method}` of the GIFT pipeline (continual learning with synthetic replay). The newest task is "
        f"`{facts.provenance['task']}`."
    )


def _training_data(facts: ModelFacts) -> str:
    lines = []
    for info in facts.tasks:
        shown = ", ".join(info.class_names[:10]) + (", ..." if len(info.class_names) > 10 else "")
        images = f"{info.counts.get('train', 0)} training images"
        lines.append(
            f"- **{info.name}**: {images}, {len(info.class_names)} classes ({shown}). Prompt: `{info.templates[0]}`"
        )
    return "\n".join(lines)


def _method(facts: ModelFacts) -> str:
    if not facts.method:
        return ""
    provenance, settings = facts.provenance, facts.provenance["settings"]
    training, replay = provenance["training"], settings["replay"]
    losses = ", ".join(f"{name} (weight {options['weight']:g})" for name, options in settings["losses"].items())
    rows = {
        "learning rate": f"{settings.get('learning_rate', 0):g} x {provenance['learning_rate_factor']:g}",
        **{name.replace("_", " "): training[name] for name in _SETTINGS},
        "replay": _SOURCES.get(replay["images"], replay["images"]),
        "teacher": replay.get("teacher"),
        "losses on the replayed pairs": losses or None,
        "weight consolidation": settings["consolidation"]["kind"],
        "precision": provenance["precision"],
        "seed": provenance["seed"],
    }
    generator = _listed(_generator_facts(facts.generator)) if facts.generator else ""
    return _listed(rows) + (f"\n\nThe synthetic pairs were generated with:\n\n{generator}" if generator else "")


def _generator_facts(generator: Mapping[str, Any]) -> dict[str, Any]:
    names = ("pipeline", "revision", "steps", "guidance", "size", "scheduler", "negative_prompt", "seed")
    return {name.replace("_", " "): generator.get(name) for name in names}


def _results(facts: ModelFacts) -> str:
    if not facts.accuracies:
        return ""
    rows = "".join(
        f"| {task} | {one_decimal(before)} | {one_decimal(after)} |\n"
        for task, (before, after) in facts.accuracies.items()
    )
    table = (
        f"Top-1 on the test images, in percent.\n\n| task | pre-trained | this model |\n|---|---|---|\n{rows}".rstrip()
    )
    known = {name: facts.metrics.get(name) for name in METRICS}
    summary = ", ".join(
        f"{name.capitalize()} {one_decimal(value)}" for name, value in known.items() if value is not None
    )
    return f"{table}\n\nOver the whole sequence: {summary}." if summary else table


def _versions(environment: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment.items() if name not in ("device", "threads"))


def _license(license: str | None) -> str:
    if license is None:
        return "## License\n\nThe publisher has named no license. Those of the start model and of the data apply."
    if not re.fullmatch(r"[a-z0-9.+-]{1,64}", license):
        what = f"{license[:80]!r} is no license of the hub"
        raise UserError(f"--license: {what}. Write it as the hub does, such as mit, apache-2.0 or other.")
    return ""


def _listed(rows: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in rows.items() if value not in (None, ""))


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""
