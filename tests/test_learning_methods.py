"""Whole tasks of every method against independent second implementations: one graph a step, torch's own AdamW.

The methods run as in the pipeline (stages teach and finetune, rows of presets/mini.yaml); what is expected is computed
here, from the formulas alone. B images, M replayed images, P texts, D features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from gift_core.artifacts.fisher import FISHER, read_fisher
from gift_core.clip.batches import TaskBatch
from gift_core.clip.encoding import encode_images, encode_tokens, tokenize
from gift_core.clip.model import Clip
from gift_core.clip.saving import save_clip
from gift_core.layout import Layout
from gift_core.methods import build_method
from gift_core.replay.pairs import ReplayBatch
from gift_core.training.encoders import FullBatch
from gift_core.training.loop import GradientComputation, learning_rates
from gift_core.training.loss_scale import NoScale
from tests.clip.tiny import CONTEXT
from tests.tiny_world import CLASSES, TinyExperiment, load, make_world

RATE, STEPS, WEIGHT = 2e-3, 3, 20.0
PROMPTS = {task: [f"a photo of a {name}." for name in names] for task, names in CLASSES.items()}

TOKENIZER = open_clip.SimpleTokenizer(context_length=CONTEXT)

Weights = dict[str, torch.Tensor]
Begin = Callable[..., TinyExperiment]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def one_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All models here share one: to build it takes longer than all else."""
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: TOKENIZER)


@pytest.fixture
def begin(layout: Layout, mini_params: dict[str, Any]) -> Begin:
    """The preset's row of a method, with some of its slots changed, in the tiny world."""

    def experiment(method: str, *, steps: int = STEPS, **changes: Any) -> TinyExperiment:
        row = mini_params["methods"][method] | {"learning_rate": RATE} | changes
        return TinyExperiment(layout, copy.deepcopy(mini_params), method, row, steps=steps)

    return experiment


@dataclass(frozen=True)
class Moment:
    """What the objective of one step may use: the task loss, the student's features, the teacher's, the weights."""

    task: torch.Tensor
    image_MD: torch.Tensor
    text_PD: torch.Tensor
    teacher_image_MD: torch.Tensor
    teacher_text_PD: torch.Tensor
    prompt_ids_P: torch.Tensor
    scale: torch.Tensor
    parameters: Mapping[str, torch.Tensor]
    start: Mapping[str, torch.Tensor]

    def student(self) -> torch.Tensor:
        """S: a row an image, a column a text."""
        return self.scale * self.image_MD @ self.text_PD.T

    def teacher(self) -> torch.Tensor:
        """Z: the same of the teacher."""
        return self.scale * self.teacher_image_MD @ self.teacher_text_PD.T


Objective = Callable[[Moment], torch.Tensor]


def soft_cross_entropy(student_RC: torch.Tensor, teacher_RC: torch.Tensor) -> torch.Tensor:
    """At T = 2, over rows and over columns, times T^2."""
    return sum(
        -4 * ((teacher / 2).softmax(1) * (student / 2).log_softmax(1)).sum(1).mean()
        for student, teacher in ((student_RC, teacher_RC), (student_RC.T, teacher_RC.T))
    )


def distill(at: Moment) -> torch.Tensor:
    return soft_cross_entropy(at.student(), at.teacher())


def image_side(at: Moment) -> torch.Tensor:
    return soft_cross_entropy(at.scale * at.image_MD @ at.teacher_text_PD.T, at.teacher())


def text_side(at: Moment) -> torch.Tensor:
    return soft_cross_entropy(at.scale * at.teacher_image_MD @ at.text_PD.T, at.teacher())


def reverse_kl(at: Moment) -> torch.Tensor:
    student_MP, teacher_MP = at.student(), at.teacher()
    both = ((student_MP, teacher_MP), (student_MP.T, teacher_MP.T))
    shares = [((own / 2).softmax(1), (other / 2).softmax(1)) for own, other in both]
    return sum(4 * (own * (own / other).log()).sum(1).mean() for own, other in shares)


def feature_mse(at: Moment) -> torch.Tensor:
    images = ((at.image_MD - at.teacher_image_MD) ** 2).mean()
    return images + ((at.text_PD - at.teacher_text_PD) ** 2).mean()


def align(at: Moment) -> torch.Tensor:
    same_MM = (at.prompt_ids_P[:, None] == at.prompt_ids_P[None, :]).float()
    targets_MM = 0.8 * same_MM / same_MM.sum(1, keepdim=True) + 0.2 / len(same_MM)
    student_MM = at.student()
    return -sum((targets_MM * logits.log_softmax(1)).sum(1).mean() for logits in (student_MM, student_MM.T))


