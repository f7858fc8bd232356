"""Tries what may keep long sequences further: changes of the training loop that are no slot of a method (docs/log.md).

    python -m benchmarks.further --preset benchmarks/eleven_tasks.yaml --tasks 11 --seeds 110 111 --methods became muon

A row of benchmarks/further.yaml is trained with the change that CHANGES has under its name. The options are those of
search.py, and so is the table that is printed, of a validation part. `--learned-share 0.5` samples this share of the
prompts from the learned classes, and the others from the whole vocabulary.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

import gift_core.replay.prompts
import gift_core.training.loop
import stages.finetune
from benchmarks import experiment, search
from benchmarks.options import run_script
from gift_core.averaging import Interpolation, WeightAveraging
from gift_core.clip.model import Clip
from gift_core.consolidation import Consolidation, QuadraticPenalty
from gift_core.losses import align, task_loss
from gift_core.replay.source import Replay
from gift_core.training.loop import TrainingRun
from gift_core.work.snapshot import NOT_KEPT

BATCHES = 16  # from which Fisher information and covariances are estimated
SHARE = "GIFT_LEARNED_SHARE"


@dataclass(frozen=True)
class Step:
    """What a change may use of the step that is trained. `kept`: a file of the step, `before`: of the one before."""

    number: int
    batches: Any
    replay: Replay
    iterations: int
    kept: Path
    before: Path


Parameters = Mapping[str, torch.nn.Parameter]


# The share of the merge.


class Became(WeightAveraging):
    """The share in closed form: d' F d / d' (F + sum of F before) d, d = the end - the start (BECAME, 2504.02666).

    F is the diagonal Fisher information of the task at the end, and of the synthetic pairs at the start of each step.
    """

    def __init__(self, run: TrainingRun, step: Step) -> None:
        self._run, self._step = run, step
        self._start = [value.detach().clone() for value in run.parameters.values()]
        pairs = [_squares(run, partial(_pair_likelihood, run, step.replay, index)) for index in range(BATCHES)]
        before = torch.load(step.before) if step.before.is_file() else [0.0] * len(self._start)
        self._earlier = [sum(each) / BATCHES + old for *each, old in zip(*pairs, before, strict=True)]
        step.kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save(self._earlier, step.kept)

    def finish(self, parameters: Parameters) -> None:
        """Interpolate with the share."""
        run, step = self._run, self._step
        indices = range(step.iterations, step.iterations + BATCHES)
        tasks = [_squares(run, partial(_task_likelihood, run, step.batches, index)) for index in indices]
        newest = [sum(each) / BATCHES for each in zip(*tasks, strict=True)]
        moved = [(new.detach() - old).square() for new, old in zip(parameters.values(), self._start, strict=True)]
        task, earlier = (_sum_of_products(fisher, moved) for fisher in (newest, self._earlier))
        share = task / (task + earlier)
        with step.kept.with_suffix(".txt").open("w") as file:
            print(f"{share:.3f}", file=file)
        for new, old in zip(parameters.values(), self._start, strict=True):
            new.data.copy_(torch.lerp(old, new.data, share))


def _sum_of_products(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(first, second, strict=True))


def _squares(run: TrainingRun, likelihood: Callable[[], tuple[torch.Tensor, int]]) -> list[torch.Tensor]:
    """The squared gradient of the mean over a batch, times its size: its expectation is that of the single squares."""
    mean, size = likelihood()
    gradients = torch.autograd.grad(mean, list(run.parameters.values()), allow_unused=True)
    pairs = zip(gradients, run.parameters.values(), strict=True)
    return [torch.zeros_like(value) if each is None else each.square() * size for each, value in pairs]


def _pair_likelihood(run: TrainingRun, replay: Replay, index: int) -> tuple[torch.Tensor, int]:
    (batch,) = replay.sample(index)
    features = run.encoders.encode_images(batch.images_MCHW), run.encoders.encode_tokens(batch.tokens_ML)
    return align(*features, batch.prompt_ids_M, scale=run.clip.scale, label_smoothing=0.0), len(batch.images_MCHW)


def _task_likelihood(run: TrainingRun, batches: Any, index: int) -> tuple[torch.Tensor, int]:
    batch = batches.sample(index)
    features = (
        run.encoders.encode_images(batch.images_BCHW),
        run.encoders.encode_tokens(batch.texts(run.class_tokens_KL)),
    )
    return task_loss(*features, **batch.targets, scale=run.clip.scale, label_smoothing=0.0), len(batch.images_BCHW)


def became(run: TrainingRun, step: Step) -> None:
    """The share of the merge is BECAME's."""
    run.averages = [Became(run, step)]


def falling(run: TrainingRun, step: Step) -> None:
    """The share of the merge falls with the number of the step: max(0.5, t^-0.3)."""
    run.averages = [Interpolation(run.parameters, alpha=max(0.5, step.number**-0.3))]


# Consolidation.


