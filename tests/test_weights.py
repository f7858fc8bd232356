"""What is kept of a task's training, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gift_core.averaging import Interpolation, Parameters, RunningMean, WeightAveraging, interpolate

WALK = [1.0, 4.0, 10.0, 15.0, 31.0]  # the weight after steps 1 to 5; it starts at 100


def kept(build: Callable[[Parameters], WeightAveraging]) -> float:
    """What a keeper leaves of a weight that took this walk."""
    parameters = {"a": torch.nn.Parameter(torch.tensor([100.0]))}
    keeper = build(parameters)
    for done, value in enumerate(WALK, 1):
        with torch.no_grad():
            parameters["a"].fill_(value)
        keeper.observe(done, parameters)
        assert parameters["a"].item() == value, "watching changes nothing"
    keeper.finish(parameters)
    return parameters["a"].item()


@pytest.mark.parametrize(
    ("every", "mean"),
    [
        (1, (100 + 1 + 4 + 10 + 15 + 31) / 6),
        (2, (100 + 4 + 15) / 3),  # the fifth step isn't due
        (3, (100 + 10) / 2),
        (5, (100 + 31) / 2),
        (6, 100),
    ],
)
def test_the_running_mean_is_of_the_start_and_of_every_nth_step(every: int, mean: float) -> None:
    assert kept(lambda parameters: RunningMean(parameters, every=every)) == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(("alpha", "mix"), [(0.8, 0.8 * 31 + 0.2 * 100), (1.0, 31.0), (0.0, 100.0)])
def test_alpha_is_the_share_of_the_new_weights(alpha: float, mix: float) -> None:
    assert kept(lambda parameters: Interpolation(parameters, alpha=alpha)) == pytest.approx(mix, rel=1e-6)


def test_mixed_is_the_weighted_sum_of_every_tensor_and_leaves_both_alone() -> None:
    new, old = [torch.tensor([4.0, 8.0]), torch.tensor([[1.0]])], [torch.tensor([0.0, 4.0]), torch.tensor([[9.0]])]
    assert [value.tolist() for value in interpolate(new, old, alpha=0.25)] == [[1.0, 5.0], [[7.0]]]
    assert new[0].tolist() == [4.0, 8.0] and old[0].tolist() == [0.0, 4.0]


def test_a_mix_of_equal_weights_is_the_weights_to_the_last_bit() -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(interpolate([values], [values.clone()], alpha=0.3)[0], values)


@pytest.mark.parametrize("keeper", [RunningMean, Interpolation])
def test_the_weights_stay_the_same_parameters(keeper: type) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    options = {"every": 1} if keeper is RunningMean else {"alpha": 0.5}
    keeping = keeper({"a": weight}, **options)
    place = weight.data_ptr()
    weight.data += 2.0
    keeping.observe(1, {"a": weight})
    keeping.finish({"a": weight})
    assert weight.tolist() == [2.0, 3.0]
    assert weight.data_ptr() == place and weight.requires_grad and weight.grad_fn is None
