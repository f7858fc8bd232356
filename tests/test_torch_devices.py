"""Names of devices, and what of torch's global state is changed for how long."""

from __future__ import annotations

import pytest
import torch

from gift_core.errors import UserError
from gift_core.torch_devices import (
    full_float32,
    own_random_numbers,
    require_devices,
    resolve_device,
    seed_generators,
    set_up_device,
)


def test_an_unknown_or_missing_device_is_refused() -> None:
    with pytest.raises(UserError, match=r"device: unknown name 'cudda'\. Did you mean 'cuda'\?"):
        resolve_device("cudda")
    with pytest.raises(UserError, match="'cuda:77' is not available here"):
        resolve_device("cuda:77")


def test_every_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_devices(torch.device("cuda"), 2)
    require_devices(torch.device("cpu"), 8)
    require_devices(torch.device("mps"), 1)
    for device, count in (("cuda", 3), ("mps", 2)):
        with pytest.raises(UserError, match=rf"training.processes: {count} needs as many GPUs.* \({device}\)"):
            require_devices(torch.device(device), count)


def test_only_a_process_of_the_pipeline_changes_how_torch_computes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # torch's own default
    assert resolve_device("cpu") == torch.device("cpu") and torch.backends.cudnn.allow_tf32
    with full_float32():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # differs from rnn, until the patch of allow_tf32 is undone
    with full_float32():
        assert not torch.backends.cudnn.allow_tf32
    precisions = torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision
    assert precisions == ("ieee", "tf32")
    assert set_up_device("cpu") == torch.device("cpu") and not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_random_numbers_of_a_block_change_none_of_the_caller(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The generator of a GPU is a make-believe. That of a device which is not used is not even seeded."""
    gpu = torch.Generator()
    monkeypatch.setattr(torch.mps, "get_rng_state", gpu.get_state)
    monkeypatch.setattr(torch.mps, "set_rng_state", gpu.set_state)
    monkeypatch.setattr(torch.mps, "manual_seed", gpu.manual_seed)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("another device was seeded"))
    device, before = torch.device(kind), (torch.get_rng_state(), gpu.get_state())
    with own_random_numbers(device):
        seed_generators(device, 1)
        assert torch.initial_seed() == 1 and (gpu.initial_seed() == 1) == (kind == "mps")
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.equal(gpu.get_state(), before[1])