class Kronecker(QuadraticPenalty):
    """F of a matrix is L x R: L = E[G G'], R = E[G' G], each divided by the mean of its diagonal.

    G are the gradients of the replay losses in all iterations so far. Up to its scale L x R is close to the best
    Kronecker product for E[g g'] (Morwani et al. 2024, arXiv 2406.17748). Vectors have the diagonal. The penalty of
    the row's own consolidation is added.
    """

    def __init__(self, parameters: Parameters, beside: Consolidation, *, weight: float) -> None:
        super().__init__(parameters, weight=weight)
        self._beside = beside
        self._factors: list[tuple[torch.Tensor, torch.Tensor] | None] = [None for _ in parameters]
        self._count = 0

    def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
        """Add the gradients to the means."""
        self._count += 1
        for index, gradient in enumerate(gradients.values()):
            if gradient is None:
                continue
            matrix = gradient.reshape(len(gradient), -1) if gradient.ndim else gradient.reshape(1, 1)
            is_vector = matrix.shape[1] == 1
            newest = matrix.square() if is_vector else matrix @ matrix.T, matrix.T @ matrix
            means = self._factors[index] or tuple(torch.zeros_like(each) for each in newest)
            self._factors[index] = tuple(torch.lerp(a, b, 1 / self._count) for a, b in zip(means, newest, strict=True))

    def pull(self, parameters: Parameters) -> torch.Tensor:
        """Add 2 * weight * L (theta - theta_start) R to the gradients."""
        penalty = self._beside.pull(parameters)
        for value, start, factors in zip(parameters.values(), self._start, self._factors, strict=True):
            if factors is None or not factors[1].any():
                continue
            moved = (value.detach() - start).reshape(len(value) if value.ndim else 1, -1)
            left, right = factors
            if moved.shape[1] == 1:
                weighted = left / left.mean() * moved
            else:
                weighted = left / left.diagonal().mean() @ moved @ (right / right.diagonal().mean())
            value.grad.add_(weighted.reshape(value.shape), alpha=2 * self._weight)
            penalty = penalty + self._weight * (weighted * moved).sum()
        return penalty


def kronecker(run: TrainingRun, step: Step, weight: float) -> None:
    """The consolidation is Kronecker-factored."""
    run.consolidation = Kronecker(run.parameters, run.consolidation, weight=weight)


# Projection of updates.


class NullSpace(WeightAveraging):
    """Projects each update of a layer to inputs that the synthetic pairs hardly have (GNSP, arXiv 2507.19839).

    Projected out are the directions of the inputs, at the start, that have `energy` of their squares together.
    """

    def __init__(self, run: TrainingRun, step: Step, *, energy: float) -> None:
        self._projections = {
            name: _null_space(covariance, energy) for name, covariance in _covariances(run, step.replay).items()
        }
        self._before = {name: run.parameters[name].detach().clone() for name in self._projections}

    def observe(self, iterations_done: int, parameters: Parameters) -> None:
        """Project what the iteration changed."""
        for name, projection in self._projections.items():
            now, before = parameters[name].data, self._before[name]
            update = (now - before).reshape(len(now), -1) @ projection
            now.copy_(before + update.reshape(now.shape))
            before.copy_(now)


