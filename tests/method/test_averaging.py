"""Weight averaging, by hand. The merge after a task: test_learning_methods.py."""

from __future__ import annotations

import pytest
import torch

from gift_core.method.averaging import RunningMean, interpolate

TRAJECTORY = [1.0, 4.0, 10.0, 15.0, 31.0]  # the weight after iterations 1 to 5; it starts at 100


def running_mean(every: int) -> float:
    parameters = {"a": torch.nn.Parameter(torch.tensor([100.0]))}
    averaging = RunningMean(parameters, every=every)
    for iterations_done, value in enumerate(TRAJECTORY, 1):
        with torch.no_grad():
            parameters["a"].fill_(value)
        averaging.observe(iterations_done, parameters)
        assert parameters["a"].item() == value, "observing changes no weight"
    address = parameters["a"].data_ptr()
    averaging.finish(parameters)
    assert parameters["a"].data_ptr() == address, "the weights are overwritten in place"
    return parameters["a"].item()


@pytest.mark.parametrize(
    ("every", "mean"),
    [
        (1, (100 + 1 + 4 + 10 + 15 + 31) / 6),
        (2, (100 + 4 + 15) / 3),  # the fifth iteration is not a multiple of 2
        (3, (100 + 10) / 2),
        (5, (100 + 31) / 2),
        (6, 100),
    ],
)
def test_the_running_mean_is_over_the_start_and_every_nth_iteration(every: int, mean: float) -> None:
    assert running_mean(every) == pytest.approx(mean, rel=1e-6)


def test_interpolate_mixes_every_tensor_leaves_its_inputs_and_changes_no_bit_of_equal_ones() -> None:
    new, old = [torch.tensor([4.0, 8.0]), torch.tensor([[1.0]])], [torch.tensor([0.0, 4.0]), torch.tensor([[9.0]])]
    assert [value.tolist() for value in interpolate(new, old, alpha=0.25)] == [[1.0, 5.0], [[7.0]]]
    assert new[0].tolist() == [4.0, 8.0] and old[0].tolist() == [0.0, 4.0]
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(interpolate([values], [values.clone()], alpha=0.3)[0], values)
