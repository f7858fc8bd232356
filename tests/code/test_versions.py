"""What a stage runs is followed import by import, and an edit makes stale what imports the module, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gift_core.code.versions import RECORD, TABLE, Code, hash_of_module
from recipes.versions.record import record
from tests.imports import ROOT

CODE = Code(ROOT)
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
RECORDED = "473e63b"  # of SAMPLE, on Python 3.11 and 3.13
BASE = "def f(x):\n    if x < 1:\n        raise ValueError('a')\n    return x + 1\n"
SAME = (  # replacements in it
    ("def f(x):", "# why\ndef f(x):  # how"),
    ("def f(x):", '"""Doc."""\ndef f(x):\n    """Doc."""'),
    ("x + 1", "(x\n        + 1)"),
    ("def", "if TYPE_CHECKING:\n    import z\ndef"),
    ("'a'", "'b'"),
)
DIFFERENT = (
    ("x + 1", "x - 1"),
    ("x + 1", "x + 1.0"),
    ("(x)", "(x=0)"),
    ("def", "@cache\ndef"),
    ("def", "y = 1\ndef"),
    ("x < 1", "x < 2"),
    ("ValueError", "KeyError"),
)


def test_what_may_change_a_result_counts_and_nothing_else_and_the_hash_of_a_sample_is_the_recorded_one() -> None:
    assert hash_of_module(SAMPLE) == RECORDED
    same, different = ({hash_of_module(BASE.replace(*each)) for each in changes} for changes in (SAME, DIFFERENT))
    assert same == {hash_of_module(BASE)}
    assert len(different | same) == 1 + len(DIFFERENT)


def test_the_code_of_the_present_versions_is_recorded() -> None:
    assert not CODE.edited, f"{', '.join(CODE.edited)}: run `make versions`, and commit {RECORD}"
    assert set(CODE.recorded) == CODE.all_reached(), f"run `make versions`, and commit {RECORD}"


def test_every_version_has_a_sentence() -> None:
    for stage, versions in CODE.versions.items():
        assert list(versions) == [*range(1, len(versions) + 1)], f"{TABLE}: {stage}: number its versions from 1"
        assert all(versions.values()), f"{TABLE}: {stage}: write a sentence for each version"


def test_imports_are_followed_also_inside_functions_and_what_never_decides_a_result_is_left_out(tmp_path: Path) -> None:
    texts = {
        "stages/run.py": "def run():\n    from gift_core.a import used\n    from .dvc import guards\n",
        "stages/dvc/guards.py": "import gift_core.unused\n",
        "gift_core/a.py": "from gift_core import layout, progress\nfrom gift_core.method.losses import LOSSES\n"
        "if TYPE_CHECKING:\n    from gift_core import unused\n",
        "gift_core/unused.py": "",
        "gift_core/progress.py": "",
        "gift_core/layout.py": "",
        "gift_core/method/__init__.py": "",
        "gift_core/method/losses.py": "from ..method import losses\n",
        "gift_core/rows/names.csv": "one\n",
        "gift_core/other/d.py": "",
        "gift_core/other/names.csv": "one\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    modules = {"stages/run.py", "gift_core/a.py", "gift_core/layout.py", "gift_core/rows/names.csv"}
    assert Code(tmp_path).reached("run") == modules | {"gift_core/method/__init__.py", "gift_core/method/losses.py"}


ALL = {"ingest", "probe", "synthesize", "teach", "finetune", "evaluate", "report"}
LOSSES = "gift_core/method/losses.py"
# A file, a text in it and its replacement, and the stages that the edit makes stale.
EDITS: dict[str, tuple[str, str, str, set[str]]] = {
    "a comment": (LOSSES, "\nimport torch\n", "\nimport torch  # a comment\n", set()),
    "a docstring": ("gift_core/driving/training.py", "Drives a training", "Drives one training", set()),
    "the text of an error": ("stages/ingest.py", "Remove its step", "Delete its step", set()),
    "a type annotation": (LOSSES, "prompt_ids_M: torch.Tensor | None", "prompt_ids_M: object", {"teach", "finetune"}),
    "a loss": (LOSSES, "(student_MM.T, targets_MM", "(2 * student_MM.T, targets_MM", {"teach", "finetune"}),
    "a reader": ("gift_core/datasets/webdataset.py", "both = sorted(set(", "both = list(set(", {"ingest"}),
    "a default": ("gift_core/config/replay_options.py", "le=MAX_NAMES)] = 0", "le=MAX_NAMES)] = 1", ALL),
    "the sum of gradients": (
        "gift_core/driving/processes.py", "gradient.copy_(total", "gradient.copy_(2 * total", {"finetune"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, which is recorded."""
    folder = tmp_path_factory.mktemp("code")
    for name in ("gift_core", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    record(folder)
    return folder


@pytest.mark.parametrize(("file", "old", "new", "stale"), EDITS.values(), ids=EDITS)
def test_an_edit_makes_stale_what_imports_it(copied: Path, file: str, old: str, new: str, stale: set[str]) -> None:
    before = (copied / file).read_text(encoding="utf-8")
    assert before.count(old) == 1
    (copied / file).write_text(before.replace(old, new), encoding="utf-8")
    code = Code(copied)
    assert {stage for stage in code.versions if "edited" in code.state(stage)} == stale
    assert set(code.edited) == ({file} if stale else set())
    (copied / file).write_text(before, encoding="utf-8")


def test_code_with_the_recorded_bytes_is_not_parsed(copied: Path) -> None:
    code = Code(copied)
    assert "edited" not in code.state("finetune")
    assert "_imports" not in vars(code), "it takes a second"
