"""`make setup` takes the build of PyTorch that fits the machine, and no target writes a published file unasked.

uv, nvidia-smi, the index of CPU builds and the programs of .venv are stand-ins that note how they are called.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.imports import ROOT

INDEX, DRIVER = "https://download.pytorch.org/whl/cpu", "/proc/driver/nvidia"
NOTE = '#!/bin/sh\necho "$0 $*, backend=$UV_TORCH_BACKEND" >> "$CALLS"\n'
UV = NOTE + 'case "$*" in venv*) mkdir -p .venv;; *--help) echo "$UV_HELP";; esac\n'
VENV = (
    f"import os, sys\nos.makedirs(sys.argv[1] + '/bin')\nopen(p := sys.argv[1] + '/bin/python', 'w').write({NOTE!r})\n"
)
NEW_UV = "--torch-backend <TORCH_BACKEND>"
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch has one build")


class Index(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/torch/" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Machine:
    """A clone on a machine without an NVIDIA GPU and without uv, whose pip and uv install nothing."""

    def __init__(self, folder: Path, index: str) -> None:
        self.folder, self.programs = folder / "gift", folder / "programs"
        (self.folder / "recipes").mkdir(parents=True)
        self.programs.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        code = (ROOT / "recipes" / "environment.py").read_text(encoding="utf-8")
        code = code.replace(f'"{INDEX}"', f'"{index}"').replace(f'"{DRIVER}"', f'"{folder}/driver"')
        (self.folder / "recipes" / "environment.py").write_text(code, encoding="utf-8")
        for name in ("git", "mkdir", "touch"):
            (self.programs / name).symlink_to(str(shutil.which(name)))
        self.add("nvidia-smi", "#!/bin/sh\nexit 9\n")  # as where no GPU is
        (folder / "venv.py").write_text(VENV + "os.chmod(p, 0o755)\n", encoding="utf-8")
        known = {
            name: value for name, value in os.environ.items() if not name.startswith(("UV_", "MAKE", "EXTRAS", "TORCH"))
        }
        calls = {"CALLS": str(folder / "calls"), "UV_HELP": NEW_UV, "PYTHONPATH": str(folder)}
        self.environment = known | calls | {"PATH": str(self.programs)}

    def add(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text, encoding="utf-8")
        (self.programs / name).chmod(0o755)

    def setup(self, *options: str) -> tuple[list[str], str]:
        """Returns what printed how much is downloaded, in lines, and the call of pip or uv that installs."""
        shutil.rmtree(self.folder / ".venv", ignore_errors=True)
        command = [str(shutil.which("make")), "setup", f"PYTHON={sys.executable}", *options]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        calls = Path(self.environment["CALLS"]).read_text(encoding="utf-8").splitlines()
        return done.stdout.splitlines(), calls[-1]


@pytest.fixture
def machine(tmp_path: Path, index: str) -> Machine:
    return Machine(tmp_path, index)


@linux
def test_without_an_nvidia_gpu_pip_takes_the_builds_without_cuda_and_says_how_much_it_downloads(
    machine: Machine, index: str
) -> None:
    (said, faster), call = machine.setup("EXTRAS=s3,t5")
    assert f"pip install --disable-pip-version-check --no-compile --extra-index-url {index} --quiet" in call
    assert "--editable .[s3,t5]," in call and "without CUDA" in said and "0.4 GB to download" in said
    assert faster.startswith("uv would take two thirds of the time")
    assert "--extra-index-url" not in machine.setup("TORCH=cuda")[1]


@linux
@pytest.mark.parametrize("seen_by", ["nvidia-smi", "driver"])
def test_with_an_nvidia_gpu_pip_takes_what_the_package_index_has(machine: Machine, seen_by: str, index: str) -> None:
    if seen_by == "driver":
        (machine.folder.parent / "driver").mkdir()
    else:
        machine.add("nvidia-smi", "#!/bin/sh\nexit 0\n")
    (said, _), call = machine.setup()
    assert "--extra-index-url" not in call and "with CUDA" in said and "3.2 GB to download" in said
    assert index in machine.setup("TORCH=cpu")[1]


@linux
def test_uv_chooses_the_build_unless_the_machine_or_torch_does(machine: Machine) -> None:
    machine.add("uv", UV)
    said, call = machine.setup()
    assert len(said) == 1 and "0.4 GB to download" in said[0]
    assert call.endswith("--quiet --constraint constraints.txt --editable ., backend=auto")
    assert machine.setup("TORCH=cpu")[1].endswith("backend=cpu")
    assert machine.setup("TORCH=cuda")[1].endswith("backend=")
    machine.environment["UV_TORCH_BACKEND"] = "cu128"
    assert machine.setup()[1].endswith("backend=cu128")


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_help_has_15_targets_and_which_command_runs_the_experiment_and_help_dev_the_others() -> None:
    users, others = (re.findall(r"^  make (\S+)", make(target), re.MULTILINE) for target in ("help", "help-dev"))
    assert len(users) == 15
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(["help", *users, *others]) == sorted(phony.split())
    assert all(f"{command} (" in make("help") for command in ("make repro", "dvc repro", "gift run"))


def test_a_published_file_changes_only_with_record() -> None:
    """Neither by a target of make nor by a script that is run without options."""
    targets = ["compare", "search", *re.findall(r"^  make (curve|bench\S*|smoke\S*)", make("help-dev"), re.MULTILINE)]
    published = re.compile(r"^.*(?:--(?:record|out|figure)|comparison\.csv) (?:benchmarks|docs)\b.*$", re.MULTILINE)
    assert published.findall(make("--dry-run", *targets)) == []
    assert len(published.findall(make("--dry-run", *targets, "RECORD=1"))) == len(targets) > 7
    default = re.compile(r'(?:default=Path\(|\bout"?[=:] ?)"(?:benchmarks|docs)\b')
    assert [path.name for path in (ROOT / "benchmarks").glob("*.py") if default.search(path.read_text())] == []
