"""Fine-tuning the caller's own model with the methods of the preset and rows of one's own: the pipeline's numbers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.data import DataLoader

import gift_core
from gift_core.artifacts.shards import columns_of
from gift_core.clip.images import evaluation_preparation, normalize
from gift_core.config.presets import complete_text
from gift_core.library.given_pairs import PairSequence
from gift_core.method.replay.fisher import fisher_of_pairs
from tests.clip.tiny import TOKENIZER, picture, tiny_clip
from tests.conftest import PROJECT
from tests.library.given import GIFT, finetuned, given_loader, given_model, given_pairs
from tests.method.training.tiny_training import PROMPTS, other_teacher, pairs, run, task_images
from tests.method.training.tiny_training import gift as gift_of_the_pipeline

SIX = gift_core.Training(replay_batch_size=6)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(model: Any, start: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}


def test_the_numbers_are_those_of_the_pipeline() -> None:
    """The pipeline's loop on files, and the library on the same batches from loaders, with another model as teacher."""
    clip, iterations = tiny_clip(), 3
    expected = run(clip, gift_of_the_pipeline(), iterations=iterations, replay=other_teacher())
    task, replay = task_images(tiny_clip()), other_teacher()
    prompts = list(dict.fromkeys(PROMPTS))
    replayed = [replay.sample(index) for index in range(iterations)]
    of_replay = [(each.images_MCHW, [prompts[int(n)] for n in each.prompt_ids_M]) for each in replayed]
    model = given_model()
    found = finetuned(
        model,
        [(task.sample(index).images_BCHW, task.sample(index).targets["labels_B"]) for index in range(iterations)],
        pairs=DataLoader(of_replay, batch_size=None),  # type: ignore[arg-type]
        teacher=given_model(seed=7),
        training=gift_core.Training(warmup_iterations=1),
    )
    for row, expected_row in zip(found, expected, strict=True):
        assert row == pytest.approx(expected_row, rel=1e-4)
    for name, value in clip.trainable().items():
        atol = 4e-3 if name.endswith("in_proj_bias") else 2e-5  # as in tests/method/test_learning_methods.py
        torch.testing.assert_close(model.get_parameter(name).detach(), value.detach(), rtol=0, atol=atol, msg=name)


def test_a_sequence_of_pairs_gives_the_replay_of_the_pipeline(tmp_path: Path) -> None:
    clip, teacher = tiny_clip(), tiny_clip(seed=7)
    prepare = evaluation_preparation(clip)
    sequence = [(normalize(clip, prepare(pair.image)), pair.prompt) for pair in pairs()]
    replay = PairSequence(clip, teacher, sequence, training=SIX.config(2), seed=1, uses_all=False)
    batch, expected = replay.sample(0), other_teacher().sample(0)
    by_prompt = {int(n): row for n, row in zip(expected.prompt_ids_M, expected.teacher_text_MD, strict=True)}
    assert sorted(batch.prompt_ids_M.tolist()) == [0, 0, 1, 2, 3, 4]
    for number, text in zip(batch.prompt_ids_M.tolist(), batch.teacher_text_MD, strict=True):
        torch.testing.assert_close(text, by_prompt.get(number, text))
    whole = {tuple(image.flatten()[:5].tolist()): row for row, (image, _) in enumerate(sequence)}
    assert sorted(whole[tuple(image.flatten()[:5].tolist())] for image in batch.images_MCHW) == list(range(6))
    # Pillow images go through the model's transform
    pictures = [(picture(100 + number), prompt) for number, prompt in enumerate(PROMPTS)]
    assert finetuned(pairs=pictures) == finetuned(pairs=given_pairs())
    # and so do the images of paths
    paths = [tmp_path / f"{number}.png" for number in range(len(PROMPTS))]
    for path, (image, _) in zip(paths, pictures, strict=True):
        image.save(path)
    files = [(str(paths[0]), PROMPTS[0]), *zip(paths[1:], PROMPTS[1:], strict=True)]
    assert finetuned(pairs=files) == finetuned(pairs=pictures)
    with pytest.raises(gift_core.UserError, match=r"pairs\[.\]: it is \(text, image\). Write \(image, text\)"):
        finetuned(pairs=[(prompt, path) for path, prompt in files])
    paths[1].write_bytes(b"no image")
    with pytest.raises(gift_core.UserError, match=r"pairs\[1\]: '.*1.png': no image, or a damaged one. Write \[\(im"):
        finetuned(pairs=files)


