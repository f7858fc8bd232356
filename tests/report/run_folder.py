"""Small finished runs for the tests of the report, written with the real artifact writers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import save_file

from gift_core.artifacts.accuracy import computed_with, read_accuracy, write_accuracy
from gift_core.artifacts.contract import write_json
from gift_core.artifacts.model_folder import write_losses, write_provenance
from gift_core.artifacts.predictions import prediction_rows, write_predictions
from gift_core.artifacts.prompt_files import prompts_digest, write_prompts
from gift_core.artifacts.shards import Pair, pair_key, write_manifest, write_shard
from gift_core.artifacts.task import read_task, write_task
from gift_core.artifacts.teacher_files import write_source
from gift_core.config.experiment import Config
from gift_core.config.loading import load_config
from gift_core.config.method_options import MethodConfig
from gift_core.layout import Layout
from gift_core.report.page import build_report
from gift_core.report.published import mtil
from gift_core.report.published.mtil import ORDER_1, Benchmark
from gift_core.report.run_record import RunRecord, read_run
from tests.artifacts.damage import png
from tests.imports import first_params, sequence_of, with_all_methods

TASKS = ("letters", "textures", "zodiac")
# A[i][j] in percent: the pre-trained model, then after each task
MATRICES = {
    "finetune": [[40, 60, 50], [90, 50, 30], [60, 95, 20], [30, 65, 85]],
    "gift": [[40, 60, 50], [80, 58, 50], [78, 88, 46], [74, 86, 80]],
}
# computed by hand: transfer = mean(A01, mean(A02, A12)), last = mean of the last row,
# forgetting = mean(A00 - A20, A11 - A21); mean of the own tasks: finetune (90 + 95 + 85) / 3, gift (80 + 88 + 80) / 3
METRICS = {
    "zero_shot": {"transfer": 55.0, "avg": 50.0, "last": 50.0, "forgetting": 0.0},
    "finetune": {"transfer": 37.5, "avg": 58.3333, "last": 60.0, "forgetting": 45.0},
    "gift": {"transfer": 53.0, "avg": 71.1111, "last": 80.0, "forgetting": 4.0},
}
# The same on tasks that no step learns. Means at the end: 55 and 74 of 75.
PROBE_NAMES = ("flags", "runes")
PROBES = {
    "finetune": [[70, 80], [60, 70], [50, 75], [40, 70]],
    "gift": [[70, 80], [69, 80], [68, 81], [66, 82]],
}
PROMPTS = ("a photo of a snowman.", 'a photo of a "quoted" <sign> & more.')
STEPS = 30
ENVIRONMENT: dict[str, str | int] = {"torch": "2.9.0", "device": "cpu x86_64 AVX512", "threads": 1}
OPENAI = {"name": "ViT-B-16", "pretrained": "openai", "precision": "fp32"}


Matrix = Sequence[Sequence[float]]


def write_run(
    root: Path,
    *,
    tasks: tuple[str, ...] = TASKS,
    matrices: Mapping[str, Matrix] = MATRICES,
    probes: Mapping[str, Matrix] | None = None,
    seed: int = 42,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """Writes params.yaml, with `changes` to its sections, and all artifacts that the report reads.

    `probes`: the accuracies on PROBE_NAMES by method, like `matrices`.
    """
    config = write_params(
        root, tasks, tuple(matrices), probes=PROBE_NAMES if probes else (), seed=seed, changes=changes
    )
    for method, matrix in matrices.items():
        of_probes = probes[method] if probes else None
        write_accuracies(Layout(root), method, tasks, matrix, config.evaluation.protocol.name, of_probes)
        _write_training(Layout(root), method, config.methods[method], tasks)
    for task in tasks:
        write_task_json(Layout(root), task)
        _write_pairs(Layout(root).shards(task))
    folder = Layout(root).pretrained()
    folder.mkdir(parents=True)
    save_file({"weight": np.zeros((1000, 1500), np.float32)}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}, "preprocess_cfg": {}}')
    return config


def record_of(root: Path, **options: Any) -> RunRecord:
    """What the report reads of a run of write_run."""
    return read_run(Layout(root), write_run(root, **options))


def build(root: Path, config: Config) -> Path:
    """The folder with the report of a run."""
    build_report(Layout(root), config, root / "reports")
    return root / "reports"


def table_of(page: str, start: str) -> list[list[str]]:
    """The cells of the first table after `start`, row by row: `<b>80.0</b> 77.9–81.9` or `60.0 loss3`, by its class."""
    table = re.sub("<svg.*?</svg>", "", page[page.index(start) :].partition("</table>")[0], flags=re.S)
    found = []
    for row in table.split("<tr")[1:]:
        cells = re.findall(r'<t[hd](?: class="(.*?)")?.*?>(.*?)</t[hd]>', row, re.S)
        texts = [re.sub("<(?!/?b>)[^>]*>", " ", content) + f" {name}" for name, content in cells]
        found.append([" ".join(text.split()) for text in texts])
    return found


def change_accuracies(root: Path, method: str, task: str, *, keep: str = "", **metadata: str) -> None:
    """Rewrites a file of accuracies: the rows that the query `keep` selects, with changed metadata."""
    path = Layout(root).accuracy(method, task)
    rows, noted = read_accuracy(path)
    write_accuracy(path, rows.query(keep) if keep else rows, {**noted, **metadata})


def write_mtil(
    root: Path,
    benchmark: Benchmark = ORDER_1,
    *,
    apart: Mapping[str, float] | None = None,
    model: Mapping[str, Any] = OPENAI,
    row: Mapping[str, Any] | None = None,
) -> Config:
    """A run whose tasks t0, t1, ... are the data sets of the benchmark; zero-shot as published plus `apart` points."""
    zero_shot = [float(value) + (apart or {}).get(str(name), 0.0) for name, value in mtil.zero_shot(benchmark).items()]
    rows = {
        f"t{position}": {"source": "catalogue", "dataset": name, "path": f"data/0_raw/{name}", **(row or {})}
        for position, name in enumerate(benchmark.data_sets)
    }
    matrices = {"gift": [zero_shot, *[[80.0] * 11] * 11]}
    return write_run(root, tasks=tuple(rows), matrices=matrices, changes={"tasks": rows, "model": dict(model)})


def write_pictures(layout: Layout, config: Config) -> None:
    """Adds to a run what the pictures are made of: images of the tasks, prompts with sources, predictions.

    A model with an accuracy of 30 % classifies the first 30 % of a test set correctly, and takes each other image for
    one of the next class, in a class-incremental run of the first task. Each step replays 12 prompts of every source.
    """
    tasks = tuple(step.task for step in config.sequence)
    for position, task in enumerate(tasks):
        _write_images(layout.task(task), first=20 * position)
        prompts = _prompts_of(layout, tasks[:position])
        write_prompts(layout.prompts(task), prompts)
        shutil.rmtree(layout.shards(task))
        _write_pairs(layout.shards(task), prompts)
    for name in config.evaluation.probes:
        write_task_json(layout, name)
        _write_images(layout.task(name), first=80)
    for method in config.run.methods:
        for step, task in enumerate(tasks):
            rows, metadata = read_accuracy(layout.accuracy(method, task))
            tested = rows[rows["phase"] != "probe"].to_dict("records")
            seen = () if config.evaluation.protocol.has_matrix else tasks[: step + 1]
            frames = [_predictions(layout, row, each, seen) for row in tested for each in seen or [""]]
            write_predictions(layout.predictions(method, task), pd.concat(frames), metadata)


def _predictions(layout: Layout, row: Mapping[Any, Any], task: str, seen: Sequence[str]) -> pd.DataFrame:
    """Of a row of accuracies on the task that it names, or on one of the tasks seen so far."""
    task, count = task or row["eval_task"], row["n"] // max(len(seen), 1)
    images = np.arange(count) * max(499 // count, 1)  # spread over 500 images
    labels = images % 10
    classes = [name for each in (task, *seen[:1]) for name in read_task(layout.task(each)).class_names]
    wrong = (labels + 1) % 10 + len(classes) - 10
    predicted = np.where(np.arange(count) < round(row["top1"] * count), labels, wrong)
    columns = {name: row[name] for name in ("method", "protocol", "step", "trained_task")} | {"task": task}
    return prediction_rows(columns, images=images, labels=labels, predicted=predicted, classes=classes)


def _write_images(folder: Path, *, first: int) -> None:
    """200 training and 500 test images in place of the task's description; image n is of class n modulo 10."""
    info = read_task(folder)
    images = [(png(first + n % 20), "png", n % 10) for n in range(500)]
    write_task(folder, info, images[:200], images, images_per_shard=300, skipped=info.skipped)


