"""A row of the section methods in params.yaml. A row says everything about its method; a slot left out is empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from gift_core.config.section import MAX_NAMES, Alpha, Count, Factor, Rate, Section, Share, Temperature, Text, Weight
from gift_core.config.trains_options import TrainsConfig

# The losses on replayed data. The computations are in gift_core/losses.py.


class LossOptions(Section):
    """The options of a loss. `pairs_only`: it needs images with their own texts; `needs_vocabulary`: it needs the
    teacher's features of all texts of the step's vocabulary; `trains_only`: it has gradients for this tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = None
    pairs_only: ClassVar[bool] = False
    needs_vocabulary: ClassVar[bool] = False
    weight: Weight

    def keywords(self) -> dict[str, Any]:
        """Returns the options without the weight: the keyword arguments of the loss function."""
        return self.model_dump(exclude={"weight"})


class DistillOptions(LossOptions):
    """Contrastive distillation of both towers."""

    temperature: Temperature


class DistillVocabularyOptions(LossOptions):
    """Contrastive distillation of both towers against the vocabulary and all replayed images."""

    pairs_only: ClassVar[bool] = True
    needs_vocabulary: ClassVar[bool] = True
    temperature: Temperature


class DistillReverseKlOptions(LossOptions):
    """Distillation with KL(student || teacher)."""

    temperature: Temperature


class DistillFeaturesOptions(LossOptions):
    """The squared error between the features of student and teacher."""


class DistillImageSideOptions(LossOptions):
    """Distillation of the image tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = "image_tower"
    temperature: Temperature


class DistillTextSideOptions(LossOptions):
    """Distillation of the text tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = "text_tower"
    temperature: Temperature


class AlignOptions(LossOptions):
    """Image-text alignment with hard targets."""

    pairs_only: ClassVar[bool] = True
    label_smoothing: Share


class LossesConfig(Section):
    """The losses on replayed data that are added to the task loss. False if there are none."""

    noun: ClassVar[str] = "loss"
    distill: DistillOptions | None = None
    distill_vocabulary: DistillVocabularyOptions | None = None
    distill_reverse_kl: DistillReverseKlOptions | None = None
    distill_features: DistillFeaturesOptions | None = None
    distill_image_side: DistillImageSideOptions | None = None
    distill_text_side: DistillTextSideOptions | None = None
    align: AlignOptions | None = None

    def items(self) -> Iterator[tuple[str, LossOptions]]:
        """Yields (name, options) of the losses that are present, in the order in which they are declared here."""
        for name in type(self).model_fields:
            options = getattr(self, name)
            if options is not None:
                yield name, options

    @property
    def need_vocabulary(self) -> bool:
        """Whether a loss that is present needs the features of the vocabulary."""
        return any(options.needs_vocabulary for _, options in self.items())

    def __len__(self) -> int:
        """Returns the number of losses that are present."""
        return len(list(self.items()))


# Weight consolidation: what pulls the weights towards those at the start of the task. See gift_core/consolidation.py.


class ConsolidationOptions(Section):
    """The options of a consolidation. `needs_losses`: it uses the gradients of the replay losses; `needs_fisher`: it
    uses the Fisher information that the stage teach estimates; `copies`: the values it keeps for each weight."""

    copies: ClassVar[int] = 2  # the start weights, and their importances
    needs_losses: ClassVar[bool] = False
    needs_fisher: ClassVar[bool] = False
    kind: Any

    def keywords(self) -> dict[str, Any]:
        """Returns the options without the kind."""
        return self.model_dump(exclude={"kind"})


class NoConsolidationOptions(ConsolidationOptions):
    """The weights move freely."""

    copies: ClassVar[int] = 0
    kind: Literal["none"]


class UniformOptions(ConsolidationOptions):
    """All weights have the same importance: the L2 distance to the start."""

    copies: ClassVar[int] = 1
    kind: Literal["uniform"]
    weight: Weight


class StaticFisherOptions(ConsolidationOptions):
    """The importance is the teacher's Fisher information, estimated before the task (EWC).

    `scale`: tensor divides the diagonal of each tensor by its own mean, as GIFT does in every iteration; model divides
    all of them by their common mean, which is EWC up to the weight.
    """

    needs_fisher: ClassVar[bool] = True
    kind: Literal["static_fisher"]
    weight: Weight
    scale: Literal["tensor", "model"]


class FrozenFisherOptions(ConsolidationOptions):
    """The importance is the mean adaptive importance of the first `iterations` of the task, and constant after them."""

    needs_losses: ClassVar[bool] = True
    kind: Literal["frozen_fisher"]
    weight: Weight
    iterations: Count


class AdaptiveFisherOptions(ConsolidationOptions):
    """The importance is the squared gradient of the replay losses in the current iteration (GIFT)."""

    needs_losses: ClassVar[bool] = True
    kind: Literal["adaptive_fisher"]
    weight: Weight


