"""Python, the packages against pyproject's ranges, torch's build and devices, and tools for the tests."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata

from gift_core.doctor.finding import Finding, gigabytes

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
    """Returns whether this Python is new enough."""
    if version >= OLDEST_PYTHON:
        return Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    needed = ".".join(map(str, OLDEST_PYTHON))
    return Finding("python", "fail", f"{platform.python_version()}, older than {needed}", f"Install Python {needed}+.")


def check_packages(distribution: str) -> Iterator[Finding]:
    """Yields a finding a package that is missing or out of the range that `distribution` was installed with."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in metadata.requires(distribution) or ()]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fail", f"{distribution} is not installed in this Python", INSTALL)
        return
    wanted = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = [finding for need in wanted if (finding := _package(need.name, need.specifier)) is not None]
    yield from wrong
    if not wrong:
        yield Finding("packages", "ok", f"all {len(wanted)} are there, in the versions that pyproject.toml asks for")


def _package(name: str, versions: object) -> Finding | None:
    from packaging.specifiers import SpecifierSet

    assert isinstance(versions, SpecifierSet)
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding("packages", "fail", f"{name} is missing ({name}{versions})", INSTALL)
    if versions.contains(found, prereleases=True):
        return None
    return Finding("packages", "fail", f"{name} {found} is out of range ({name}{versions})", INSTALL)


def check_devices() -> Iterator[Finding]:
    """Yields torch's build, then each GPU with its memory; the CPU alone where there is none."""
    import torch

    cuda = f"CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    yield Finding("torch", "ok", f"{torch.__version__}, {cuda}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            found = f"{torch.cuda.get_device_name(index)}, {gigabytes(total)}, {gigabytes(free)} of them free"
            yield Finding(f"cuda:{index}", "ok", found)
    elif torch.backends.mps.is_available():
        yield Finding("mps", "ok", f"Apple GPU, {gigabytes(torch.mps.recommended_max_memory())} recommended at most")
    else:
        yield Finding("device", "info", f"CPU alone, {torch.get_num_threads()} threads: enough for the miniature")


def check_browser() -> Finding:
    """Returns whether there is a browser for the tests of the report."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        return Finding("chromium", "info", f"{found} (the report's tests use it)")
    return Finding("chromium", "info", "not found: the report's tests in a browser are skipped")
