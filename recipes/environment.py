"""Makes .venv with the project and the packages that it needs, with uv where it is installed, else with pip.

`make setup` runs it before anything is installed, so it imports Python's own library alone. On Linux pip and uv take
torch with CUDA, which is eight times the download. Where there is no NVIDIA GPU, PyTorch's CPU builds come from its own
index, if that can be reached.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
DRIVER = "/proc/driver/nvidia"
WITH_CUDA, WITHOUT_CUDA = "3.2 GB to download, 6.0 GB on disk", "0.4 GB to download, 1.4 GB on disk"


def main() -> None:
    """Says what is downloaded, makes the environment, and becomes the process that installs into it."""
    parser = argparse.ArgumentParser(prog="make setup", description=__doc__)
    parser.add_argument("venv", type=Path)
    parser.add_argument("--extras", default="", help="extras of pyproject.toml, separated by commas")
    parser.add_argument("--torch", choices=["", "cpu", "cuda"], default="", help="TORCH=cpu or TORCH=cuda")
    choices = parser.parse_args()
    venv, uv = str(choices.venv), shutil.which("uv")
    if any(choices.venv.glob("lib/python*/site-packages/torch-*.dist-info")):
        backend, torch = "", "its torch stays (for another build: rm -r .venv)"
    else:
        backend, torch = chosen_torch(choices.torch, uv)
    extras = f" and the extras {choices.extras}" if choices.extras else ""
    print(f"Setting up {venv}: {torch}{extras} ...")
    if not uv:
        print("uv would take two thirds of the time: https://docs.astral.sh/uv")
    sys.stdout.flush()

    make, install = commands(venv, uv, choices.extras, backend)
    if subprocess.run(make).returncode:
        sys.exit(1 if uv else "python3-venv is missing. On Debian or Ubuntu: apt-get install python3-venv")
    install += [] if sys.stdout.isatty() else ["--quiet"]  # a log needs no progress
    chosen = {"UV_TORCH_BACKEND": backend} if backend else {}
    os.execve(install[0], install, chosen | os.environ)  # what the machine sets itself counts more


def commands(venv: str, uv: str | None, extras: str, backend: str) -> tuple[list[str], list[str]]:
    """Returns the command that makes the environment, and the one that installs into it."""
    if uv:
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, venv]
        install = [uv, "pip", "install", "--python", f"{venv}/bin/python"]
    else:
        make = [sys.executable, "-m", "venv", venv]
        install = [f"{venv}/bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--no-compile"]
        install += ["--extra-index-url", CPU_BUILDS] if backend else []
    return make, [*install, "--constraint", "constraints.txt", "--editable", f".[{extras}]" if extras else "."]


def chosen_torch(choice: str, uv: str | None) -> tuple[str, str]:
    """Returns uv's name of torch's builds, "" for what pip and uv take by themselves, and a sentence about it."""
    if sys.platform != "linux":
        return "", WITHOUT_CUDA
    if choice == "cuda" or (not choice and sees_nvidia_gpu()):
        return "", f"PyTorch with CUDA ({WITH_CUDA}; TORCH=cpu takes {WITHOUT_CUDA})"
    missing = why_no_cpu_builds(uv)
    if missing:
        return "", f"PyTorch as the package index has it, usually with CUDA ({WITH_CUDA}), because {missing}"
    reason = "" if choice else ", as there is no NVIDIA GPU"
    return choice or "auto", f"PyTorch without CUDA{reason} ({WITHOUT_CUDA}; TORCH=cuda takes {WITH_CUDA})"


def sees_nvidia_gpu() -> bool:
    """Returns whether the driver of NVIDIA is loaded. Where nvidia-smi finds no GPU, its exit code says so."""
    smi = shutil.which("nvidia-smi")
    return Path(DRIVER).exists() or (smi and subprocess.run([smi, "-L"], capture_output=True).returncode == 0) is True


def why_no_cpu_builds(uv: str | None) -> str:
    """Returns why PyTorch's CPU builds cannot be had here, or "". pip would try an index that is away for minutes."""
    if uv and b"--torch-backend" not in subprocess.run([uv, "pip", "install", "--help"], capture_output=True).stdout:
        return "this uv is older than 0.6.9 (uv self update)"
    page = urllib.request.Request(f"{CPU_BUILDS}/torch/", method="HEAD", headers={"User-Agent": "pip"})
    try:
        urllib.request.urlopen(page, timeout=5).close()
    except (OSError, HTTPException) as error:
        return f"PyTorch's CPU builds cannot be reached ({CPU_BUILDS}: {getattr(error, 'reason', error)})"
    return ""


if __name__ == "__main__":
    main()
