"""What `gift rehearse` measured, and what the whole experiment takes according to it.

A stage measures its whole time and the time of one more unit of each of its loops (gift_core.measuring). So the time of
the same stage with all its work is that time, and that of the units that the rehearsal left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gift_core.config.experiment import Config
from gift_core.datasets.captions import base_vocabulary
from gift_core.doctor.finding import Project
from gift_core.doctor.inputs import model_config_of
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import first_names
from gift_core.untrusted import read_json_file

ITERATIONS = 3  # of a rehearsed training. The first warms up
FEWEST_PAIRS = 2  # that a contrastive loss needs
AMOUNTS = {  # the settings that say how much work there is. A measurement holds for other values, too
    "training": ("iterations", "warmup_iterations"),
    "prompts": ("images_per_task",),
    "evaluation": ("max_images",),
}
OF_METHODS = ("teach", "finetune", "evaluate")
STAGE_SECONDS, START_SECONDS = 1.2, 8.0  # of a rehearsed stage, in a fork server and without one


def reduced(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of params.yaml with little work, and all that decides whether a stage fails or fits."""
    training, evaluation, prompts = params["training"], params["evaluation"], params["prompts"]
    iterations = min(ITERATIONS, training["iterations"])
    pairs = min(prompts["images_per_task"], max(FEWEST_PAIRS, params["generator"]["batch_size"]))
    warmup = min(1, iterations - 1, training["warmup_iterations"])
    images = {
        "train_images": iterations * training["batch_size"],
        "test_images": 2 * evaluation["batch_size"],  # the first batch warms up
    }
    return {
        **params,
        "training": training | {"iterations": iterations, "warmup_iterations": warmup},
        "prompts": prompts | {"images_per_task": pairs},
        "rehearsal": images,
    }


def deciding(config: Config, methods: tuple[str, ...], tasks: tuple[str, ...]) -> dict[str, Any]:
    """Returns the sections of params.yaml, as JSON, that decide what these methods take on these tasks."""
    whole = config.model_dump(mode="json")
    sections = {name: whole[name] for name in ("model", "generator", "prompts", "ingest", "training", "evaluation")}
    for name, keys in AMOUNTS.items():
        sections[name] = {key: value for key, value in sections[name].items() if key not in keys}
    sections["run.device"] = whole["run"]["device"]
    sections["methods"] = {name: whole["methods"].get(name) for name in methods}
    sections["tasks"] = {name: whole["tasks"].get(name) for name in tasks}
    return sections


@dataclass(frozen=True)
class StageNeeds:
    """What a stage takes with all its work: seconds, bytes that it writes, and peaks of memory by "process", "gpu"."""

    stage: str
    method: str
    task: str
    seconds: float
    bytes: int
    peaks: Mapping[str, int]

    @property
    def key(self) -> tuple[str, str, str]:
        """Stage, method and task; the last two may be empty."""
        return self.stage, self.method, self.task

    @property
    def uses_gpu(self) -> bool:
        """Whether torch has computed on a GPU."""
        return "gpu" in self.peaks


@dataclass(frozen=True)
class Measurement:
    """The file that `gift rehearse` writes.

    Attributes:
        date: when it was measured, to the minute.
        device: "cpu (2 cores)", or the name of a GPU.
        seconds: of the whole rehearsal.
        overhead: the seconds that a stage takes besides what it measures: Python starts, DVC records.
        methods, tasks: what was rehearsed; `tasks` in the order of the sequence, then the probes.
        settings: what `deciding` returned.
        stages: {"stage", "method", "task", "seconds", "loops", "peak_bytes", "bytes", "fixed_bytes"} and of ingest
            "images", for each stage that ran to its end.
        failures: {"stage": "finetune@gift-step2", "error", "done", "skipped"} of each that failed: how many of `stages`
            come before it, and how many stages depend on it.
    """

    date: str
    device: str
    seconds: float
    overhead: float
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    settings: dict[str, Any]
    stages: tuple[dict[str, Any], ...]
    failures: tuple[dict[str, Any], ...]

    def changed(self, config: Config) -> list[str]:
        """Returns what has changed of the settings that decide: "training", "methods.gift", ..."""
        now, changed = deciding(config, self.methods, self.tasks), list[str]()
        for name, then in self.settings.items():
            if name in ("methods", "tasks"):
                changed += [f"{name}.{row}" for row in then if then[row] != now[name][row]]
            elif then != now[name]:
                changed.append(name)
        return changed

    def missing(self, config: Config) -> list[str]:
        """Returns the methods and tasks of the experiment that were not rehearsed."""
        used = (*config.run.methods, *(step.task for step in config.sequence), *config.evaluation.probes)
        return [name for name in used if name not in (*self.methods, *self.tasks)]


def read_measurement(root: Layout) -> Measurement | None:
    """Returns what the last rehearsal of the project measured, None without one."""
    with suppress(OSError, ValueError, TypeError, KeyError):  # there is none, or one of another version
        content = read_json_file(root.measured())
        lists = {name: tuple(content[name]) for name in ("methods", "tasks", "stages", "failures")}
        return Measurement(**{**content, **lists})
    return None


