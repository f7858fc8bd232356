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
from typing import Any

import pytest
import torch

from gift_core.artifacts.teacher_files import FISHER, read_fisher
from gift_core.clip.batches import TrainingBatch
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.images import evaluation_pixels, normalize
from gift_core.clip.model import Clip, save_clip
from gift_core.layout import Layout
from gift_core.method.losses import LOSSES, task_loss
from gift_core.method.pair_features import PairFeatures, ReplayBatch
from gift_core.method.training.loop import learning_rates
from tests.clip.tiny import png
from tests.method.pair_features import LOSS_OPTIONS, loss_of
from tests.tiny_world import CAPTIONS, CLASSES, TinyExperiment, load, make_world

RATE, ITERATIONS, WEIGHT = 2e-3, 3, 20.0
PROMPTS = {task: [f"a photo of a {name}." for name in names] for task, names in CLASSES.items()}

pytestmark = pytest.mark.usefixtures("one_tokenizer")
Weights = dict[str, torch.Tensor]
Begin = Callable[..., TinyExperiment]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def begin(layout: Layout, mini_params: dict[str, Any]) -> Begin:
    """Returns the preset's row of a method, with some keys changed, in the tiny world."""

    def experiment(method: str, *, iterations: int = ITERATIONS, **changes: Any) -> TinyExperiment:
        row = mini_params["methods"][method] | {"learning_rate": RATE} | changes
        return TinyExperiment(layout, copy.deepcopy(mini_params), method, row, iterations=iterations)

    return experiment


@dataclass(frozen=True)
class Moment:
    """What the objective of one iteration depends on: the task loss, the replayed features, the weights.

    `seen` holds the importances of earlier iterations.
    """

    experiment: TinyExperiment
    task: torch.Tensor
    features: PairFeatures | None
    parameters: Mapping[str, torch.Tensor]
    start: Weights
    seen: list[Weights]

    def replayed(self, **weights: float) -> torch.Tensor:
        """The sum of these losses, which tests/method/test_losses.py compares with numbers computed by hand."""
        terms = [w * loss_of(LOSSES[name], self.features, **LOSS_OPTIONS[name]) for name, w in weights.items()]
        return torch.stack(terms).sum()


Objective = Callable[[Moment], torch.Tensor]
Importance = Callable[[Moment], Weights]
GIFT = {"distill": 1.0, "align": 0.25}


def finetuning(at: Moment) -> torch.Tensor:
    return at.task


def plain(**weights: float) -> Objective:
    """The task loss and these replay losses."""
    return lambda at: at.task + at.replayed(**weights)


def consolidated(objective: Objective, importance: Importance) -> Objective:
    """Adds the penalty sum F (theta - theta_start)^2, times WEIGHT."""

    def total(at: Moment) -> torch.Tensor:
        of = importance(at)
        penalty = sum((of[name] * (value - at.start[name]) ** 2).sum() for name, value in at.parameters.items())
        return objective(at) + WEIGHT * penalty

    return total


def uniform(at: Moment) -> Weights:
    return {name: torch.ones_like(value) for name, value in at.parameters.items()}


def adaptive(**weights: float) -> Importance:
    """g^2 / mean(g^2) for each tensor, g the gradient of the replay losses; 1e-6 where it has no gradient."""

    def importance(at: Moment) -> Weights:
        names, values = zip(*at.parameters.items(), strict=True)
        gradients = torch.autograd.grad(at.replayed(**weights), values, retain_graph=True, allow_unused=True)
        return {
            name: torch.full_like(value, 1e-6) if g is None or not g.any() else g**2 / (g**2).mean()
            for name, value, g in zip(names, values, gradients, strict=True)
        }

    return importance


def frozen(at: Moment) -> Weights:
    if len(at.seen) < 2:
        at.seen.append(adaptive(**GIFT)(at))
    return {name: torch.stack([each[name] for each in at.seen]).mean(0) for name in at.parameters}


def static(scale: str) -> Importance:
    """The diagonals that teach wrote (tests/method/replay/test_teach.py), divided by their mean."""

    def importance(at: Moment) -> Weights:
        file = at.experiment.replayed("digits").source.teacher / FISHER
        diagonals = {name: torch.from_numpy(each.copy()) for name, each in read_fisher(file).diagonals.items()}
        mean = torch.cat([value.double().flatten() for value in diagonals.values()]).mean().float()
        return {name: value / (mean if scale == "model" else value.mean()) for name, value in diagonals.items()}

    return importance


def gift(loss: str) -> Objective:
    """GIFT with `loss` as its distillation."""
    weights = {loss: 1.0, "align": 0.25}
    return consolidated(plain(**weights), adaptive(**weights))


