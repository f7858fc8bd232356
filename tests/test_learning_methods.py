"""Whole tasks of every method against independent second implementations: one graph per iteration, torch's AdamW.

The methods run as in the pipeline (the stages teach and finetune, rows of presets/mini.yaml). The expected weights are
computed here from the sum of the losses and the penalty. B images, M replayed images, P texts, D features.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import open_clip
import pytest
import torch

from gift_core.artifacts.fisher_file import FISHER, read_fisher
from gift_core.clip.batches import TaskBatch
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_pixels, normalize
from gift_core.clip.model import Clip, save_clip
from gift_core.layout import Layout
from gift_core.losses import LOSSES, task_loss
from gift_core.pair_features import PairFeatures
from gift_core.training.loop import learning_rates
from tests.clip.tiny import CONTEXT, png
from tests.pair_features import LOSS_OPTIONS, loss_of
from tests.tiny_world import CAPTIONS, CLASSES, TinyExperiment, load, make_world

RATE, ITERATIONS, WEIGHT = 2e-3, 3, 20.0
PROMPTS = {task: [f"a photo of a {name}." for name in names] for task, names in CLASSES.items()}

TOKENIZER = open_clip.SimpleTokenizer(context_length=CONTEXT)

Weights = dict[str, torch.Tensor]
Begin = Callable[..., TinyExperiment]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def one_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All models share one tokenizer, because building it takes longer than everything else."""
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: TOKENIZER)


@pytest.fixture
def begin(layout: Layout, mini_params: dict[str, Any]) -> Begin:
    """Returns the preset's row of a method, with some keys changed, in the tiny world."""

    def experiment(method: str, *, iterations: int = ITERATIONS, **changes: Any) -> TinyExperiment:
        row = mini_params["methods"][method] | {"learning_rate": RATE} | changes
        return TinyExperiment(layout, copy.deepcopy(mini_params), method, row, iterations=iterations)

    return experiment


@dataclass(frozen=True)
class Moment:
    """What the objective of one iteration depends on: task loss, replayed features, weights now and at the start."""

    task: torch.Tensor
    features: PairFeatures | None
    parameters: Mapping[str, torch.Tensor]
    start: Mapping[str, torch.Tensor]

    def replayed(self, **weights: float) -> torch.Tensor:
        """The sum of these losses, which tests/test_losses.py compares with numbers computed by hand."""
        assert self.features is not None
        terms = [w * loss_of(LOSSES[name], self.features, **LOSS_OPTIONS[name]) for name, w in weights.items()]
        return torch.stack(terms).sum()


Objective = Callable[[Moment], torch.Tensor]


def plain(**weights: float) -> Objective:
    """The task loss and these replay losses."""
    return lambda at: at.task + at.replayed(**weights)


def penalty(at: Moment, importance: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """sum F (theta - theta_start)^2."""
    return sum((importance[name] * (value - at.start[name]) ** 2).sum() for name, value in at.parameters.items())


def adaptive_importance(at: Moment, replayed: torch.Tensor) -> Weights:
    """g^2 / mean(g^2) for each tensor, 1e-6 where it has no gradient."""
    gradients = torch.autograd.grad(replayed, list(at.parameters.values()), retain_graph=True, allow_unused=True)
    found = {}
    for (name, value), gradient in zip(at.parameters.items(), gradients, strict=True):
        none = gradient is None or not gradient.any()
        found[name] = torch.full_like(value, 1e-6) if none else gradient**2 / (gradient**2).mean()
    return found


def gift(loss: str) -> Objective:
    """GIFT with `loss` as its distillation."""

    def objective(at: Moment) -> torch.Tensor:
        replayed = at.replayed(**{loss: 1.0}, align=0.25)
        return at.task + replayed + WEIGHT * penalty(at, adaptive_importance(at, replayed))

    return objective


ADAPTIVE = {"consolidation": {"kind": "adaptive_fisher", "weight": WEIGHT}}


def loss_of_the_task(clip: Clip, batch: TaskBatch, prompts: list[str]) -> torch.Tensor:
    image_BD, class_KD = encode_images(clip, batch.images_BCHW), encode_tokens(clip, tokenize(clip, prompts))
    return task_loss(image_BD, class_KD, labels_B=batch.labels_B, scale=clip.scale, label_smoothing=0.2)


def expected_trajectory(
    start: Path, objective: Callable[[Clip, int, Weights], torch.Tensor], *, iterations: int = ITERATIONS
) -> list[Weights]:
    """The weights at the start and after every iteration of minimizing `objective`."""
    clip = load(start)
    clip.model.get_parameter("logit_scale").requires_grad_(False)
    parameters = clip.trainable()
    trajectory = [{name: value.detach().clone() for name, value in parameters.items()}]
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.999), weight_decay=0.0)
    for iteration, rate in enumerate(learning_rates(iterations, warmup_iterations=1, peak=RATE)):
        optimizer.zero_grad()
        objective(clip, iteration, trajectory[0]).backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        trajectory.append({name: value.detach().clone() for name, value in parameters.items()})
    return trajectory


