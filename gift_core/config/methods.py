"""A row of params.yaml's methods: a method is data, so its row says all of it. A slot left out is empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import Field, create_model

from gift_core.anchors.table import ANCHORS, AnchorOptions
from gift_core.objectives.table import TERMS, TermOptions
from gift_core.section import Alpha, Count, Positive, Section, Text


class ReplayOptions(Section):
    """What every replay says of itself: what its cells read, and whether its images and texts are pairs."""

    reads: ClassVar[Literal["none", "synthetic", "real"]]
    pairs: ClassVar[bool] = False


class NoReplayConfig(ReplayOptions):
    """The task's own images only."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "none"
    images: Literal["none"]


class TaughtReplay(ReplayOptions):
    """Replay under a teacher: the model before the task, the pre-trained one, or a mix of their weights.

    `teacher_alpha` is the share of the model before the task in a mix, and stands there for a mix alone.
    """

    teacher: Literal["previous", "initial", "mix"]
    teacher_alpha: Alpha | None = None


class FisherConfig(Section):
    """The teacher's Fisher diagonals are estimated on the replayed pairs, for an anchor that needs them.

    `estimator`: per_sample, or the cheaper batch (replay.fisher). `accumulate`: those of earlier steps are added.
    """

    estimator: Literal["per_sample", "batch"]
    accumulate: bool


class PairedReplay(TaughtReplay):
    """Replay of images with their own texts."""

    pairs: ClassVar[bool] = True
    fisher: FisherConfig | None = None


class SyntheticReplayConfig(PairedReplay):
    """Synthetic pairs of the stage synthesize."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "synthetic"
    images: Literal["synthetic"]


class ReferenceReplayConfig(PairedReplay):
    """Pairs of a folder: images, and beside each a text file of its name with the caption."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    images: Literal["reference"]
    folder: Text


class ClassTextsConfig(Section):
    """The prompts of the task's classes."""

    kind: Literal["classes"]


class RandomTextsConfig(Section):
    """`count` random rows of `length` tokens each (LwF-VR)."""

    kind: Literal["random_tokens"]
    count: Count
    length: Count


class TaskReplayConfig(TaughtReplay):
    """The images of the task itself, against texts that need not describe them."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    images: Literal["task"]
    texts: Annotated[ClassTextsConfig | RandomTextsConfig, Field(discriminator="kind")]


class ExemplarReplayConfig(TaughtReplay):
    """`memory` images kept of all earlier tasks together, chosen by herding, against their classes' prompts."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    images: Literal["exemplars"]
    memory: Count


class Terms(Section):
    """The loss terms beside the task loss, each present or absent; true where one is present."""

    noun: ClassVar[str] = "term"

    def items(self) -> Iterator[tuple[str, TermOptions]]:
        """Yields (name, options) of the terms that are present, always in the order of the table."""
        for name in type(self).model_fields:
            options = getattr(self, name)
            if options is not None:
                yield name, options

    def __len__(self) -> int:
        """The number of terms present."""
        return len(list(self.items()))


class RunningMeanConfig(Section):
    """What is kept of a task is the mean of the weights at its start and after every `every` steps."""

    kind: Literal["running_mean"]
    every: Count


class InterpolateConfig(Section):
    """What is kept of a task is alpha * the new weights + (1 - alpha) * those at its start."""

    kind: Literal["interpolate"]
    alpha: Alpha


if TYPE_CHECKING:
    TermsConfig = Terms
    AnchorConfig = AnchorOptions
else:  # their members are the rows of the tables
    _TERMS: dict[str, Any] = {name: (row | None, None) for name, row in TERMS.items()}
    TermsConfig = create_model("TermsConfig", __base__=Terms, __doc__=Terms.__doc__, **_TERMS)
    AnchorConfig = Annotated[Union[tuple(ANCHORS.values())], Field(discriminator="kind")]  # noqa: UP007
ReplayConfig = Annotated[
    NoReplayConfig | SyntheticReplayConfig | ReferenceReplayConfig | TaskReplayConfig | ExemplarReplayConfig,
    Field(discriminator="images"),
]


class MethodConfig(Section):
    """One method: where a step starts, what it learns, replays, adds and is anchored by, and what is kept of it.

    `learns` is the step's own task; every task seen so far, with `training.steps` for each; or nothing (then there is
    no rate). `start` is the method's model before the task, or the pre-trained one.
    """

    learning_rate: Positive | None
    start: Literal["previous", "pretrained"] = "previous"
    learns: Literal["task", "seen", "nothing"] = "task"
    replay: ReplayConfig
    terms: TermsConfig
    anchor: AnchorConfig
    average: RunningMeanConfig | None = None
    merge: InterpolateConfig | None = None

    @property
    def keeps_every_model(self) -> bool:
        """Whether every task has a model of its own, made from the pre-trained one, which answers for it."""
        return self.start == "pretrained" and self.learns == "task"

    @property
    def is_reference(self) -> bool:
        """Whether it breaks the setting's rules, and so bounds the others: old data again, or a model a task."""
        return self.learns == "seen" or self.keeps_every_model