def loss_of_the_task(clip: Clip, batch: TrainingBatch, prompts: list[str]) -> torch.Tensor:
    image_BD, class_KD = encode_images(clip, batch.images_BCHW), encode_tokens(clip, tokenize(clip, prompts))
    return task_loss(image_BD, class_KD, labels_B=batch.targets["labels_B"], scale=clip.scale, label_smoothing=0.2)


def expected_trajectory(
    start: Path, objective: Callable[[Clip, int, Weights], torch.Tensor], *, iterations: int
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


def teachers_features(teacher: Clip, batch: ReplayBatch, *, with_vocabulary: bool) -> ReplayBatch:
    """The batch with features that are computed here, also of the whole vocabulary where it is asked for.

    That is the captions, the other class names before any task, and the classes of birds. Its images are those of
    digits and of birds.
    """
    texts = ["a cat.", "a dog.", "a horse.", "a bird.", "a fish.", "a fox.", "a cow.", *PROMPTS["birds"]]
    images = [png(first + row) for first in (150, 50) for row in range(len(CAPTIONS))]
    with torch.no_grad():
        known = {
            "teacher_image_MD": encode_images(teacher, batch.images_MCHW),
            "teacher_text_MD": encode_tokens(teacher, batch.tokens_ML),
        }
        if with_vocabulary:
            known["vocabulary_text_PD"] = encode_tokens(teacher, tokenize(teacher, texts))
            known["all_image_ND"] = encode_images(teacher, normalize(teacher, evaluation_pixels(teacher, images)))
            assert batch.vocabulary_text_PD is not None and len(batch.vocabulary_text_PD) == len(texts)
    return dataclasses.replace(batch, **known)


def before(experiment: TinyExperiment) -> Path:
    return experiment.layout.model(experiment.method, "birds")


def pretrained(experiment: TinyExperiment) -> Path:
    return experiment.layout.pretrained()


def mixed(experiment: TinyExperiment) -> Path:
    """0.7 of the model before and 0.3 of the pre-trained one."""
    mix, initial = load(before(experiment)), load(pretrained(experiment)).trainable()
    for name, value in mix.trainable().items():
        value.data = 0.7 * value.data + 0.3 * initial[name].data
    folder = experiment.layout.root / "mixed" / "pretrained"
    save_clip(mix, folder, {})
    return folder


def require_equal(clip: Clip, expected: Weights, start: Weights) -> None:
    """Asserts that the weights are the expected ones, within 2e-5, which is a hundredth of an iteration's change.

    The key biases have no true gradient (tests/method/test_parity.py). Where a gradient is nearly zero, AdamW scales up
    its rounding, so one percent of the weights that moved may differ.
    """
    for name, value in clip.trainable().items():
        off = (value.detach() - expected[name]).abs() > 2e-5
        moved = expected[name] != start[name]
        if name.endswith("in_proj_bias"):
            off, moved = (torch.cat([part.chunk(3)[0], part.chunk(3)[2]]) for part in (off, moved))
        assert off.sum() <= max(1, 0.01 * moved.sum()), f"{name}: {off.sum()} of {moved.sum()} are off"


def average(of: list[Weights], shares: Mapping[int, float]) -> Weights:
    """The sum of some weights of a trajectory, each times its share."""
    return {name: sum(share * of[index][name] for index, share in shares.items()) for name in of[0]}


@dataclass(frozen=True)
class Case:
    """The changed keys of a method's row, and what they mean for the task digits.

    `result`: the shares of the weights at the start (0) and after some iterations in the final ones.
    """

    changes: dict[str, Any]
    objective: Objective
    teacher: Callable[[TinyExperiment], Path] = before
    start: Callable[[TinyExperiment], Path] = before
    iterations: int = ITERATIONS
    result: Mapping[int, float] | None = None  # the last ones alone
    learns_birds: bool = False  # else the model before digits is there already


def consolidation(kind: str, **options: Any) -> dict[str, Any]:
    return {"consolidation": {"kind": kind, "weight": WEIGHT, **options}}


IMAGE_SIDE, INTERPOLATED = plain(distill_image_side=1.0), {0: 0.2, -1: 0.8}
ADAPTIVE, UNIFORM = consolidation("adaptive_fisher"), consolidation("uniform")
MEAN = {"average": {"kind": "running_mean", "every": 2}}
RANDOM_TEXTS = {"kind": "random_tokens", "count": 9, "length": 5}
EXEMPLARS = {"images": "exemplars", "memory": 6, "teacher": "previous"}
MIX = {"images": "synthetic", "teacher": "mix", "teacher_alpha": 0.7}
CASES = {
    "finetune": Case({}, finetuning),
    # the mean of the start and of two iterations, and 0.2 of the start
    "finetune with both": Case(
        MEAN | {"merge": {"kind": "interpolate", "alpha": 0.8}}, finetuning, result={0: 0.2 + 0.8 / 2, 2: 0.8 / 2}
    ),
    "individual": Case({}, finetuning, start=pretrained),
    "wise_ft": Case({}, finetuning, result=INTERPOLATED, learns_birds=True),
    "lwf": Case({}, IMAGE_SIDE),
    "lwf_vr": Case({"replay": {"images": "task", "texts": RANDOM_TEXTS, "teacher": "previous"}}, IMAGE_SIDE),
    "icarl": Case({"replay": EXEMPLARS}, IMAGE_SIDE, learns_birds=True),
    "zscl": Case(
        UNIFORM | MEAN,
        consolidated(IMAGE_SIDE, uniform),
        teacher=pretrained,
        iterations=5,
        result=dict.fromkeys((0, 2, 4), 1 / 3),
    ),
    "l2": Case(UNIFORM, consolidated(finetuning, uniform)),
    "ewc": Case(
        consolidation("static_fisher", scale="model"), consolidated(finetuning, static("model")), learns_birds=True
    ),
    "gift": Case(ADAPTIVE, gift("distill")),
    "gift_reverse_kl": Case(ADAPTIVE, gift("distill_reverse_kl")),
    "gift_feature_mse": Case(ADAPTIVE, gift("distill_features")),
    "gift_image_side": Case(ADAPTIVE, gift("distill_image_side")),
    "gift_text_side": Case(ADAPTIVE, gift("distill_text_side")),
    "gift_initial_teacher": Case(ADAPTIVE, gift("distill"), pretrained),
    "gift_mixed_teacher": Case(ADAPTIVE | {"replay": MIX}, gift("distill"), mixed),
    "gift_cd": Case({}, plain(distill=1.0)),
    "gift_cd_ita": Case({}, plain(**GIFT)),
    "gift_static_fisher": Case(
        consolidation("static_fisher", scale="tensor"), consolidated(plain(**GIFT), static("tensor"))
    ),
    "gift_frozen_fisher": Case(
        consolidation("frozen_fisher", iterations=2), consolidated(plain(**GIFT), frozen), iterations=4
    ),
    "gift_vocabulary": Case(
        UNIFORM, consolidated(plain(distill_vocabulary=1.0, align=0.25), uniform), result=INTERPOLATED
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_method_minimizes_its_objective_with_its_teacher_and_averages_the_weights(begin: Begin, name: str) -> None:
    case = CASES[name]
    experiment = begin(name.split()[0], iterations=case.iterations, **case.changes)
    if case.learns_birds:
        experiment.run("birds")
    ours = experiment.run("digits")
    start, teacher = case.start(experiment), load(case.teacher(experiment))
    batches, replay = (make(load(start), "digits") for make in (experiment.training_data, experiment.replay))
    seen: list[Weights] = []

    def objective(clip: Clip, iteration: int, start_weights: Weights) -> torch.Tensor:
        features = None
        if (batch := replay and replay.sample(iteration)) is not None:
            encoders = partial(encode_images, clip), partial(encode_tokens, clip)
            known = teachers_features(teacher, batch, with_vocabulary=name == "gift_vocabulary")
            features = PairFeatures(known, *encoders, clip.scale)
        task = loss_of_the_task(clip, batches.batches.sample(iteration), PROMPTS["digits"])
        return case.objective(Moment(experiment, task, features, clip.trainable(), start_weights, seen))

    trajectory = expected_trajectory(start, objective, iterations=case.iterations)
    require_equal(ours, average(trajectory, case.result or {-1: 1.0}), trajectory[0])
    texts = {"lwf": PROMPTS["digits"], "icarl": PROMPTS["birds"]}.get(name)
    batch = replay and replay.sample(0)
    assert not texts or (batch is not None and torch.equal(batch.tokens_ML, tokenize(ours, texts)))
    assert name != "lwf_vr" or (batch is not None and len(batch.tokens_ML) == 9)


def test_joint_trains_on_all_tasks_so_far_and_each_batch_has_the_classes_of_its_task(begin: Begin) -> None:
    experiment = begin("joint")
    ours = experiment.run("digits")
    start = pretrained(experiment)
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

    trajectory = expected_trajectory(start, total, iterations=2 * ITERATIONS)
    require_equal(ours, trajectory[-1], trajectory[0])
    assert sorted(learned) == ["birds"] * 3 + ["digits"] * 3


def test_zero_shot_stays_the_pretrained_model(begin: Begin) -> None:
    experiment = begin("zero_shot", learning_rate=None)
    start = load(pretrained(experiment))
    data = experiment.training_data(start, "digits")
    assert (data.iterations, len(data.batches.class_prompts)) == (0, 0)
    experiment.run("birds")
    torch.testing.assert_close(experiment.run("digits").model.state_dict(), start.model.state_dict(), rtol=0, atol=0)
