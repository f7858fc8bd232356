"""A row of the section methods in params.yaml. A row says everything about its method; a slot left out is empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from gift_core.config.replay_options import ReplayConfig
from gift_core.config.section import (
    MAX_NAMES,
    Alpha,
    CodeFile,
    Count,
    Factor,
    Rate,
    Section,
    Share,
    Temperature,
    Text,
    Weight,
)

# The losses on replayed data. The computations are in gift_core/method/losses.py.


class LossOptions(Section):
    """The options of a loss. `pairs_only`: it needs images with their own texts; `trains_only`: it has gradients for
    this tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = None
    pairs_only: ClassVar[bool] = False
    weight: Weight

    def keywords(self) -> dict[str, Any]:
        """Returns the keyword arguments of the loss function."""
        return self.model_dump(exclude={"weight", "file"})


class DistillOptions(LossOptions):
    """Contrastive distillation of both towers, with KL(teacher || student) or the reverse one."""

    temperature: Temperature


class DistillVocabularyOptions(DistillOptions):
    """Contrastive distillation of both towers against the vocabulary and all replayed images."""

    pairs_only: ClassVar[bool] = True


class DistillImageSideOptions(DistillOptions):
    """Distillation of the image tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = "image_tower"


class DistillTextSideOptions(DistillOptions):
    """Distillation of the text tower only."""

    trains_only: ClassVar[Literal["image_tower", "text_tower"] | None] = "text_tower"


class AlignOptions(LossOptions):
    """Image-text alignment with hard targets."""

    pairs_only: ClassVar[bool] = True
    label_smoothing: Share


class OwnLossOptions(LossOptions):
    """A function of the user's own in a Python file of the project (gift_core.config.own_code). More keys are its
    options."""

    model_config = ConfigDict(extra="allow")
    file: CodeFile


class LossesConfig(Section):
    """The losses on replayed data that are added to the task loss. False if there are none.

    An unknown name is that of a function of the user's own.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, OwnLossOptions]
    noun: ClassVar[str] = "loss"
    others: ClassVar[type[Section] | None] = OwnLossOptions
    distill: DistillOptions | None = None
    distill_vocabulary: DistillVocabularyOptions | None = None
    distill_reverse_kl: DistillOptions | None = None
    distill_features: LossOptions | None = None  # the squared error between those of student and teacher
    distill_image_side: DistillImageSideOptions | None = None
    distill_text_side: DistillTextSideOptions | None = None
    align: AlignOptions | None = None

    def items(self) -> Iterator[tuple[str, LossOptions]]:
        """Yields (name, options) of the losses that are present: GIFT's as declared here, then those of one's own."""
        return ((name, options) for name, options in self if options is not None)

    def __len__(self) -> int:
        return len(list(self.items()))


# Weight consolidation pulls the weights towards those at the start of the task (gift_core/method/consolidation.py).


class KindOptions(Section):
    """The options of a slot whose key `kind` chooses among several."""

    kind: Any

    def keywords(self) -> dict[str, Any]:
        """Returns the keyword arguments of the function or class that the kind stands for."""
        return self.model_dump(exclude={"kind", "file"})


class ConsolidationOptions(KindOptions):
    """The options of a consolidation. `needs_losses`: it uses the gradients of the replay losses; `needs_fisher`: it
    uses the Fisher information that the stage teach estimates; `copies`: the values it keeps for each weight."""

    copies: ClassVar[int] = 2  # the start weights, and their importances
    needs_losses: ClassVar[bool] = False
    needs_fisher: ClassVar[bool] = False


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


class OwnConsolidationOptions(ConsolidationOptions):
    """A class of the user's own in a Python file of the project (gift_core.config.own_code). `kind` is its name, and
    more keys are its options."""

    model_config = ConfigDict(extra="allow")
    kind: Text
    file: CodeFile


