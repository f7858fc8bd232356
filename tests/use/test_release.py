"""A released model is theta_0 + alpha (theta_t - theta_0), and which alpha is proposed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from gift_core.artifacts.model_folder import WEIGHTS, model_hash, read_provenance
from gift_core.clip.model import save_clip
from gift_core.clip.retrieval import Retrieval
from gift_core.config.method_options import InterpolateConfig
from gift_core.driving.searches import AlphaSearch, Release, right_of
from gift_core.errors import ContractError
from gift_core.method.averaging import released_weights
from gift_core.use.release import release_model
from tests.artifacts.damage import flip
from tests.clip.tiny import tiny_clip
from tests.clone import content
from tests.tiny_world import moved


def at(alpha: float) -> InterpolateConfig:
    return InterpolateConfig(kind="interpolate", alpha=alpha)


def test_released_weights_by_hand() -> None:
    start, end = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([4.0, 3.0, 0.5])
    given = {"weight": end, "count": torch.tensor(7)}, {"weight": start, "count": torch.tensor(1)}
    for alpha, expected in {0.0: [2, -1, 0.5], 0.25: [2.5, 0, 0.5], 0.75: [3.5, 2, 0.5], 1.0: [4, 3, 0.5]}.items():
        found = released_weights(*given, alpha=alpha)
        assert found["weight"].tolist() == expected
        assert found["count"] == 7


def test_a_release_opens_in_open_clip_and_has_the_counters_of_the_trained_model(tmp_path: Path) -> None:
    """A ResNet has BatchNorm, with statistics and counters."""
    pretrained, trained, folder = (tmp_path / name for name in ("pretrained", "gift/birds", "6_released/gift/birds"))
    save_clip(tiny_clip(tower="resnet"), pretrained, {})
    clip = moved(tiny_clip(tower="resnet"), seed=1)
    clip.model.get_buffer("visual.bn1.running_var").fill_(3.0)  # 1 in the pre-trained model
    clip.model.get_buffer("visual.bn1.num_batches_tracked").fill_(5)
    loss = {"iteration": 0, "learning_rate": 1.0, "task": 1.0, "total": 1.0}
    save_clip(clip, trained, {"method": "gift", "task": "birds"}, [loss])
    release_model(trained, pretrained, folder, None)
    assert content(folder) == {name: text for name, text in content(trained).items() if name != "losses.jsonl"}
    release_model(trained, pretrained, folder, at(0.5))
    start, end, found = (load_file(each / WEIGHTS) for each in (pretrained, trained, folder))
    assert found["visual.bn1.running_var"].unique().tolist() == [2.0]
    assert found["visual.bn1.num_batches_tracked"] == 5
    for name, value in end.items():
        if value.is_floating_point():
            expected = (start[name].double() + 0.5 * (value.double() - start[name].double())).float()
            torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-8)
    model, *_ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert torch.equal(model.state_dict()["visual.bn1.weight"], found["visual.bn1.weight"])
    record = read_provenance(folder)
    assert record["release"] == {"kind": "interpolate", "alpha": 0.5} and record["trained_model"] == model_hash(trained)
    assert model_hash(folder) == record["weights_sha256"] != record["trained_model"]
    release_model(trained, pretrained, folder, at(0.0))  # the pre-trained model, but for the counters
    weights = load_file(folder / WEIGHTS).items()
    assert all(torch.equal(value, start[name]) for name, value in weights if "num_batches" not in name)
    flip(trained / WEIGHTS)
    for release in (None, at(0.5)):
        with pytest.raises(ContractError, match=r"gift/birds/open_clip_model.safetensors: its sha256 should be"):
            release_model(trained, pretrained, folder, release)


def right(*counts: int) -> np.ndarray:
    """Of 100 images, the first ones are right."""
    return np.concatenate([np.ones(counts[0]), np.zeros(100 - counts[0])])


def test_the_proposal_is_the_smallest_alpha_that_loses_no_more_than_a_standard_error() -> None:
    """At 0.4 it would be as good as at 1 again, but 0.5 below it lost."""
    by_alpha = {0.4: 80, 0.5: 60, 0.6: 79, 0.7: 82, 1.0: 80}
    search = AlphaSearch([Release(alpha, {"birds": right(count)}, {}) for alpha, count in by_alpha.items()], {})
    change, error = search.learned_change(search.releases[2])
    assert change == pytest.approx(-1) and error == pytest.approx(100 * np.sqrt(0.01 * 0.99 / 100))
    assert search.proposed.alpha == 0.7  # -1 is more than the error of 0.995
    of_two = {alpha: {"a": right(count), "b": right(80)} for alpha, count in {0.5: 81, 1.0: 80}.items()}
    two = AlphaSearch([Release(alpha, tasks, {}) for alpha, tasks in of_two.items()], {})
    assert two.learned_change(two.releases[0]) == (pytest.approx(0.5), pytest.approx(0.995 / 2, abs=1e-3))
    assert two.proposed.alpha == 0.5 and two.releases[0].kept is None


def test_with_probes_the_proposal_has_the_highest_sum_of_both_sides_and_its_neighbors_have_a_price() -> None:
    points = {0.0: (50, 90), 0.4: (70, 85), 0.7: (80, 80), 1.0: (82, 60)}
    releases = [
        Release(alpha, {"birds": right(count)}, {"letters": right(kept)}) for alpha, (count, kept) in points.items()
    ]
    search = AlphaSearch(releases, {})
    assert search.proposed.alpha == 0.7  # 160; at 0.4 155, at 1 142
    assert search.steps(search.proposed) == [
        (0.4, pytest.approx(-10), pytest.approx(5)),
        (1.0, pytest.approx(2), pytest.approx(-20)),
    ]
    assert search.kept_change(releases[0]) == (pytest.approx(30), pytest.approx(100 * np.sqrt(0.3 * 0.7 / 100)))
    assert search.steps(releases[-1]) == [(0.7, pytest.approx(-2), pytest.approx(20))]
    nothing = AlphaSearch([Release(0.0, {"birds": right(90)}, {"letters": right(90)}), releases[-1]], {})
    assert nothing.proposed.alpha == 1.0  # 0 has learned nothing


def test_right_answers_of_a_retrieval_have_recall_as_their_mean() -> None:
    ranks = torch.tensor([1, 2, 1, 1, 3, 1, 1])  # of two images, and of five captions
    test = Retrieval(ranks, torch.zeros(7, 1), torch.arange(2), torch.arange(5), torch.tensor([0, 0, 0, 1, 1]))
    assert right_of(test).mean() == pytest.approx((1 / 2 + 4 / 5) / 2) == pytest.approx(test.top1)
