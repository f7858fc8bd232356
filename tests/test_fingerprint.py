"""A fingerprint changes with what a stage computes, and with nothing else; it is the same on every Python version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from gift_core.config.experiment import Config
from gift_core.config.section import Section
from gift_core.fingerprint import CodeBase, data_files_in, fingerprints, schema_defaults
from tests.imports import ROOT

# Syntax whose tree or output of ast.dump and ast.unparse differs between Python versions.
SAMPLE = '''"""A docstring."""
from __future__ import annotations
import math
from typing import TYPE_CHECKING, TypeVar
if TYPE_CHECKING:
    from pathlib import Path
T = TypeVar("T")
NUMBERS = (1, 1.5, 1e-7, 10**20, 2j, -0.0, None, True, ..., b"a\\x00", "\\u00e9\\n", 'it"s')

class A(dict[str, int], metaclass=type):
    """Another docstring."""

    x: int = 3

    async def f(self, a, /, b=1, *c: int, d: str = "e", **g) -> list[int]:
        async with a as h, b:
            pass
        return [i async for i in c if i] or {**g, "k": d[1:2, ::3]}

def outer(value: object) -> str:
    match value:
        case {"a": [1, *rest], **more} if rest:
            return f"{value!r:>{10}} {more=} {{}} {'x'} {value:%Y-%m}"
        case A(x=1) | None:
            pass
    try:
        assert value, f"a message about {value}"
        lambda *a, k=1: (yield)
    except (ValueError, KeyError) as error:
        raise RuntimeError("a text") from error
    else:
        global T
        del value
    return "a" "b" f"c{math.pi:.2f}"
'''
RECORDED = "473e63b5d3a9a93b"  # of SAMPLE, on Python 3.11 and 3.13
PRINT = "import sys; from gift_core.fingerprint import CodeBase; from pathlib import Path; root = Path(sys.argv[1]); "
PRINT += "print(CodeBase(root).fingerprint(root / 'gift_core' / 'a.py')['gift_core/a.py'])"


def find_python(version: str) -> str | None:
    """The command of a Python version that is installed and starts."""
    python = shutil.which(f"python{version}")
    starts = python and subprocess.run([python, "--version"], capture_output=True).returncode == 0
    return python if starts else None


def project(folder: Path, **modules: str) -> Path:
    """A project with the modules gift_core/<name>.py."""
    (folder / "gift_core").mkdir(parents=True)
    for name, text in modules.items():
        (folder / "gift_core" / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def fingerprint(folder: Path, module: str = "a") -> dict[str, str]:
    return CodeBase(folder).fingerprint(folder / "gift_core" / f"{module}.py")


def of_text(folder: Path, text: str) -> str:
    return fingerprint(project(folder, a=text)).get("gift_core/a.py", "")


def test_the_fingerprint_of_a_sample_is_the_recorded_one(tmp_path: Path) -> None:
    assert of_text(tmp_path, SAMPLE) == RECORDED


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_other_python_versions_compute_the_recorded_fingerprint(tmp_path: Path, version: str) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    command = [python, "-c", PRINT, str(project(tmp_path, a=SAMPLE))]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert printed.stdout.strip() == RECORDED


def test_two_versions_agree_on_every_module_of_the_project() -> None:
    others = [find_python(f"3.{minor}") for minor in (10, 11, 12, 13, 14) if minor != sys.version_info.minor]
    python = next(filter(None, others), None)
    if python is None:
        pytest.skip("no second Python version is installed")
    script = (
        "from gift_core.fingerprint import CodeBase; from pathlib import Path; code = CodeBase(Path('.').resolve())\n"
        "files = sorted(file for name in ('gift_core', 'stages') for file in (code.root / name).rglob('*.py'))\n"
        "print([code.module(file).hash for file in files])"
    )
    texts = {
        subprocess.run([each, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
        for each in (sys.executable, python)
    }
    assert len(texts) == 1


BASE = "def f(x):\n    return x + 1\n"
SAME = {
    "a comment": "# why\ndef f(x):  # how\n    return x + 1\n",
    "a docstring": '"""Doc."""\ndef f(x):\n    """Doc."""\n    return x + 1\n',
    "layout": "def f(\n    x,\n):\n\n    return (x\n        + 1)\n",
    "a type-checking import": "if TYPE_CHECKING:\n    import z\ndef f(x):\n    return x + 1\n",
}
DIFFERENT = {
    "a number": "def f(x):\n    return x + 2\n",
    "an operator": "def f(x):\n    return x - 1\n",
    "a type of number": "def f(x):\n    return x + 1.0\n",
    "a name": "def g(x):\n    return x + 1\n",
    "a default": "def f(x=0):\n    return x + 1\n",
    "a decorator": "@cache\ndef f(x):\n    return x + 1\n",
    "a new line of code": "y = 1\ndef f(x):\n    return x + 1\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_changes_no_result_does_not_count(tmp_path: Path, text: str) -> None:
    assert of_text(tmp_path / "new", text) == of_text(tmp_path / "old", BASE)


@pytest.mark.parametrize("text", DIFFERENT.values(), ids=DIFFERENT)
def test_what_may_change_a_result_counts(tmp_path: Path, text: str) -> None:
    assert of_text(tmp_path / "new", text) != of_text(tmp_path / "old", BASE)


def test_the_text_of_an_error_does_not_count_but_its_type_and_condition_do(tmp_path: Path) -> None:
    text = "def f(x):\n    if x < {}:\n        raise {}('{}')\n"
    base = of_text(tmp_path / "1", text.format(1, "ValueError", "a"))
    assert of_text(tmp_path / "2", text.format(1, "ValueError", "b")) == base
    assert of_text(tmp_path / "3", text.format(1, "KeyError", "a")) != base
    assert of_text(tmp_path / "4", text.format(2, "ValueError", "a")) != base


def test_modules_count_at_any_depth_and_others_do_not(tmp_path: Path) -> None:
    modules = {
        "a": "def f():\n    from gift_core.b import g\n    return g()\n",
        "b": "from gift_core import c\ng = c.h\n",
        "c": "def h():\n    return 1\n",
        "d": "unused = 1\n",
    }
    folder = project(tmp_path, **modules)
    before = fingerprint(folder)
    assert set(before) == {"gift_core/a.py", "gift_core/b.py", "gift_core/c.py"}
    (folder / "gift_core" / "c.py").write_text("def h():\n    return 2\n", encoding="utf-8")
    changed = fingerprint(folder)
    assert {name for name in before if before[name] != changed[name]} == {"gift_core/c.py"}


def test_data_files_beside_a_module_count_by_their_bytes(tmp_path: Path) -> None:
    folder = project(tmp_path, a="x = 1\n")
    (folder / "gift_core" / "rows").mkdir()
    data = folder / "gift_core" / "rows" / "names.csv"
    data.write_text("one\n", encoding="utf-8")
    (folder / "gift_core" / "other").mkdir()
    (folder / "gift_core" / "other" / "b.py").write_text("y = 1\n", encoding="utf-8")
    (folder / "gift_core" / "other" / "other.csv").write_text("two\n", encoding="utf-8")
    assert data_files_in(folder / "gift_core") == [data]
    before = fingerprint(folder)
    data.write_text("two\n", encoding="utf-8")
    assert fingerprint(folder)["gift_core/rows/names.csv"] != before["gift_core/rows/names.csv"]


def test_of_the_config_only_the_methods_of_its_sections_count(tmp_path: Path) -> None:
    def section(body: str, extra: str = "") -> str:
        (tmp_path / body.replace("\n", "").replace(" ", "") / extra.replace(" ", "")).mkdir(parents=True)
        folder = tmp_path / body.replace("\n", "").replace(" ", "") / extra.replace(" ", "") / "p"
        (folder / "gift_core" / "config").mkdir(parents=True)
        file = folder / "gift_core" / "config" / "rows.py"
        file.write_text(f"class A:\n    x: int\n    def f(self):\n        {body}\n{extra}\n", encoding="utf-8")
        return CodeBase(folder).fingerprint(file)["gift_core/config/rows.py"]

    base = section("return 1")
    assert section("return 2") != base
    assert section("return 1", "class B: y: int = 3") == base


def test_defaults_of_the_schema_count_where_a_stage_reads_the_section() -> None:
    defaults = schema_defaults(Config.model_fields["methods"].annotation)
    assert defaults["MethodConfig.start"] == "'previous'"
    assert defaults["MethodConfig.learns"] == "'task'"
    assert not [name for name, value in defaults.items() if value == "None"]
    found = fingerprints(CodeBase(ROOT), {"finetune": ["methods.x", "seed"], "ingest": ["tasks.x", "ingest"]})
    assert "MethodConfig.start" in found["finetune"]["defaults"]
    assert "MethodConfig.start" not in found["ingest"]["defaults"]


class _Inner(Section):
    made: Annotated[str, Field(default_factory=lambda: "a")]
    unused: int | None = None
    needed: int


class _Outer(Section):
    rows: dict[str, _Inner]
    factor: float = Field(default=2.0)


def test_defaults_count_however_they_are_written() -> None:
    assert schema_defaults(_Outer) == {"_Inner.made": "'a'", "_Outer.factor": "2.0"}


START = 'start: Literal["previous", "pretrained"] = "previous"'
ON_BAD_IMAGE = 'on_bad_image: Literal["refuse", "skip"] = "refuse"'
WEIGHT_NAME = "weight_name: Text | None = None"
EDITS = {
    "a method's start": ("method_options", START, START.replace('= "previous"', '= "pretrained"'),
                         {"teach", "finetune", "evaluate", "report"}),
    "of a task": ("tasks", ON_BAD_IMAGE, ON_BAD_IMAGE.replace('= "refuse"', '= "skip"'), {"ingest", "report"}),
    "of the generator": ("generator", WEIGHT_NAME, WEIGHT_NAME.replace("None = None", 'None = "a"'),
                         {"synthesize", "report"}),
    "a new key that is not used": ("method_options", START, f"{START}\n    another: int | None = None", set()),
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's code, params.yaml and dvc.yaml, in which the stage check has run."""
    folder = tmp_path_factory.mktemp("copied")
    for name in ("gift_core", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    check(folder)
    return folder


def check(folder: Path) -> dict[str, str]:
    """Runs the stage check; returns {stage: its fingerprint}."""
    command = [sys.executable, "-m", "stages", "check"]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return {file.stem: file.read_text(encoding="utf-8") for file in (folder / "data" / "code").glob("*.json")}


@pytest.mark.parametrize(("module", "old", "new", "changed"), EDITS.values(), ids=EDITS)
def test_a_changed_default_changes_the_fingerprints_of_the_stages_that_read_it(
    copied: Path, module: str, old: str, new: str, changed: set[str]
) -> None:
    file = copied / "gift_core" / "config" / f"{module}.py"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    before = check(copied)
    file.write_text(text.replace(old, new), encoding="utf-8")
    after = check(copied)
    file.write_text(text, encoding="utf-8")
    assert {stage for stage in before if before[stage] != after[stage]} == changed
    assert check(copied) == before


def test_each_stage_has_the_code_that_it_uses() -> None:
    stages = ("finetune", "ingest", "synthesize", "teach", "report")
    found = fingerprints(CodeBase(ROOT), {stage: ["seed"] for stage in stages})
    code = {stage: set(fingerprint["code"]) for stage, fingerprint in found.items()}
    assert {stage for stage in code if "gift_core/losses.py" in code[stage]} == {"finetune", "teach"}
    assert {stage for stage in code if "gift_core/artifacts/contract.py" in code[stage]} == set(code)
    assert "gift_core/mini/symbols.csv" in code["ingest"]
    assert any(name.startswith("gift_core/report/templates/") for name in code["report"])
    assert not any(name.startswith("gift_core/report") for stage in ("finetune", "teach") for name in code[stage])


@pytest.mark.parametrize("stage", ["ingest", "finetune", "report"])
def test_a_wheel_has_the_fingerprints_of_the_repository_it_was_built_from(tmp_path: Path, stage: str) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gift_core", tmp_path / "gift_core", ignore=ignored)
    shutil.copytree(ROOT / "stages", tmp_path / "gift_core" / "stages", ignore=ignored)
    (tmp_path / "gift_core" / "new_project" / "files").mkdir()
    (tmp_path / "gift_core" / "new_project" / "files" / "dvc.yaml").touch()
    installed = CodeBase(tmp_path, tmp_path / "gift_core" / "stages")
    expected = CodeBase(ROOT).fingerprint(ROOT / "stages" / f"{stage}.py")
    assert f"stages/{stage}.py" in expected
    found = installed.fingerprint(installed.commands / f"{stage}.py")
    assert list(found.items()) == list(expected.items())  # check writes them in this order