class Endless:
    """As many pairs as a web data set may have, each made when it is read."""

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, number: int) -> tuple[Any, str]:
        return given_pairs()[number % 6]


def test_of_a_thousand_million_pairs_only_those_of_the_batches_are_read() -> None:
    assert len(finetuned(pairs=Endless())) == 3


def test_a_release_is_a_copy_and_the_next_task_goes_on_from_the_trained_model() -> None:
    model = given_model(tower="resnet")
    start = copy.deepcopy(model.state_dict())
    model.visual.bn1.num_batches_tracked += 3
    moved_by = 0.25 * torch.ones_like(model.visual.bn1.weight)
    with torch.no_grad():
        model.visual.bn1.weight += moved_by
    trained = weights(model)
    half = gift_core.released(model, start, alpha=0.5)
    assert moved(model, trained) == set() and type(half) is type(model) and not half.training
    assert moved(half, start) == {"visual.bn1.weight", "visual.bn1.num_batches_tracked"}
    assert torch.equal(half.visual.bn1.weight, start["visual.bn1.weight"] + moved_by / 2)
    assert moved(gift_core.released(model, start, alpha=1), trained) == set()
    other = given_model().state_dict()
    for given, alpha, what in (
        (start, 1.5, "alpha is 1.5, expected 0 to 1"),
        (other, 0.5, r"pretrained: .* missing \(first "),
    ):
        with pytest.raises(gift_core.UserError, match=f"(?s){what}"):
            gift_core.released(model, given, alpha=alpha)


def test_the_teacher_is_the_model_at_the_start() -> None:
    """So distill minus its entropy is 0 at first. The teacher does not change: its entropy stays the same."""
    loader: Any = DataLoader(given_pairs(), batch_size=6)  # type: ignore[arg-type]
    rows = finetuned(pairs=loader, iterations=8, training=SIX)
    divergence = [row["distill"] - row["distill_entropy"] for row in rows]
    assert divergence[0] == pytest.approx(0, abs=1e-5)
    assert divergence[-1] > 1e-4
    assert rows[-1]["distill_entropy"] == pytest.approx(rows[0]["distill_entropy"], rel=1e-5)


def test_the_model_is_trained_in_place_and_left_as_it_was_given() -> None:
    model = given_model()
    start = weights(model)
    rows: list[dict[str, float]] = []
    training = gift_core.Training(replay_batch_size=4, precision="amp_bf16", micro_batch_size=3)
    assert finetuned(model, on_step=rows.append, training=training) == rows
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert moved(model, start) == set(start) - {"logit_scale"}
    assert not model.training and {value.dtype for value in model.parameters()} == {torch.float32}
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    # a locked tower stays locked and is not consolidated
    model.visual.requires_grad_(False)
    start = weights(model)
    finetuned(model)
    assert moved(model, start) == {name for name in start if not name.startswith("visual.")} - {"logit_scale"}
    assert not any(value.requires_grad for value in model.visual.parameters())


def test_one_seed_gives_one_result_with_a_shuffling_loader_and_the_callers_random_numbers_go_on() -> None:
    def losses(seed: int) -> list[dict[str, float]]:
        torch.manual_seed(torch.seed() % 1000)  # whatever the caller's own random state is
        model, loader, state = given_model(), given_loader(shuffle=True), torch.get_rng_state()
        found = finetuned(model, loader, seed=seed, iterations=5)
        assert torch.equal(torch.get_rng_state(), state)
        return found

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_float32_is_computed_in_full_during_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    during = list[bool]()
    finetuned(device="cpu", on_step=lambda row: during.append(torch.backends.cudnn.allow_tf32))
    assert during == [False] * 3 and torch.backends.cudnn.allow_tf32


