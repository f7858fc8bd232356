"""The penalty is worked out a few tensors at a time, to the same bits as all at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gift_core import consolidation
from gift_core.consolidation import AdaptiveFisher, Consolidation, Uniform, divided_by_means, groups

SIZES = (3, 50, 1, 7, 200, 2)  # numbers of four bytes
ANCHORS: dict[str, Callable[[dict[str, torch.nn.Parameter]], Consolidation]] = {
    "uniform": lambda parameters: Uniform(parameters, weight=0.3),
    "adaptive": lambda parameters: AdaptiveFisher(parameters, weight=0.3),
}


def tensors(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, generator=generator) for size in SIZES]


@pytest.mark.parametrize(("limit", "expected"), [(1, 6), (240, 4), (10**6, 1)])
def test_groups_hold_every_tensor_once_and_no_more_bytes_than_allowed(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: int
) -> None:
    monkeypatch.setattr(consolidation, "GROUP_BYTES", limit)
    values = tensors(0)
    parts = [values[part] for part in groups(values)]
    assert len(parts) == expected
    assert [value.data_ptr() for part in parts for value in part] == [value.data_ptr() for value in values]
    assert all(len(part) == 1 or sum(value.nbytes for value in part) <= limit for part in parts)


@pytest.mark.parametrize("make", ANCHORS.values(), ids=ANCHORS)
def test_pulling_in_groups_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[dict[str, torch.nn.Parameter]], Consolidation]
) -> None:
    found = []
    for limit in (10**6, 240, 1):
        monkeypatch.setattr(consolidation, "GROUP_BYTES", limit)
        parameters = {str(at): torch.nn.Parameter(value) for at, value in enumerate(tensors(1))}
        anchor = make(parameters)
        for parameter, moved, gradient in zip(parameters.values(), tensors(2), tensors(3), strict=True):
            parameter.data += moved
            parameter.grad = gradient
        anchor.observe({name: parameter.grad for name, parameter in parameters.items()})
        pull = anchor.pull(parameters)
        found.append([pull, *(parameter.grad for parameter in parameters.values())])
    for others in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], others, strict=True))


def test_dividing_by_means_leaves_what_it_is_given() -> None:
    squares = [value.square() for value in tensors(4)]
    before = [square.clone() for square in squares]
    divided = divided_by_means(squares)
    assert all(torch.equal(*pair) for pair in zip(squares, before, strict=True))
    assert all(value.mean().item() == pytest.approx(1) for value in divided)
