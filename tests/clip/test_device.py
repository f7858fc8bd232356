"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from gift_core.clip.device import resolve_device
from gift_core.errors import UserError


def test_auto_is_the_fastest_device_present() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else resolve_device("auto").type)
    assert resolve_device("cpu") == torch.device("cpu")


def test_an_unknown_device_is_named_with_its_neighbour() -> None:
    with pytest.raises(UserError, match=r"device: unknown name 'cudda'\. Did you mean 'cuda'\?"):
        resolve_device("cudda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_a_device_that_is_missing_is_refused() -> None:
    with pytest.raises(UserError, match="'cuda:1' is not available here"):
        resolve_device("cuda:1")
