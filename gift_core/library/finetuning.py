"""Fine-tuning of the caller's model in one call, by the loop of the pipeline."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gift_core.config.experiment import TrainingConfig
from gift_core.config.loading import parse_part
from gift_core.errors import UserError, lookup
from gift_core.library.given_model import NAME, LoaderBatches, Tokenizer, given_clip, require_model, require_number
from gift_core.library.given_pairs import given_replay
from gift_core.library.method_rows import given_method
from gift_core.method.averaging import released_weights
from gift_core.method.training.loop import LossRow, learning_rates, require_trainable, sampled, training_run
from gift_core.progress import progress


@dataclass(frozen=True)
class Training:
    """How `finetune` trains. The defaults are those of the paper's benchmark (presets/mtil_order_1.yaml).

    Args:
        warmup_iterations: over which the learning rate rises; None: a tenth of all, as in the paper (100 of 1,000).
        replay_batch_size: pairs in an iteration; of no effect where `pairs` is a loader, which has its own batches.
        weight_decay: of AdamW.
        betas: of AdamW.
        label_smoothing: of the task loss, 0 to 1.
        precision: fp32, amp_bf16 or amp_fp16. Weights stay float32. The last two run the towers under autocast.
        micro_batch_size: encode this many images or texts at once, with the gradients of the whole batch (gradient
            caching); None: all of them. It saves memory and costs one more forward pass.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory, too.
    """

    warmup_iterations: int | None = None
    replay_batch_size: int = 64
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.2
    precision: str = "fp32"
    micro_batch_size: int | None = None
    gradient_checkpointing: bool = False

    def config(self, iterations: int) -> TrainingConfig:
        """Returns the section `training` of params.yaml. UserError names the setting that is wrong."""
        tenth = iterations // 10 if isinstance(iterations, int) else 0  # another type is refused below
        warmup = tenth if self.warmup_iterations is None else self.warmup_iterations
        settings = dataclasses.asdict(self) | {"iterations": iterations, "warmup_iterations": warmup}
        del settings["precision"]
        # of no effect: batches and crops are those of the caller's loader
        settings |= {"batch_size": 1, "crop_scale": (1.0, 1.0)}
        config = parse_part(TrainingConfig, settings, location=("training",), name=NAME, key="training")
        if warmup >= iterations:
            what = f"{warmup} should be less than the number of iterations ({iterations})"
            raise UserError(f"{NAME}: training.warmup_iterations: {what}. Lower it, or leave it out.")
        return config


PAPER = Training()


@torch.inference_mode(False)  # also where the caller has turned gradients off
@torch.enable_grad()
def finetune(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    loader: Iterable[Any],
    class_prompts: Sequence[str],
    *,
    pairs: Any = None,
    teacher: torch.nn.Module | None = None,
    method: str | Mapping[str, Any] = "gift",
    iterations: int = 1000,
    learning_rate: float | None = None,
    training: Training = PAPER,
    fisher: Mapping[str, torch.Tensor] | None = None,
    device: str | torch.device | None = None,
    seed: int = 42,
    on_step: Callable[[LossRow], None] = lambda row: None,
    **settings: Any,
) -> list[LossRow]:
    """Fine-tune an open_clip model in place without forgetting; return one row of losses for each iteration.

    Args:
        model: of open_clip, float32. It is left in evaluation mode. Parameters without requires_grad are not trained.
        tokenizer: the model's own (open_clip.get_tokenizer).
        loader: yields (images [B, 3, S, S] after the model's own transform, labels [B]). It may be a DataLoader.
        class_prompts: one for each class, in the order of the labels: "a photo of a cat.".
        pairs: the replay: a sequence or data set of (image, prompt), or a loader of (images, prompts).
        teacher: the model to distill from; None: `model` as it is now.
        method: a name of the paper's preset, or a row (see method_row).
        iterations: batches to train on; 1,000 in the paper.
        learning_rate: the peak; None: that of the method's row, 1e-5 in the paper.
        training: all other settings. Its fields are keyword arguments, too (`settings`): replay_batch_size=16.
        fisher: for consolidation static_fisher: diagonals by parameter name (see estimate_fisher).
        device: the model is moved there; None: it stays where it is.
        seed: of torch's random numbers during training, such as the loader's shuffling, and of the order of `pairs`.
        on_step: called after each iteration with its row: iteration, learning_rate, task, the losses, total.

    Raises:
        UserError: what does not fit and what to do, mostly before training; a loss that is not finite.
    """
    training = _changed(training, settings)
    config, given = training.config(iterations), given_method(method, iterations, learning_rate, fisher)
    rates = learning_rates(config.iterations, warmup_iterations=config.warmup_iterations, peak=given.learning_rate)
    with given_clip(model, tokenizer, precision=training.precision, device=device) as clip:
        require_trainable(clip, config, given.method)
        task = LoaderBatches(clip, loader, class_prompts)
        replay = given_replay(clip, given, pairs, teacher=teacher, training=config, seed=seed)
        with training_run(clip, class_prompts, method=given.method, training=config, rates=rates, seed=seed) as run:
            for each in run.iterations(progress(sampled(task, replay, range(iterations)), iterations, "iterations")):
                on_step(run.add(each))
    return run.rows


def _changed(training: Training, settings: Mapping[str, Any]) -> Training:
    known = dict.fromkeys([*inspect.signature(finetune).parameters, *vars(training)])
    for name in settings:
        lookup(known, name, f"{NAME}: finetune")
    return dataclasses.replace(training, **settings)


def released(model: torch.nn.Module, pretrained: Mapping[str, torch.Tensor], *, alpha: float) -> torch.nn.Module:
    """Return a copy of the model to test and to hand out: pre-trained weights + alpha * what was learned since.

    `model` stays as it is, and the next task goes on from it. An alpha below 1 gives back some of the model's zero-shot
    ability. docs/methods.md (the slot `release`) says how to choose it.

    Args:
        model: the trained model, after any number of tasks.
        pretrained: copy.deepcopy(model.state_dict()) of before the first task: a tensor of the same shape for each
            name, on any device. Whole numbers, such as BatchNorm's counters, are those of `model`.
        alpha: 0 (the pre-trained model) to 1 (the trained one).

    Raises:
        UserError: an alpha outside of that range, or weights of another model.
    """
    require_model(model, "model")
    require_number("alpha", alpha, 0, 1, example=0.85)
    trained = model.state_dict()
    wrong = [name for name in sorted({*trained, *pretrained}) if _shape(trained, name) != _shape(pretrained, name)]
    if wrong:
        what = f"{wrong[0]} is {_shape(pretrained, wrong[0])}, and {_shape(trained, wrong[0])} in the model"
        raise UserError(f"{NAME}: pretrained: {what}. Pass model.state_dict() of before the first task, copied.")
    start = {name: value.to(trained[name]) for name, value in pretrained.items()}  # the same device and type
    result = copy.deepcopy(model)
    result.load_state_dict(released_weights(trained, start, alpha=float(alpha)))
    return result


def _shape(weights: Mapping[str, torch.Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "missing"