def _whose(value: Any) -> str:
    """The tag of a consolidation: one with a file is the user's own. The value is a section, or what should be one."""
    is_own = isinstance(value, OwnConsolidationOptions) or (isinstance(value, dict) and "file" in value)
    return "own" if is_own else "known"


KnownConsolidation = Annotated[
    NoConsolidationOptions | UniformOptions | StaticFisherOptions | FrozenFisherOptions | AdaptiveFisherOptions,
    Field(discriminator="kind"),
]
ConsolidationConfig = Annotated[
    Annotated[KnownConsolidation, Tag("known")] | Annotated[OwnConsolidationOptions, Tag("own")],
    Discriminator(_whose),
]


# Which part of the model is trained. See gift_core/clip/trained.py.


class TrainsOptions(KindOptions):
    """The options of what is trained. `is_merged`: other parameters are trained, and merged into the weights."""

    is_merged: ClassVar[bool] = False


class TowerOptions(TrainsOptions):
    """One tower. The other one stays as it was at the start."""

    kind: Literal["image_tower", "text_tower"]


class LastBlocksOptions(TrainsOptions):
    """The last `blocks` blocks of each tower, and what follows them."""

    kind: Literal["last_blocks"]
    blocks: Annotated[int, Field(ge=1, le=1000)]


class LoraOptions(TrainsOptions):
    """Low-rank adapters in the layers whose names end with one of `targets`, merged into the weights after each task.

    W becomes W + alpha / rank * B @ A.
    """

    is_merged: ClassVar[bool] = True
    kind: Literal["lora"]
    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Weight
    targets: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_NAMES, strict=False)]


TrainsConfig = Annotated[TowerOptions | LastBlocksOptions | LoraOptions, Field(discriminator="kind")]


class RunningMeanConfig(Section):
    """Keep the mean of the weights at the start of the task and after every `every` iterations."""

    kind: Literal["running_mean"]
    every: Count


class InterpolateConfig(Section):
    """alpha * the new weights + (1 - alpha) * the old ones: those at the start of the task, of a release those of the
    pre-trained model."""

    kind: Literal["interpolate"]
    alpha: Alpha


# The keys of a row that one other stage reads: an edit of them does not train again (stages/code_files.py). All others
# are finetune's. `replay` is teach's, too (dvc.yaml).
READ_BY = {"release": "evaluate", "label": "report"}
Label = Annotated[Text, Field(max_length=40)]


class MethodConfig(Section):
    """One method.

    `start`: training starts from the method's model before the task, or from the pre-trained model. `learns`: the
    step's own task, all tasks seen so far (with `training.iterations` for each), or nothing (then the rate is null).
    `trains`: a part of the model, everything if left out. `layer_decay`: the factor on the learning rate from
    a layer to the one below it. `release`: the model that is tested and handed out, the trained one if left out.
    Training, also of the next task, and teachers know only the trained one. `label`: the name in the report.
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
    release: InterpolateConfig | None = None
    label: Label | None = None

    def settings_of(self, stage: str) -> dict[str, Any]:
        """Returns the keys of the row that the stage reads, by READ_BY. Those that are empty are left out."""
        row = self.model_dump(mode="json", exclude_none=True)
        return {key: value for key, value in row.items() if READ_BY.get(key, "finetune") == stage}

    @property
    def uses_fisher(self) -> bool:
        """Whether fine-tuning reads the teacher's Fisher information: an own consolidation does if it is estimated."""
        is_own = isinstance(self.consolidation, OwnConsolidationOptions)
        return getattr(self.replay, "fisher", None) is not None if is_own else self.consolidation.needs_fisher

    @property
    def keeps_every_model(self) -> bool:
        """Whether each task has its own model, fine-tuned from the pre-trained one and tested on this task only."""
        return self.start == "pretrained" and self.learns == "task"

    @property
    def is_reference(self) -> bool:
        """Whether it breaks the rules of the setting, so that it is only a bound: old data, or one model per task."""
        return self.learns == "seen" or self.keeps_every_model
