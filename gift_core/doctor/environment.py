"""Checks Python, the installed packages, torch and its devices, and the browser for the tests."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from gift_core.doctor.finding import Finding
from gift_core.quantities import byte_size

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "gift-pipeline"
OLDEST_PYTHON = (3, 10)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "Run: make setup"


def check_environment() -> Iterator[Finding]:
    """Yields the findings that do not depend on the experiment."""
    yield check_python(sys.version_info[:2])
    yield from check_packages(DISTRIBUTION)
    yield from check_devices()
    yield check_browser()


def check_python(version: tuple[int, ...]) -> Finding:
    """Returns whether the Python version is supported."""
    if version >= OLDEST_PYTHON:
        return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding("python", "fail", f"{platform.python_version()}, older than {oldest}", f"Install Python {oldest}+.")


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


def check_browser() -> Finding:
    """Returns whether there is a browser for the tests of the report."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return Finding("chromium", "info", f"{found} (used by the tests of the report)")
    return Finding("chromium", "info", "not found: the browser tests of the report are skipped")
