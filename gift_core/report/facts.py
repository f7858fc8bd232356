"""The first section and the last one: the result table, and what ran.

The result is the metrics of each method, its 95% interval, and published results beside them. What ran: settings,
methods, notes on the data, models by the hash of their weights, and the environments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gift_core.artifacts.model_folder import WEIGHTS, read_shapes
from gift_core.artifacts.task import CLASSES, TaskInfo
from gift_core.errors import ContractError, UserError
from gift_core.method.metrics import ZERO_SHOT, accuracy_interval
from gift_core.provenance import EDITED
from gift_core.quantities import first_names, plural
from gift_core.report.accuracies import SEPARATE_MODEL_COLUMNS
from gift_core.report.highlight import by_task
from gift_core.report.labels import COLUMN_TITLES, LOWER_IS_BETTER, count_test_images, number, signed, with_tasks
from gift_core.report.paired import PairedTest, in_all, paired_tests
from gift_core.report.published.mtil import MODEL
from gift_core.report.published_results import DATA_SET_TOLERANCE, skipped_images
from gift_core.report.run_record import OWN_CODE, RunRecord, Section

MAX_RESULTS_NAMED = 6
CODE = {EDITED: "Edited code", OWN_CODE: "Code of your own"}  # by the part of an environment
AS_WRITTEN: dict[str, Any] = {  # of params.yaml
    "mode": "json", "exclude_none": True, "exclude_defaults": True, "exclude": {"label"},
}  # fmt: skip
MAX_TASKS_IN_SEQUENCE = 15  # a longer sequence is abbreviated


def result(record: RunRecord) -> Iterator[Section]:
    """Yields the section with the result table.

    Its rows are the zero-shot model and the contenders in the order of params.yaml, the references, and the published
    results. The best value of a column is marked among the contenders alone; those that print the same are all marked.
    """
    best = {}
    for column in record.columns:
        of_contenders = [record.scores[name][column] for name in record.contenders]
        values = [value for value in of_contenders if value is not None]
        if len(values) > 1:
            best[column] = number(min(values) if column in LOWER_IS_BETTER else max(values))
    shown = {
        "notes": data_notes(record),
        "differences": differences(record),
        "titles": {column: COLUMN_TITLES[column] for column in record.columns},
        "rows": [result_row(record, method) for method in (ZERO_SHOT, *record.contenders)],
        "best": best,
        "reference_rows": [result_row(record, method) for method in record.references],
        "tolerance": DATA_SET_TOLERANCE,
        "model_of_published": MODEL,
        "paired": paired_rows(record),
        "compared": (record.best_method, record.baseline_method) if record.methods else (),
    }
    yield Section("result", "Result", "result.html.j2", shown)


def paired_rows(record: RunRecord) -> list[tuple[str, PairedTest]]:
    """The paired test of the best method and its baseline after the last step, by task and on all images.

    [] without two methods, and without their predictions.
    """
    baseline = record.baseline_method
    tests = {} if baseline is None else paired_tests(record, record.best_method, baseline, "last")
    return [*tests.items(), ("all images", in_all(tests))] if tests else []


def result_row(record: RunRecord, method: str) -> dict[str, Any]:
    """The method's name, its CSS class as `style`, its `scores` in percent by column, and what is `below` each of them.

    Below Last that is the 95% interval in percent for the number of test images, `76.4–83.2`; below the accuracy on
    probes the difference to zero-shot. With a separate model for each task, only Own task has a value.
    """
    scores, below = record.scores[method], dict[str, str]()
    if method in record.separate_models:
        scores = {column: scores[column] for column in SEPARATE_MODEL_COLUMNS}
    else:
        below["last"] = "–".join(map(number, accuracy_interval(*by_task(record, method, "last"))))
        if record.probes and method != ZERO_SHOT:
            below["probes"] = signed((scores["probes"] or 0.0) - (record.scores[ZERO_SHOT]["probes"] or 0.0))
    style = "reference" if method == ZERO_SHOT else record.styles[method]
    return {"name": record.label(method), "style": style, "scores": scores, "below": below}


def what_ran(record: RunRecord) -> Iterator[Section]:
    """Yields the section with settings, environments and models."""
    last = record.metrics[record.best_method if record.methods else ZERO_SHOT]["last"]
    hashes = [  # of every evaluated model, from the metadata of each method's last accuracy file
        (method, task, of_method[record.tasks[-1]][f"model:{task}"])
        for method, of_method in record.metadata.items()
        for task in ("pretrained", *record.tasks)
        if f"model:{task}" in of_method[record.tasks[-1]]
    ]
    shown = {"facts": run_facts(record), "models": hashes, "in_metrics": f'"last": {last}'}
    yield Section("ran", "What ran", "what_ran.html.j2", shown)


def run_facts(record: RunRecord) -> list[tuple[str, str]]:
    """(name, value) of the settings a reader needs to judge the numbers, from params.yaml and the artifacts."""
    config = record.config
    model = config.model
    generator = config.generator
    prompts = config.prompts
    training = config.training
    sampling = f"{generator.pipeline}, {plural(generator.steps, 'step')}, guidance {generator.guidance:g}"
    batches = f"batches of {training.batch_size} images and {training.replay_batch_size} pairs"
    try:
        shapes = read_shapes(record.layout.pretrained() / WEIGHTS)
    except UserError as error:
        raise ContractError(f"{error} Recreate it with: dvc repro import_model") from error
    size = f"{sum(map(math.prod, shapes.values())) / 1e6:.1f} million parameters"
    return [
        ("Experiment", f"{config.experiment}, seed {config.seed}"),
        ("Sequence", _sequence(record.infos, config.evaluation.max_images)),
        *(("Data", note) for note in data_notes(record)),
        ("Evaluation", config.evaluation.protocol.description),
        ("Model", ", ".join(filter(None, (model.name, model.pretrained, size, model.precision)))),
        ("Generator", f"{sampling}, {generator.size} px, {generator.dtype}"),
        ("Replay", f"{prompts.images_per_task:,} pairs per task, base vocabulary {prompts.base_vocabulary}"),
        ("Training", f"{training.iterations:,} iterations per task, {batches}"),
        *_rows_of_methods(record),
        *_rows_of_environments(record),
    ]


def _rows_of_methods(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yields the name and the row of each method. Behind a label is the name of the row."""
    for name in record.config.run.methods:
        row, shown = record.config.methods[name], record.label(name)
        has_other_name = row.label is not None and name not in shown
        yield f"{shown} ({name})" if has_other_name else shown, phrase(row.model_dump(**AS_WRITTEN))[1:-1]


