"""The training loop: fine-tuning on one task while replay and weight consolidation protect what was learned before.

zero_grad -> backward(replay losses) -> consolidation.observe(gradients) -> backward(task loss)
-> consolidation.pull adds its gradient -> optimizer step -> weight averaging
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch

from gift_core.artifacts.model_folder import ENTROPY
from gift_core.artifacts.snapshot import NOT_KEPT, Snapshot
from gift_core.clip.batches import TaskBatch, TaskBatches
from gift_core.clip.encoding import tokenize
from gift_core.clip.model import Clip
from gift_core.config.experiment import TrainingConfig
from gift_core.consolidation import Consolidation
from gift_core.errors import UserError
from gift_core.losses import task_loss
from gift_core.methods import Method
from gift_core.overlap import in_turn, prefetched
from gift_core.pair_features import PairFeatures
from gift_core.progress import progress
from gift_core.replay.pairs import Replay, ReplayBatch
from gift_core.seeds import seed_for
from gift_core.training.checkpointing import checkpointed
from gift_core.training.encoders import EncoderStrategy, encoder_strategy
from gift_core.training.loss_rows import LossRows, require_finite, with_total
from gift_core.training.processes import ALONE, Processes
from gift_core.training.resuming import TrainingState

LossRow = dict[str, float]
Sampled = tuple[TaskBatch, tuple[ReplayBatch, ...]]
# Yields the batches: prefetched of gift_core.overlap may sample them in a thread, in_turn does not.
Prefetch = Callable[..., Generator[Sampled, None, None]]
MAX_SKIPPED = 24  # iterations in a row: by then the loss scale is far below 1, so the scale is not the reason


def finetune(
    clip: Clip,
    task_batches: TaskBatches,
    *,
    method: Method,
    replay: Replay,
    training: TrainingConfig,
    learning_rate: float,
    iterations: int,
    seed: int,
    on_iteration: Callable[[LossRow], None] = lambda row: None,
    snapshot: Snapshot = NOT_KEPT,
    prefetch: Prefetch = prefetched,
    processes: Processes = ALONE,
) -> list[LossRow]:
    """Train `clip.model` in place; return one row of losses for each iteration.

    A row holds iteration, learning_rate, task, each replay loss by its name, consolidation, total. The losses are
    weighted, so total is their sum. Beside a cross-entropy against the teacher, such as distill, is distill_entropy:
    the teacher's entropy with the same weight, which is no part of total. Under amp_fp16 the row also holds skipped,
    which is 1 where the gradients were not finite and the weights did not change. `seed` only affects layers that are
    random in training (dropout), since batches have seeds of their own. Training continues from `snapshot` if an
    interrupted run left one, and ends with the same weights and rows as without the interruption. Where several
    `processes` train together, each calls this with the same arguments, and the first one writes the snapshots.
    UserError if a loss or a weight stops being finite (with the iteration, the loss and the last good values), for a
    model without support for the gradient checkpointing that is set, and where the weights of the processes differ.

    # differs: the official loop runs one more iteration. Its learning rate is exactly 0, so it changes nothing.
    """
    rates = learning_rates(iterations, warmup_iterations=training.warmup_iterations, peak=learning_rate)
    with training_mode(clip), _checkpointing(clip, training), torch.random.fork_rng():
        torch.manual_seed(seed_for("finetune", seed))
        rows = run_iterations(
            clip,
            task_batches,
            method=method,
            replay=replay,
            training=training,
            rates=rates,
            on_iteration=on_iteration,
            snapshot=snapshot,
            prefetch=prefetch,
            processes=processes,
        )
    if rows:
        processes.require_equal(clip.trainable(), len(rows))
        _require_finite_weights(clip, rows[-1])
    return rows


def require_trainable(clip: Clip, training: TrainingConfig) -> None:
    """Raises UserError if the model does not support the settings of `training`, before any image is read."""
    with _checkpointing(clip, training):
        pass


def learning_rates(iterations: int, *, warmup_iterations: int, peak: float) -> list[float]:
    """Returns the rate of each iteration: a linear warm-up to `peak`, then a cosine decay towards 0."""
    rising = [peak * (index + 1) / warmup_iterations for index in range(min(warmup_iterations, iterations))]
    span = iterations - warmup_iterations
    return rising + [peak * 0.5 * (1 + math.cos(math.pi * index / span)) for index in range(span)]


def run_iterations(
    clip: Clip,
    task_batches: TaskBatches,
    *,
    method: Method,
    replay: Replay,
    training: TrainingConfig,
    rates: Sequence[float],
    on_iteration: Callable[[LossRow], None] = lambda row: None,
    snapshot: Snapshot = NOT_KEPT,
    prefetch: Prefetch = prefetched,
    processes: Processes = ALONE,
) -> list[LossRow]:
    """The loop itself, with one iteration for each rate. Consolidation pulls to the weights at the time of the call.

    At the end `clip.model` holds the averaged weights, where the method averages. Without rates nothing happens.
    `on_iteration` is called with the rows that this run computes, and not with those of an interrupted one.
    """
    if not rates:
        return []
    parameters = clip.trainable()
    averages = method.build_averages(parameters)
    update = WeightUpdate(_optimizer(parameters, training), grad_scaler(clip))
    gradients = GradientComputation(
        clip=clip,
        parameters=parameters,
        class_tokens_KL=tokenize(clip, task_batches.class_prompts),
        method=method,
        consolidation=method.build_consolidation(parameters),
        label_smoothing=training.label_smoothing,
        encoders=encoder_strategy(clip, training.micro_batch_size, processes),
        update=update,
    )
    losses = LossRows(update, on_iteration, _late(clip, update, prefetch, processes))
    state = TrainingState(parameters, update, gradients.consolidation, averages, losses)
    seed, done = torch.initial_seed(), state.resume(snapshot, len(rates))
    processes.require_equal(parameters, done)
    with closing(prefetch(_sampled(task_batches, replay, range(done, len(rates))), device=clip.device)) as batches:
        for index, (batch, replayed) in enumerate(progress(batches, len(rates), "iterations", done=done), start=done):
            processes.begin(index, parameters, seed)
            losses.add({"iteration": index, "learning_rate": rates[index]}, gradients.backward(batch, replayed))
            for average in averages:
                average.observe(index + 1, parameters)
            losses.report(unread=losses.late)
            if index + 1 < len(rates) and processes.is_first:
                snapshot.keep(state.save)
    losses.report()
    for average in averages:
        average.finish(parameters)
    return losses.rows


def _optimizer(parameters: Mapping[str, torch.nn.Parameter], training: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(  # fused on every device that resolve_device knows
        parameters.values(), lr=0.0, betas=training.betas, weight_decay=training.weight_decay, fused=True
    )


def _late(clip: Clip, update: WeightUpdate, prefetch: Prefetch, processes: Processes) -> int:
    """How many iterations the losses may be read late, so that a GPU need not wait for the program: 0 or 1.

    0 on the CPU; under amp_fp16, where a step depends on its gradients; with several processes, which should fail
    at the same iteration; and for the caller of the library, who may look at the model after each iteration.
    """
    waits = clip.device.type == "cpu" or update.scaler.is_enabled() or processes.count > 1 or prefetch is in_turn
    return 0 if waits else 1


def _sampled(task_batches: TaskBatches, replay: Replay, iterations: range) -> Iterator[Sampled]:
    return ((task_batches.sample(index), replay.sample(index)) for index in iterations)


@dataclass(frozen=True)
class GradientComputation:
    """Computes the gradients of one iteration. B images, K classes, L tokens."""

    clip: Clip
    parameters: Mapping[str, torch.nn.Parameter]
    class_tokens_KL: torch.Tensor
    method: Method
    consolidation: Consolidation
    label_smoothing: float
    encoders: EncoderStrategy
    update: WeightUpdate

    def backward(self, batch: TaskBatch, replayed: Sequence[ReplayBatch]) -> dict[str, torch.Tensor]:
        """Returns the weighted losses by name, and leaves the gradient of their sum in `.grad` of the parameters.

        Beside them are the entropies of the teacher (ENTROPY), which have no gradient and are not in the sum.
        The order matters: consolidation observes the gradients of the replay losses before those of the task loss are
        added. It observes them multiplied by the loss scale, which its importance does not depend on. The gradient of
        the penalty is added last, to gradients without the scale.
        """
        self.update.optimizer.zero_grad()
        losses: dict[str, torch.Tensor] = {}
        for replay_batch in replayed:
            losses = self._replay_losses(replay_batch)
            summed = [loss for name, loss in losses.items() if not name.endswith(ENTROPY)]
            self.encoders.backward(self.update.scaler.scale(torch.stack(summed).sum()))
        self.consolidation.observe({name: parameter.grad for name, parameter in self.parameters.items()})
        task = self._task_loss(batch)
        self.encoders.backward(self.update.scaler.scale(task))
        self.update.scaler.unscale_(self.update.optimizer)
        return {"task": task, **losses, "consolidation": self.consolidation.pull(self.parameters)}

    def _replay_losses(self, batch: ReplayBatch) -> dict[str, torch.Tensor]:
        features = PairFeatures(
            encode_images=lambda: self.encoders.encode_images(batch.images_MCHW),
            encode_texts=lambda: self.encoders.encode_tokens(batch.tokens_ML),
            teacher_image_MD=batch.teacher_image_MD,
            teacher_text_MD=batch.teacher_text_MD,
            prompt_ids_M=batch.prompt_ids_M,
            scale=self.clip.scale,
            vocabulary_text_PD=batch.vocabulary_text_PD,
            all_image_ND=batch.all_image_ND,
            image_ids_M=batch.image_ids_M,
        )
        losses: dict[str, torch.Tensor] = {}
        for name, loss in self.method.losses.items():
            losses[name] = loss.weight * features.evaluate(loss.function)
            if loss.entropy is not None:
                losses[f"{name}{ENTROPY}"] = loss.weight * features.evaluate(loss.entropy)
        return losses

    def _task_loss(self, batch: TaskBatch) -> torch.Tensor:
        return task_loss(
            self.encoders.encode_images(batch.images_BCHW),
            self.encoders.encode_tokens(self.class_tokens_KL[batch.classes]),
            labels_B=batch.labels_B,
            scale=self.clip.scale,
            label_smoothing=self.label_smoothing,
        )


@dataclass
class WeightUpdate:
    """Takes the optimizer's step. Under amp_fp16, GradScaler skips it where gradients are not finite."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    skipped_in_a_row: int = 0

    def __call__(self, row: LossRow, *, earlier: Sequence[LossRow]) -> LossRow:
        """Update the weights at row["learning_rate"]; return the row, under amp_fp16 with skipped (0.0 or 1.0).

        UserError if a loss is not finite, or after MAX_SKIPPED skipped iterations in a row.
        """
        self.optimizer.param_groups[0]["lr"] = row["learning_rate"]
        if not self.scaler.is_enabled():
            require_finite(row, earlier)
            self.optimizer.step()
            return row
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < scale
        if skipped:  # gradients that are not finite may make the penalty infinite or NaN
            row = with_total({**row, "consolidation": 0.0})
        require_finite(row, earlier)
        self._count_skipped(skipped)
        return {**row, "skipped": float(skipped)}

    def _count_skipped(self, skipped: bool) -> None:
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row == MAX_SKIPPED:
            raise UserError(
                f"model.precision: amp_fp16: the gradients of {MAX_SKIPPED} iterations in a row were not finite, down "
                f"to a loss scale of {self.scaler.get_scale():g}. No model is written. Set model.precision to amp_bf16 "
                "or fp32."
            )


