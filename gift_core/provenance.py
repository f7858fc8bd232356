"""The environment that a computed result depends on, as artifacts record it.

It holds no time and no name of a machine: machines of one kind with the same versions write the same bytes.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from gift_core.code.versions import running_code

if TYPE_CHECKING:
    import torch

Environment = dict[str, str | int]
EDITED = "edited files"  # only where there are some
PACKAGES = ("gift-pipeline", "torchvision", "open_clip_torch", "timm", "diffusers", "transformers", "numpy", "pillow")


def environment(device: torch.device) -> Environment:
    """Returns {"torch": "2.13.0", ..., "device": "cpu x86_64 AVX512", "threads": 2}: versions, device, CPU threads.

    The instruction set of a CPU and its number of threads change the order of sums. On other devices the number of
    threads changes nothing, so it is left out. Edited files of the code are named (gift_core.code.versions).
    """
    import torch

    versions: Environment = {"torch": str(torch.__version__), **{name: version_of(name) for name in PACKAGES}}
    edited = running_code().edited
    if edited:
        versions[EDITED] = ", ".join(edited)
    if device.type == "cpu":
        capability = torch.backends.cpu.get_cpu_capability()
        return {**versions, "device": f"cpu {platform.machine()} {capability}", "threads": torch.get_num_threads()}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {**versions, "device": f"{device.type} {name}"}


def version_of(package: str) -> str:
    """Returns the version of a package, "not installed" without one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