ROWS = yaml.safe_load(complete_text(PROJECT / "presets" / "mtil_order_1.yaml"))["methods"]
NOT_HERE = {"zero_shot", "joint", "lwf", "lwf_vr", "icarl"}  # tests/library/test_refusals.py says why


def relations(student_image_MD: torch.Tensor, teacher_image_MD: torch.Tensor, power: int = 2) -> torch.Tensor:
    """A loss of one's own."""
    difference = student_image_MD @ student_image_MD.T - teacher_image_MD @ teacher_image_MD.T
    return (difference.abs() ** power).mean()


@pytest.mark.parametrize("name", sorted(set(ROWS) - NOT_HERE))
def test_every_method_that_learns_from_pairs_trains_by_its_name(name: str) -> None:
    model = given_model()
    fisher = gift_core.estimate_fisher(model, TOKENIZER, given_pairs()) if "fisher" in ROWS[name]["replay"] else None
    row = gift_core.method_row(name)
    if row["consolidation"]["kind"] == "frozen_fisher":
        row["consolidation"]["iterations"] = 1
    if "average" in row:
        row["average"]["every"] = 1
    rows = finetuned(model, method=row, teacher=given_model(seed=7), fisher=fisher, iterations=2)
    assert len(rows) == 2
    assert set(ROWS[name]["losses"] or {}) <= set(rows[0])
    assert (rows[1]["consolidation"] > 0) == (row["consolidation"]["kind"] != "none")


def test_a_row_may_be_empty_and_may_have_losses_and_a_consolidation_of_ones_own() -> None:
    (row,) = finetuned(iterations=1, method={}, pairs=None)
    assert row["learning_rate"] == 1e-5 and list(row)[2:] == ["task", "consolidation", "total"]
    uniform = {"consolidation": {"kind": "uniform", "weight": 2.0}}
    losses = {"relations": gift_core.WeightedLoss(10.0, relations), **GIFT["losses"]}
    rows = finetuned(method=GIFT | {"losses": losses} | uniform, teacher=given_model(seed=7), learning_rate=1e-4)
    assert rows[0]["learning_rate"] == 1e-4 and list(rows[0])[2:5] == ["task", "relations", "distill"]
    for row in rows:
        parts = ("task", "relations", "distill", "align", "consolidation")
        assert row["total"] == pytest.approx(sum(row[name] for name in parts))
    assert rows[0]["consolidation"] == 0 and rows[1]["consolidation"] > 0
    own = gift_core.WeightedLoss(
        GIFT["losses"]["distill"]["weight"], gift_core.distill, entropy=gift_core.distill_entropy
    )
    same = {"relations": losses["relations"], "distill": own, "align": GIFT["losses"]["align"]}
    by_hand: dict[str, Any] = {"losses": same, "consolidation": lambda values: gift_core.Uniform(values, weight=2.0)}
    assert finetuned(method=GIFT | by_hand, teacher=given_model(seed=7), learning_rate=1e-4) == rows


def test_the_fisher_information_is_that_of_the_pipeline() -> None:
    _, *columns = columns_of(pairs())
    expected = fisher_of_pairs(tiny_clip(), *columns, estimator="per_sample", batch_size=6)
    model = given_model().train()
    model.visual.eval()
    modes = [module.training for module in model.modules()]
    found = gift_core.estimate_fisher(model, TOKENIZER, given_pairs(), batch_size=6)
    assert [module.training for module in model.modules()] == modes
    as_tensors = {name: torch.from_numpy(diagonal) for name, diagonal in expected.items()}
    torch.testing.assert_close(found, as_tensors, rtol=1e-3, atol=1e-7)
    assert float(max(diagonal.max() for diagonal in found.values())) > 1e-3