def trajectory_with_teacher(
    experiment: TinyExperiment,
    objective: Objective,
    *,
    teacher: Clip,
    iterations: int = ITERATIONS,
    vocabulary: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> list[Weights]:
    """The trajectory on the task digits, from the model after birds. The teacher's features are computed here."""
    start = experiment.layout.model(experiment.method, "birds")
    batches = experiment.training_data(load(start), "digits").batches
    replay = experiment.replay(load(start), "digits")

    def total(clip: Clip, iteration: int, start_weights: Weights) -> torch.Tensor:
        features = None
        for batch in replay.sample(iteration):  # none without replay losses
            with torch.no_grad():
                known = encode_images(teacher, batch.images_MCHW), encode_tokens(teacher, batch.tokens_ML)
            own = dataclasses.replace(batch, teacher_image_MD=known[0], teacher_text_MD=known[1], **vocabulary)
            features = PairFeatures(own, partial(encode_images, clip), partial(encode_tokens, clip), clip.scale)
        task = loss_of_the_task(clip, batches.sample(iteration), PROMPTS["digits"])
        return objective(Moment(task, features, clip.trainable(), start_weights))

    return expected_trajectory(start, total, iterations=iterations)


def before(experiment: TinyExperiment) -> Clip:
    """The model before the task digits."""
    return load(experiment.layout.model(experiment.method, "birds"))


def pretrained(experiment: TinyExperiment) -> Clip:
    return load(experiment.layout.pretrained())


def mixed(experiment: TinyExperiment) -> Clip:
    """0.7 of the model before and 0.3 of the pre-trained one."""
    mix, initial = before(experiment), pretrained(experiment).trainable()
    for name, value in mix.trainable().items():
        value.data = 0.7 * value.data + 0.3 * initial[name].data
    return mix


def require_equal(clip: Clip, trajectory: list[Weights]) -> None:
    """Asserts that the weights are those at the end, within 2e-5, which is a hundredth of an iteration's change.

    The key biases have no true gradient (tests/test_parity.py). Where a gradient is nearly zero, AdamW scales up its
    rounding, so one percent of the weights that moved may differ.
    """
    for name, value in clip.trainable().items():
        off = (value.detach() - trajectory[-1][name]).abs() > 2e-5
        moved = trajectory[-1][name] != trajectory[0][name]
        if name.endswith("in_proj_bias"):
            off, moved = (torch.cat([part.chunk(3)[0], part.chunk(3)[2]]) for part in (off, moved))
        assert off.sum() <= max(1, 0.01 * moved.sum()), f"{name}: {off.sum()} of {moved.sum()} are off"


def diagonals_before(experiment: TinyExperiment, task: str) -> Weights:
    """The contents of the file are tested in tests/replay/test_teach.py."""
    found = read_fisher(experiment.source(task).teacher / FISHER).diagonals
    return {name: torch.from_numpy(values.copy()) for name, values in found.items()}


def uniform(at: Moment) -> torch.Tensor:
    return WEIGHT * penalty(at, {name: torch.ones_like(value) for name, value in at.parameters.items()})


IMAGE_SIDE = plain(distill_image_side=1.0)
RANDOM_TEXTS = {"kind": "random_tokens", "count": 9, "length": 5}
MIX = {"images": "synthetic", "teacher": "mix", "teacher_alpha": 0.7}
UNIFORM = {"consolidation": {"kind": "uniform", "weight": WEIGHT}}
# method: the changed keys of its row, its objective, and its teacher
CASES: dict[str, tuple[dict[str, Any], Objective, Callable[[TinyExperiment], Clip]]] = {
    "lwf": ({}, IMAGE_SIDE, before),
    "lwf_vr": ({"replay": {"images": "task", "texts": RANDOM_TEXTS, "teacher": "previous"}}, IMAGE_SIDE, before),
    "l2": (UNIFORM, lambda at: at.task + uniform(at), before),
    "gift": (ADAPTIVE, gift("distill"), before),
    "gift_reverse_kl": (ADAPTIVE, gift("distill_reverse_kl"), before),
    "gift_feature_mse": (ADAPTIVE, gift("distill_features"), before),
    "gift_image_side": (ADAPTIVE, gift("distill_image_side"), before),
    "gift_text_side": (ADAPTIVE, gift("distill_text_side"), before),
    "gift_initial_teacher": (ADAPTIVE, gift("distill"), pretrained),
    "gift_mixed_teacher": (ADAPTIVE | {"replay": MIX}, gift("distill"), mixed),
    "gift_cd": ({}, plain(distill=1.0), before),
    "gift_cd_ita": ({}, plain(distill=1.0, align=0.25), before),
}


@pytest.mark.parametrize("method", CASES)
def test_a_method_minimizes_its_objective_with_its_teacher(begin: Begin, method: str) -> None:
    changes, objective, teacher = CASES[method]
    experiment = begin(method, **changes)
    ours = experiment.run("digits")
    require_equal(ours, trajectory_with_teacher(experiment, objective, teacher=teacher(experiment)))
    if method in ("lwf", "lwf_vr"):
        tokens_PL = experiment.replay(ours, "digits").sample(0)[0].tokens_ML
        assert torch.equal(tokens_PL, tokenize(ours, PROMPTS["digits"])) if method == "lwf" else len(tokens_PL) == 9


def test_icarl_distills_the_image_side_on_exemplars_of_the_task_before(begin: Begin) -> None:
    experiment = begin("icarl", replay={"images": "exemplars", "memory": 6, "teacher": "previous"})
    experiment.run("birds")
    ours = experiment.run("digits")
    (batch,) = experiment.replay(ours, "digits").sample(0)
    assert torch.equal(batch.tokens_ML, tokenize(ours, PROMPTS["birds"]))
    require_equal(ours, trajectory_with_teacher(experiment, IMAGE_SIDE, teacher=before(experiment)))


def test_zscl_averages_the_weights_and_has_the_pretrained_teacher(begin: Begin) -> None:
    experiment = begin("zscl", iterations=5, average={"kind": "running_mean", "every": 2}, **UNIFORM)
    ours = experiment.run("digits")
    trajectory = trajectory_with_teacher(
        experiment, lambda at: IMAGE_SIDE(at) + uniform(at), teacher=pretrained(experiment), iterations=5
    )
    # at the start and after two and four iterations
    mean = {name: (trajectory[0][name] + trajectory[2][name] + trajectory[4][name]) / 3 for name in trajectory[0]}
    require_equal(ours, [trajectory[0], mean])


def test_ewc_divides_the_accumulated_fisher_by_its_mean_over_the_model(begin: Begin) -> None:
    experiment = begin("ewc", consolidation={"kind": "static_fisher", "weight": WEIGHT, "scale": "model"})
    experiment.run("birds")
    ours = experiment.run("digits")
    diagonals = diagonals_before(experiment, "digits")
    mean = torch.cat([value.double().flatten() for value in diagonals.values()]).mean().item()
    importance = {name: value / mean for name, value in diagonals.items()}
    trajectory = trajectory_with_teacher(
        experiment, lambda at: at.task + WEIGHT * penalty(at, importance), teacher=before(experiment)
    )
    require_equal(ours, trajectory)


def test_gift_with_static_fisher_divides_each_diagonal_by_its_own_mean(begin: Begin) -> None:
    consolidation = {"kind": "static_fisher", "weight": WEIGHT, "scale": "tensor"}
    experiment = begin("gift_static_fisher", consolidation=consolidation)
    ours = experiment.run("digits")
    importance = {name: value / value.mean() for name, value in diagonals_before(experiment, "digits").items()}

    def objective(at: Moment) -> torch.Tensor:
        return plain(distill=1.0, align=0.25)(at) + WEIGHT * penalty(at, importance)

    require_equal(ours, trajectory_with_teacher(experiment, objective, teacher=before(experiment)))


def test_gift_with_frozen_fisher_uses_the_mean_of_the_first_importances(begin: Begin) -> None:
    consolidation = {"kind": "frozen_fisher", "weight": WEIGHT, "iterations": 2}
    experiment = begin("gift_frozen_fisher", iterations=4, consolidation=consolidation)
    ours = experiment.run("digits")
    seen: list[Weights] = []

    def objective(at: Moment) -> torch.Tensor:
        replayed = at.replayed(distill=1.0, align=0.25)
        if len(seen) < 2:
            seen.append(adaptive_importance(at, replayed))
        mean = {name: torch.stack([each[name] for each in seen]).mean(0) for name in at.parameters}
        return at.task + replayed + WEIGHT * penalty(at, mean)

    require_equal(ours, trajectory_with_teacher(experiment, objective, teacher=before(experiment), iterations=4))


def test_gift_vocabulary_compares_with_all_texts_and_the_images_of_two_steps(begin: Begin) -> None:
    experiment = begin("gift_vocabulary")
    ours = experiment.run("digits")
    (batch,) = experiment.replay(ours, "digits").sample(0)
    # the captions, the other class names before any task, the classes of birds; the images of digits and of birds
    texts = ["a cat.", "a dog.", "a horse.", "a bird.", "a fish.", "a fox.", "a cow.", *PROMPTS["birds"]]
    images = [png(first + row) for first in (150, 50) for row in range(len(CAPTIONS))]
    teacher = before(experiment)
    with torch.no_grad():
        text_PD = encode_tokens(teacher, tokenize(teacher, texts))
        image_ND = encode_images(teacher, normalize(teacher, evaluation_pixels(teacher, images)))
    assert batch.vocabulary_text_PD is not None and batch.vocabulary_text_PD.shape == text_PD.shape
    trajectory = trajectory_with_teacher(
        experiment,
        plain(distill_vocabulary=1.0, align=0.25),
        teacher=teacher,
        vocabulary={"vocabulary_text_PD": text_PD, "all_image_ND": image_ND},
    )
    require_equal(ours, interpolated(trajectory))


def trajectory_without_teacher(experiment: TinyExperiment, start: Path, task: str) -> list[Weights]:
    """Fine-tuning with the task loss only."""
    batches = experiment.training_data(load(start), task).batches
    return expected_trajectory(
        start, lambda clip, iteration, _: loss_of_the_task(clip, batches.sample(iteration), PROMPTS[task])
    )


@pytest.mark.parametrize("method", ["finetune", "individual"])
def test_finetune_continues_from_the_model_before_and_individual_starts_anew(begin: Begin, method: str) -> None:
    experiment = begin(method)
    ours, layout = experiment.run("digits"), experiment.layout
    start = layout.model(method, "birds") if method == "finetune" else layout.pretrained()
    require_equal(ours, trajectory_without_teacher(experiment, start, "digits"))


def interpolated(trajectory: list[Weights]) -> list[Weights]:
    """0.8 of the weights at the end and 0.2 of those at the start."""
    start, end = trajectory[0], trajectory[-1]
    return [start, {name: 0.8 * end[name] + 0.2 * start[name] for name in start}]


def test_wise_ft_continues_from_the_interpolated_weights(begin: Begin) -> None:
    experiment = begin("wise_ft")
    experiment.run("birds")
    ours = experiment.run("digits")
    middle, clip = experiment.layout.root / "between" / "birds", pretrained(experiment)
    first = interpolated(trajectory_without_teacher(experiment, experiment.layout.pretrained(), "birds"))[-1]
    for name, value in first.items():
        clip.trainable()[name].data = value
    save_clip(clip, middle, {"method": "between", "task": "birds"})
    require_equal(ours, interpolated(trajectory_without_teacher(experiment, middle, "digits")))


def test_with_both_averages_the_running_mean_is_interpolated_with_the_start(begin: Begin) -> None:
    averages = {"average": {"kind": "running_mean", "every": 2}, "merge": {"kind": "interpolate", "alpha": 0.8}}
    experiment = begin("finetune", **averages)
    ours = experiment.run("digits")
    trajectory = trajectory_without_teacher(experiment, experiment.layout.model("finetune", "birds"), "digits")
    mean = {name: (trajectory[0][name] + trajectory[2][name]) / 2 for name in trajectory[0]}
    require_equal(ours, interpolated([trajectory[0], mean]))


def test_joint_trains_on_all_tasks_so_far_and_each_batch_has_the_classes_of_its_task(begin: Begin) -> None:
    experiment = begin("joint")
    ours = experiment.run("digits")
    start = experiment.layout.pretrained()
    data = experiment.training_data(load(start), "digits")
    assert (data.iterations, len(data.batches.class_prompts)) == (2 * ITERATIONS, 3 + 2)
    alone = begin("finetune")
    single = {task: alone.training_data(load(start), task).batches for task in ("birds", "digits")}
    learned = []

    def total(clip: Clip, iteration: int, start_weights: Weights) -> torch.Tensor:
        pixels = data.batches.sample(iteration).images_BCHW
        batches = {task: images.sample(iteration // 2) for task, images in single.items()}
        (task,) = [task for task, batch in batches.items() if torch.equal(batch.images_BCHW, pixels)]
        learned.append(task)
        return loss_of_the_task(clip, batches[task], PROMPTS[task])

    require_equal(ours, expected_trajectory(start, total, iterations=2 * ITERATIONS))
    assert sorted(learned) == ["birds"] * 3 + ["digits"] * 3


def test_zero_shot_stays_the_pretrained_model(begin: Begin) -> None:
    experiment = begin("zero_shot", learning_rate=None)
    data = experiment.training_data(pretrained(experiment), "digits")
    assert (data.iterations, len(data.batches.class_prompts)) == (0, 0)
    experiment.run("birds")
    expected = pretrained(experiment).model.state_dict()
    for name, value in experiment.run("digits").model.state_dict().items():
        assert torch.equal(value, expected[name]), name
