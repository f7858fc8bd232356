"""What `gift rehearse` measured, and what the whole experiment takes according to it.

A stage measures its whole time and the time of one more unit of each of its loops (gift_core.work.measuring). So the
time of the same stage with all its work is that time, and that of the units that the rehearsal left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gift_core.config.experiment import Config
from gift_core.doctor.finding import Project
from gift_core.doctor.inputs import model_config_of
from gift_core.errors import UserError
from gift_core.layout import Layout
from gift_core.quantities import first_names
from gift_core.stage_facts import STAGES
from gift_core.untrusted import read_json_file

ITERATIONS = 3  # of a rehearsed training. The first warms up
FEWEST_PAIRS = 2  # that a contrastive loss needs
AMOUNTS = {  # the settings that say how much work there is. A measurement holds for other values, too
    "training": ("iterations", "warmup_iterations"),
    "prompts": ("images_per_task",),
    "evaluation": ("max_images",),
}
STAGE_SECONDS, START_SECONDS = 1.8, 8.0  # of a rehearsed stage, in a fork server (44 in 81 s) and without one


def reduced(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content of params.yaml with little work, and all that decides whether a stage fails or fits."""
    training, prompts = params["training"], params["prompts"]
    iterations = min(ITERATIONS, training["iterations"])
    pairs = min(prompts["images_per_task"], max(FEWEST_PAIRS, params["generator"]["batch_size"]))
    warmup = min(1, iterations - 1, training["warmup_iterations"])
    images = {
        "train_images": iterations * training["batch_size"],
        "test_images": 5 * params["evaluation"]["batch_size"] // 4,  # the first batch warms up, a part says the rate
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
    """What a stage takes with all its work: seconds, bytes that it writes, and peaks of memory by "process", "gpu".

    `method` and `task` may be empty. `outs` are the paths that it writes, below the root of the project.
    """

    stage: str
    method: str
    task: str
    seconds: float
    bytes: int
    peaks: Mapping[str, int]
    outs: Sequence[str]

    @property
    def uses_gpu(self) -> bool:
        """Whether torch has computed on a GPU."""
        return "gpu" in self.peaks

    @property
    def peak(self) -> int:
        """The peak of the memory that counts: the GPU's, if it uses one. 0 if it was not measured."""
        return self.peaks.get("gpu" if self.uses_gpu else "process", 0)


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
        stages: {"stage", "method", "task", "seconds", "loops", "peak_bytes", "bytes", "fixed_bytes", "outs"} and of
            ingest "images", for each stage that ran to its end.
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
        now = deciding(config, self.methods, self.tasks)
        changed = list[str]()
        for name, then in self.settings.items():
            if name in ("methods", "tasks"):
                changed += [f"{name}.{row}" for row in then if then[row] != now[name][row]]
            elif then != now[name]:
                changed.append(name)
        return changed

    def missing(self, config: Config) -> list[str]:
        """Returns the methods and tasks of the experiment that were not rehearsed."""
        used = (*config.run.methods, *config.used_tasks)
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
    config = project.config
    remedy = "gift rehearse" if project.is_active else f"gift rehearse --preset {config.experiment}"
    if not project.quick:  # it looks for a GPU
        remedy += f" (at least {max(1, round(rehearsal_seconds(config) / 60))} min)"
    measured = read_measurement(Layout(project.root))
    if measured is None:
        return None, f"not measured: {remedy}"
    changed = measured.changed(config)
    if changed:
        return None, f"not measured since {first_names(changed)} changed in params.yaml ({measured.date}): {remedy}"
    missing = measured.missing(config)
    without = f", without {first_names(missing)}" if missing else ""
    return measured, f"measured {measured.date}{without}"


def rehearsal_seconds(config: Config) -> float:
    """Returns how long a rehearsal takes at least, by the number of its stages.

    Where a stage computes on a GPU, it has to import its libraries.
    """
    from gift_core.torch_devices import resolve_device

    of_methods = sum(facts.of_methods for facts in STAGES.values())
    of_step = 2 + of_methods * len(config.run.methods)  # write_prompts, synthesize
    count = 4 + len(config.tasks) + len(config.evaluation.probes) + len(config.sequence) * of_step
    with suppress(UserError):
        if resolve_device(config.run.device).type == "cpu":
            return count * STAGE_SECONDS
    return count * START_SECONDS


def whole_needs(measured: Measurement, project: Project) -> list[StageNeeds]:
    """Returns what each rehearsed stage takes with all the work that the settings ask for."""
    whole = _Whole(measured, project)
    needs = []
    for row in measured.stages:
        amounts = (whole.seconds(row), whole.size(row), whole.peaks(row))
        needs.append(StageNeeds(row["stage"], row["method"], row["task"], *amounts, row["outs"]))
    return needs


def stage_times(project: Project) -> dict[Path, float]:
    """Returns {file with the run time of a stage: the seconds that it takes by the measurement}, {} without one.

    It imports no torch: the process that asks only starts a stage.
    """
    measured, _ = valid_measurement(project)
    if measured is None:
        return {}
    whole, layout = _Whole(measured, project), Layout(project.root)
    rows = measured.stages
    return {layout.timing(row["stage"], row["method"], row["task"]): whole.seconds(row) for row in rows}


class _Whole:
    """The stages of a rehearsal with all their work: each row of Measurement.stages grows with the units of its loops.

    A factor says how many times as many units there are in the experiment as in the rehearsal.
    """

    def __init__(self, measured: Measurement, project: Project) -> None:
        self.measured, self.project = measured, project
        self.config = project.config
        few = reduced(project.config.model_dump(mode="json"))
        self.iterations, self.pairs = few["training"]["iterations"], few["prompts"]["images_per_task"]
        self.images = {row["task"]: row["images"] for row in measured.stages if row["stage"] == "ingest"}

    def seconds(self, row: Mapping[str, Any]) -> float:
        """The time of a stage, with what Python and DVC take for it."""
        more = [(self._factor(row, loop["of"]) - 1) * loop["count"] * loop["unit_seconds"] for loop in row["loops"]]
        return float(row["seconds"] + self.measured.overhead + max(0.0, sum(more)))

    def size(self, row: Mapping[str, Any]) -> int:
        """The bytes that a stage writes. Models do not grow."""
        factor = 1.0
        if row["stage"] == "ingest":
            factor = row["images"]["of_bytes"]
        elif row["stage"] in ("synthesize", "teach"):
            factor = max((self._factor(row, loop["of"]) for loop in row["loops"]), default=1.0)
        return int(row["bytes"] + (factor - 1) * (row["bytes"] - row["fixed_bytes"]))

    def peaks(self, row: Mapping[str, Any]) -> dict[str, int]:
        """The peaks of memory. The process also keeps pixels of the images that were not rehearsed."""
        peaks = {"process": 0, **row["peak_bytes"]}
        split = {"finetune": "train", "evaluate": "test"}.get(row["stage"])
        model = model_config_of(self.project) if split else None
        if split is None or model is None:
            return peaks
        from gift_core.clip.batches import CACHED_SIDE
        from gift_core.clip.images import CACHE_BYTES

        images, side = self.images[row["task"]], model["vision_cfg"]["image_size"]
        seen = images[split]
        if split == "train":
            seen = min(seen, self.config.training.iterations * self.config.training.batch_size)
            side *= CACHED_SIDE
        cached = min(CACHE_BYTES, int(max(0, seen - images[f"few_{split}"]) * 3 * side**2))
        return peaks | {"process": peaks["process"] + cached}

    def _factor(self, row: Mapping[str, Any], loop: str) -> float:
        stage = row["stage"]
        if stage == "ingest":
            images = self.images[row["task"]]
            return float((images["train"] + images["test"]) / max(1, images["few_train"] + images["few_test"]))
        if stage == "synthesize":
            return float(self.config.prompts.images_per_task / self.pairs)
        if stage == "finetune":
            return float(self.config.training.iterations / self.iterations)
        if stage == "teach" and loop != "vocabulary":  # of class names, which are the same
            return self._factor_of_teaching(row)
        tested = self.images.get(loop.removesuffix(" images"))
        if stage in ("evaluate", "probe") and tested:
            most = self.config.evaluation.max_images or tested["test"]
            return float(min(most, tested["test"]) / max(1, min(most, tested["few_test"])))
        return 1.0

    def _factor_of_teaching(self, row: Mapping[str, Any]) -> float:
        """How many times as many images the teacher encodes. The kind of replay knows it."""
        replay = self.config.methods[row["method"]].replay
        order = [step.task for step in self.config.sequence if step.task in self.images]
        so_far = [self.images[task] for task in order[: order.index(row["task"]) + 1]]
        few = replay.encoded(self.pairs, [images["few_train"] for images in so_far])
        whole = replay.encoded(self.config.prompts.images_per_task, [images["train"] for images in so_far])
        return whole / few if few else 1.0