def _covariances(run: TrainingRun, replay: Replay) -> dict[str, torch.Tensor]:
    """The uncentered covariance of the inputs of every convolution, linear layer and attention."""
    found: dict[str, torch.Tensor] = {}

    def add(name: str, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].detach()
        if isinstance(module, torch.nn.Conv2d):
            columns = torch.nn.functional.unfold(rows, module.kernel_size, padding=module.padding, stride=module.stride)
            rows = columns.transpose(1, 2)
        rows = rows.reshape(-1, rows.shape[-1])
        rows = rows[:: max(1, len(rows) // 1024)]
        found[name] = found.get(name, 0) + rows.T @ rows / len(rows)

    hooks = []
    for path, module in run.clip.model.named_modules():
        weight = "in_proj_weight" if isinstance(module, torch.nn.MultiheadAttention) else "weight"
        is_layer = isinstance(module, torch.nn.Conv2d | torch.nn.Linear | torch.nn.MultiheadAttention)
        if is_layer and f"{path}.{weight}" in run.parameters:
            hooks.append(module.register_forward_pre_hook(lambda m, i, name=f"{path}.{weight}": add(name, m, i)))
    with torch.no_grad():
        for index in range(BATCHES):
            _pair_likelihood(run, replay, index)
    for hook in hooks:
        hook.remove()
    return found


def _null_space(covariance: torch.Tensor, energy: float) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    kept = vectors[:, values.clamp(min=0).cumsum(0) / values.clamp(min=0).sum() <= 1 - energy]
    return kept @ kept.T


def null_space(run: TrainingRun, step: Step, energy: float) -> None:
    """Updates are projected, then the weights are interpolated as before."""
    run.averages = [NullSpace(run, step, energy=energy), *run.averages]


# The optimizer.


class MuonAndAdamW:
    """torch's Muon for matrices and convolutions of the layers, AdamW for vectors, embeddings and projections."""

    def __init__(self, run: TrainingRun) -> None:
        adamw = run.update.optimizer
        is_matrix = {
            name: value.ndim >= 2 and name.endswith(("weight", "in_proj_weight")) and "embedding" not in name
            for name, value in run.parameters.items()
        }
        self._views = [
            (value, torch.nn.Parameter(value.data.view(len(value), -1)))
            for name, value in run.parameters.items()
            if is_matrix[name]
        ]
        others = [value for name, value in run.parameters.items() if not is_matrix[name]]
        options = {key: adamw.defaults[key] for key in ("betas", "weight_decay")}
        self._adamw = torch.optim.AdamW(others, lr=0.0, **options)
        matrices = [view for _, view in self._views]
        decay = options["weight_decay"]
        self._muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        self._parameters = list(run.parameters.values())
        self.param_groups = [*self._adamw.param_groups, *self._muon.param_groups]
        for group in self.param_groups:
            group["factor"] = 1.0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for value in self._parameters:
            value.grad = None

    def step(self) -> None:
        """Take a step of both."""
        for value, view in self._views:
            view.grad = None if value.grad is None else value.grad.reshape(view.shape)
        self._muon.step()
        self._adamw.step()


def muon(run: TrainingRun, step: Step) -> None:
    """The optimizer is Muon, with the root mean square of AdamW's updates."""
    run.update.optimizer = MuonAndAdamW(run)  # type: ignore[assignment]


# By the name of a row of benchmarks/further.yaml.
CHANGES: Mapping[str, Callable[[TrainingRun, Step], None]] = {
    "became": became,
    "became_uniform": became,
    "falling": falling,
    "falling_uniform": falling,
    "kronecker_01": partial(kronecker, weight=0.01),
    "kronecker_05": partial(kronecker, weight=0.05),
    "kronecker_uniform": partial(kronecker, weight=0.01),
    "null_space_90": partial(null_space, energy=0.9),
    "null_space_50": partial(null_space, energy=0.5),
    "null_space_uniform": partial(null_space, energy=0.9),
    "muon": muon,
}


def main() -> None:
    """Searches as search.py does, with the changes."""
    experiment._learn = learn
    experiment._prepare = prepare
    parser_of = search.parser_of
    search.parser_of = partial(_parser_of, parser_of)
    searched = search.searched
    search.searched = partial(_searched, searched)
    search.main()


def _parser_of(original: Callable[..., Any], doc: str | None, **defaults: Any) -> Any:
    parser = original(__doc__, **defaults | {"out": ".gift/benchmarks/further.csv"})
    parser.add_argument("--learned-share", type=float, default=0.0)
    set_defaults = parser.set_defaults
    parser.set_defaults = lambda **_: set_defaults(variants=Path("benchmarks/further.yaml"))
    return parser


def _searched(original: Callable[..., Any], choices: Any) -> Any:
    found, variants = original(choices)
    if choices.learned_share:
        os.environ[SHARE] = str(choices.learned_share)
        found["experiment"] += f"_learned_{round(100 * choices.learned_share)}"
    return found, variants


def prepare(root: Path) -> None:
    """In a process: the stages that methods share, with other prompts where they are asked for."""
    if share := float(os.environ.get(SHARE, "0")):
        gift_core.replay.prompts.sample_prompts = partial(_more_of_learned, sample_prompts, share)
    experiment_prepare(root)


def _more_of_learned(original: Callable[..., Any], share: float, vocabulary: Any, count: int, **options: Any) -> Any:
    learned = [entry for entry in vocabulary if entry.source_task != "base"]
    if learned:
        copies = share * len(vocabulary) / ((1 - share) * len(learned))  # so that they are the share of all draws
        number = max(1, round(copies * 10))
        vocabulary = [*(entry for entry in vocabulary for _ in range(10)), *learned * number]
    return original(vocabulary, count, **options)


sample_prompts = gift_core.replay.prompts.sample_prompts
experiment_prepare, experiment_learn = experiment._prepare, experiment._learn
train_step, training_run = stages.finetune._Step.train, gift_core.training.loop.training_run


def learn(root: Path, method: str) -> None:
    """In a process: the stages of a method, with its change."""
    stages.finetune._Step.train = changed_step(CHANGES[method]) if method in CHANGES else train_step
    experiment_learn(root, method)


def changed_step(change: Callable[[TrainingRun, Step], None]) -> Callable[..., Any]:
    """The training of a step, with the change in place."""

    def train(self: Any, loaded: Any, processes: Any, **options: Any) -> Any:
        names = [step.task for step in self.stage.config.sequence]
        number = names.index(self.task) + 1
        root = self.stage.layout.root / "further" / self.method
        files = [root / f"{name}.pt" for name in ("none", *names)]
        step = Step(
            number, loaded.data.batches, loaded.replay, loaded.data.iterations, files[number], files[number - 1]
        )

        @contextmanager
        def changed(clip: Clip, *positional: Any, **named: Any) -> Iterator[TrainingRun]:
            with training_run(clip, *positional, **named) as run:
                change(run, step)
                yield run

        gift_core.training.loop.training_run = changed
        try:
            return train_step(self, loaded, processes, **options | {"snapshot": NOT_KEPT})  # a change has no state
        finally:
            gift_core.training.loop.training_run = training_run

    return train


if __name__ == "__main__":
    run_script(main)