ConsolidationConfig = Annotated[
    NoConsolidationOptions | UniformOptions | StaticFisherOptions | FrozenFisherOptions | AdaptiveFisherOptions,
    Field(discriminator="kind"),
]


# Replay: the data of earlier knowledge in each iteration, in addition to the task.


class StepSizes(NamedTuple):
    """What is known of a step before there is data: its generated pairs, the names in the base vocabulary, and the
    training images and classes of each task so far, the step's own last."""

    pairs: int
    base_names: int
    images: Sequence[int]
    classes: Sequence[int]


class ReplayOptions(Section):
    """The options of a replay. `reads`: the data it needs; `pairs`: whether its images come with their own texts."""

    reads: ClassVar[Literal["none", "synthetic", "real"]]
    pairs: ClassVar[bool] = False

    def encoded(self, sizes: StepSizes) -> tuple[int, int]:
        """Returns about how many images and texts the teacher encodes in a step. Without any nothing is replayed."""
        return 0, 0


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

    def encoded(self, sizes: StepSizes) -> tuple[int, int]:
        """The size of a reference folder is not known. It counts as the generated pairs of a step."""
        return sizes.pairs, sizes.pairs


class SyntheticReplayConfig(PairedReplay):
    """The synthetic pairs of the stage synthesize, and beside them those of the `keep_earlier` steps before."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "synthetic"
    images: Literal["synthetic"]
    keep_earlier: Annotated[int, Field(ge=0, le=MAX_NAMES)] = 0

    def encoded(self, sizes: StepSizes) -> tuple[int, int]:
        """The pairs of the step and of those before, and the class names of the vocabulary."""
        pairs = sizes.pairs * min(len(sizes.images), 1 + self.keep_earlier)
        return pairs, pairs + sizes.base_names + sum(sizes.classes[:-1])


class ReferenceReplayConfig(PairedReplay):
    """A folder of images. Each has a text file of the same name with its caption."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
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

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    images: Literal["task"]
    texts: Annotated[ClassTextsConfig | RandomTextsConfig, Field(discriminator="kind")]

    def encoded(self, sizes: StepSizes) -> tuple[int, int]:
        """The images of the task, and its texts."""
        return sizes.images[-1], getattr(self.texts, "count", sizes.classes[-1])


class ExemplarReplayConfig(TaughtReplay):
    """`memory` images of all earlier tasks together, chosen by herding, compared with the prompts of their classes."""

    reads: ClassVar[Literal["none", "synthetic", "real"]] = "real"
    images: Literal["exemplars"]
    memory: Count

    def encoded(self, sizes: StepSizes) -> tuple[int, int]:
        """The exemplars and the task before, from which new ones are chosen. The first step has none."""
        return (self.memory + sizes.images[-2], sizes.classes[-2]) if len(sizes.images) > 1 else (0, 0)


ReplayConfig = Annotated[
    NoReplayConfig | SyntheticReplayConfig | ReferenceReplayConfig | TaskReplayConfig | ExemplarReplayConfig,
    Field(discriminator="images"),
]


class RunningMeanConfig(Section):
    """Keep the mean of the weights at the start of the task and after every `every` iterations."""

    kind: Literal["running_mean"]
    every: Count


class InterpolateConfig(Section):
    """Keep alpha * the new weights + (1 - alpha) * the weights at the start of the task."""

    kind: Literal["interpolate"]
    alpha: Alpha


class ReleaseConfig(Section):
    """Test and hand out the pre-trained weights + alpha * (the trained ones - the pre-trained ones)."""

    kind: Literal["interpolate"]
    alpha: Alpha


class MethodConfig(Section):
    """One method.

    `start`: training starts from the method's model before the task, or from the pre-trained model. `learns`: the
    step's own task, all tasks seen so far (with `training.iterations` for each), or nothing (then the rate is null).
    `trains`: a part of the model, everything if left out. `layer_decay`: the factor on the learning rate from
    a layer to the one below it. `release`: the model that is tested and handed out, the trained one if left out.
    Training, also of the next task, and teachers know only the trained one.
    """

    learning_rate: Rate | None
    start: Literal["previous", "pretrained"] = "previous"
    learns: Literal["task", "seen", "nothing"] = "task"
    replay: ReplayConfig
    losses: LossesConfig
    consolidation: ConsolidationConfig
    average: RunningMeanConfig | None = None
    merge: InterpolateConfig | None = None
    trains: TrainsConfig | None = None
    layer_decay: Factor | None = None
    release: ReleaseConfig | None = None

    @property
    def trained_settings(self) -> dict[str, Any]:
        """The row without what only tests and releases read: a trained model does not depend on it."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"release"})

    @property
    def keeps_every_model(self) -> bool:
        """Whether each task has its own model, fine-tuned from the pre-trained one and tested on this task only."""
        return self.start == "pretrained" and self.learns == "task"

    @property
    def is_reference(self) -> bool:
        """Whether it breaks the rules of the setting, so that it is only a bound: old data, or one model per task."""
        return self.learns == "seen" or self.keeps_every_model