def _rows_of_environments(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yields what all results have in common, what differs, and the files that were edited or are of one's own."""
    usual = {name: of for name, of in record.environments.items() if name not in CODE}
    same = [f"{name} {next(iter(of))}" for name, of in usual.items() if len(of) == 1]
    if same:
        yield "Environment", ", ".join(same)
    for name, text in differences(record).items():
        yield f"Environment, {name}", text
    for part, title in CODE.items():
        for files, results in record.environments.get(part, {}).items():
            yield title, f"{files} ({first_names(results, MAX_RESULTS_NAMED)})"


def phrase(value: object) -> str:
    """A value of params.yaml in one line; a section is `(name value, ...)`, a kind is before its options."""
    if isinstance(value, list):
        return " and ".join(map(phrase, value))
    if isinstance(value, float):
        return f"{value:g}"
    if value is True:
        return "true"
    if not isinstance(value, dict):
        return str(value)
    kind = value.get("kind") or value.get("images") or ""
    texts = {name: phrase(option) for name, option in value.items() if name not in ("kind", "images")}
    options = ", ".join(f"{name} {text}" for name, text in texts.items() if text not in ("", "none"))
    return f"{kind} ({options})".removeprefix(" ") if options else kind


def differences(record: RunRecord) -> dict[str, str]:
    """Returns what is not the same in the environments of all results, by its name; {} if nothing is.

    Of the values, the results of the most frequent one are counted and those of the others named.
    """
    texts = {}
    for name, of in record.environments.items():
        (usual, most), *others = of.items()
        if others and name not in CODE:
            rest = [f"{value} ({first_names(results, MAX_RESULTS_NAMED)})" for value, results in others]
            texts[name] = ", ".join([f"{usual} ({plural(len(most), 'result')})", *rest])
    return texts


def data_notes(record: RunRecord) -> list[str]:
    """Limitations of the data, such as few-shot training or missing images, each with its tasks, in task order."""
    notes = {}
    for task, info in record.infos.items():
        shots = getattr(record.config.tasks[task], "shots", None)  # a miniature task has none
        of_shots = [] if shots is None else [f"few-shot: {plural(shots, 'training image')} per class"]
        notes[task] = [*of_shots, *info.notes, *skipped_images(info)]
    return with_tasks(notes)


def _sequence(infos: Mapping[str, TaskInfo], most: int | None) -> str:
    """Each task with its classes and test images. A long sequence: the first tasks, the last one, and the totals."""
    existing = {name: info.counts["test"] for name, info in infos.items()}
    tested = {name: min(count, most or count) for name, count in existing.items()}
    tasks = []
    for name, info in infos.items():
        captions = sum(info.captions.values())
        classes = f"{captions:,} captions" if captions else f"{len(info.class_names)} classes"
        tasks.append(f"{name} ({classes}, {count_test_images(tested[name], existing[name])})")
    if len(tasks) <= MAX_TASKS_IN_SEQUENCE:
        return ", ".join(tasks)
    in_all = sum(len(info.class_names) for info in infos.values() if info.kind == CLASSES)
    images = count_test_images(sum(tested.values()), sum(existing.values()))
    return f"{len(tasks)} tasks: {tasks[0]}, {tasks[1]} … {tasks[-1]}; in total {in_all:,} classes and {images}"