def grad_scaler(clip: Clip) -> torch.amp.GradScaler:
    """Returns torch's dynamic loss scale for a model in amp_fp16, and a disabled one for any other precision."""
    return torch.amp.GradScaler(clip.device.type, enabled=clip.precision == "amp_fp16")


@contextmanager
def training_mode(clip: Clip) -> Iterator[None]:
    """Within the block the model is in training mode and the temperature is frozen. Afterwards: evaluation mode.

    # differs: BatchNorm keeps its statistics. They would drift with the task's images, and no replay loss and no
    # consolidation could hold them, since they are not parameters.
    """
    clip.model.train()
    for module in clip.model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    trainable = clip.trainable()
    for name, parameter in clip.model.named_parameters():
        parameter.requires_grad_(name in trainable)
    try:
        yield
    finally:
        clip.model.eval()
        clip.model.zero_grad()


def _checkpointing(clip: Clip, training: TrainingConfig) -> AbstractContextManager[None]:
    return checkpointed(clip) if training.gradient_checkpointing else nullcontext()


def _require_finite_weights(clip: Clip, last: LossRow) -> None:
    broken = [name for name, value in clip.trainable().items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise UserError(
            f"training ended with weights that are not finite, the first is {broken[0]}. Last good values: {last}. "
            "No model is written. Lower the learning rate."
        )
