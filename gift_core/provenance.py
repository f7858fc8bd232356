"""The environment that a computed result depends on, as artifacts record it.

It holds no time and no name of a machine: machines of one kind with the same versions write the same bytes.

`python -m gift_core.provenance FACTS TOKEN` says what a machine of a cluster has in another version: stages on
different machines must run the same code with the same libraries.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from gift_core.code.versions import digest_of, running_code

if TYPE_CHECKING:
    import torch

Environment = dict[str, str | int]
EDITED = "edited files"  # only where there are some
PACKAGES = ("gift-pipeline", "torchvision", "open_clip_torch", "timm", "diffusers", "transformers", "numpy", "pillow")
LIBRARIES = ("torch", *PACKAGES, "safetensors", "pyarrow", "dvc", "ray")  # that machines of a cluster share


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


def local_facts() -> dict[str, str]:
    """Returns {"gift_core": hash of all code, "Python": "3.12.3", "torch": "2.13.0", ...} of this machine."""
    code = digest_of(json.dumps(running_code().files).encode())
    return {"gift_core": code, "Python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}


def differences(wanted: Mapping[str, str], token: Path) -> list[str]:
    """Returns a line for each fact of this machine that is not as `wanted`.

    `token` is a file that the machine which runs `gift run` has just written into the project.
    """
    if not token.is_file():
        return [f"it has no {token}: the project must lie on a file system that all machines share"]
    facts = local_facts()
    different = [name for name, value in wanted.items() if facts.get(name) != value]
    return [f"{name} is {facts.get(name)} there and {wanted[name]} here" for name in different]


if __name__ == "__main__":
    sys.exit("\n".join(differences(json.loads(sys.argv[1]), Path(sys.argv[2]))) or None)