def _prompts_of(layout: Layout, earlier: Sequence[str]) -> pd.DataFrame:
    """Sources take turns, and so do the classes of a task."""
    sources, rows = ("base", *earlier), []
    for number in range(12 * len(sources)):
        source, turn = sources[number % len(sources)], number // len(sources)
        name = f"thing {turn}" if source == "base" else read_task(layout.task(source)).class_names[turn % 10]
        rows.append([number, source, name, "a {}.", f"{PROMPTS[0]} {name}", number])
    return pd.DataFrame(rows, columns=["prompt_id", "source_task", "class_name", "template", "prompt", "seed"])


def _write_training(layout: Layout, method: str, row: MethodConfig, tasks: tuple[str, ...]) -> None:
    for task in tasks:
        if row.learns != "nothing":
            write_losses(layout.model(method, task) / "losses.jsonl", [_loss_row(row, at) for at in range(STEPS)])
            write_provenance(layout.model(method, task), {"environment": ENVIRONMENT})
        if row.replay.images != "none":
            write_source(layout.teacher(method, task), replay="synthetic", read={}, environment=ENVIRONMENT)


def write_task_json(
    layout: Layout, task: str, *, classes: int = 10, notes: Sequence[str] = (), skipped: Sequence[Sequence[str]] = ()
) -> None:
    """task.json without images; the report does not read them."""
    names, more = [f"{task} {number}" for number in range(classes)], {"skipped": list(skipped), "notes": list(notes)}
    counts = {"counts": {"train": 1000, "test": 500}, "hashes": {}}
    described = {"name": task, "class_names": names, "templates": ["a photo of a {}."], "source": "test", **counts}
    write_json(layout.task(task) / "task.json", described | more)


