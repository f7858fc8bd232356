"""What of a run belongs to the miniature benchmark, and the sentences that say what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from gift_core.config.experiment import Config
from gift_core.config.tasks import MiniTaskConfig

MODEL = ("mini", "clip")  # the end of the path of the miniature CLIP
BENCHMARK = "miniature benchmark"
MEANING = (
    "A small CLIP, pre-trained on drawn symbols (glyphs), learns more of them. This shows in minutes how the methods "
    "compare. It says nothing about photos or the paper's benchmarks."
)
MODEL_ONLY = (
    "The miniature CLIP was pre-trained on drawn symbols (glyphs) only. It knows nothing of photos, so its accuracies "
    "on {tasks} mean little. For your own images use a CLIP that has seen photos: `gift use laptop`, or with a GPU "
    "`gift use bring_your_own`."
)
TASKS_ONLY = "Drawn symbols (glyphs) of the miniature benchmark: {tasks}. Accuracies on them say nothing about photos."


@dataclass(frozen=True)
class Miniature:
    """Whether the model is the miniature CLIP, the tasks of the miniature benchmark, and the other tasks."""

    model: bool
    tasks: tuple[str, ...]
    other_tasks: tuple[str, ...]

    @property
    def is_benchmark(self) -> bool:
        return self.model and not self.other_tasks

    @property
    def of_benchmark(self) -> str:
        """What follows "4 tasks" in a sentence: " of the miniature benchmark", or nothing."""
        return f" of the {BENCHMARK}" if self.is_benchmark else ""

    @property
    def note(self) -> str:
        """What the numbers mean. Empty if nothing of the run is miniature."""
        if self.is_benchmark:
            return MEANING
        return self.warning or (TASKS_ONLY.format(tasks=", ".join(self.tasks)) if self.tasks else "")

    @property
    def warning(self) -> str:
        """Why a task of the user's cannot be learned well: the model is the miniature CLIP. Otherwise empty."""
        return MODEL_ONLY.format(tasks=", ".join(self.other_tasks)) if self.model and self.other_tasks else ""


def miniature_of(config: Config) -> Miniature:
    """What of the experiment is miniature: its model by its folder, its tasks by their source."""
    tasks = {step.task: config.tasks[step.task] for step in config.sequence}
    drawn = tuple(name for name, row in tasks.items() if isinstance(row, MiniTaskConfig))
    return Miniature(
        model=PurePosixPath(config.model.name.partition(":")[2]).parts[-2:] == MODEL,
        tasks=drawn,
        other_tasks=tuple(name for name in tasks if name not in drawn),
    )
