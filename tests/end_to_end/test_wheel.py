"""A project without a clone: the wheel in an environment of its own, `gift init`, a real `dvc repro`, `gift predict`.

The tests of this file run in order. torch and the other packages come from the environment that runs the tests, by a
.pth file. Such a file does not bring in editable installations, so this repository is not found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.clone import PROBE, Clone, build_wheel, edit_function, small, stages_in, write_program
from tests.datasets.folders import picture
from tests.docs.snippets import blocks_of
from tests.imports import ROOT

pytestmark = pytest.mark.end_to_end
TASK = "games"


class Installed(Clone):
    """An environment with the wheel, and the commands in it. Its projects are in `folder`."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        super().__init__(folder)
        self.bin = folder / "venv" / "bin"
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        where = Path(sysconfig.get_path("purelib"))
        running = {part for part in os.environ["PATH"].split(os.pathsep) if Path(part) == Path(sys.executable).parent}
        others = [part for part in os.environ["PATH"].split(os.pathsep) if part not in running]
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {
            "PATH": os.pathsep.join([str(self.bin), *others]), "GIT_CONFIG_GLOBAL": os.devnull, "HF_HUB_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }  # fmt: skip
        self.run("python", "-m", "pip", "install", "--quiet", "--no-deps", str(wheel))
        own = self.bin.parent / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        (own / "packages_of_the_tests.pth").write_text(f"{where}\n", encoding="utf-8")
        self.packages = own
        write_program(self.bin / "dvc", f'exec "{self.bin}/python" -m dvc "$@"')


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    return Installed(folder, build_wheel(folder))


@pytest.fixture(scope="module")
def project(installed: Installed) -> Path:
    """A project with one small task and the method gift, in which `dvc repro` has run."""
    installed.said = installed.run("gift", "init", "project")  # type: ignore[attr-defined]
    folder = installed.folder / "project"
    params = small(Clone(folder).params, TASK)
    params["run"]["methods"] = ["gift"]
    Clone(folder).write_params(params)
    # As in its Makefile.
    make_repro = ["python", "-m", "gift_core.stages.dvc.fork_server", "python", "-m", "dvc", "repro"]
    installed.ran = stages_in(installed.run(*make_repro, cwd=folder))  # type: ignore[attr-defined]
    return folder


def test_gift_is_the_installed_wheel_and_the_repository_is_not_found(installed: Installed) -> None:
    script = """import sys, json, importlib.util, gift_core, gift_core.stages.check as check
finders = [str(each) for each in sys.meta_path]
print(json.dumps([gift_core.__file__, check.__file__, importlib.util.find_spec("stages"), sys.path, finders]))"""
    library, command, stages, path, finders = json.loads(installed.run("python", "-c", script))
    assert Path(library).is_relative_to(installed.packages)
    assert Path(command) == installed.packages / "gift_core" / "stages" / "check.py"
    assert stages is None and str(ROOT) not in path and not [each for each in finders if "editable" in each.lower()]


def test_a_new_project_has_the_code_and_the_examples_of_the_repository(installed: Installed) -> None:
    installed.run("gift", "init", "fresh")
    fresh = installed.folder / "fresh"
    in_wheel, in_clone = (
        each.run(*command, "check", "--root", str(fresh)).partition("is valid; ")[2]
        for each, command in ((installed, ["gift"]), (Clone(ROOT), [sys.executable, "-m", "stages"]))
    )
    assert in_wheel == in_clone != ""  # "the code is as it was released", once `make revisions` has run
    page = installed.run("gift", "docs", "library")
    examples = re.findall(r"^    python (\S+\.py)$", page, re.MULTILINE)
    assert len(examples) > 2
    assert all(Path(path).is_relative_to(installed.packages) and Path(path).is_file() for path in examples)
    assert "task loss" in installed.run("python", examples[0])


def test_every_stage_runs_in_a_project_without_code(installed: Installed, project: Path) -> None:
    ran: list[str] = installed.ran  # type: ignore[attr-defined]
    assert sorted(ran) == sorted([
        "check", "import_model", f"ingest@{TASK}", f"ingest@{PROBE}", f"probe@{PROBE}",
        "write_vocabulary", "write_prompts@0", "synthesize@0",
        "teach@gift-step0", "finetune@gift-step0", "evaluate@gift-step0", "report",
    ])  # fmt: skip
    assert not list(project.rglob("*.py"))
    assert set(Clone(project).metrics()) == {"zero_shot", "gift"}
    lock = (project / "dvc.lock").read_bytes()
    assert stages_in(installed.run("python", "-m", "dvc", "repro", cwd=project)) == ["check"]
    assert (project / "dvc.lock").read_bytes() == lock


@pytest.fixture(scope="module")
def photos(project: Path) -> Path:
    """Images of two classes of the task, in a folder for each."""
    folder = project.parent / "photos"
    for label, name in enumerate(class_names(project)[:2]):
        for number in range(8):
            picture(folder / name / f"{number}.png", (90 * label, 30 * number, 0))
    return folder


def class_names(project: Path) -> list[str]:
    task = json.loads((project / "data" / "1_tasks" / TASK / "task.json").read_text(encoding="utf-8"))
    return list(task["class_names"])


def test_the_commands_of_its_readme_run(installed: Installed, project: Path, photos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / "project", symlinks=True))
    text = (folder / "README.md").read_text(encoding="utf-8")
    stands_for = {"PRESET": "mini", "NAME": "garments", "DIR": photos, "TASK": TASK, "IMAGES": photos,
                  "URL": tmp_path / "store"}  # fmt: skip
    block = [command for each in blocks_of(folder, "README.md") for command in each.commands]
    table = [span for row in text.splitlines() if row.startswith("|") for span in re.findall("`([^`]*)`", row)]
    assert block == ["dvc repro", "gift show"] and len(table) > 8
    said = {}
    for command in (*block, *table):
        words = [str(stands_for.get(word, word)) for word in re.split(r"\b([A-Z]+)\b", command)]
        said[command] = installed.run("bash", "-c", "".join(words), cwd=folder)
    assert "gift" in said["gift show"] and "index.html" in said["gift show"]
    predicted = said["gift predict data/6_released/gift/TASK IMAGES"].splitlines()
    lines = [line for line in predicted if ".png" in line]
    assert len(lines) == len(list(photos.rglob("*.png"))) > 0
    assert all(any(line.endswith(name) for name in class_names(project)) for line in lines)
    assert f"{len(lines)} images are classified correctly" in said["gift test data/6_released/gift/TASK IMAGES"]


def test_a_new_version_of_the_package_is_seen(installed: Installed, project: Path) -> None:
    edit_function(installed.packages, "gift_core/method/consolidation.py", "AdaptiveFisher.observe")
    assert "check" in installed.run("gift", "check", cwd=project)
    changed = json.loads(installed.run("python", "-m", "dvc", "status", "--json", cwd=project))
    assert changed["finetune@gift-step0"] == [{"changed deps": {"data/code/finetune/gift.json": "modified"}}]
    assert not [stage for stage in changed if stage.startswith(("teach", "synthesize", "ingest"))]