def pull(at: Moment, importance: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """sum F (theta - theta_start)^2."""
    return sum((importance[name] * (value - at.start[name]) ** 2).sum() for name, value in at.parameters.items())


def adaptive_importance(at: Moment, replayed: torch.Tensor) -> Weights:
    """g^2 / mean(g^2) of each tensor, 1e-6 where there is no gradient."""
    gradients = torch.autograd.grad(replayed, list(at.parameters.values()), retain_graph=True, allow_unused=True)
    found = {}
    for (name, value), gradient in zip(at.parameters.items(), gradients, strict=True):
        none = gradient is None or not gradient.any()
        found[name] = torch.full_like(value, 1e-6) if none else gradient**2 / (gradient**2).mean()
    return found


def gift(term: Objective) -> Objective:
    """GIFT with `term` as its distillation."""

    def objective(at: Moment) -> torch.Tensor:
        replayed = term(at) + 0.25 * align(at)
        return at.task + replayed + WEIGHT * pull(at, adaptive_importance(at, replayed))

    return objective


ADAPTIVE = {"kind": "adaptive_fisher", "weight": WEIGHT}


def task_loss(clip: Clip, batch: TaskBatch, prompts: list[str]) -> torch.Tensor:
    """Cross-entropy with a fifth of the mass spread over the classes."""
    image_BD, class_KD = encode_images(clip, batch.images_BCHW), encode_tokens(clip, tokenize(clip, prompts))
    shares_BK = (clip.scale * image_BD @ class_KD.T).log_softmax(1)
    own_B = shares_BK[torch.arange(len(batch.labels_B)), batch.labels_B]
    return -(0.8 * own_B + 0.2 * shares_BK.mean(1)).mean()


def expected_walk(
    start: Path, losses: Callable[[Clip, int, Weights], torch.Tensor], *, steps: int = STEPS, rate: float = RATE
) -> list[Weights]:
    """The weights at the start and after every step, where `losses` is the whole objective of a step."""
    clip = load(start)
    clip.model.get_parameter("logit_scale").requires_grad_(False)
    parameters = clip.trainable()
    walk = [{name: value.detach().clone() for name, value in parameters.items()}]
    optimizer = torch.optim.AdamW(parameters.values(), betas=(0.9, 0.999), weight_decay=0.0)
    for step, now in enumerate(learning_rates(steps, warmup_steps=1, peak=rate)):
        optimizer.zero_grad()
        losses(clip, step, walk[0]).backward()
        optimizer.param_groups[0]["lr"] = now
        optimizer.step()
        walk.append({name: value.detach().clone() for name, value in parameters.items()})
    return walk


def taught_walk(
    experiment: TinyExperiment, objective: Objective, *, teacher: Clip, task: str = "digits", steps: int = STEPS
) -> list[Weights]:
    """The walk from the model after birds, with this teacher's features computed here."""
    start = experiment.layout.model(experiment.method, "birds")
    batches = experiment.lessons(load(start), task).batches
    replay = experiment.replay(load(start), task)

    def losses(clip: Clip, step: int, begun: Weights) -> torch.Tensor:
        replayed = replay.draw(step)
        (batch,) = replayed or (_no_pairs(clip),)
        with torch.no_grad():
            said = encode_images(teacher, batch.images_MCHW), encode_tokens(teacher, batch.tokens_ML)
        moment = Moment(
            task_loss(clip, batches.draw(step), PROMPTS[task]),
            encode_images(clip, batch.images_MCHW),
            encode_tokens(clip, batch.tokens_ML),
            *said,
            batch.prompt_ids_M,
            clip.scale,
            clip.trainable(),
            begun,
        )
        return objective(moment)

    return expected_walk(start, losses, steps=steps)


def _no_pairs(clip: Clip) -> ReplayBatch:
    """Stands where an objective has no term."""
    size = clip.image_size
    nothing = torch.empty(0, 0)
    return ReplayBatch(torch.zeros(1, 3, size, size), tokenize(clip, [""]), torch.zeros(1), nothing, nothing)


def before(experiment: TinyExperiment) -> Clip:
    """The model before the task digits."""
    return load(experiment.layout.model(experiment.method, "birds"))


def pretrained(experiment: TinyExperiment) -> Clip:
    return load(experiment.layout.pretrained())


def require_equal(clip: Clip, walk: list[Weights]) -> None:
    """The weights at the end of the walk, within 2e-5: a hundredth of a step of training.

    The keys' biases have no true gradient (tests/test_parity.py), and where a gradient happens to be nearly zero AdamW
    makes a whole step of its rounding: one weight in a hundred of those that moved may be off.
    """
    for name, value in clip.trainable().items():
        off = (value.detach() - walk[-1][name]).abs() > 2e-5
        moved = walk[-1][name] != walk[0][name]
        if name.endswith("in_proj_bias"):
            off, moved = (torch.cat([part.chunk(3)[0], part.chunk(3)[2]]) for part in (off, moved))
        assert off.sum() <= max(1, 0.01 * moved.sum()), f"{name}: {off.sum()} of {moved.sum()} are off"


def test_lwf_distils_the_image_side_on_the_tasks_images_and_class_prompts(begin: Begin) -> None:
    experiment = begin("lwf")
    ours = experiment.run("digits")
    (batch,) = experiment.replay(ours, "digits").draw(0)
    assert torch.equal(batch.tokens_ML, tokenize(ours, PROMPTS["digits"]))
    expected = taught_walk(experiment, lambda at: at.task + image_side(at), teacher=before(experiment))
    require_equal(ours, expected)


def test_lwf_vr_distils_the_image_side_against_random_texts(begin: Begin) -> None:
    texts = {"kind": "random_tokens", "count": 9, "length": 5}
    experiment = begin("lwf_vr", replay={"images": "task", "texts": texts, "teacher": "previous"})
    ours = experiment.run("digits")
    (batch,) = experiment.replay(ours, "digits").draw(0)
    assert len(batch.tokens_ML) == 9 and len(batch.images_MCHW) == 4
    expected = taught_walk(experiment, lambda at: at.task + image_side(at), teacher=before(experiment))
    require_equal(ours, expected)


def test_icarl_distils_the_image_side_on_exemplars_of_the_task_before(begin: Begin) -> None:
    experiment = begin("icarl", replay={"images": "exemplars", "memory": 6, "teacher": "previous"})
    experiment.run("birds")
    ours = experiment.run("digits")
    (batch,) = experiment.replay(ours, "digits").draw(0)
    assert torch.equal(batch.tokens_ML, tokenize(ours, PROMPTS["birds"]))
    expected = taught_walk(experiment, lambda at: at.task + image_side(at), teacher=before(experiment))
    require_equal(ours, expected)


def test_zscl_keeps_the_mean_of_the_weights_under_the_pretrained_teacher(begin: Begin) -> None:
    average = {"kind": "running_mean", "every": 2}
    experiment = begin("zscl", steps=5, consolidation={"kind": "uniform", "weight": WEIGHT}, average=average)
    ours = experiment.run("digits")

    def objective(at: Moment) -> torch.Tensor:
        ones = {name: torch.ones_like(value) for name, value in at.parameters.items()}
        return at.task + image_side(at) + WEIGHT * pull(at, ones)

    walk = taught_walk(experiment, objective, teacher=pretrained(experiment), steps=5)
    # at the start, after two steps and after four; the fifth is not due
    mean = {name: (walk[0][name] + walk[2][name] + walk[4][name]) / 3 for name in walk[0]}
    require_equal(ours, [walk[0], mean])


def test_l2_pulls_every_weight_alike(begin: Begin) -> None:
    experiment = begin("l2", consolidation={"kind": "uniform", "weight": WEIGHT})
    ours = experiment.run("digits")

    def objective(at: Moment) -> torch.Tensor:
        return at.task + WEIGHT * pull(at, {name: torch.ones_like(value) for name, value in at.parameters.items()})

    require_equal(ours, taught_walk(experiment, objective, teacher=before(experiment)))


def diagonals_before(experiment: TinyExperiment, task: str) -> Weights:
    found = read_fisher(experiment.source(task).teacher / FISHER).diagonals
    return {name: torch.from_numpy(values.copy()) for name, values in found.items()}


def test_ewc_pulls_by_the_accumulated_fisher_over_its_mean_over_the_whole_model(begin: Begin) -> None:
    experiment = begin("ewc", consolidation={"kind": "static_fisher", "weight": WEIGHT, "scale": "model"})
    experiment.run("birds")
    ours = experiment.run("digits")
    # only the loop is tried here; what the files hold: tests/replay/test_replays.py
    diagonals = diagonals_before(experiment, "digits")
    mean = sum(float(value.double().sum()) for value in diagonals.values()) / sum(
        value.numel() for value in diagonals.values()
    )

    def objective(at: Moment) -> torch.Tensor:
        return at.task + WEIGHT * pull(at, {name: value / mean for name, value in diagonals.items()})

    require_equal(ours, taught_walk(experiment, objective, teacher=before(experiment)))


def test_gift_with_the_static_fisher_pulls_by_each_diagonal_over_its_own_mean(begin: Begin) -> None:
    anchor = {"kind": "static_fisher", "weight": WEIGHT, "scale": "tensor"}
    experiment = begin("gift_static_fisher", consolidation=anchor)
    ours = experiment.run("digits")
    importance = {name: value / value.mean() for name, value in diagonals_before(experiment, "digits").items()}

    def objective(at: Moment) -> torch.Tensor:
        return at.task + distill(at) + 0.25 * align(at) + WEIGHT * pull(at, importance)

    require_equal(ours, taught_walk(experiment, objective, teacher=before(experiment)))


def test_gift_with_the_frozen_fisher_pulls_by_the_mean_of_the_first_importances(begin: Begin) -> None:
    experiment = begin(
        "gift_frozen_fisher", steps=4, consolidation={"kind": "frozen_fisher", "weight": WEIGHT, "iterations": 2}
    )
    ours = experiment.run("digits")
    seen: list[Weights] = []

    def objective(at: Moment) -> torch.Tensor:
        replayed = distill(at) + 0.25 * align(at)
        if len(seen) < 2:
            seen.append(adaptive_importance(at, replayed))
        mean = {name: torch.stack([each[name] for each in seen]).mean(0) for name in at.parameters}
        return at.task + replayed + WEIGHT * pull(at, mean)

    require_equal(ours, taught_walk(experiment, objective, teacher=before(experiment), steps=4))


@pytest.mark.parametrize(
    ("method", "term"),
    [
        ("gift", distill),
        ("gift_reverse_kl", reverse_kl),
        ("gift_feature_mse", feature_mse),
        ("gift_image_side", image_side),
        ("gift_text_side", text_side),
    ],
)
def test_gift_distils_by_the_term_it_is_called_after(begin: Begin, method: str, term: Objective) -> None:
    experiment = begin(method, consolidation=ADAPTIVE)
    ours = experiment.run("digits")
    require_equal(ours, taught_walk(experiment, gift(term), teacher=before(experiment)))


def test_gift_of_the_initial_teacher_listens_to_the_pretrained_model(begin: Begin) -> None:
    experiment = begin("gift_initial_teacher", consolidation=ADAPTIVE)
    ours = experiment.run("digits")
    require_equal(ours, taught_walk(experiment, gift(distill), teacher=pretrained(experiment)))


def test_gift_of_the_mixed_teacher_listens_to_the_mean_of_two_models_weights(begin: Begin) -> None:
    replay = {"images": "synthetic", "teacher": "mix", "teacher_alpha": 0.7}
    experiment = begin("gift_mixed_teacher", consolidation=ADAPTIVE, replay=replay)
    ours = experiment.run("digits")
    mix, initial = before(experiment), pretrained(experiment).trainable()
    for name, value in mix.trainable().items():
        value.data = 0.7 * value.data + 0.3 * initial[name].data
    require_equal(ours, taught_walk(experiment, gift(distill), teacher=mix))


@pytest.mark.parametrize(("method", "share"), [("gift_cd", 0.0), ("gift_cd_ita", 0.25)])
def test_gift_without_an_anchor_adds_its_terms_alone(begin: Begin, method: str, share: float) -> None:
    experiment = begin(method)
    ours = experiment.run("digits")
    walk = taught_walk(experiment, lambda at: at.task + distill(at) + share * align(at), teacher=before(experiment))
    require_equal(ours, walk)


def plain_walk(
    experiment: TinyExperiment, start: Path, task: str, *, steps: int = STEPS, rate: float = RATE
) -> list[Weights]:
    """Fine-tuning on one task's own loss."""
    batches = experiment.lessons(load(start), task).batches
    return expected_walk(
        start, lambda clip, step, _: task_loss(clip, batches.draw(step), PROMPTS[task]), steps=steps, rate=rate
    )


def test_finetune_goes_on_from_the_model_before_by_the_task_loss_alone(begin: Begin) -> None:
    experiment = begin("finetune")
    ours = experiment.run("digits")
    start = experiment.layout.model("finetune", "birds")
    require_equal(ours, plain_walk(experiment, start, "digits"))


def test_wise_ft_goes_on_from_eight_tenths_new_and_two_tenths_start(begin: Begin) -> None:
    experiment = begin("wise_ft")
    experiment.run("birds")
    ours = experiment.run("digits")

    def mixed(walk: list[Weights]) -> list[Weights]:
        return [walk[0], {name: 0.8 * walk[-1][name] + 0.2 * walk[0][name] for name in walk[0]}]

    middle = experiment.layout.root / "wise_ft between"
    clip = pretrained(experiment)
    for name, value in mixed(plain_walk(experiment, experiment.layout.pretrained(), "birds"))[-1].items():
        clip.trainable()[name].data = value
    save_clip(clip, middle, {})
    require_equal(ours, mixed(plain_walk(experiment, middle, "digits")))


def test_where_both_are_asked_for_the_mean_is_what_is_mixed_with_the_start(begin: Begin) -> None:
    keepers = {"average": {"kind": "running_mean", "every": 2}, "merge": {"kind": "interpolate", "alpha": 0.6}}
    experiment = begin("finetune", **keepers)
    ours = experiment.run("digits")
    walk = plain_walk(experiment, experiment.layout.model("finetune", "birds"), "digits")
    means = {name: (walk[0][name] + walk[2][name]) / 2 for name in walk[0]}
    require_equal(ours, [walk[0], {name: 0.6 * mean + 0.4 * walk[0][name] for name, mean in means.items()}])


def test_individual_learns_every_task_from_the_pretrained_model(begin: Begin) -> None:
    experiment = begin("individual")
    ours = experiment.run("digits")
    require_equal(ours, plain_walk(experiment, experiment.layout.pretrained(), "digits"))


def test_joint_learns_all_tasks_so_far_each_batch_among_its_own_classes(begin: Begin) -> None:
    experiment = begin("joint")
    ours = experiment.run("digits")
    start = experiment.layout.pretrained()
    lessons = experiment.lessons(load(start), "digits")
    assert (lessons.steps, lessons.class_count) == (2 * STEPS, 3 + 2)
    alone = begin("finetune")
    single = {task: alone.lessons(load(start), task).batches for task in ("birds", "digits")}
    learned = []

    def losses(clip: Clip, step: int, begun: Weights) -> torch.Tensor:
        pixels = lessons.batches.draw(step).images_BCHW
        batches = {task: images.draw(step // 2) for task, images in single.items()}
        (task,) = [task for task, batch in batches.items() if torch.equal(batch.images_BCHW, pixels)]
        learned.append(task)
        return task_loss(clip, batches[task], PROMPTS[task])

    require_equal(ours, expected_walk(start, losses, steps=2 * STEPS))
    assert sorted(learned) == ["birds"] * 3 + ["digits"] * 3


def test_zero_shot_stays_the_pretrained_model(begin: Begin) -> None:
    experiment = begin("zero_shot", learning_rate=None)
    lessons = experiment.lessons(pretrained(experiment), "digits")
    assert (lessons.steps, lessons.class_count) == (0, 0)
    experiment.run("birds")
    expected = pretrained(experiment).model.state_dict()
    for name, value in experiment.run("digits").model.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("term", "pulled"), [("distill_image_side", "image"), ("distill_text_side", "text"), ("distill", "both")]
)
def test_a_one_sided_term_leaves_the_other_tower_without_gradient(begin: Begin, term: str, pulled: str) -> None:
    terms = {term: {"weight": 1.0, "temperature": 2.0}}
    experiment = begin("gift", losses=terms, consolidation={"kind": "none"})
    clip = experiment.run("digits")  # it has moved away from its teacher
    seen: dict[str, float] = {}

    class Spy:
        """Notes the largest gradient of each tensor, as it stands before the task's is added."""

        def observe(self, gradients: Mapping[str, torch.Tensor | None]) -> None:
            seen.update({name: 0.0 if value is None else value.abs().max().item() for name, value in gradients.items()})

        def pull(self, parameters: Mapping[str, torch.nn.Parameter]) -> torch.Tensor:
            return torch.zeros(())

    stepper = GradientComputation(
        clip=clip,
        parameters=clip.trainable(),
        class_tokens_KL=tokenize(clip, PROMPTS["digits"]),
        method=build_method(experiment.row),
        anchor=Spy(),
        label_smoothing=0.2,
        passes=FullBatch(clip),
        loss_scale=NoScale(),
    )
    stepper.backward(experiment.lessons(clip, "digits").batches.draw(0), experiment.replay(clip, "digits").draw(0))
    towers = {"image": [name for name in seen if name.startswith("visual.")]}
    towers["text"] = [name for name in seen if name not in towers["image"]]
    for tower, names in towers.items():
        largest = max(seen[name] for name in names)
        assert largest > 1e-4 if pulled in (tower, "both") else largest == 0, tower
