"""The architecture as claims: who may import whom, and dvc.yaml against the code it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports import ROOT, closure, imported_modules

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
# Stage of dvc.yaml -> command, where the names differ.
STAGES = {"finetune_plain": "finetune", "finetune_real": "finetune", "teach_real": "teach"}
ORDER = [
    {"errors", "seeds", "published"},
    {"layout", "out_of_memory", "progress", "section"},
    {"objectives", "anchors"},  # their tables of options are part of params.yaml's schema
    {"config"},
    {"artifacts"},
    {"mini"},
    {"tasks", "generators", "clip"},
    {"checkpoints"},
    {"weights", "metrics"},
    {"replay"},
    {"methods"},
    {"training", "evaluation", "report", "presets", "doctor", "exports", "prediction"},
]
# What cannot change a result: messages, bars, places, and the checks of params.yaml, whose values DVC tracks.
PLUMBING = (
    "gift_core/errors.py",
    "gift_core/out_of_memory.py",
    "gift_core/progress.py",
    "gift_core/layout.py",
    "gift_core/section.py",
    "gift_core/config/",
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def library_files() -> list[Path]:
    return sorted((ROOT / "gift_core").rglob("*.py"))


def part_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_every_part_of_the_library_has_a_place_in_the_import_order() -> None:
    parts = {
        path.stem for path in (ROOT / "gift_core").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert parts - {"__init__"} == set(RANK) & parts, "name new parts of gift_core in ORDER"


@pytest.mark.parametrize("file", library_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_library_imports_only_downwards(file: Path) -> None:
    relative = file.relative_to(ROOT / "gift_core")
    part = relative.parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for module in imported_modules(file):
        assert module.split(".")[0] not in ("stages", "typer", "dvc"), f"{relative} imports {module}"
        other = part_of(module) if module.startswith("gift_core.") else ""
        if other in RANK and other != part:
            assert RANK[other] < RANK[part], f"{relative} imports {module}"


@pytest.mark.parametrize("file", library_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_library_never_reads_params_yaml_by_itself(file: Path) -> None:
    if "config" not in file.parts and "errors" not in file.name:
        assert 'Path("params.yaml")' not in file.read_text(encoding="utf-8")


def rows_of(stage: str) -> dict[str, Any]:
    row: dict[str, Any] = DVC[stage]
    return row.get("do", row)  # type: ignore[no-any-return]


def code_dependencies(stage: str) -> set[str]:
    return {dep for dep in rows_of(stage)["deps"] if dep.split("/")[0] in ("gift_core", "stages")}


@pytest.mark.parametrize("stage", sorted(DVC))
def test_a_stage_depends_on_the_code_that_it_imports_and_on_no_other(stage: str) -> None:
    used = closure(ROOT / "stages" / f"{STAGES.get(stage, stage)}.py", until=("gift_core/config/",))
    files = {
        str(file.relative_to(ROOT))
        for file in used
        if file.name != "__init__.py" or file.parent.name not in ("gift_core", "stages")
    }
    files = {file for file in files if not file.startswith(PLUMBING)}
    declared = code_dependencies(stage)
    if stage == "ingest":  # a miniature task names the code that draws it as its path; other tasks do not depend on it
        files = {file for file in files if not file.startswith("gift_core/mini/")}
    missing = {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in declared)}
    idle = {dep for dep in declared if not any(file == dep or file.startswith(f"{dep}/") for file in files)}
    assert not missing, f"dvc.yaml: {stage}: add to deps: {sorted(missing)}"
    assert not idle, f"dvc.yaml: {stage}: nothing of these deps is imported: {sorted(idle)}"


@pytest.mark.parametrize("stage", sorted(DVC))
def test_a_stage_runs_the_command_of_its_name(stage: str) -> None:
    assert rows_of(stage)["cmd"].startswith(f"python -m stages {STAGES.get(stage, stage)}")


@pytest.mark.parametrize("stage", sorted(DVC))
def test_a_stages_params_stand_in_params_yaml(stage: str) -> None:
    for param in rows_of(stage).get("params", []):
        name = param.replace("${key}", "digits").replace("${item.method}", "gift")
        place = PARAMS
        for part in name.split("."):
            assert part in place, f"dvc.yaml: {stage}: params.yaml has no {name}"
            place = place[part]


@pytest.mark.parametrize("command", ["ingest", "write_prompts", "write_vocabulary", "report", "show"])
def test_stages_without_a_model_do_not_import_torch(command: str) -> None:
    used = closure(ROOT / "stages" / f"{command}.py", until=("gift_core/config/",))
    heavy = {f"{file.relative_to(ROOT)}: {name}" for file in used for name in imported_modules(file)
             if name.split(".")[0] in ("torch", "torchvision", "open_clip", "diffusers", "transformers")}  # fmt: skip
    assert heavy <= {"gift_core/tasks/vocabulary.py: open_clip.zero_shot_metadata"}, heavy


def test_the_command_line_starts_and_reads_params_without_torch_or_pandas() -> None:
    check = (
        "import sys, pathlib, stages.__main__, gift_core.config.loading as config\n"
        "config.load_config(pathlib.Path('params.yaml'))\n"
        "print([m for m in ('torch', 'pandas', 'diffusers', 'dvc') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout.strip() == "[]"
