"""The README.md of a model or of synthetic shards on the Hugging Face hub, written from what the pipeline recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from gift_core.artifacts.accuracy import MAX_IMAGES, PRETRAINED_STEP, PROBE, read_accuracy
from gift_core.artifacts.model_folder import PROVENANCE, read_provenance
from gift_core.artifacts.report_json import METRICS, one_decimal, read_metrics
from gift_core.artifacts.shards import MANIFEST, Manifest, read_manifest
from gift_core.artifacts.task import PAIRS, read_task
from gift_core.errors import UserError
from gift_core.layout import Layout

if TYPE_CHECKING:
    from huggingface_hub import DatasetCardData, ModelCardData

TAGS = ("clip", "continual-learning", "gift")
HUB = "hf-hub:"
SETTINGS = ("method", "task", "step", "learning_rate_factor", "seed", "precision", "training", "settings", "release")
USAGE = """\
```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("hf-hub:{repository}")
tokenizer = open_clip.get_tokenizer("hf-hub:{repository}")
```"""
LOADING = """\
```python
from datasets import load_dataset

pairs = load_dataset("{repository}", "{task}", split="train")   # columns png (or jpg), txt, json
```"""


def model_card(folder: Path, layout: Layout, repository: str, license: str | None) -> str:
    """Returns the card of a model, with YAML that the hub validates. `license` is a name of the hub, such as mit.

    `layout` has what else is known of the model. Accuracies of other weights are left out.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name = repository.rpartition("/")[2]
    provenance = _provenance(folder)
    start = _provenance(layout.pretrained()).get("name", "") if provenance.get("method") else ""
    rows = _accuracy_rows(folder, layout, provenance)
    table = _before_and_after(rows, provenance)
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
        for task, (_, after) in table.items()
    ]
    data = ModelCardData(
        library_name="open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=list(TAGS),
        license=license,
        base_model=start.removeprefix(HUB) if start.startswith(HUB) else None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    sections = {
        "Use": USAGE.format(repository=repository),
        "Training data": _training_data(layout, _learned(rows, provenance)),
        "Method": _method(layout, provenance),
        "Accuracy": _accuracies(table, rows, layout, provenance),
    }
    return _card(data, name, _summary(provenance, start), sections)


def dataset_card(manifests: Mapping[str, Manifest], repository: str, license: str | None) -> str:
    """Returns the card of synthetic shards by the task before which they are replayed, with a config for each."""
    from huggingface_hub import DatasetCardData

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
    summary = (
        f"{sum(manifest.images for manifest in manifests.values())} synthetic image-text pairs that were generated "
        "from prompts. They contain no image of a real data set. A model that learns a task replays them, so that it "
        "keeps what it knew before."
    )
    rows = "".join(f"\n| {task} | {manifest.images} |" for task, manifest in manifests.items())
    generators = {_as_yaml(manifest.generator): None for manifest in manifests.values()}
    sections = {
        "Use": LOADING.format(repository=repository, task=next(iter(manifests))),
        "Content": f"| replayed while learning | pairs |\n|---|---|{rows}",
        "Generator": "\n\n".join(generators),
    }
    return _card(data, repository.rpartition("/")[2], summary, sections)


def _card(data: ModelCardData | DatasetCardData, name: str, summary: str, sections: Mapping[str, str]) -> str:
    license = str(data.license)
    if data.license is None:
        text = "The publisher has named no license. Those of the start model and of the data apply."
        sections = {**sections, "License": text}
    elif not re.fullmatch(r"[a-z0-9.+-]{1,64}", license):
        what = f"{license[:80]!r} is no license of the hub"
        raise UserError(f"--license: {what}. Write it as the hub does, such as mit, apache-2.0 or other.")
    body = [f"# {name}", summary, *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(body) + "\n"


def _provenance(folder: Path) -> Mapping[str, Any]:
    return read_provenance(folder) if (folder / PROVENANCE).is_file() else {}


def _summary(provenance: Mapping[str, Any], start: str) -> str:
    if not provenance.get("method"):
        return "A CLIP model in open_clip's format."
    step = int(provenance["step"]) + 1
    tasks = "the first task" if step == 1 else f"{step} tasks, one after another"
    text = (
        f"A CLIP model in open_clip's format. It started from `{start or 'a pre-trained CLIP'}` and learned {tasks}, "
        f"with the method `{provenance['method']}` of the GIFT pipeline (continual learning with synthetic replay). "
        f"The newest task is `{provenance['task']}`."
    )
    if not provenance.get("release"):
        return text
    alpha = provenance["release"]["alpha"]
    return f"{text} Its weights are {alpha:g} of the trained ones + {1 - alpha:g} of the pre-trained ones."


def _accuracy_rows(folder: Path, layout: Layout, provenance: Mapping[str, Any]) -> pd.DataFrame | None:
    """All rows of the method, None if this model was not evaluated here."""
    task = str(provenance.get("task"))
    own = layout.accuracy(str(provenance.get("method")), task)
    if not own.is_file() or read_accuracy(own)[1].get(f"model:{task}") != provenance.get("weights_sha256", ""):
        return None
    return pd.concat([read_accuracy(file)[0] for file in sorted(own.parent.glob("*.parquet"))])


def _learned(rows: pd.DataFrame | None, provenance: Mapping[str, Any]) -> list[str]:
    if rows is None:
        return [provenance["task"]] if "task" in provenance else []
    return list(dict.fromkeys(rows[rows.step.between(0, provenance["step"])].sort_values("step").trained_task))


def _before_and_after(rows: pd.DataFrame | None, provenance: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The accuracy of the pre-trained model and of this one by task, in percent."""
    if rows is None:
        return {}
    before = rows[rows.step == PRETRAINED_STEP].drop_duplicates("eval_task").set_index("eval_task").top1
    own = rows[(rows.step == provenance["step"]) & (rows.trained_task == provenance["task"])]
    after = own.drop_duplicates("eval_task").set_index("eval_task").top1
    return {name: (100 * float(before[name]), 100 * float(after[name])) for name in after.index if name in before.index}


def _training_data(layout: Layout, tasks: Iterable[str]) -> str:
    lines = []
    for task in tasks:
        if (layout.task(task) / "task.json").is_file():
            info = read_task(layout.task(task))
            images = f"{info.counts['train']} training images"
            if info.kind == PAIRS:
                lines.append(f"- **{task}**: {images} with {info.captions['train']} captions")
                continue
            shown = ", ".join(info.class_names[:10]) + (", ..." if len(info.class_names) > 10 else "")
            what = f"{images}, {len(info.class_names)} classes ({shown})"
            lines.append(f"- **{task}**: {what}. Prompt: `{info.templates[0]}`")
    return "\n".join(lines)


def _method(layout: Layout, provenance: Mapping[str, Any]) -> str:
    if not provenance.get("method"):
        return ""
    text = _as_yaml({key: provenance[key] for key in (*SETTINGS, "environment") if key in provenance})
    folder = layout.shards(provenance["task"])
    if provenance["settings"]["replay"]["images"] != "synthetic" or not (folder / MANIFEST).is_file():
        return text
    return f"{text}\n\nThe synthetic pairs were generated with:\n\n{_as_yaml(read_manifest(folder).generator)}"


def _as_yaml(settings: Mapping[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(dict(settings), sort_keys=False)}```"


def _accuracies(
    table: Mapping[str, tuple[float, float]],
    rows: pd.DataFrame | None,
    layout: Layout,
    provenance: Mapping[str, Any],
) -> str:
    """The table, and the metrics of the whole sequence if this is the method's last model."""
    if rows is None or not table:
        return ""
    probes = {*rows[rows.phase == PROBE].eval_task}
    names = {task: f"{task} (probe)" if task in probes else task for task in table}
    lines = [f"| {names[task]} | {one_decimal(old)} | {one_decimal(new)} |" for task, (old, new) in table.items()]
    most = read_accuracy(layout.accuracy(provenance["method"], provenance["task"]))[1].get(MAX_IMAGES)
    tested = f"at most {most} test images of each task" if most else "the test images"
    note = " A probe is a task that no step learned: what the model kept of zero-shot." if probes else ""
    head = f"Top-1 on {tested}, in percent.{note}\n\n| task | pre-trained | this model |\n|---|---|---|"
    text = "\n".join([head, *lines])
    metrics = layout.reports() / "metrics.json"
    if provenance["step"] < rows.step.max() or not metrics.is_file():
        return text
    known = read_metrics(metrics).get(provenance["method"], {})
    shown = [f"{name.capitalize()} {one_decimal(known[name])}" for name in METRICS if known.get(name) is not None]
    if kept := known.get("probes"):
        shown.append(f"zero-shot kept {one_decimal(kept['mean'])} of {one_decimal(kept['mean'] + kept['loss'])}")
    return f"{text}\n\nOver the whole sequence: {', '.join(shown)}."
