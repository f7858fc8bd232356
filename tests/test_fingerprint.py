"""What a stage runs is followed name by name, and its hashes are the same on every Python version."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from gift_core.definitions import digest_of, normalized, read_module
from gift_core.fingerprint import CodeBase, data_files_in
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
RECORDED = "473e63b5d3a9"  # of SAMPLE, on Python 3.11 and 3.13
PRINT = """
import ast, pathlib, sys
from gift_core.definitions import digest_of, normalized
texts = [sys.stdin.read(), *(file.read_text("utf-8") for file in sorted(pathlib.Path("gift_core").rglob("*.py")))]
print([digest_of(normalized(ast.parse(text)).encode()) for text in texts])
"""


def hash_of(text: str) -> str:
    return digest_of(normalized(ast.parse(text)).encode())


def test_the_hash_of_a_sample_is_the_recorded_one() -> None:
    assert hash_of(SAMPLE) == RECORDED


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_other_python_versions_compute_the_same_hashes_of_the_sample_and_every_module(version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True).returncode:
        pytest.skip(f"Python {version} is not installed")
    done = subprocess.run([python, "-c", PRINT], input=SAMPLE, capture_output=True, text=True, check=True, cwd=ROOT)
    modules = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "gift_core").rglob("*.py"))]
    assert done.stdout.strip() == str([RECORDED, *map(hash_of, modules)])


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


@pytest.mark.parametrize("change", [*SAME, *DIFFERENT])
def test_what_may_change_a_result_counts_and_nothing_else(change: str) -> None:
    assert (hash_of((SAME | DIFFERENT)[change]) == hash_of(BASE)) == (change in SAME)


def test_the_text_of_an_error_does_not_count_but_its_type_and_condition_do() -> None:
    text = "def f(x):\n    if x < {}:\n        raise {}('{}')\n"
    changes = [(1, "ValueError", "a"), (1, "ValueError", "b"), (1, "KeyError", "a"), (2, "ValueError", "a")]
    base, words, kind, limit = (hash_of(text.format(*each)) for each in changes)
    assert words == base and base not in (kind, limit)


def reached(folder: Path, **modules: str) -> set[str]:
    """What `run` in stages/run.py reaches of these modules of gift_core, without the parts that have no statement."""
    (folder / "stages").mkdir(parents=True)
    (folder / "gift_core").mkdir()
    (folder / "stages" / "run.py").write_text(modules.pop("run"), encoding="utf-8")
    for name, text in modules.items():
        (folder / "gift_core" / f"{name}.py").write_text(text, encoding="utf-8")
    found = CodeBase(folder).reached("run", ())
    return {key.removeprefix("gift_core/") for key, digest in found.items() if digest}


def test_names_are_followed_through_imports_and_unused_ones_are_not(tmp_path: Path) -> None:
    found = reached(
        tmp_path,
        run="def run():\n    from gift_core.b import g\n    return g()\n\ndef unused(): pass\n",
        b="from gift_core import c\ng = c.h\nunused = 1\n",
        c="N = 1\ndef h():\n    return N\ndef unused():\n    return 2\n",
        d="unused = 1\n",
    )
    assert found == {"stages/run.py: run", "b.py: g", "c.py: N", "c.py: h"}


def test_statements_that_run_on_import_count(tmp_path: Path) -> None:
    found = reached(
        tmp_path,
        run="from gift_core import b\ndef run():\n    return b.g\n",
        b="import gift_core.c\ng = 1\n",
        c="if 1:\n    print('at once')\nunused = 1\n",
    )
    assert found == {"stages/run.py: run", "b.py: g", "c.py:"}


def test_of_a_class_the_methods_count_whose_names_are_used(tmp_path: Path) -> None:
    text = (
        "import torch\nclass Base:\n    def f(self): return self.g()\n    def g(self): return 1\n"
        "    def unused(self): return 2\n"
        "class Child(Base):\n    def __init__(self): pass\n    def g(self): return 3\n"
        "class Layer(torch.nn.Module):\n    def forward(self): return 4\n"
        "class Named:\n    def any(self, name): return getattr(self, name)\n    def other(self): return 5\n"
    )
    run = "from gift_core import b\ndef run():\n    b.Child().f()\n    b.Layer()\n    b.Named().any('x')\n"
    assert reached(tmp_path, run=run, b=text) == {
        "stages/run.py: run", "b.py: Base.f", "b.py: Base.g", "b.py: Child", "b.py: Child.__init__", "b.py: Child.g",
        "b.py: Layer", "b.py: Layer.forward", "b.py: Named.any", "b.py: Named.other",
    }  # fmt: skip


def test_data_files_beside_a_module_count_by_their_bytes(tmp_path: Path) -> None:
    reached(tmp_path, run="from gift_core.a import x\ndef run(): return x\n", a="x = 1\n")
    data = tmp_path / "gift_core" / "rows" / "names.csv"
    for file in (data, tmp_path / "gift_core" / "other" / "b.py", tmp_path / "gift_core" / "other" / "other.csv"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("one\n", encoding="utf-8")
    assert data_files_in(tmp_path / "gift_core") == [data]
    before = CodeBase(tmp_path).reached("run", ())["gift_core/rows/names.csv"]
    data.write_text("two\n", encoding="utf-8")
    assert CodeBase(tmp_path).reached("run", ())["gift_core/rows/names.csv"] != before


def test_of_params_yaml_the_methods_and_the_defaults_of_sections_count() -> None:
    def hashes(fields: str, *, before: str = "") -> dict[str, str]:
        text = f"{before}\nclass A:\n{fields}\n    def f(self):\n        return 1\n"
        module = read_module("gift_core/config/rows.py", ast.parse(text))
        return {each.name: each.hash for each in module.all_definitions()}

    base = hashes("    x: int")
    assert base["A"] == "" != base["A.f"]
    assert hashes("    x: str\n    new: int | None = None", before="LIMIT = 3") == base | {"LIMIT": ""}
    assert hashes("    x: int = 1")["A"] != hashes("    x: int = 2")["A"] != ""
    assert hashes("    x: int = 1") == hashes("    x: float = 1")
