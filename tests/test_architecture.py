"""The architecture as claims: who may import whom, the size of modules, and dvc.yaml against the code it runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.imports import ROOT, closure, imported_modules

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
# The parts of gift_core from the lowest to the highest. A part imports lower ones only.
ORDER = [
    {"errors", "seeds", "published", "untrusted", "quantities", "definitions"},
    {"layout", "shipped", "progress", "out_of_memory", "os_errors", "provenance", "tracking", "downloads"},
    {"computation"},
    {"work"},
    {"config"},
    {"fingerprint", "stage_graph"},
    {"revisions"},
    {"artifacts"},
    {"mini", "params_edit"},
    {"datasets", "generators", "clip"},
    {"interop", "class_lists"},
    {"pair_features", "losses", "consolidation", "averaging", "metrics"},
    {"replay"},
    {"methods", "classifier"},
    {"training", "evaluation"},
    {"report", "presets", "doctor", "predict", "partial_runs"},
    {"verification", "labeled_images", "new_project", "team", "library", "execution"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
MAX_MODULE_LINES = 340
MAX_FUNCTION_LINES = 50


def library_files() -> list[Path]:
    return sorted((ROOT / "gift_core").rglob("*.py"))


def part_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def test_every_part_of_the_library_has_a_rank_in_the_import_order() -> None:
    parts = {
        path.stem for path in (ROOT / "gift_core").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert parts - {"__init__"} == set(RANK), "ORDER should name exactly the parts of gift_core"


def is_upward(file: Path, module: str) -> bool:
    """Whether a file of the library should not import the module."""
    own = file.relative_to(ROOT / "gift_core").parts[0].removesuffix(".py")
    other = part_of(module) if module.startswith("gift_core.") else ""
    upward = other in RANK and other != own and RANK[other] >= RANK[own]
    return upward or module.split(".")[0] in ("stages", "typer", "dvc")


def test_the_library_imports_only_downwards() -> None:
    files = [file for file in library_files() if file != ROOT / "gift_core" / "__init__.py"]
    imports = [(file, module) for file in files for module in imported_modules(file)]
    assert len(imports) > 1000
    assert [f"{file} imports {module}" for file, module in imports if is_upward(file, module)] == []
    assert is_upward(ROOT / "gift_core" / "losses.py", "gift_core.training.loop")


def test_no_two_modules_share_a_name() -> None:
    names = Counter(file.stem for file in library_files() if file.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_modules_and_functions_stay_small() -> None:
    large = [str(file.relative_to(ROOT)) for file in library_files() if lines_of(file) > MAX_MODULE_LINES]
    assert large == []
    long = [name for file in library_files() for name, lines in functions_of(file) if lines > MAX_FUNCTION_LINES]
    assert long == []


def lines_of(file: Path) -> int:
    return file.read_text(encoding="utf-8").count("\n")


def functions_of(file: Path) -> list[tuple[str, int]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        (f"{file.name}: {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_the_library_never_reads_params_yaml_by_itself() -> None:
    files = [file for file in library_files() if "config" not in file.parts and "errors" not in file.name]
    assert [file for file in files if 'Path("params.yaml")' in file.read_text(encoding="utf-8")] == []


def block_of(stage: str) -> dict[str, Any]:
    block: dict[str, Any] = DVC[stage]
    return block.get("do", block)  # type: ignore[no-any-return]


def test_there_are_ten_stages_and_check_is_the_first() -> None:
    assert list(DVC) == [
        "check", "import_model", "ingest", "write_vocabulary", "write_prompts", "synthesize", "teach", "finetune",
        "evaluate", "report",
    ]  # fmt: skip


OF_A_ROW = {"ingest": "/${key}", "teach": "/${item.method}", "finetune": "/${item.method}"}


def test_check_writes_the_code_of_every_other_stage() -> None:
    written = [output for each in DVC["check"]["outs"] for output in each]
    assert written == [f"data/code/{stage}{'' if stage in OF_A_ROW else '.json'}" for stage in DVC if stage != "check"]
    assert {"params.yaml", "gift_core", "stages"} == set(DVC["check"]["deps"])


@pytest.mark.parametrize("stage", [stage for stage in DVC if stage != "check"])
def test_a_stage_depends_on_its_code_through_one_file_of_check(stage: str) -> None:
    code = [dep for dep in block_of(stage)["deps"] if dep.split("/")[0] in ("gift_core", "stages", "tests")]
    assert code == []
    expected = f"data/code/{stage}{OF_A_ROW.get(stage, '')}.json"
    assert [dep for dep in block_of(stage)["deps"] if dep.startswith("data/code/")] == [expected]


@pytest.mark.parametrize("stage", DVC)
def test_a_stage_runs_the_command_of_its_name_and_quotes_every_value(stage: str) -> None:
    command = block_of(stage)["cmd"]
    assert command.startswith(f"python -m stages {stage}")
    assert re.findall(r"\$\{[^}]*\}", command) == re.findall(r"(?<=')\$\{[^}]*\}(?=')", command)


@pytest.mark.parametrize("stage", DVC)
def test_the_params_of_a_stage_are_in_params_yaml(stage: str) -> None:
    for param in block_of(stage).get("params", []):
        name = param.replace("${key}", "digits").replace("${item.method}", "gift")
        section = PARAMS
        for part in name.split("."):
            assert part in section, f"dvc.yaml: {stage}: params.yaml has no {name}"
            section = section[part]


def test_the_limit_of_test_images_is_a_parameter_of_evaluate_and_the_report_alone() -> None:
    users = [stage for stage in DVC if "evaluation.max_images" in block_of(stage).get("params", [])]
    assert users == ["evaluate", "report"]
    assert "seed" in block_of("evaluate")["params"]  # it chooses the images


@pytest.mark.parametrize("command", ["check", "ingest", "write_prompts", "write_vocabulary", "report", "show"])
def test_stages_without_a_model_do_not_import_torch(command: str) -> None:
    heavy = {f"{file.relative_to(ROOT)}: {name}" for file in closure(ROOT / "stages" / f"{command}.py")
             for name in imported_modules(file)
             if name.split(".")[0] in ("torch", "torchvision", "open_clip", "diffusers", "transformers")
             and not str(file.relative_to(ROOT)).startswith("gift_core/replay/teach")}  # fmt: skip
    assert heavy <= {"gift_core/datasets/base_vocabulary.py: open_clip.zero_shot_metadata"}, heavy


def test_the_command_line_starts_and_reads_params_without_torch_or_pandas() -> None:
    check = (
        "import sys, pathlib, stages.app\n"
        "from gift_core.config.loading import load_config\n"
        "load_config(pathlib.Path('params.yaml'))\n"
        "print([m for m in ('torch', 'pandas', 'diffusers', 'dvc') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout.strip() == "[]"


CIRCLE_1 = (
    "losses", "pair_features", "consolidation", "averaging", "methods", "metrics", "replay", "training", "classifier",
    "evaluation",
)  # fmt: skip
MAX_CIRCLE_1_LINES = 3_350  # 3,300, and the loss and the consolidation that docs/adding_a_method.md adds


def files_of_circle_1() -> list[Path]:
    return [
        file
        for file in library_files()
        if file.relative_to(ROOT / "gift_core").parts[0].removesuffix(".py") in CIRCLE_1
    ]


def test_the_method_knows_nothing_of_how_work_is_done() -> None:
    imports = [(file.name, module) for file in files_of_circle_1() for module in imported_modules(file)]
    assert len(imports) > 100
    assert [(file, module) for file, module in imports if module.startswith("gift_core.work")] == []


def test_the_method_can_be_read_in_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    files = [file for file in files_of_circle_1() if file.stem != "__init__"]
    lines = sum(map(lines_of, files))
    with capsys.disabled():
        print(f"\nthe method: {lines} lines in {len(files)} modules")  # noqa: T201
    assert lines <= MAX_CIRCLE_1_LINES