def write_accuracies(
    layout: Layout,
    method: str,
    tasks: tuple[str, ...],
    matrix: Matrix,
    protocol: str = "task_incremental",
    probes: Matrix | None = None,
) -> None:
    """Accuracy files. Each step adds its own model on all tasks and all earlier models on its task.

    A cross-domain step has all models on all tasks so far, with 99 % in all files but the last. A class-incremental
    step has its own model and the pre-trained one.
    """
    hashes = {"model:pretrained": "0" * 64, **computed_with(ENVIRONMENT)}
    for step, task in enumerate(tasks):
        hashes[f"model:{task}"] = f"{step + 1:x}".ljust(64, "0")
        entries = [(step, seen) for seen in range(step + 1)] + [(earlier, step) for earlier in range(-1, step)]
        if protocol == "cross_domain":
            entries = [(earlier, seen) for earlier in range(-1, step + 1) for seen in range(step + 1)]
        if protocol == "class_incremental":
            entries = [(-1, step), (step, step)]
        is_outdated = protocol == "cross_domain" and task != tasks[-1]
        count = 500 * (step + 1 if protocol == "class_incremental" else 1)
        rows: list[list[Any]] = []
        for at, seen in entries:
            phase = "pretrained" if at < 0 else "past" if seen < at else "current" if seen == at else "future"
            rows.append([at, tasks[seen], phase, count, 0.99 if is_outdated else matrix[at + 1][seen] / 100])
        for at in [-1, 0] if step == 0 else [step]:
            of_probes = zip(PROBE_NAMES, probes[at + 1], strict=True) if probes else ()
            rows += [[at, name, "probe", 200, percent / 100] for name, percent in of_probes]
        table = pd.DataFrame(rows, columns=["step", "eval_task", "phase", "n", "top1"])
        table["trained_task"] = ["pretrained" if at < 0 else tasks[at] for at in table["step"]]
        write_accuracy(layout.accuracy(method, task), table.assign(method=method, protocol=protocol), hashes)


def _loss_row(method: MethodConfig, step: int) -> dict[str, float]:
    """A row as the training loop writes it: the losses of the method, and the entropy of the teacher beside `distill`.

    The cross-entropy is 5 + 0.01 * step, the entropy 5. Without consolidation there is a zero.
    """
    losses = {name: 5 + 0.01 * step if name == "distill" else 0.02 * step for name, _ in method.losses.items()}
    values = {"task": 2.0 / (1 + step), **losses}
    values["consolidation"] = 0.0 if method.consolidation.kind == "none" else 0.001 * step
    entropy = {"distill_entropy": 5.0} if "distill" in values else {}
    return {"iteration": step, "learning_rate": 1e-4, **values, **entropy, "total": sum(values.values())}


def _write_pairs(folder: Path, prompts: pd.DataFrame | None = None) -> None:
    texts = [PROMPTS[number % 2] for number in range(30)] if prompts is None else list(prompts["prompt"])
    pairs = [Pair(pair_key(0, number), number, text, png(number)) for number, text in enumerate(texts)]
    folder.mkdir(parents=True)
    write_shard(folder, 0, pairs, {"redrawn": 2})
    unknown = {"count": len(pairs), "sha256": "of the prompts"}
    write_manifest(folder, {"pipeline": "test"}, unknown if prompts is None else prompts_digest(prompts), ENVIRONMENT)


def write_params(
    root: Path,
    tasks: tuple[str, ...],
    methods: tuple[str, ...],
    *,
    probes: tuple[str, ...] = (),
    seed: int = 42,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """The first params.yaml of the project with these tasks and methods. An unknown method gets the row of gift."""
    params = with_all_methods(yaml.safe_load(first_params()))
    row = next(iter(params["tasks"].values()))
    params["tasks"] = dict.fromkeys((*tasks, *probes), row)
    params["sequence"] = sequence_of(tasks)
    rows = {method: params["methods"].get(method, params["methods"]["gift"]) for method in methods}
    params |= {"seed": seed, "methods": rows, "run": {"methods": list(methods), "device": "auto"}, **(changes or {})}
    params["evaluation"] = {**params["evaluation"], "probes": [*probes]}
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return load_config(root / "params.yaml")
