"""Interpolation, by hand. The running mean, and the merge after a task: test_learning_methods.py."""

from __future__ import annotations

import torch

from gift_core.method.averaging import interpolate


def test_interpolate_mixes_every_tensor_leaves_its_inputs_and_changes_no_bit_of_equal_ones() -> None:
    new, old = [torch.tensor([4.0, 8.0]), torch.tensor([[1.0]])], [torch.tensor([0.0, 4.0]), torch.tensor([[9.0]])]
    assert [value.tolist() for value in interpolate(new, old, alpha=0.25)] == [[1.0, 5.0], [[7.0]]]
    assert new[0].tolist() == [4.0, 8.0] and old[0].tolist() == [0.0, 4.0]
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(interpolate([values], [values.clone()], alpha=0.3)[0], values)
