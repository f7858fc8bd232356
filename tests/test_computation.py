"""Names of devices."""

from __future__ import annotations

import pytest
import torch

from gift_core.computation import require_devices, resolve_device
from gift_core.errors import UserError


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


def test_float32_is_computed_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    resolve_device("cpu")
    assert not torch.backends.cudnn.allow_tf32  # torch's own default is True
    assert not torch.backends.cuda.matmul.allow_tf32