def valid_measurement(project: Project) -> tuple[Measurement | None, str]:
    """Returns the measurement, if it holds for the experiment, and since when; or else what there is to do."""
    found = read_measurement(Layout(project.root))
    preset = "" if project.is_active else f" --preset {project.config.experiment}"
    remedy = f"gift rehearse{preset}"
    if not project.quick:  # it looks for a GPU
        remedy += f" (about {expected_minutes(project.config)})"
    if found is None:
        return None, f"not measured: {remedy}"
    if changed := found.changed(project.config):
        return None, f"not measured since {first_names(changed)} changed in params.yaml ({found.date}): {remedy}"
    missing = found.missing(project.config)
    without = f", without {first_names(missing)}" if missing else ""
    return found, f"measured {found.date}{without}"


def expected_minutes(config: Config) -> str:
    """Returns "2 min": about how long a rehearsal takes, by the number of its stages."""
    count = 4 + len(config.tasks) + len(config.evaluation.probes)
    count += len(config.sequence) * (2 + len(OF_METHODS) * len(config.run.methods))
    return f"{max(1, round(count * stage_seconds(config) / 60))} min"


def stage_seconds(config: Config) -> float:
    """Returns about how long a rehearsed stage takes: where it computes on a GPU, it has to import its libraries."""
    from gift_core.computation import resolve_device

    with suppress(UserError):
        return STAGE_SECONDS if resolve_device(config.run.device).type == "cpu" else START_SECONDS
    return START_SECONDS


def whole_needs(measured: Measurement, project: Project) -> list[StageNeeds]:
    """Returns what each rehearsed stage takes with all the work that the settings ask for."""
    images = images_of(measured)
    needs = []
    for row in measured.stages:
        factors = [_factor(row, loop["of"], images, project) for loop in row["loops"]]
        growth = row["images"]["of_bytes"] if row["stage"] == "ingest" else max(factors, default=1.0)
        grows = row["bytes"] - row["fixed_bytes"] if row["stage"] in ("ingest", "synthesize", "teach") else 0
        size = int(row["bytes"] + (growth - 1) * grows)
        key = row["stage"], row["method"], row["task"]
        cached = _cached_bytes(row, images, project)
        peaks = {**row["peak_bytes"], "process": row["peak_bytes"].get("process", 0) + cached}
        needs.append(StageNeeds(*key, whole_seconds(row, measured, project), size, peaks))
    return needs


def images_of(measured: Measurement) -> dict[str, dict[str, Any]]:
    """Returns by task how many images there are of each split, and how many of them were rehearsed."""
    return {row["task"]: row["images"] for row in measured.stages if row["stage"] == "ingest"}


def whole_seconds(row: Mapping[str, Any], measured: Measurement, project: Project) -> float:
    """Returns the time of a stage with all its work, and with what Python and DVC take for it."""
    images = images_of(measured)
    factors = [_factor(row, loop["of"], images, project) for loop in row["loops"]]
    pairs = zip(factors, row["loops"], strict=True)
    more = sum((factor - 1) * loop["count"] * loop["unit_seconds"] for factor, loop in pairs)
    return float(row["seconds"] + measured.overhead + max(0.0, more))


def _cached_bytes(row: Mapping[str, Any], images: Mapping[str, Any], project: Project) -> int:
    """The pixels that a stage keeps in memory of the images that were not rehearsed (gift_core.clip.images)."""
    split = {"finetune": "train", "evaluate": "test"}.get(row["stage"])
    config = model_config_of(project)
    if split is None or config is None:
        return 0
    from gift_core.clip.batches import CACHED_SIDE
    from gift_core.clip.images import CACHE_BYTES

    found, training = images[row["task"]], project.config.training
    seen = min(found[split], training.iterations * training.batch_size) if split == "train" else found[split]
    side = config["vision_cfg"]["image_size"] * (CACHED_SIDE if split == "train" else 1)
    return min(CACHE_BYTES, int(max(0, seen - found[f"few_{split}"]) * 3 * side**2))


def _factor(row: Mapping[str, Any], loop: str, images: Mapping[str, Any], project: Project) -> float:
    """How many times as many units the loop of a stage has in the experiment as in the rehearsal."""
    config, stage, task = project.config, row["stage"], row["task"]
    few = reduced(config.model_dump(mode="json"))
    if stage == "ingest":
        found = images[task]
        return float((found["train"] + found["test"]) / max(1, found["few_train"] + found["few_test"]))
    if stage == "synthesize":
        return float(config.prompts.images_per_task / few["prompts"]["images_per_task"])
    if stage == "finetune":
        return float(config.training.iterations / few["training"]["iterations"])
    if stage == "teach" and loop != "vocabulary":  # of class names, which are the same
        return _teaching_factor(row, images, project, pairs=few["prompts"]["images_per_task"])
    if stage in ("evaluate", "probe") and (tested := images.get(loop.removesuffix(" images"))):
        most = config.evaluation.max_images or tested["test"]
        return float(min(most, tested["test"]) / max(1, min(most, tested["few_test"])))
    return 1.0


def _teaching_factor(row: Mapping[str, Any], images: Mapping[str, Any], project: Project, *, pairs: int) -> float:
    """How many times as many images the teacher encodes. The kind of replay knows it."""
    config = project.config
    order = [step.task for step in config.sequence if step.task in images]
    before = order[: order.index(row["task"]) + 1]
    replay, names = config.methods[row["method"]].replay, 0
    with suppress(UserError):  # write_vocabulary says so
        names = len(base_vocabulary(config.prompts.base_vocabulary, project.root))
    whole, _ = replay.encoded(config.prompts.images_per_task, names, [(images[task]["train"], 0) for task in before])
    few, _ = replay.encoded(pairs, names, [(images[task]["few_train"], 0) for task in before])
    return whole / few if few else 1.0
