"""Checks the installed packages, and names Python, torch and its devices."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from gift_core.doctor.finding import Finding
from gift_core.quantities import byte_size

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "gift-pipeline"
INSTALL = "Run: make setup"


def check_environment() -> Iterator[Finding]:
    """Yields the findings that do not depend on the experiment."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from check_packages(DISTRIBUTION)
    yield from check_devices()


def check_packages(distribution: str) -> Iterator[Finding]:
    """Yields one finding for each package that `distribution` requires and that is missing or out of range."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in metadata.requires(distribution) or ()]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fail", f"{distribution} is not installed in this Python", INSTALL)
        return
    required = [each for each in required if each.marker is None or each.marker.evaluate({"extra": ""})]
    problems = [finding for each in required if (finding := _check_package(each)) is not None]
    yield from problems
    if not problems:
        yield Finding(
            "packages", "ok", f"all {len(required)} are installed in the versions that pyproject.toml requires"
        )


def _check_package(required: Requirement) -> Finding | None:
    name, versions = required.name, required.specifier
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding("packages", "fail", f"{name} is missing ({name}{versions})", INSTALL)
    if versions.contains(found, prereleases=True):
        return None
    return Finding("packages", "fail", f"{name} {found} is out of range ({name}{versions})", INSTALL)


def check_devices() -> Iterator[Finding]:
    """Yields the build of torch, then each GPU with its memory, or the CPU if there is no GPU."""
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    yield Finding("torch", "ok", f"{torch.__version__}, {cuda}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            found = f"{torch.cuda.get_device_name(index)}, {byte_size(total)}, {byte_size(free)} free"
            yield Finding(f"cuda:{index}", "ok", found)
    elif torch.backends.mps.is_available():
        yield Finding("mps", "ok", f"Apple GPU, recommended limit {byte_size(torch.mps.recommended_max_memory())}")
    else:
        yield Finding("device", "info", f"CPU only, {torch.get_num_threads()} threads: enough for the miniature")
