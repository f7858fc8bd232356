"""The one training loop: fine-tuning on a task while the replayed pairs and the anchor protect the past."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch

from gift_core.anchors.table import Anchor
from gift_core.clip.ahead import drawn
from gift_core.clip.batches import TaskBatch, TaskBatches
from gift_core.clip.encoding import tokenize
from gift_core.clip.model import FROZEN, Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.errors import UserError
from gift_core.methods import Method
from gift_core.objectives.encodings import LazyEncodings
from gift_core.objectives.task import task_loss
from gift_core.progress import progress
from gift_core.replay.pairs import Replay, ReplayBatch
from gift_core.seeds import seed_for
from gift_core.training.checkpointing import checkpointed
from gift_core.training.loss_scale import LOSS_SCALES, LossScale
from gift_core.training.passes import Passes, build_passes

LossRow = dict[str, float]


def finetune(
    clip: Clip,
    task_batches: TaskBatches,
    *,
    method: Method,
    replay: Replay,
    training: TrainingConfig,
    learning_rate: float,
    steps: int,
    seed: int,
    on_step: Callable[[LossRow], None] = lambda row: None,
) -> list[LossRow]:
    """Train `clip.model` in place for `steps` steps; return one row of losses a step.

    A row holds step, learning_rate, task, each replay term by its name, anchor, total; the losses are weighted, so
    that total is their sum. Under amp_fp16 it also holds skipped, 1 where the gradients were not finite and the weights
    stayed. `seed` only feeds layers that are random in training (dropout); the batches carry their own. UserError when
    a loss or a weight stops being finite (step, term, last good values), and for a model that cannot be checkpointed
    where training asks for it.

    # differs: the official loop runs steps + 1 steps; the rate of its last one is exactly 0 and changes nothing.
    """
    rates = learning_rates(steps, warmup_steps=training.warmup_iterations, peak=learning_rate)
    with training_mode(clip), _saving(clip, training), torch.random.fork_rng():
        torch.manual_seed(seed_for("finetune", seed))
        rows = run_steps(
            clip, task_batches, method=method, replay=replay, training=training, rates=rates, on_step=on_step
        )
    if rows:
        _require_finite_weights(clip, rows[-1])
    return rows


def require_trainable(clip: Clip, training: TrainingConfig) -> None:
    """Raises UserError where the model cannot be trained as `training` asks, before any image is read for it."""
    with _saving(clip, training):
        pass


def _saving(clip: Clip, training: TrainingConfig) -> AbstractContextManager[None]:
    return checkpointed(clip) if training.gradient_checkpointing else nullcontext()


def learning_rates(steps: int, *, warmup_steps: int, peak: float) -> list[float]:
    """Rate of each step: rising linearly to `peak` in `warmup_steps` steps, then falling as a cosine towards 0."""
    rising = [peak * (step + 1) / warmup_steps for step in range(min(warmup_steps, steps))]
    span = steps - warmup_steps
    return rising + [peak * 0.5 * (1 + math.cos(math.pi * step / span)) for step in range(span)]


def run_steps(
    clip: Clip,
    task_batches: TaskBatches,
    *,
    method: Method,
    replay: Replay,
    training: TrainingConfig,
    rates: Sequence[float],
    on_step: Callable[[LossRow], None] = lambda row: None,
) -> list[LossRow]:
    """The loop itself, a step for each rate. The start weights of the anchor are those at the call.

    At its end `clip.model` holds what the method keeps of the task (weights.Keeper). Without rates nothing happens.
    """
    if not rates:
        return []
    parameters = clip.trainable()
    keepers = method.build_keepers(parameters)
    optimizer = torch.optim.AdamW(  # fused on every device that clip.device.resolve_device knows
        parameters.values(), lr=0.0, betas=training.betas, weight_decay=training.weight_decay, fused=True
    )
    stepper = Stepper(
        clip=clip,
        parameters=parameters,
        class_tokens_KL=tokenize(clip, task_batches.class_prompts),
        method=method,
        anchor=method.build_anchor(parameters),
        label_smoothing=training.label_smoothing,
        passes=build_passes(clip, training.micro_batch_size),
        loss_scale=LOSS_SCALES[clip.precision](),
    )
    rows: list[LossRow] = []
    batches = drawn(lambda step: (task_batches.draw(step), replay.draw(step)), len(rates), device=clip.device)
    with closing(batches):
        for step, (batch, replayed) in enumerate(progress(batches, len(rates), "steps")):
            optimizer.zero_grad()
            losses, finite = stepper.backward(batch, replayed)
            row = {"step": step, "learning_rate": rates[step], **_as_numbers(losses)}
            _require_finite(row, rows)
            optimizer.param_groups[0]["lr"] = rates[step]
            if finite:
                optimizer.step()
            for keeper in keepers:
                keeper.observe(step + 1, parameters)
            rows.append({**row, **stepper.loss_scale.update(finite)})
            on_step(rows[-1])
    for keeper in keepers:
        keeper.finish(parameters)
    return rows


@dataclass(frozen=True)
class Stepper:
    """Fills the gradients of one step. B images, M pairs, K classes, L tokens, D features."""

    clip: Clip
    parameters: Mapping[str, torch.nn.Parameter]
    class_tokens_KL: torch.Tensor
    method: Method
    anchor: Anchor
    label_smoothing: float
    passes: Passes
    loss_scale: LossScale

    def backward(self, batch: TaskBatch, replayed: Sequence[ReplayBatch]) -> tuple[dict[str, torch.Tensor], bool]:
        """The weighted losses by name, and whether the gradients are finite: only then they may be used.

        `.grad` of every parameter holds the gradient of the losses' sum. The order matters: the anchor sees the
        unscaled gradients of the replay terms before the task's are added to them, and its own pull is added last.
        Where the gradients are not finite the anchor does not pull, and its loss is 0.
        """
        terms: dict[str, torch.Tensor] = {}
        for replay_batch in replayed:
            terms = self._replay_terms(replay_batch)
            self.passes.backward(self.loss_scale.scaled(torch.stack(list(terms.values())).sum()))
        if finite := self.loss_scale.unscale(self._gradients()):
            self.anchor.observe({name: parameter.grad for name, parameter in self.parameters.items()})
        self.loss_scale.restore(self._gradients())
        task = self._task_loss(batch)
        self.passes.backward(self.loss_scale.scaled(task))
        finite = self.loss_scale.unscale(self._gradients()) and finite
        anchor = self.anchor.pull(self.parameters) if finite else torch.zeros_like(task)
        return {"task": task, **terms, "anchor": anchor}, finite

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]

    def _replay_terms(self, batch: ReplayBatch) -> dict[str, torch.Tensor]:
        encodings = LazyEncodings(
            encode_images=lambda: self.passes.encode_images(batch.images_MCHW),
            encode_texts=lambda: self.passes.encode_tokens(batch.tokens_ML),
            teacher_image_MD=batch.teacher_image_MD,
            teacher_text_MD=batch.teacher_text_MD,
            prompt_ids_M=batch.prompt_ids_M,
            scale=self.clip.scale,
        )
        return {name: weighted.weight * weighted.term(encodings) for name, weighted in self.method.terms.items()}

    def _task_loss(self, batch: TaskBatch) -> torch.Tensor:
        return task_loss(
            self.passes.encode_images(batch.images_BCHW),
            self.passes.encode_tokens(self.class_tokens_KL[batch.classes]),
            labels_B=batch.labels_B,
            scale=self.clip.scale,
            label_smoothing=self.label_smoothing,
        )


@contextmanager
def training_mode(clip: Clip) -> Iterator[None]:
    """Training mode with a frozen temperature; afterwards evaluation mode.

    # differs: BatchNorm keeps its statistics. They would drift with the task's images, and no loss term or anchor
    # could hold them, since they are not parameters.
    """
    clip.model.train()
    for module in clip.model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    for name, parameter in clip.model.named_parameters():
        parameter.requires_grad_(not name.startswith(FROZEN))
    try:
        yield
    finally:
        clip.model.eval()
        clip.model.zero_grad()


def _as_numbers(losses: Mapping[str, torch.Tensor]) -> LossRow:
    """The losses and their total, fetched from the device at once."""
    values: list[float] = torch.stack([loss.detach().float() for loss in losses.values()]).tolist()
    return {**dict(zip(losses, values, strict=True)), "total": math.fsum(values)}


def _require_finite(row: LossRow, rows: Sequence[LossRow]) -> None:
    broken = [name for name, value in row.items() if not math.isfinite(value) and name != "total"]
    if broken:
        last = rows[-1] if rows else "none"
        raise UserError(
            f"training stopped at step {int(row['step'])}: {', '.join(broken)} became {row[broken[0]]}. Last good "
            f"values: {last}. No model is written. Lower the learning rate ({row['learning_rate']:.3g} at this step), "
            "or set model.precision to fp32 if it is not."
        )


def _require_finite_weights(clip: Clip, last: LossRow) -> None:
    broken = [name for name, value in clip.trainable().items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise UserError(
            f"training ended with weights that are not finite, first {broken[0]}. Last good values: {last}. "
            "No model is written. Lower the learning rate."
        )
