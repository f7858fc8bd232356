"""The options of replay: the data of earlier knowledge in each iteration, in addition to the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gift_core.config.section import MAX_NAMES, Alpha, Count, Section, Text


class ReplayOptions(Section):
    """The options of a replay. `reads`: the data it needs; `pairs`: whether its images come with their own texts;
    `watched`: its keys that name a file or a folder in data/0_raw/reference, an edit of which trains again."""

    watched: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    pairs: ClassVar[bool] = False

    def encoded(self, pairs: int, images: Sequence[int]) -> int:
        """Returns about how many images the teacher encodes in a step. 0: nothing is replayed.

        `pairs` are generated in a step. `images` are the training images of each task so far, the step's own last.
        """
        return 0


class NoReplayConfig(ReplayOptions):
    """No replay: only the task's own images."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "none"
    images: Literal["none"]


class TaughtReplay(ReplayOptions):
    """Replay with a teacher: the model before the task, the pre-trained model, or a mix of their weights.

    `teacher_alpha` is the share of the model before the task. It is set for the teacher mix only.
    """

    teacher: Literal["previous", "initial", "mix"]
    teacher_alpha: Alpha | None = None


class FisherConfig(Section):
    """How the stage teach estimates the teacher's Fisher information on the step's own pairs.

    `estimator`: per_sample, or the faster batch (see replay/fisher.py). `accumulate`: add that of earlier steps.
    """

    estimator: Literal["per_sample", "batch"]
    accumulate: bool


class PairedReplay(TaughtReplay):
    """Replay of images with their own texts."""

    pairs: ClassVar[bool] = True
    fisher: FisherConfig | None = None

    def encoded(self, pairs: int, images: Sequence[int]) -> int:
        return pairs  # also of a reference folder


class SyntheticReplayConfig(PairedReplay):
    """The synthetic pairs of the stage synthesize, and beside them those of the `keep_earlier` steps before."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "synthetic"
    images: Literal["synthetic"]
    keep_earlier: Annotated[int, Field(ge=0, le=MAX_NAMES)] = 0

    def encoded(self, pairs: int, images: Sequence[int]) -> int:
        return pairs * min(len(images), 1 + self.keep_earlier)


class ReferenceReplayConfig(PairedReplay):
    """A folder of images. Each has a text file of the same name with its caption."""

    watched: ClassVar[tuple[str, ...]] = ("folder",)
    images: Literal["reference"]
    folder: Text


class ClassTextsConfig(Section):
    """The prompts of the task's classes."""

    kind: Literal["classes"]


class RandomTextsConfig(Section):
    """`count` random texts of `length` tokens each (LwF-VR)."""

    kind: Literal["random_tokens"]
    count: Count
    length: Annotated[int, Field(ge=1, le=10_000)]


class TaskReplayConfig(TaughtReplay):
    """The task's own images, compared with texts that need not describe them."""

    images: Literal["task"]
    texts: Annotated[ClassTextsConfig | RandomTextsConfig, Field(discriminator="kind")]

    def encoded(self, pairs: int, images: Sequence[int]) -> int:
        return images[-1]


class ExemplarReplayConfig(TaughtReplay):
    """`memory` images of all earlier tasks together, chosen by herding, compared with the prompts of their classes."""

    images: Literal["exemplars"]
    memory: Count

    def encoded(self, pairs: int, images: Sequence[int]) -> int:
        """The exemplars and the task before, from which new ones are chosen. The first step has none."""
        return min(self.memory, sum(images[:-1])) + images[-2] if len(images) > 1 else 0


ReplayConfig = Annotated[
    NoReplayConfig | SyntheticReplayConfig | ReferenceReplayConfig | TaskReplayConfig | ExemplarReplayConfig,
    Field(discriminator="images"),
]
